// `viaduct controller`: runs a controller of the fleet.

import API
import Agent
import ArgumentParser
import Controller
import Foundation
import JSON

struct ControllerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "controller",
        abstract: "Run a controller: one place that provisions every host.",
        discussion: """
            Every option is also a field of the configuration file (listen, socket, name, store, vni_range, \
            credentials_directory, push_concurrency, probe_interval_seconds, lease_ttl_seconds, advertise_url, \
            log_level, log_format) and an environment variable: VIADUCT_CONTROLLER_ and the field in capitals. Flags \
            win over the environment, the environment over the file.
            """)

    @Option(help: "IP address and TCP port of the API.") var listen: String?
    @Option(help: "Path of a Unix socket that serves the API too.") var socket: String?
    @Option(help: "Name of the controller, the same for all instances that share a store.") var name: String?
    @Option(help: "sqlite:/PATH, or etcd:URL[,URL].") var store: String?
    @Option(help: "VNIs for networks that give none: FIRST-LAST.") var vniRange: String?
    @Option(help: "Directory of the files that hosts' credentials name.") var credentialsDirectory: String?
    @Option(help: "Requests to agents under way at once.") var pushConcurrency: Int?
    @Option(help: "Seconds between two looks at an idle agent.") var probeIntervalSeconds: Int?
    @Option(help: "Seconds after which a silent leader has lost the lead; with etcd.")
    var leaseTTLSeconds: Int?
    @Option(help: "Where other instances send clients while this one leads.") var advertiseURL: String?
    @Option(help: "Configuration file, JSON.") var config: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel: String?
    @Option(help: "text or json.") var logFormat: String?

    func run() async throws {
        let settings: ControllerSettings
        do throws(Problem) {
            settings = try resolve(ProcessInfo.processInfo.environment)
        } catch {
            throw ValidationError(error.detail)
        }
        if case .sqlite(let path) = settings.store, case .sqlite(let usual) = ControllerSettings().store {
            ServiceProcess.makeDirectory(of: path, ifDefault: usual)
        }
        try await ServiceProcess.run("controller", level: settings.logLevel, format: settings.logFormat) {
            log in
            Controller(settings: settings, version: Agent.version, log: log)
        }
    }

    func resolve(_ environment: [String: String]) throws(Problem) -> ControllerSettings {
        let sources = SettingsSources(
            prefix: "VIADUCT_CONTROLLER_", environment: environment, config: config,
            flags: [
                "listen": listen.map(JSONValue.string), "socket": socket.map(JSONValue.string),
                "name": name.map(JSONValue.string), "store": store.map(JSONValue.string),
                "vni_range": vniRange.map(JSONValue.string),
                "credentials_directory": credentialsDirectory.map(JSONValue.string),
                "push_concurrency": pushConcurrency.map { .integer(Int64($0)) },
                "probe_interval_seconds": probeIntervalSeconds.map { .integer(Int64($0)) },
                "lease_ttl_seconds": leaseTTLSeconds.map { .integer(Int64($0)) },
                "advertise_url": advertiseURL.map(JSONValue.string),
                "log_level": logLevel.map(JSONValue.string), "log_format": logFormat.map(JSONValue.string),
            ])
        return try sources.resolve(ControllerSettings.self)
    }
}
