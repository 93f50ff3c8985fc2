// Whether the controller's process makes progress (live) and serves as it should (ready).

internal import API
internal import REST
internal import Synchronization

/// The named checks of a controller, read without asking the control plane.
final class ControllerHealth: Sendable {
    /// The control plane beats about once a second; several missed are a hang.
    static let staleMilliseconds: UInt64 = 10_000
    static let lookSeconds = 1.0

    private struct State {
        var control = Damped(nil)
        /// Why the store cannot be used; nil while it can.
        var store: String? = "the store has not been read yet"
        var isStopping = false
    }

    private let heartbeat: Heartbeat
    private let access: AccessControl
    private let state = Mutex(State())

    init(heartbeat: Heartbeat, access: AccessControl = .open) {
        self.heartbeat = heartbeat
        self.access = access
    }

    private var stale: String? {
        let age = heartbeat.ageMilliseconds
        return age > ControllerHealth.staleMilliseconds ? "the control plane has not run for \(age) ms" : nil
    }

    /// What became of the last use of the store.
    func note(store failure: String?) { state.withLock { $0.store = failure } }
    func stopping() { state.withLock { $0.isStopping = true } }

    /// Looks once a second until cancelled.
    func keepLooking() async {
        while !Task.isCancelled {
            let stale = stale
            state.withLock { $0.control.look(stale) }
            try? await Task.sleep(for: .seconds(ControllerHealth.lookSeconds))
        }
    }

    func live() -> [HealthResult] { [HealthResult(HealthCheck.control.rawValue, failure: stale)] }

    func ready() -> [HealthResult] {
        let state = state.withLock { $0 }
        return HealthCheck.controllerReady.map { check in
            let failure: String? =
                switch check {
                case .control: state.control.failure
                case .state: state.store
                case .serving: state.isStopping ? "the controller is stopping" : nil
                case .certificate: access.expiry
                case .worker: nil
                }
            return HealthResult(check.rawValue, failure: failure)
        }
    }
}
