// The command line: arguments in, text out. Decides nothing. A service gives up what it does not need before anything
// else, while the process has one thread.

import API
import Agent
import ArgumentParser

@main
struct Viaduct: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "viaduct",
        abstract:
            "An overlay network: bridges, ports and VXLAN tunnels over REST, on one host or on a fleet.",
        discussion: """
            Exit codes: 0 done; 1 the agent or controller refused, and the problem with every field error is on \
            standard error; 3 none could be reached; 64 the command line or a file cannot be understood, and \
            nothing was sent.

            The agent to talk to is http://127.0.0.1:8640 unless --server or VIADUCT_SERVER says otherwise, the \
            controller http://127.0.0.1:8650 unless --controller or VIADUCT_CONTROLLER does. show, status, events and \
            get ask the agent unless --controller is given, with or without an address. NO_COLOR turns colours off.
            """,
        version: Agent.version,
        groupedSubcommands: [
            CommandGroup(
                name: "Look",
                subcommands: [
                    ShowCommand.self, StatusCommand.self, TopCommand.self, EventsCommand.self,
                    FlowsCommand.self, DatapathCommand.self, TraceCommand.self, CaptureCommand.self,
                    LivenessCommand.self, DoctorCommand.self,
                ]),
            CommandGroup(
                name: "Configure a host",
                subcommands: [
                    BridgeCommand.self, PortCommand.self, TunnelCommand.self, MACCommand.self,
                    RuleCommand.self, MirrorCommand.self, UnderlayCommand.self, RouteCommand.self,
                    NeighborCommand.self,
                ]),
            CommandGroup(
                name: "Configure a fleet",
                subcommands: [HostCommand.self, NetworkCommand.self, AttachmentCommand.self]),
            CommandGroup(name: "Configure either", subcommands: [GetCommand.self, ApplyCommand.self]),
            CommandGroup(
                name: "Run",
                subcommands: [
                    AgentCommand.self, ControllerCommand.self, RestartCommand.self, PKICommand.self,
                    OpenAPICommand.self,
                ]),
        ])
}

/// A command that is a service, and goes on until it is told to end.
protocol ServiceCommand: AsyncParsableCommand {
    /// Gives up the privileges that it was started with and does not need.
    func giveUp() throws
}

extension Viaduct {
    /// On the first thread until the command runs: those that come later inherit what it has left.
    @MainActor
    static func main() async {
        do {
            var command = try parseAsRoot()
            if let service = command as? any ServiceCommand { try service.giveUp() }
            if var running = command as? any AsyncParsableCommand {
                try await running.run()
            } else {
                try command.run()
            }
        } catch {
            if exitCode(for: error) != .success { await ServiceProcess.pauseBeforeNextStart() }
            exit(withError: error)
        }
    }
}
