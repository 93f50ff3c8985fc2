// Whose turn it is to ask. All questions together are bounded by a token bucket. First come those that have no address
// and have not failed, for whom frames wait; then those that are probed, whose address is in use meanwhile; then those
// that have failed before: next hops that are dead do not delay live ones. Within each, first come, first served.

struct QuestionQueue {
    private typealias Entry = NeighborTable.Entry

    /// First come, first served.
    private struct Line {
        var places: [Entry] = []
        var head = 0

        var isEmpty: Bool { head == places.count }

        mutating func popFirst() -> Entry? {
            guard head < places.count else { return nil }
            let entry = places[head]
            head += 1
            if head == places.count || head >= 1024 {
                places.removeFirst(head)
                head = 0
            }
            return entry
        }
    }

    /// Most urgent first.
    private var lines = [Line(), Line(), Line()]
    private let perSecond: UInt64
    private let limit: UInt64
    /// Thousandths of a question.
    private var tokens: UInt64
    private var filledAt: UInt64 = 0

    init(_ timing: NeighborTiming) {
        perSecond = timing.questionsPerSecond
        limit = timing.questionBurst * 1000
        tokens = limit
    }

    mutating func add(_ entry: NeighborTable.Entry) {
        guard !entry.isQueued else { return }
        entry.isQueued = true
        let line = entry.state.hasAddress ? 1 : entry.failures == 0 ? 0 : 2
        lines[line].places.append(entry)
    }

    /// Who asks now; nil when nobody is waiting or it is too early.
    mutating func next(now: UInt64) -> NeighborTable.Entry? {
        // Per millisecond as many thousandths as per second whole ones.
        let elapsed = min(now - min(now, filledAt), 1 << 32)
        tokens = min(limit, tokens + elapsed * perSecond)
        filledAt = now
        guard tokens >= 1000 else { return nil }
        for line in lines.indices {
            while let entry = lines[line].popFirst() {
                // Answered meanwhile, or gone.
                guard entry.isQueued else { continue }
                entry.isQueued = false
                tokens -= 1000
                return entry
            }
        }
        return nil
    }

    /// When `next(now:)` has an entry to give; nil when nobody is waiting.
    func readyAt(now: UInt64) -> UInt64? {
        if lines.allSatisfy(\.isEmpty) { return nil }
        guard tokens < 1000 else { return now }
        return max(now, filledAt + (1000 - tokens + perSecond - 1) / perSecond)
    }
}
