// `viaduct agent`: settings from flags, then environment, then the configuration file, then defaults.

import API
import Agent
import ArgumentParser
import Foundation
import JSON
import Logging
import ServiceLifecycle

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Run the agent of this host.",
        discussion: """
            Every option is also a field of the configuration file (listen, socket, state, underlay_driver, offload, \
            spin_microseconds, workers, log_level, log_format, source_ports, strict_vxlan, flow_limit) and an \
            environment variable: VIADUCT_ and the field in capitals. Flags win over the environment, the environment \
            over the file.
            """)

    @Option(help: "IP address and TCP port of the API.") var listen: String?
    @Option(help: "Path of a Unix socket that serves the API too.") var socket: String?
    @Option(help: "Path of the state database.") var state: String?
    @Option(help: "auto or socket.") var underlayDriver: String?
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

    func run() async throws {
        let settings: AgentSettings
        do throws(Problem) {
            settings = try resolve(ProcessInfo.processInfo.environment)
        } catch {
            throw ValidationError(error.detail)
        }
        let writer = LogWriter(descriptor: STDERR_FILENO) { [format = settings.logFormat] count in
            LineLogHandler.line(
                format, .warning, "log lines were dropped: nobody read them", ["count": "\(count)"])
        }
        defer { writer.flush(seconds: 1) }
        if settings.state == AgentSettings().state {
            // The default's directory is ours to make; any other is the operator's.
            let directory = (settings.state as NSString).deletingLastPathComponent
            try? FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        LoggingSystem.bootstrap { label in
            LineLogHandler(label: label, format: settings.logFormat, output: writer)
        }
        var log = Logger(label: "viaduct.agent")
        log.logLevel = Logger.Level(rawValue: settings.logLevel.rawValue) ?? .info
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(
                        service: Agent(settings: settings, log: log),
                        successTerminationBehavior: .gracefullyShutdownGroup)
                ],
                gracefulShutdownSignals: [.sigterm, .sigint, .sighup], logger: AgentCommand.quiet))
        do {
            try await group.run()
        } catch {
            log.critical("cannot run", metadata: ["error": "\(error)"])
            throw ExitCode.failure
        }
    }

    /// The lifecycle library tells its own story at every step; ours says the same in one line each.
    private static var quiet: Logger {
        var logger = Logger(label: "viaduct.lifecycle")
        logger.logLevel = .error
        return logger
    }

    /// One JSON object from all sources, decoded once by the schema: the same errors wherever a value comes
    /// from.
    func resolve(_ environment: [String: String]) throws(Problem) -> AgentSettings {
        var merged = JSONObject()
        if let path = config ?? environment["VIADUCT_CONFIG"] {
            guard let data = FileManager.default.contents(atPath: path) else {
                throw Problem(.invalidResource, "cannot read the configuration file \(path)")
            }
            // Decoded alone first, so that its errors are about the file.
            do throws(Problem) {
                merged = try AgentSettings.parse([UInt8](data)).json
            } catch {
                throw Problem(.invalidResource, "\(path): \(error.detail)", errors: error.errors)
            }
        }
        let flags: [String: JSONValue?] = [
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
        ]
        for field in AgentSettings.schema.fields {
            if let text = environment["VIADUCT_\(field.name.uppercased())"] {
                merged[field.name] = field.value(of: text)
            }
            if let value = flags[field.name] ?? nil { merged[field.name] = value }
        }
        return try AgentSettings.schema.decode(.object(merged))
    }
}
