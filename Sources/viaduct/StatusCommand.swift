// `viaduct status`: is this agent well? One line per health check and a count of what it has. Of a controller: is
// the fleet as it should be (FleetReport)?

import API
import ArgumentParser
import JSON

struct StatusCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Say how the agent is, or with --controller how the fleet is.",
        discussion: """
            Of an agent: health checks, version and counts; it exits with 1 when the agent is not ready, so that a \
            script can ask. Of a controller: who leads, and which hosts are not as they should be, by how much, and \
            why; it exits with 1 when there is one.
            """)

    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        let health = try await HealthReport.read(session.client)
        let version = try await session.client.get("/v1/version")
        guard version["role"] != .string(Role.controller.rawValue) else {
            let report = try await FleetReport.read(session.client, version: version, health: health)
            session.json
                ? session.print(json: report.json(at: session.address))
                : session.print(report.text(at: session.address, session.terminal))
            if let problem = report.problem { throw .refused(Refusal(status: 503, document: problem)) }
            return
        }
        let inventory = try await Inventory.read(session.client)
        let counts = Counts(inventory)
        if session.json {
            session.print(
                json: [
                    "server": .string(session.address), "ready": .bool(health.isReady),
                    "checks": .array(health.checks.map { .object($0.json) }), "version": version,
                    "counts": .object(counts.json),
                ])
        } else {
            session.print(text(health, version, counts, session))
        }
        guard health.isReady else {
            throw .refused(Refusal(status: 503, document: health.problem))
        }
    }

    private func text(
        _ health: HealthReport, _ version: JSONValue, _ counts: Counts, _ session: Session
    ) -> String {
        let terminal = session.terminal
        var lines = [
            "agent     \(session.address)",
            "state     \(terminal.painted(health.isReady ? "ready" : "failed"))",
            "version   \(Cell.text(version["version"])), API \(Cell.text(version["api"])), "
                + "kernel \(Cell.text(version["kernel"]))",
            "features  \(Cell.text(version["features"]))",
            "has       \(counts.text)",
        ]
        lines += health.lines(label: "checks    ", terminal)
        return lines.joined(separator: "\n")
    }

    private struct Counts {
        var members: [(name: String, count: Int)]
        var degraded: Int
        /// Members and bridges that controllers pushed, by controller.
        var pushed: [(controller: String, count: Int)]

        init(_ inventory: Inventory) {
            let learned = inventory.bridges.reduce(0) { sum, bridge in
                sum + Int(bridge.bridge.status?["macs"]?["learned"]?.integerValue ?? 0)
            }
            members = [
                ("bridges", inventory.bridges.count),
                ("ports", inventory.bridges.reduce(0) { $0 + $1.ports.count }),
                ("tunnels", inventory.bridges.reduce(0) { $0 + $1.tunnels.count }),
                ("learned_macs", learned),
            ]
            degraded = inventory.all.count { $0.state == Health.degraded.rawValue }
            let managers = inventory.all.compactMap { $0.status?["managed_by"]?.stringValue }
            pushed = Dictionary(grouping: managers.filter { $0 != Manager.local }) { $0 }
                .map { (controller: $0.key, count: $0.value.count) }.sorted { $0.controller < $1.controller }
        }

        var json: JSONObject {
            JSONObject(
                (members + [("degraded", degraded)]).map { ($0.name, .integer(Int64($0.count))) })
        }

        var text: String {
            let parts = members.map { "\($0.name.replacing("_", with: " ")) \($0.count)" }
            return parts.joined(separator: ", ") + (degraded > 0 ? ", degraded \(degraded)" : "")
                + pushed.map { ", pushed by \($0.controller) \($0.count)" }.joined()
        }
    }
}

/// What `/readyz?verbose` says: "[+]name ok" and "[-]name failed: reason", or a problem that names what fails.
struct HealthReport: Sendable, Equatable {
    struct Check: Sendable, Equatable {
        var name: String
        /// Nil when it passes.
        var failure: String?

        var json: JSONObject {
            var object: JSONObject = ["name": .string(name), "ok": .bool(failure == nil)]
            object["failure"] = failure.map(JSONValue.string)
            return object
        }
    }

    var isReady: Bool
    var checks: [Check]

    static func read(_ client: AgentClient) async throws(CommandError) -> HealthReport {
        let (status, text) = try await client.text("/readyz", query: [("verbose", "")])
        return HealthReport(status: status, text: text)
    }

    init(status: Int, text: String) {
        isReady = status == 200
        if let problem = try? JSONValue.parse(Array(text.utf8)), let detail = problem["detail"]?.stringValue {
            checks = detail.split(separator: "; ").map { part in
                let words = part.split(separator: ": ", maxSplits: 1).map(String.init)
                return Check(name: words[0], failure: words.count > 1 ? words[1] : "")
            }
            return
        }
        checks = text.split(separator: "\n").compactMap { line in
            guard line.hasPrefix("[+]") || line.hasPrefix("[-]") else { return nil }
            let parts = line.dropFirst(3).split(separator: " ", maxSplits: 1).map(String.init)
            guard let name = parts.first else { return nil }
            guard line.hasPrefix("[-]") else { return Check(name: name) }
            let reason = (parts.count > 1 ? parts[1] : "").trimmingPrefix("failed").trimmingPrefix(": ")
            return Check(name: name, failure: String(reason))
        }
    }

    /// One for each check, the first with the label.
    func lines(label: String, _ terminal: Terminal) -> [String] {
        checks.enumerated().map { index, check in
            let word = terminal.painted(check.failure == nil ? "ok" : "failed")
            let reason = check.failure.flatMap { $0.isEmpty ? nil : ": \($0)" } ?? ""
            let start = index == 0 ? label : String(repeating: " ", count: label.count)
            return "\(start)\(check.name) \(word)\(reason)"
        }
    }

    /// In the shape of the service's own.
    var problem: JSONObject {
        let failed = checks.filter { $0.failure != nil }.map { "\($0.name): \($0.failure ?? "")" }
        return [
            "title": "Not ready", "code": "unavailable", "status": 503,
            "detail": .string(failed.joined(separator: "; ")),
        ]
    }
}
