// Whether the process makes progress (live) and forwards as it should (ready): named checks, read without
// asking the control plane, so that a busy one is not taken for a dead one.

internal import API
internal import HTTP
internal import LinuxIO
internal import Synchronization

/// The checks of one agent.
final class HealthChecks: Sendable {
    /// Nil when it passes.
    struct Result: Sendable {
        var name: String
        var failure: String?
    }

    /// The worker breathes and the control plane ticks about once a second; several missed are a hang.
    static let staleMilliseconds: UInt64 = 10_000

    private let worker: Worker
    private let heartbeat: Heartbeat
    private let isRestored = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)

    init(worker: Worker, heartbeat: Heartbeat) {
        self.worker = worker
        self.heartbeat = heartbeat
    }

    /// The stored state is in force: resources may be read and written.
    var isServing: Bool { isRestored.load(ordering: .relaxed) }
    func restored() { isRestored.store(true, ordering: .relaxed) }
    func stopping() { isStopping.store(true, ordering: .relaxed) }

    func live() -> [Result] {
        [
            check("worker", worker.idleMilliseconds, "the forwarding thread has not run"),
            check("control", heartbeat.ageMilliseconds, "the control plane has not run"),
        ]
    }

    func ready() -> [Result] {
        live() + [
            Result(
                name: "state",
                failure: isRestored.load(ordering: .relaxed) ? nil : "the stored state is being restored"),
            Result(
                name: "serving", failure: isStopping.load(ordering: .relaxed) ? "the agent is stopping" : nil),
        ]
    }

    private func check(_ name: String, _ age: UInt64, _ what: String) -> Result {
        Result(name: name, failure: age > HealthChecks.staleMilliseconds ? "\(what) for \(age) ms" : nil)
    }

    /// "ok", or every check with `?verbose`; `unavailable` when one fails.
    func answer(_ results: [Result], _ call: Call) throws(Problem) -> HTTPResponse {
        let failures = results.filter { $0.failure != nil }
        guard failures.isEmpty else {
            throw Problem(
                .unavailable, failures.map { "\($0.name): \($0.failure ?? "")" }.joined(separator: "; "))
        }
        guard call.request.query.contains(where: { $0.name == "verbose" }) else { return .text("ok\n") }
        return .text(results.map { "[+]\($0.name) ok\n" }.joined())
    }
}
