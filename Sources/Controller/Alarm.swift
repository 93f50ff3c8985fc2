// When the controller is to look again, and the clock it looks at.

/// Time that never goes back and goes on while the machine is suspended.
struct MonotonicClock: Sendable {
    private let start = ContinuousClock.now
    var now: Duration { ContinuousClock.now - start }
}

/// One wake-up at a time, the earliest that was asked for.
struct Alarm {
    private var task: Task<Void, Never>?
    private var time: Duration?

    /// Wakes at `time` instead of when it was asked to before; nil: not at all.
    mutating func set(_ time: Duration?, now: Duration, _ wake: @escaping @Sendable () async -> Void) {
        guard time != self.time else { return }
        task?.cancel()
        (task, self.time) = (nil, time)
        guard let time else { return }
        task = Task {
            try? await Task.sleep(for: max(.zero, time - now))
            if !Task.isCancelled { await wake() }
        }
    }

    /// It has rung, or is not wanted any more: the same time may be asked for again. What rings late, after another
    /// time was asked for, leaves no second one behind.
    mutating func clear() {
        task?.cancel()
        (task, time) = (nil, nil)
    }
}
