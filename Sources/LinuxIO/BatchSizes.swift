// How much work a worker finds at a time: frames and datagrams per breath that found any. One writer, the
// worker; any number of readers.

internal import Synchronization

/// A histogram of batch sizes.
public final class BatchSizes: @unchecked Sendable {
    // Unchecked: the words are atomics, allocated by `init` and freed by `deinit`.
    /// Upper bounds; a breath that found more is counted last.
    public static let bounds = [1, 2, 4, 8, 16, 32, 64, 128]

    public struct Snapshot: Equatable, Sendable {
        /// One more than bounds.
        public var counts = Array(repeating: UInt64(0), count: BatchSizes.bounds.count + 1)
        /// Frames and datagrams of all breaths.
        public var sum: UInt64 = 0

        public static func + (left: Snapshot, right: Snapshot) -> Snapshot {
            Snapshot(counts: zip(left.counts, right.counts).map { $0 &+ $1 }, sum: left.sum &+ right.sum)
        }
    }

    /// Counts by bucket, then the sum.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private static let wordCount = bounds.count + 2

    init() {
        words = .allocate(capacity: BatchSizes.wordCount)
        for index in 0..<BatchSizes.wordCount { (words + index).initialize(to: Atomic(0)) }
    }

    deinit {
        words.deinitialize(count: BatchSizes.wordCount)
        words.deallocate()
    }

    /// Called by the worker alone.
    func note(_ size: Int) {
        // Bounds are the powers of two: the bucket is the bit width of size - 1.
        let bucket = min(Int.bitWidth - (size - 1).leadingZeroBitCount, BatchSizes.bounds.count)
        words[bucket].store(words[bucket].load(ordering: .relaxed) &+ 1, ordering: .relaxed)
        let sum = words + (BatchSizes.wordCount - 1)
        sum.pointee.store(sum.pointee.load(ordering: .relaxed) &+ UInt64(size), ordering: .relaxed)
    }

    public var snapshot: Snapshot {
        let values = (0..<BatchSizes.wordCount).map { words[$0].load(ordering: .relaxed) }
        return Snapshot(counts: Array(values.dropLast()), sum: values[BatchSizes.wordCount - 1])
    }
}
