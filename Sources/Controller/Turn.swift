// One writer after another, across waits: an actor alone lets the next one in at every `await`.

/// A queue for a thing that one task at a time may have. Belongs to an actor.
struct Turn {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Whether the turn is the caller's at once; if not, it queues up with `wait`.
    mutating func take() -> Bool {
        guard !isTaken else { return false }
        isTaken = true
        return true
    }

    mutating func wait(_ continuation: CheckedContinuation<Void, Never>) { waiting.append(continuation) }

    /// Gives it to the one who has waited longest.
    mutating func give() {
        guard !waiting.isEmpty else {
            isTaken = false
            return
        }
        waiting.removeFirst().resume()
    }
}
