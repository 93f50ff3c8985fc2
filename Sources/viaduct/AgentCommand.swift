// `viaduct agent`: runs the agent of this host.

import API
import Agent
import ArgumentParser
import Foundation
import JSON
import Proc

struct AgentCommand: ServiceCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Run the agent of this host.",
        discussion: """
            Every option is also a field of the configuration file (listen, socket, tls_certificate, tls_key, \
            tls_client_ca, tls_client_crl, tokens, socket_group, state, underlay_driver, offload, \
            spin_microseconds, workers, log_level, log_format, source_ports, strict_vxlan, flow_limit, \
            guest_namespaces, packet_sockets) and an environment variable: VIADUCT_ and the field in capitals. Flags \
            win over the environment, the environment over the file. SIGHUP has certificates and tokens read again.
            """)

    @Option(help: "IP address and TCP port of the API.") var listen: String?
    @Option(help: "Path of a Unix socket that serves the API too.") var socket: String?
    @OptionGroup var access: AccessOptions
    @Option(help: "Path of the state database.") var state: String?
    @Option(help: "auto, socket or native: what auto means in /v1/underlay.") var underlayDriver: String?
    @Option(help: "The kernel's segmentation and receive offloads: auto or off.") var offload: String?
    @Option(help: "Microseconds a worker looks on for packets before it sleeps, 0 to 1000.")
    var spinMicroseconds: Int?
    @Option(help: "Forwarding threads, 1 to 16; one is best on two cores.") var workers: Int?
    @Option(help: "Configuration file, JSON.") var config: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel: String?
    @Option(help: "text or json.") var logFormat: String?
    @Option(help: "UDP source ports of tunnelled packets.") var sourcePorts: String?
    @Option(help: "Drop VXLAN packets with reserved bits set: true or false.") var strictVxlan: Bool?
    @Option(help: "Cached decisions each forwarding thread keeps.") var flowLimit: Int?
    @Option(help: "Let ports be in guests' network namespaces: true or false. Keeps CAP_SYS_ADMIN.")
    var guestNamespaces: Bool?
    @Option(help: "Allow system ports and the native driver: true or false. Keeps CAP_NET_RAW.")
    var packetSockets: Bool?
    @Flag(help: "Say whether an agent could start with these settings and this state, and change nothing.")
    var check = false

    func giveUp() throws { try Agent.giveUp(settings(), ServiceProcess.inherited) }

    private func settings() throws -> AgentSettings {
        do throws(Problem) {
            return try resolve(ProcessInfo.processInfo.environment)
        } catch {
            throw ValidationError(error.detail)
        }
    }

    func run() async throws {
        let settings = try settings()
        if check {
            try Agent.check(settings)
            return print("viaduct \(Agent.version): an agent could start with \(settings.state)")
        }
        let next = NextProgram.ofThisProcess(
            CommandLine.arguments, environment: ProcessInfo.processInfo.environment)
        ServiceProcess.makeDirectory(of: settings.state, ifDefault: AgentSettings().state)
        try await ServiceProcess.run("agent", level: settings.logLevel, format: settings.logFormat) {
            Agent(settings: settings, log: $0, manager: $1, inherited: ServiceProcess.inherited, next: next)
        }
    }

    func resolve(_ environment: [String: String]) throws(Problem) -> AgentSettings {
        let sources = SettingsSources(
            prefix: "VIADUCT_", environment: environment, config: config,
            flags: [
                "listen": listen.map(JSONValue.string), "socket": socket.map(JSONValue.string),
                "state": state.map(JSONValue.string), "underlay_driver": underlayDriver.map(JSONValue.string),
                "offload": offload.map(JSONValue.string),
                "spin_microseconds": spinMicroseconds.map { .integer(Int64($0)) },
                "workers": workers.map { .integer(Int64($0)) },
                "log_level": logLevel.map(JSONValue.string),
                "log_format": logFormat.map(JSONValue.string),
                "source_ports": sourcePorts.map(JSONValue.string),
                "strict_vxlan": strictVxlan.map(JSONValue.bool),
                "flow_limit": flowLimit.map { .integer(Int64($0)) },
                "guest_namespaces": guestNamespaces.map(JSONValue.bool),
                "packet_sockets": packetSockets.map(JSONValue.bool),
            ].merging(access.flags) { own, _ in own })
        return try sources.resolve(AgentSettings.self)
    }
}
