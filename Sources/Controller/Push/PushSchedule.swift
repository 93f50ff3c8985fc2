// Whose turn it is: which hosts may be sent to now, so that requests under way are bounded, the host that lags longest
// goes first, and hosts that hang take nothing from those that do not.
//
//   plan ──▶ waiting ── due ──▶ ready: sound ────┐
//            (by time)          ready: suspect ──┴──▶ running ──▶ ended
//                               (by lag)              prompt ── after a while ──▶ slow
//
// A suspect is a host whose last attempt failed: together they have a quarter of the slots. A request that takes long
// gives its slot back while it goes on; as many as there are slots may do so.

public struct PushSchedule<Host: Hashable & Sendable>: Sendable {
    /// Requests under way that have not taken long yet. An agent answers within milliseconds: the controller's own
    /// work is what limits it.
    public static var slotLimit: Int { 64 }
    /// What suspects have of them is one in so many.
    public static var suspectShare: Int { 4 }
    /// After which a request is slow.
    public static var promptTime: Duration { .seconds(2) }

    private struct Turn: Sendable {
        var since: Duration
        var isSuspect: Bool
    }

    /// By when they are due, by when they began to lag, by when they were sent.
    private var waiting = RankedSet<Host, Duration>()
    private var sound = RankedSet<Host, Duration>()
    private var suspect = RankedSet<Host, Duration>()
    private var prompt = RankedSet<Host, Duration>()
    private var slow: Set<Host> = []
    /// Of hosts that wait or run.
    private var turns: [Host: Turn] = [:]
    private var runningSuspectCount = 0
    private let slotCount: Int

    /// - Parameter slots: at least `suspectShare`, or suspects have no turn.
    public init(slots: Int = slotLimit) {
        precondition(slots >= Self.suspectShare, "a quarter of the slots is at least one")
        slotCount = slots
    }

    public var runningCount: Int { prompt.count + slow.count }
    /// Hosts that are due and have no slot.
    public var readyCount: Int { sound.count + suspect.count }

    /// Takes note of what a pusher wants, after anything that happened to it: an answer, none, a change, a move. A slot
    /// is free again when its request is over, or nobody waits for it any more.
    public mutating func plan(_ host: Host, _ pusher: Pusher<some Hashable & Sendable>) {
        if !pusher.isInFlight { ended(host) }
        plan(
            host, due: pusher.due, since: pusher.laggingSince ?? pusher.due ?? .zero,
            isSuspect: pusher.trouble != nil)
    }

    mutating func plan(_ host: Host, due: Duration?, since: Duration, isSuspect: Bool) {
        if isRunning(host) { return }
        withdraw(host)
        guard let due else { return }
        turns[host] = Turn(since: since, isSuspect: isSuspect)
        waiting.set(host, due)
    }

    /// The host to send to now, which occupies a slot from now on: `start` its pusher, and `plan` it. Nil if none is
    /// due, or none may.
    public mutating func next(now: Duration) -> Host? {
        advance(now)
        guard hasSlot, let host = choose(), let turn = turns[host] else { return nil }
        sound.remove(host)
        suspect.remove(host)
        prompt.set(host, now)
        if turn.isSuspect { runningSuspectCount += 1 }
        return host
    }

    /// The request to a host is over, or there was nothing to send.
    mutating func ended(_ host: Host) {
        guard prompt.remove(host) || slow.remove(host) != nil else { return }
        if turns.removeValue(forKey: host)?.isSuspect == true { runningSuspectCount -= 1 }
    }

    /// The host is no more.
    public mutating func remove(_ host: Host) {
        ended(host)
        withdraw(host)
    }

    /// Whether the request to a host took longer than `promptTime` when `next` was last asked.
    public func isSlow(_ host: Host) -> Bool { slow.contains(host) }

    /// When `next` may have something that it has not now, if nothing happens until then.
    public func wake(now: Duration) -> Duration? {
        let isBlocked = !hasSlot && readyCount > 0
        let isSlow = isBlocked ? prompt.first.map { $0.rank + Self.promptTime } : nil
        return [waiting.first?.rank, isSlow].compactMap { $0 }.min().map { max($0, now) }
    }

    private func isRunning(_ host: Host) -> Bool { prompt.contains(host) || slow.contains(host) }

    /// As many slow ones as there are slots count for nothing.
    private var hasSlot: Bool { prompt.count + max(0, slow.count - slotCount) < slotCount }

    private mutating func withdraw(_ host: Host) {
        guard turns.removeValue(forKey: host) != nil else { return }
        waiting.remove(host)
        sound.remove(host)
        suspect.remove(host)
    }

    private mutating func advance(_ now: Duration) {
        while let first = waiting.first, first.rank <= now {
            waiting.remove(first.member)
            guard let turn = turns[first.member] else { continue }
            if turn.isSuspect {
                suspect.set(first.member, turn.since)
            } else {
                sound.set(first.member, turn.since)
            }
        }
        while let first = prompt.first, first.rank + Self.promptTime <= now {
            prompt.remove(first.member)
            slow.insert(first.member)
        }
    }

    private func choose() -> Host? {
        let isSuspectAllowed = runningSuspectCount < slotCount / Self.suspectShare
        let candidates = [sound.first, isSuspectAllowed ? suspect.first : nil].compactMap { $0 }
        return candidates.min { $0.rank < $1.rank }?.member
    }
}
