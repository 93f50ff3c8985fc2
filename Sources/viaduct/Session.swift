// What every command that talks to an agent or a controller shares: where that is, how its answer is shown, and the
// one place where a failure becomes text and an exit code.

import API
import ArgumentParser
import Foundation
import HTTP
import JSON

/// The options that say whom a command asks.
protocol ServerOptions: ParsableArguments, Sendable {
    /// Print JSON.
    var json: Bool { get }
    var access: ClientAccessOptions { get }
    /// Whom it asks unless a document says otherwise.
    var role: Role { get }
    /// The address that was typed for a service. One for the other service alone is a mistake.
    func typed(_ role: Role) throws(CommandError) -> String?
}

extension ServerOptions {
    /// Flag before environment before default.
    func address(of role: Role, _ environment: [String: String]) throws(CommandError) -> HTTPClientAddress {
        let variable = environment[role == .agent ? "VIADUCT_SERVER" : "VIADUCT_CONTROLLER"]
        let known = variable.flatMap { $0.isEmpty ? nil : $0 }
        let typed = try typed(role)
        do {
            return try HTTPClientAddress(typed ?? known ?? role.defaultURL)
        } catch {
            throw .usage(error.description)
        }
    }
}

/// Of commands about one host.
struct AgentOptions: ServerOptions {
    @Option(help: ClientHelp.server) var server: String?
    @Flag(help: ClientHelp.json) var json = false
    @OptionGroup var access: ClientAccessOptions

    var role: Role { .agent }
    func typed(_ role: Role) -> String? { server }
}

/// Of commands about the fleet.
struct FleetOptions: ServerOptions {
    @Option(help: ClientHelp.controller) var controller: String?
    @Flag(help: ClientHelp.json) var json = false
    @OptionGroup var access: ClientAccessOptions

    var role: Role { .controller }
    func typed(_ role: Role) -> String? { controller }
}

/// Of commands that are about either.
struct EitherOptions: ServerOptions {
    @Option(help: ClientHelp.server) var server: String?
    @Option(defaultAsFlag: ClientHelp.usual, help: ClientHelp.controller) var controller: String?
    @Flag(help: ClientHelp.json) var json = false
    @OptionGroup var access: ClientAccessOptions

    var role: Role { controller == nil ? .agent : .controller }

    func validate() throws {
        guard server == nil || controller == nil else {
            throw ValidationError("wanted --server or --controller, found both")
        }
    }

    func typed(_ role: Role) throws(CommandError) -> String? {
        let (own, other) = role == .agent ? (server, controller) : (controller, server)
        guard own != nil || other == nil else {
            throw .usage(
                "the document is for \(role == .agent ? "an agent" : "a controller"): wanted "
                    + "\(role == .agent ? "--server" : "--controller")")
        }
        return own == ClientHelp.usual ? nil : own
    }
}

enum ClientHelp {
    /// What `--controller` without an address stands for.
    static let usual = "the default"

    static let server = ArgumentHelp(
        "The agent: https://HOST:PORT, http://HOST:PORT or unix:PATH. Default: $VIADUCT_SERVER, else "
            + "\(Role.agent.defaultURL).",
        valueName: "address")
    static let controller = ArgumentHelp(
        "The controller: https://HOST:PORT, http://HOST:PORT or unix:PATH. Default: $VIADUCT_CONTROLLER, else "
            + "\(Role.controller.defaultURL).",
        valueName: "address")
    static let json = ArgumentHelp("Print JSON for scripts; a problem is JSON on standard error.")
}

/// An agent or a controller, and how it is called in what is printed.
struct Server: Sendable {
    var client: AgentClient
    var address: String
}

/// One run of a command: whom it asks, and where its words go.
struct Session: Sendable {
    var server: Server
    /// Print JSON.
    var json: Bool
    var terminal: Terminal
    /// Finds the server of a service.
    var connect: @Sendable (Role) throws(CommandError) -> Server

    init(
        _ role: Role, json: Bool, terminal: Terminal,
        connect: @escaping @Sendable (Role) throws(CommandError) -> Server
    ) throws(CommandError) {
        server = try connect(role)
        self.json = json
        self.terminal = terminal
        self.connect = connect
    }

    var client: AgentClient { server.client }
    var address: String { server.address }

    /// The same with the server of a service.
    func asking(_ role: Role) throws(CommandError) -> Session {
        var session = self
        session.server = try connect(role)
        return session
    }

    func print(_ text: String) { terminal.write(text.hasSuffix("\n") || text.isEmpty ? text : text + "\n") }

    /// Indented like the agent's own answers.
    func print(json value: JSONValue) {
        print(String(decoding: value.serialized(pretty: true), as: UTF8.self))
    }
}

/// A command that talks to an agent or a controller.
protocol ClientCommand: AsyncParsableCommand {
    associatedtype Options: ServerOptions
    var options: Options { get }
    func run(_ session: Session) async throws(CommandError)
}

extension ClientCommand {
    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let terminal = Terminal.standard(environment)
        let options = options
        do throws(CommandError) {
            let session = try Session(options.role, json: options.json, terminal: terminal) {
                role throws(CommandError) in
                let address = try options.address(of: role, environment)
                let client = options.access.files(environment).transport(
                    to: address, limits: AgentClient.httpLimits)
                let transport = Waiting(
                    transport: try client.get(),
                    address: address.description, terminal: terminal)
                return Server(client: AgentClient(transport: transport), address: address.description)
            }
            try await run(session)
        } catch {
            let problem = JSONValue.object(error.json).serialized(pretty: true)
            terminal.writeError(options.json ? String(decoding: problem, as: UTF8.self) + "\n" : error.text)
            throw ExitCode(error.exitCode)
        }
    }
}
