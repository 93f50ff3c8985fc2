// The command line: arguments in, text out. Decides nothing.

import API
import Agent
import ArgumentParser

@main
struct Viaduct: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "viaduct",
        abstract: "An overlay network agent: bridges, ports and VXLAN tunnels over REST.",
        discussion: """
            Exit codes: 0 done; 1 the agent refused, and the problem with every field error is on standard \
            error; 3 no agent could be reached; 64 the command line or a file cannot be understood, and \
            nothing was sent.

            The agent to talk to is http://127.0.0.1:8640 unless --server or VIADUCT_SERVER says otherwise. \
            NO_COLOR turns colours off.
            """,
        version: Agent.version,
        groupedSubcommands: [
            CommandGroup(
                name: "Look",
                subcommands: [
                    ShowCommand.self, StatusCommand.self, TopCommand.self, EventsCommand.self,
                    FlowsCommand.self, DatapathCommand.self,
                ]),
            CommandGroup(
                name: "Configure",
                subcommands: [
                    BridgeCommand.self, PortCommand.self, TunnelCommand.self, MACCommand.self,
                    GetCommand.self, ApplyCommand.self,
                ]),
            CommandGroup(name: "Run", subcommands: [AgentCommand.self, OpenAPICommand.self]),
        ])
}
