// `viaduct controller`: runs a controller of the fleet.

import API
import Agent
import ArgumentParser
import Controller
import Foundation
import JSON
import Proc

struct ControllerCommand: ServiceCommand {
    static let configuration = CommandConfiguration(
        commandName: "controller",
        abstract: "Run a controller: one place that provisions every host.",
        discussion: """
            Every option is also a field of the configuration file (listen, socket, tls_certificate, tls_key, \
            tls_client_ca, tls_client_crl, tokens, socket_group, name, store, vni_range, store_ca, store_certificate, \
            store_key, credentials_directory, agent_ca, agent_crl, agent_certificate, agent_key, pki_directory, \
            push_concurrency, probe_interval_seconds, lease_ttl_seconds, advertise_url, log_level, log_format) and an \
            environment variable: VIADUCT_CONTROLLER_ and the field in capitals. Flags win over the environment, the \
            environment over the file.
            """)

    @Option(help: "IP address and TCP port of the API.") var listen: String?
    @Option(help: "Path of a Unix socket that serves the API too.") var socket: String?
    @OptionGroup var access: AccessOptions
    @Option(help: "Name of the controller, the same for all instances that share a store.") var name: String?
    @Option(help: "sqlite:/PATH, or etcd:URL[,URL].") var store: String?
    @Option(help: "PEM file of the authorities that certify etcd.") var storeCA: String?
    @Option(help: "PEM file of the certificate shown to etcd.") var storeCertificate: String?
    @Option(help: "PEM file of the key of that certificate.") var storeKey: String?
    @Option(help: "VNIs for networks that give none: FIRST-LAST.") var vniRange: String?
    @Option(help: "Directory of the files that hosts' credentials name.") var credentialsDirectory: String?
    @Option(help: "PEM file of the authorities that certify agents.") var agentCA: String?
    @Option(help: "PEM file of lists of agents' certificates that are revoked.") var agentCRL: String?
    @Option(help: "PEM file of the certificate shown to agents.") var agentCertificate: String?
    @Option(help: "PEM file of the key of that certificate.") var agentKey: String?
    @Option(help: "Directory of the authority that enrols hosts.") var pkiDirectory: String?
    @Option(help: "Requests to agents under way at once.") var pushConcurrency: Int?
    @Option(help: "Seconds between two looks at an idle agent.") var probeIntervalSeconds: Int?
    @Option(help: "Seconds after which a silent leader has lost the lead; with etcd.")
    var leaseTTLSeconds: Int?
    @Option(help: "Where other instances send clients while this one leads.") var advertiseURL: String?
    @Option(help: "Configuration file, JSON.") var config: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical.") var logLevel: String?
    @Option(help: "text or json.") var logFormat: String?
    @Flag(help: "Say whether a controller could start with these settings, and do nothing.") var check = false

    func giveUp() throws { try Controller.giveUp(settings()) }

    private func settings() throws -> ControllerSettings {
        do throws(Problem) {
            return try resolve(ProcessInfo.processInfo.environment)
        } catch {
            throw ValidationError(error.detail)
        }
    }

    func run() async throws {
        let settings = try settings()
        if check {
            try await Controller.check(settings)
            return print("viaduct \(Agent.version): a controller could start on \(settings.listen)")
        }
        let next = NextProgram.ofThisProcess(
            CommandLine.arguments, environment: ProcessInfo.processInfo.environment)
        if case .sqlite(let path) = settings.store, case .sqlite(let usual) = ControllerSettings().store {
            ServiceProcess.makeDirectory(of: path, ifDefault: usual)
        }
        try await ServiceProcess.run("controller", level: settings.logLevel, format: settings.logFormat) {
            Controller(
                settings: settings, version: Agent.version, log: $0, manager: $1,
                inherited: ServiceProcess.inherited, next: next)
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
                "store_ca": storeCA.map(JSONValue.string),
                "store_certificate": storeCertificate.map(JSONValue.string),
                "store_key": storeKey.map(JSONValue.string),
                "agent_ca": agentCA.map(JSONValue.string), "agent_crl": agentCRL.map(JSONValue.string),
                "agent_certificate": agentCertificate.map(JSONValue.string),
                "agent_key": agentKey.map(JSONValue.string),
                "pki_directory": pkiDirectory.map(JSONValue.string),
            ].merging(access.flags) { own, _ in own })
        return try sources.resolve(ControllerSettings.self)
    }
}
