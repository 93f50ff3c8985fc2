// Durations in fixed buckets, from many threads.

internal import Synchronization

/// A cumulative histogram of seconds.
public final class Histogram: Sendable {
    /// Upper bounds in seconds: from what a busy core does to what a full disk takes.
    public static let bounds: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    public struct Snapshot: Sendable {
        /// One more than bounds: the last counts what exceeds them all.
        public internal(set) var counts = Array(repeating: UInt64(0), count: Histogram.bounds.count + 1)
        public internal(set) var sum = 0.0
    }

    private let state = Mutex(Snapshot())

    public init() {}

    public func observe(_ duration: Duration) {
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
        let bucket = Histogram.bounds.firstIndex { seconds <= $0 } ?? Histogram.bounds.count
        state.withLock { state in
            state.counts[bucket] += 1
            state.sum += seconds
        }
    }

    public var snapshot: Snapshot { state.withLock { $0 } }
}
