// Worker events on their way to the control plane: rung on the worker's thread, answered elsewhere. What rings
// before anybody answers is kept.

internal import Synchronization

/// Hands events from a thread that must not wait to whoever answers.
final class Doorbell: Sendable {
    enum Event: Hashable, Sendable {
        case port
        case underlay
    }

    private struct State {
        var answer: (@Sendable (Event) -> Void)?
        /// A set: the same event many times is one visit.
        var waiting: Set<Event> = []
    }

    private let state = Mutex(State())

    func ring(_ event: Event) {
        let answer = state.withLock { state in
            if state.answer == nil { state.waiting.insert(event) }
            return state.answer
        }
        answer?(event)
    }

    func answer(_ answer: @escaping @Sendable (Event) -> Void) {
        let waiting = state.withLock { state in
            state.answer = answer
            defer { state.waiting.removeAll() }
            return state.waiting
        }
        for event in waiting { answer(event) }
    }
}
