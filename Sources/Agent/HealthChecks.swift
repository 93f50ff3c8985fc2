// Whether the process makes progress (live) and forwards as it should (ready): named checks, read without
// asking the control plane, so that a busy one is not taken for a dead one.
//
// Liveness is what is found at the moment. What readiness says of worker and control is damped: it is looked at
// once a second, whoever asks and however often, and a single bad look takes nobody out of service. What the
// agent itself has decided, to be starting or stopping, shows at once.

internal import API
internal import LinuxIO
internal import REST
internal import Synchronization

/// The checks of one agent.
final class HealthChecks: Sendable {
    /// Each worker breathes and the control plane ticks about once a second; several missed are a hang.
    static let staleMilliseconds: UInt64 = 10_000
    static let lookSeconds = 1.0

    private let workers: WorkerSet
    private let heartbeat: Heartbeat
    private let access: AccessControl
    private let isRestored = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    private let damped: Mutex<[HealthCheck: Damped]>

    init(workers: WorkerSet, heartbeat: Heartbeat, access: AccessControl = .open) {
        self.workers = workers
        self.heartbeat = heartbeat
        self.access = access
        damped = Mutex(Dictionary(uniqueKeysWithValues: HealthCheck.live.map { ($0, Damped(nil)) }))
    }

    /// The stored state is in force: resources may be read and written.
    var isServing: Bool { isRestored.load(ordering: .relaxed) }
    func restored() { isRestored.store(true, ordering: .relaxed) }
    func stopping() { isStopping.store(true, ordering: .relaxed) }

    // MARK: Looking

    /// What is not as it should be at this moment, and why.
    private var found: [HealthCheck: String] {
        func stale(_ age: UInt64, _ what: String) -> String? {
            age > HealthChecks.staleMilliseconds ? "\(what) has not run for \(age) ms" : nil
        }
        var found: [HealthCheck: String] = [:]
        found[.worker] = stale(workers.idleMilliseconds, "a forwarding thread")
        let awaited = heartbeat.awaits.map { ", which waits for \($0)," } ?? ""
        found[.control] = stale(heartbeat.ageMilliseconds, "the control plane\(awaited)")
        return found
    }

    /// One look for readiness. A thread that hangs does not count its own looks: they are not the agent's ticks.
    func look() { look(found) }

    func look(_ found: [HealthCheck: String]) {
        damped.withLock { damped in
            for check in HealthCheck.live { damped[check]?.look(found[check]) }
        }
    }

    /// Looks once a second until cancelled.
    func keepLooking() async {
        while !Task.isCancelled {
            look()
            try? await Task.sleep(for: .seconds(HealthChecks.lookSeconds))
        }
    }

    // MARK: Results

    /// A process that waits for a disk is not helped by its end: it forwards, and the next one would wait as well.
    func live() -> [HealthResult] {
        let waits = heartbeat.awaits != nil
        var found = found
        if waits { found[.control] = nil }
        return HealthCheck.live.map { HealthResult($0.rawValue, failure: found[$0]) }
    }

    func ready() -> [HealthResult] {
        let damped = damped.withLock { $0 }
        return HealthCheck.ready.map { check in
            let failure: String? =
                switch check {
                case .worker, .control: damped[check]?.failure
                case .state: isServing ? nil : "the stored state is being restored"
                case .serving: isStopping.load(ordering: .relaxed) ? "the agent is stopping" : nil
                case .certificate: access.expiry
                }
            return HealthResult(check.rawValue, failure: failure)
        }
    }
}
