// `viaduct doctor`: looks this host over and says what to do about what it finds.

import API
import ArgumentParser
import Doctor
import Foundation
import JSON

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Look this host over for an agent, and say what to do.",
        discussion: """
            Kernel, capabilities, descriptors, ports, MTU, routing, offloads, firewall, connection tracking, state and \
            clock: one line each, with what to do where it is not ok. It looks at the network namespace it is started \
            in and needs no agent; of one that runs it looks at the rights. Settings come from where an agent's do, \
            and else from /etc/viaduct/agent.json. It changes nothing and exits with 1 when a check fails.
            """)

    /// Of a packaged agent.
    private static let usualConfig = "/etc/viaduct/agent.json"

    @Option(help: "UDP port of the tunnels.") var port: UInt16 = 4789
    @Option(help: "IP address and TCP port of the API.") var listen: String?
    @Option(help: "Path of the state database.") var state: String?
    @Option(help: "auto, socket or native: what auto means in /v1/underlay.") var underlayDriver: String?
    @Option(help: "Configuration file, JSON.") var config: String?
    @Flag(help: ClientHelp.json) var json = false

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        let settings: AgentSettings
        do throws(Problem) {
            settings = try resolve(environment)
        } catch {
            throw ValidationError(error.detail)
        }
        var doctor = Doctor()
        doctor.vxlanPort = port
        doctor.apiPort = UInt16(clamping: settings.listen.port)
        doctor.state = settings.state
        doctor.usesUplinks =
            settings.underlayDriver != .socket && settings.packetSockets && settings.offload == .auto
        let diagnosis = doctor.examine()
        let terminal = Terminal.standard(environment)
        terminal.write(
            json
                ? String(decoding: JSONValue.object(diagnosis.json).serialized(pretty: true), as: UTF8.self)
                    + "\n"
                : DoctorCommand.text(diagnosis, terminal))
        if diagnosis.state == .fail { throw ExitCode.failure }
    }

    private func resolve(_ environment: [String: String]) throws(Problem) -> AgentSettings {
        let isUsual = environment["VIADUCT_CONFIG"] == nil && access(DoctorCommand.usualConfig, R_OK) == 0
        let sources = SettingsSources(
            prefix: "VIADUCT_", environment: environment,
            config: config ?? (isUsual ? DoctorCommand.usualConfig : nil),
            flags: [
                "listen": listen.map(JSONValue.string), "state": state.map(JSONValue.string),
                "underlay_driver": underlayDriver.map(JSONValue.string),
            ])
        return try sources.resolve(AgentSettings.self)
    }

    /// A line per finding, what to do below it, and a sum.
    static func text(_ diagnosis: Diagnosis, _ terminal: Terminal) -> String {
        let width = (diagnosis.findings.map(\.check.count).max() ?? 0) + 2
        var lines: [String] = []
        for finding in diagnosis.findings {
            let word = finding.state.rawValue
            let name = finding.check.padding(toLength: width, withPad: " ", startingAt: 0)
            lines.append(
                terminal.painted(word.padding(toLength: 6, withPad: " ", startingAt: 0), as: word) + name
                    + finding.found)
            if let advice = finding.advice {
                lines.append(String(repeating: " ", count: 6 + width) + "→ " + advice)
            }
        }
        let (failures, warnings) = (diagnosis.count(.fail), diagnosis.count(.warn))
        let sum = failures + warnings == 0 ? "all is well" : "failed: \(failures), warnings: \(warnings)"
        lines.append("\(sum), of \(diagnosis.findings.count) checks")
        return lines.joined(separator: "\n") + "\n"
    }
}
