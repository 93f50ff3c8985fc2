// `viaduct get`: the whole host as a document that `viaduct apply` takes back.

import ArgumentParser
import JSON

struct GetCommand: ClientCommand {
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case yaml, json
    }

    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Print everything that was written, as a document for apply.",
        discussion: StateDocument.help)

    @Option(name: .shortAndLong, help: "yaml or json.") var output: Format?
    @Flag(help: "Write out the fields that have their defaults too.") var defaults = false
    @OptionGroup var options: ClientOptions

    func run(_ session: Session) async throws(CommandError) {
        let state = try await Inventory.read(session.client, macs: true).state
        let document = state.document(defaults: defaults)
        switch output ?? (session.json ? .json : .yaml) {
        case .json: session.print(json: document)
        case .yaml: session.print(YAMLText.text(of: document, flowDepth: StateDocument.memberDepth))
        }
    }
}
