// One path's search for its MTU by packets of known size, in the shape of RFC 8899 §5.2. Pure: milliseconds of a
// monotonic clock are an argument; what is sent and how it is answered is the caller's.
//
//            answered              all between is answered or too big
//   base ───────────────▶ search ────────────────────────────────▶ done ◀─┐ every 60 s: does it still fit?
//    │ ▲                    ▲     600 s later: does one byte more?   │ └───┘
//    │ │                    └───────────────────────────────────────┤
//    │ └─── lost three times: a black hole? ────────────────────────┘
//    ▼ no answer
//   floor, and without an answer there either: unanswered, which changes nothing; base again later
//
// An answer proves a size. That a size is too big is believed when three packets of it were lost, or a router
// says so of a packet that was sent. At the end the size above the result has its three chances once more, if
// only silence speaks against it, and so has a known size that was lost once the base has answered: a lossy path
// is not a small one. A known size that is lost then as well makes the base the outcome at once.

/// What size to send next, and what has been found.
public struct PathMTUSearch: Sendable {
    public enum Outcome: Equatable, Sendable {
        /// Packets of so many bytes arrive, larger ones do not.
        case mtu(Int)
        /// The remote answers no echo, so nothing can be said.
        case unanswered
    }

    private enum Phase { case base, floor, search, done }

    /// Packets of one size lost before it is called too big (MAX_PROBES of RFC 8899 §5.1.2).
    static let attempts = 3
    /// PMTU_RAISE_TIMER of RFC 8899 §5.1.1.
    static let raiseMilliseconds: UInt64 = 600_000
    /// CONFIRMATION_TIMER: how long a black hole may go unseen.
    static let confirmMilliseconds: UInt64 = 60_000
    /// PROBE_TIMER, of a path whose round trip is not known; otherwise eight round trips within these bounds.
    static let timeoutMilliseconds: UInt64 = 1000
    static let leastTimeoutMilliseconds: UInt64 = 100
    /// MTUs that links and tunnels have, largest first. They are tried before all others.
    static let commonSizes = [
        9000, 8950, 4352, 2002, 1500, 1492, 1480, 1476, 1462, 1450, 1420, 1400, 1380, 1350, 1300, 1280,
    ]

    /// BASE_PLPMTU: what every path is expected to carry (RFC 8899 §5.1.2).
    public static func base(isIPv4: Bool) -> Int { isIPv4 ? 1200 : 1280 }

    /// The most there can be: the route's or the link's.
    public private(set) var linkMTU: Int
    /// Nil before the first round has ended.
    public private(set) var outcome: Outcome?
    /// When `next` has something to do.
    public private(set) var dueAt: UInt64

    /// Grows whenever `outcome` has been found or confirmed by a whole round.
    public private(set) var roundCount = 0

    private let isIPv4: Bool
    private var phase = Phase.base
    /// The largest size that was answered since the search began at the base; 0: none.
    private var low = 0
    /// The smallest that is too big.
    private var high: Int
    /// Only silence says that `high` is too big, and it has not been asked again.
    private var isHighDoubtful = false
    private var isVerifying = false
    /// The known size was lost while smaller ones may arrive: when it is lost again, the base is the outcome for
    /// the time being.
    private var isBlackHole = false
    /// What a router said fits, or what fitted until now.
    private var hint = 0
    /// What is being tried, and how often it has been sent.
    private var size: Int
    private var sent = 0
    private var timeout = timeoutMilliseconds
    private var raiseAt: UInt64 = 0

    /// `startAt`: spread over time where there are many.
    public init(isIPv4: Bool, linkMTU: Int, startAt: UInt64) {
        self.isIPv4 = isIPv4
        self.linkMTU = linkMTU
        high = linkMTU + 1
        size = min(PathMTUSearch.base(isIPv4: isIPv4), linkMTU)
        dueAt = startAt
    }

    /// The size to send now, in bytes from the IP header on; nil when nothing is due.
    public mutating func next(now: UInt64) -> Int? {
        guard now >= dueAt else { return nil }
        if sent == PathMTUSearch.attempts {
            giveUp(now)
            guard now >= dueAt else { return nil }
        }
        sent += 1
        dueAt = now + timeout
        return size
    }

    /// A packet of `size` bytes, sent `roundTripMilliseconds` ago, was answered.
    public mutating func answered(_ size: Int, roundTripMilliseconds: UInt64, now: UInt64) {
        let measured = max(PathMTUSearch.leastTimeoutMilliseconds, roundTripMilliseconds * 8)
        timeout = min(PathMTUSearch.timeoutMilliseconds, measured)
        guard size <= linkMTU else { return }
        if size >= high {
            // Called too big, and it was only late.
            high = linkMTU + 1
            isHighDoubtful = false
        }
        low = max(low, size)
        guard size >= self.size else { return }
        switch phase {
        case .base, .floor:
            phase = .search
            advance(now)
        case .search:
            isBlackHole = false
            advance(now)
        case .done:
            sent = 0
            dueAt = now + PathMTUSearch.confirmMilliseconds
            if now >= raiseAt || outcome != .mtu(low) { raise(now) }
        }
    }

    /// A packet of `size` bytes is too big; a router may have said how large the next may be.
    public mutating func tooBig(_ size: Int, mtu: Int?, now: UInt64) {
        guard size > low else {
            // The way has changed under what was known.
            if phase == .done { giveUp(now) }
            return
        }
        guard size < high else { return }
        high = size
        isHighDoubtful = false
        if let mtu, mtu < size, mtu >= low {
            hint = mtu
            high = mtu + 1
        }
        switch phase {
        case .search: advance(now)
        case .base, .floor: if size <= self.size { giveUp(now) }
        case .done: break
        }
    }

    /// The route or the link takes another size now.
    public mutating func setLinkMTU(_ mtu: Int, now: UInt64) {
        guard mtu != linkMTU else { return }
        linkMTU = mtu
        if low > 0, mtu > low, phase == .done || phase == .search {
            raise(now)
        } else {
            restart(at: now)
        }
    }

    private mutating func restart(at time: UInt64) {
        phase = .base
        low = 0
        high = linkMTU + 1
        hint = 0
        isHighDoubtful = false
        isVerifying = false
        isBlackHole = false
        size = min(PathMTUSearch.base(isIPv4: isIPv4), linkMTU)
        sent = 0
        dueAt = time
    }

    /// From a size that is known to fit: if not even one byte more does, that was all.
    private mutating func raise(_ now: UInt64) {
        phase = .search
        high = linkMTU + 1
        hint = 0
        isHighDoubtful = false
        advance(now)
        guard phase == .search else { return }
        isVerifying = true
        size = low + 1
    }

    /// All packets of `size` were lost, or it is known to be too big.
    private mutating func giveUp(_ now: UInt64) {
        let floor = min(PathMTU.floor(isIPv4: isIPv4), linkMTU)
        switch phase {
        case .base where size > floor:
            if size < high {
                high = size
                isHighDoubtful = true
            }
            phase = .floor
            size = floor
            sent = 0
            dueAt = now
        case .base, .floor:
            var patience = PathMTUSearch.confirmMilliseconds
            if outcome == nil || outcome == .unanswered {
                outcome = .unanswered
                roundCount += 1
                patience = PathMTUSearch.raiseMilliseconds
            }
            restart(at: now + patience)
        case .search:
            high = min(high, size)
            isHighDoubtful = !isVerifying
            if isBlackHole { settle() }
            advance(now)
        case .done:
            // Asked again as soon as the base has answered: three losses may be no more than that.
            let known = low
            restart(at: now)
            hint = known
            isBlackHole = true
        }
    }

    /// Chooses the next size, or ends the round.
    private mutating func advance(_ now: UInt64) {
        sent = 0
        dueAt = now
        isVerifying = high == low + 1
        if high > low + 1 {
            size = candidate()
        } else if isHighDoubtful {
            size = high
        } else {
            settle()
            phase = .done
            size = low
            raiseAt = now + PathMTUSearch.raiseMilliseconds
            dueAt = now + PathMTUSearch.confirmMilliseconds
        }
    }

    private mutating func settle() {
        isBlackHole = false
        outcome = .mtu(low)
        roundCount += 1
    }

    /// The hint first, then the largest; then common sizes, halving; then whether a common size is it
    /// exactly; then halving what remains.
    private func candidate() -> Int {
        if hint > low, hint < high { return hint }
        if high > linkMTU { return linkMTU }
        let common = PathMTUSearch.commonSizes.filter { $0 > low && $0 < high }
        if !common.isEmpty { return common[common.count / 2] }
        if PathMTUSearch.commonSizes.contains(low) { return low + 1 }
        return (low + high) / 2
    }
}
