// The command line: arguments in, text out. Decides nothing.

import API
import Agent
import ArgumentParser

@main
struct Viaduct: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "viaduct",
        abstract: "An overlay network agent: bridges, ports and VXLAN tunnels over REST.",
        version: Agent.version,
        subcommands: [AgentCommand.self, OpenAPICommand.self])
}
