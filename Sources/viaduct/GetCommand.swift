// `viaduct get`: the whole host, or the whole fleet, as a document that `viaduct apply` takes back.

import API
import ArgumentParser
import JSON

struct GetCommand: ClientCommand {
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case yaml, json
    }

    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Print everything that was written, as a document for apply.",
        discussion: StateDocument.help + """


            What a controller pushed to an agent is left out, unless --all is given: a document with it would make \
            it local.
            """)

    @Option(name: .shortAndLong, help: "yaml or json.") var output: Format?
    @Flag(help: "Write out the fields that have their defaults too.") var defaults = false
    @Flag(help: "Print what a controller pushed to the agent too.") var all = false
    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        let version = try await session.client.get("/v1/version")
        let isFleet = version["role"] == .string(Role.controller.rawValue)
        let state = try await StateDocument.read(session.client, isFleet ? .controller : .agent)
        let document = (all ? state : state.local).document(defaults: defaults)
        if !all, !state.pushed.isEmpty {
            let managers = Set(state.pushed.values).sorted().joined(separator: ", ")
            session.terminal.writeError(
                "viaduct: what \(managers) pushed is left out, \(state.pushed.count) resources; --all has it\n"
            )
        }
        switch output ?? (session.json ? .json : .yaml) {
        case .json: session.print(json: document)
        case .yaml: session.print(YAMLText.text(of: document, flowDepth: StateDocument.memberDepth))
        }
    }
}
