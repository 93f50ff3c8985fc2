internal import Synchronization

/// A term of leadership: its epoch, until when it lasts by this machine's own clock, and its end.
///
/// The clock is `ContinuousClock`, which is `CLOCK_BOOTTIME`: it counts while the machine is suspended. A term
/// that has ended never comes back.
public final class Leadership: Sendable {
    /// Greater than that of every earlier term of this store, and greater than 0.
    public let epoch: Int

    private struct State {
        /// Nil: without limit.
        var heldUntil: ContinuousClock.Instant?
        var hasEnded = false
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var nextWaiter = 0
    }
    private let state: Mutex<State>

    init(epoch: Int, heldUntil: ContinuousClock.Instant?) {
        self.epoch = epoch
        state = Mutex(State(heldUntil: heldUntil))
    }

    /// Whether nobody else can be leader at that moment. Ask right before acting.
    public func isHeld(at now: ContinuousClock.Instant = .now) -> Bool {
        state.withLock { state in
            !state.hasEnded && state.heldUntil.map { now < $0 } ?? true
        }
    }

    /// Returns when the term has ended, or the task is cancelled.
    public func ended() async {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.hasEnded || Task.isCancelled { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }

    /// No effect once it has ended, by whatever; never shortens.
    func extend(until instant: ContinuousClock.Instant, at now: ContinuousClock.Instant = .now) {
        state.withLock { state in
            guard let heldUntil = state.heldUntil, now < heldUntil, heldUntil < instant else { return }
            state.heldUntil = instant
        }
    }

    func end() {
        let waiters = state.withLock { state in
            state.hasEnded = true
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume() }
    }

    var heldUntil: ContinuousClock.Instant? { state.withLock { $0.heldUntil } }
}
