// What every command that talks to an agent shares: where the agent is, how its answer is shown, and the one
// place where a failure becomes text and an exit code.

import ArgumentParser
import Foundation
import HTTP
import JSON

/// The options of every such command.
struct ClientOptions: ParsableArguments {
    static let defaultServer = "http://127.0.0.1:8640"

    @Option(
        help: ArgumentHelp(
            "The agent: http://HOST:PORT or unix:PATH. Default: $VIADUCT_SERVER, else \(defaultServer).",
            valueName: "address"))
    var server: String?

    @Flag(help: "Print JSON for scripts; a problem is JSON on standard error.")
    var json = false

    /// Flag before environment before default.
    func address(_ environment: [String: String]) throws(CommandError) -> HTTPClientAddress {
        let variable = environment["VIADUCT_SERVER"].flatMap { $0.isEmpty ? nil : $0 }
        do {
            return try HTTPClientAddress(server ?? variable ?? ClientOptions.defaultServer)
        } catch {
            throw .usage(error.description)
        }
    }
}

/// One run of a command: its agent, and where its words go.
struct Session: Sendable {
    var client: AgentClient
    var address: String
    /// Print JSON.
    var json: Bool
    var terminal: Terminal

    func print(_ text: String) { terminal.write(text.hasSuffix("\n") || text.isEmpty ? text : text + "\n") }

    /// Indented like the agent's own answers.
    func print(json value: JSONValue) {
        print(String(decoding: value.serialized(pretty: true), as: UTF8.self))
    }
}

/// A command that talks to an agent.
protocol ClientCommand: AsyncParsableCommand {
    var options: ClientOptions { get }
    func run(_ session: Session) async throws(CommandError)
}

extension ClientCommand {
    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let terminal = Terminal.standard(environment)
        do throws(CommandError) {
            let address = try options.address(environment)
            let transport = Waiting(
                transport: HTTPClient(address, limits: AgentClient.httpLimits),
                address: address.description, terminal: terminal)
            let session = Session(
                client: AgentClient(transport: transport), address: address.description,
                json: options.json, terminal: terminal)
            try await run(session)
        } catch {
            let problem = JSONValue.object(error.json).serialized(pretty: true)
            terminal.writeError(options.json ? String(decoding: problem, as: UTF8.self) + "\n" : error.text)
            throw ExitCode(error.exitCode)
        }
    }
}
