// What `viaduct status` prints of a fleet: who leads, and which host is behind, by how much, and why.

import API
import JSON

struct FleetReport {
    /// Hosts named in the problem; the table has more.
    private static let nameLimit = 10

    /// `GET /v1/status`
    var status: JSONValue
    var version: JSONValue
    var health: HealthReport

    static func read(_ client: AgentClient, version: JSONValue, health: HealthReport)
        async throws(CommandError) -> FleetReport
    {
        FleetReport(status: try await client.get(FleetStatus.path), version: version, health: health)
    }

    /// What a standby knows of hosts is nothing to judge them by.
    private var isStandby: Bool { status["role"] == .string(ControllerRole.standby.rawValue) }
    private var isConverged: Bool { isStandby || status["converged"] == true }

    func text(at address: String, _ terminal: Terminal) -> String {
        let epoch = status["epoch"].map { ", epoch \(Cell.text($0))" } ?? ""
        let leader = isStandby ? "; leader \(Cell.text(status["leader"]))" : ""
        let word = !health.isReady ? "failed" : isStandby ? "standby" : isConverged ? "converged" : "behind"
        var lines = [
            "controller  \(address)",
            "state       \(terminal.painted(word))",
            "name        \(Cell.text(status["name"])), instance \(Cell.text(status["instance"])), "
                + "version \(Cell.text(version["version"]))",
            "role        \(Cell.text(status["role"]))\(epoch)\(leader)",
            "store       \(Cell.text(status["store"]))",
            "has         hosts \(Cell.text(status["hosts"]?["total"])), networks \(Cell.text(status["networks"])), "
                + "attachments \(Cell.text(status["attachments"]))",
        ]
        if let hosts = FleetReport.hosts(status["hosts"]) { lines.append("hosts       \(hosts)") }
        lines.append(
            "pushes      \(Cell.text(status["in_flight"])) under way, \(Cell.text(status["queue"])) waiting")
        lines += health.lines(label: "checks      ", terminal)
        let behind = status["behind"]?.arrayValue ?? []
        guard !behind.isEmpty else { return lines.joined(separator: "\n") }
        return lines.joined(separator: "\n") + "\n" + FleetReport.table(behind).text(terminal)
    }

    /// "in_sync 2, unreachable 1"
    private static func hosts(_ counts: JSONValue?) -> String? {
        let parts = (counts?.objectValue?.members ?? []).filter { $0.key != "total" && $0.value != 0 }
            .map { "\($0.key) \(Cell.text($0.value))" }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    private static func table(_ behind: [JSONValue]) -> Table {
        var table = Table(["HOST", "STATE", "LAG", "WHY"])
        table.states = ["STATE"]
        table.rightAligned = ["LAG"]
        table.rows = behind.map { host in
            let error = host["last_error"]
            let why = error.map { "\(Cell.text($0["code"])): \(Cell.text($0["detail"]))" }
            let lag = host["lag_seconds"]?.doubleValue.map { "\(($0 * 10).rounded() / 10) s" }
            return [
                Cell.text(host["name"]), Cell.text(host["state"]), lag ?? Table.absent, why ?? Table.absent,
            ]
        }
        return table
    }

    func json(at address: String) -> JSONValue {
        [
            "server": .string(address), "ready": .bool(health.isReady),
            "checks": .array(health.checks.map { .object($0.json) }), "version": version, "status": status,
        ]
    }

    /// What a script should stumble over: a controller that is not ready, or hosts that are not as they should be.
    var problem: JSONObject? {
        guard health.isReady else { return health.problem }
        guard !isConverged else { return nil }
        let names = (status["behind"]?.arrayValue ?? []).prefix(FleetReport.nameLimit).map {
            Cell.text($0["name"])
        }
        let (all, ready) = (
            status["hosts"]?["total"]?.integerValue, status["hosts"]?["in_sync"]?.integerValue
        )
        let others = Int(all ?? 0) - Int(ready ?? 0) - names.count
        return [
            "title": "Not every host is in sync", "code": "behind", "status": 503,
            "detail": .string(names.joined(separator: ", ") + (others > 0 ? " and \(others) more" : "")),
        ]
    }
}
