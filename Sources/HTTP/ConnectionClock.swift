/// Where a connection is in its life and when that ends: a pure state machine, `now` is an argument.
///
///     accepted ──► head ──► body ──► handling ──► sending ──► idle
///                   ▲                                    │
///                   └── request line of the next request ──┘
///     handling ──► streaming, which has no end of its own: the sweep watches its progress
///
/// A deadline belongs to a phase and is set once, when the phase begins; bytes that dribble in do not move
/// it. Overdue while handling means "answer with a timeout"; overdue anywhere else means "cut".
struct ConnectionClock {
    enum Phase: Equatable { case head, body, handling, sending, streaming, idle }

    /// Nanoseconds of a monotonic clock.
    typealias Instant = UInt64

    private(set) var phase: Phase
    private(set) var deadline: Instant
    /// From when on an answer that is being taken may make room for others; it has more time while there is room.
    private var takenBy: Instant

    /// A connection was accepted: its first request's head is awaited.
    init(now: Instant, limits: HTTPLimits) {
        phase = .head
        deadline = Self.deadline(.head, now, limits)
        takenBy = deadline
    }

    mutating func begin(_ phase: Phase, now: Instant, limits: HTTPLimits) {
        self.phase = phase
        deadline = Self.deadline(phase, now, limits)
        takenBy = Self.deadline(.head, now, limits)
    }

    /// The request line of the next request was read. Only an idle connection starts a new head deadline:
    /// on a fresh one it has been running since the connection was accepted.
    mutating func sawRequestLine(now: Instant, limits: HTTPLimits) {
        if phase == .idle { begin(.head, now: now, limits: limits) }
    }

    func isOverdue(now: Instant) -> Bool { now >= deadline }

    /// By when the client is to have done its part, where that may be cut short for the sake of others: it has not sent
    /// a complete request, or not taken its answer or begun the next request in the time that a head may take.
    func clientDeadline(now: Instant) -> Instant? {
        switch phase {
        case .head, .body: deadline
        // An idle connection may stay longer, but not at the cost of somebody who has just come.
        case .idle: takenBy
        case .sending: now >= takenBy ? takenBy : nil
        case .handling, .streaming: nil
        }
    }

    private static func deadline(_ phase: Phase, _ now: Instant, _ limits: HTTPLimits) -> Instant {
        let seconds =
            switch phase {
            case .head: limits.headerSeconds
            case .body: limits.bodySeconds
            case .handling: limits.handlerSeconds
            case .sending: limits.responseSeconds
            case .idle: limits.idleSeconds
            case .streaming: Double.infinity
            }
        guard seconds.isFinite else { return .max }
        return now + Instant(max(seconds, 0) * 1e9)
    }
}
