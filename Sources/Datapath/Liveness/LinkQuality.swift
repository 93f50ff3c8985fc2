// What a BFD session knows of its way beside up and down: how many packets were lost on the way here, and how long the
// round trip takes. Both from the session's own packets.

/// Packets of the other end within the last minute, seen and lost.
///
/// BFD does not number its packets, but their distances tell: with the jitter of RFC 5880 §6.8.7 n packets take
/// 0.75 n to n intervals, so that the gap over 0.875 intervals, rounded, is n, for certain up to three. After more in
/// a row the session is down and the count is near enough.
public struct LossWindow: Sendable {
    public static let bucketNanoseconds: UInt64 = 10_000_000_000
    private static let bucketCount = 6

    private struct Bucket: BitwiseCopyable {
        var number: UInt64 = .max
        var seen: UInt32 = 0
        var lost: UInt32 = 0
    }

    private var buckets: InlineArray<6, Bucket> = .init(repeating: Bucket())

    public init() {}

    /// Packets that were due in a gap, the one that ended it not counted.
    private static func missed(_ gap: UInt64, _ interval: UInt64) -> UInt64 {
        guard interval > 0 else { return 0 }
        let due = (gap * 8 + interval * 7 / 2) / (interval * 7)
        return due > 0 ? due - 1 : 0
    }

    /// A packet came at `now`, the first or after the one at `last`.
    mutating func heard(at now: UInt64, after last: UInt64?, interval: UInt64) {
        let gap = last.map { now > $0 ? now - $0 : 0 } ?? 0
        let number = now / LossWindow.bucketNanoseconds
        let place = Int(number % UInt64(LossWindow.bucketCount))
        if buckets[place].number != number { buckets[place] = Bucket(number: number) }
        buckets[place].seen &+= 1
        // What was lost in a silence longer than the window is of no window.
        let missed = min(LossWindow.missed(gap, interval), LossWindow.most(interval))
        buckets[place].lost &+= UInt32(clamping: missed)
    }

    private static func most(_ interval: UInt64) -> UInt64 {
        bucketNanoseconds * UInt64(bucketCount) / max(1, interval)
    }

    /// Of those due within the window that ends at `now`; `last` is when the last one came.
    func ratio(at now: UInt64, since last: UInt64?, interval: UInt64) -> Double? {
        guard let last else { return nil }
        let oldest = now / LossWindow.bucketNanoseconds &- UInt64(LossWindow.bucketCount - 1)
        var (seen, lost): (UInt64, UInt64) = (0, 0)
        for index in 0..<LossWindow.bucketCount
        where buckets[index].number != .max && Int64(bitPattern: buckets[index].number &- oldest) >= 0 {
            seen += UInt64(buckets[index].seen)
            lost += UInt64(buckets[index].lost)
        }
        if now > last { lost += min(LossWindow.missed(now - last, interval), LossWindow.most(interval)) }
        return seen + lost == 0 ? nil : Double(lost) / Double(seen + lost)
    }
}

/// The last round trips: from a packet with P to the one with F, which includes the other end's thinking.
public struct RoundTrips: Sendable {
    /// Those that count.
    public static let limit = 32

    public struct Summary: Equatable, Sendable {
        /// Nanoseconds.
        public var last: UInt64
        public var least: UInt64
        public var median: UInt64
        public var most: UInt64
    }

    /// Nanoseconds; in place, so that a session is memory and nothing else.
    private var samples: InlineArray<32, UInt32> = .init(repeating: 0)
    private var count = 0
    private var next = 0

    public init() {}

    mutating func add(_ nanoseconds: UInt64) {
        samples[next] = UInt32(clamping: nanoseconds)
        next = (next + 1) % RoundTrips.limit
        count = min(count + 1, RoundTrips.limit)
    }

    /// Nil before the first.
    public var summary: Summary? {
        guard count > 0 else { return nil }
        let sorted = (0..<count).map { UInt64(samples[$0]) }.sorted()
        return Summary(
            last: UInt64(samples[(next + RoundTrips.limit - 1) % RoundTrips.limit]), least: sorted[0],
            median: sorted[count / 2], most: sorted[count - 1])
    }
}
