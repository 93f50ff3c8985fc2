// Counters of one port, tunnel or listener: for each worker a row of 64-bit words with one writer, that worker,
// and any number of readers. Single-writer atomics with relaxed ordering compile to plain moves.
//
// At rest: rxPackets = rxForwarded + neighAnswered + punted + every rx drop, and over a bridge
// rxCopies + icmpGenerated + neighAnswered + originated = txPackets + every tx drop.

public import Synchronization

/// Index of one word in a counter row.
@frozen
public enum Counter: Int, CaseIterable, BitwiseCopyable, Sendable {
    case rxPackets, rxBytes
    /// Frames that left by at least one port.
    case rxForwarded
    /// Pieces those frames became: one per egress, or one per segment where a superframe had to be cut.
    case rxCopies
    case txPackets, txBytes
    /// ICMP errors made here for senders on this port.
    case icmpGenerated
    /// ARP requests and neighbour solicitations that ended here, each in one answer.
    case neighAnswered
    /// Frames that were for the agent itself.
    case punted
    /// Frames the agent itself made.
    case originated
}

/// A borrowed row of counters; `CounterRows` owns it.
@frozen
public struct Counters: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>

    /// Words in a row: the counters, then the drops of each direction by reason.
    @inlinable public static var wordCount: Int { Counters.drops + 2 * DropReason.count }
    /// Where the drops begin: behind the counters.
    @inlinable static var drops: Int { 10 }

    @usableFromInline
    init(words: UnsafeMutablePointer<Atomic<UInt64>>) { self.words = words }

    @inlinable
    func bump(_ index: Int, by amount: UInt64) {
        let old = words[index].load(ordering: .relaxed)
        words[index].store(old &+ amount, ordering: .relaxed)
    }

    @inlinable
    public func add(_ counter: Counter, _ amount: Int = 1) {
        bump(counter.rawValue, by: UInt64(truncatingIfNeeded: amount))
    }

    @inlinable
    public func received(_ count: Int = 1, byteCount: Int) {
        add(.rxPackets, count)
        add(.rxBytes, byteCount)
    }

    @inlinable
    public func transmitted(_ count: Int = 1, byteCount: Int) {
        add(.txPackets, count)
        add(.txBytes, byteCount)
    }

    /// A frame (or each of `count`) that came in here went nowhere.
    @inlinable
    public func dropReceived(_ reason: DropReason, _ count: Int = 1) {
        bump(Counters.drops &+ Int(reason.rawValue), by: UInt64(truncatingIfNeeded: count))
    }

    /// A copy (or each of `count`) that was to leave here did not.
    @inlinable
    public func dropTransmit(_ reason: DropReason, _ count: Int = 1) {
        bump(
            Counters.drops &+ DropReason.count &+ Int(reason.rawValue), by: UInt64(truncatingIfNeeded: count))
    }

    // MARK: Reading, from any thread

    public func value(_ counter: Counter) -> UInt64 { words[counter.rawValue].load(ordering: .relaxed) }
    public func receiveDrops(_ reason: DropReason) -> UInt64 {
        words[Counters.drops + Int(reason.rawValue)].load(ordering: .relaxed)
    }
    public func transmitDrops(_ reason: DropReason) -> UInt64 {
        words[Counters.drops + DropReason.count + Int(reason.rawValue)].load(ordering: .relaxed)
    }

    /// A copy of the row.
    public var snapshot: CounterSnapshot {
        CounterSnapshot(words: (0..<Counters.wordCount).map { words[$0].load(ordering: .relaxed) })
    }
}

/// The rows of one port, tunnel or listener, one for each worker. Each has cache lines of its own, so that
/// workers that count at the same time do not wait for each other's. Belongs to the control plane.
public struct CounterRows: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the memory is atomic words, laid out once.
    private let base: UnsafeMutableRawPointer
    public let count: Int

    /// Bytes from one row to the next: whole cache lines of 64 bytes.
    public static var rowByteCount: Int { (Counters.wordCount * MemoryLayout<UInt64>.stride + 63) & ~63 }

    /// `count` zeroed rows. Freed by `deallocate()` once no program refers to them.
    public static func allocate(count: Int = 1) -> CounterRows {
        let base = UnsafeMutableRawPointer.allocate(byteCount: count * rowByteCount, alignment: 64)
        for row in 0..<count {
            let words = (base + row * rowByteCount).bindMemory(
                to: Atomic<UInt64>.self, capacity: Counters.wordCount)
            for index in 0..<Counters.wordCount { (words + index).initialize(to: Atomic(0)) }
        }
        return CounterRows(base: base, count: count)
    }

    /// Atomic words need no ending.
    public func deallocate() { base.deallocate() }

    /// The row worker number `worker` counts in.
    public func row(_ worker: Int) -> Counters {
        precondition(worker >= 0 && worker < count, "a row for each worker")
        return Counters(
            words: (base + worker * CounterRows.rowByteCount).assumingMemoryBound(to: Atomic<UInt64>.self))
    }

    /// Drops of all workers, for who asks often: without a copy of the rows.
    public var dropTotal: UInt64 {
        var total: UInt64 = 0
        for worker in 0..<count {
            let row = row(worker)
            for index in Counters.drops..<Counters.wordCount {
                total &+= row.words[index].load(ordering: .relaxed)
            }
        }
        return total
    }

    /// The sum over all workers, read at about the same time.
    public var snapshot: CounterSnapshot {
        (0..<count).reduce(.zero) { $0 + row($1).snapshot }
    }
}

/// Values of one row, or of several together, read at about the same time.
public struct CounterSnapshot: Equatable, Sendable {
    var words: [UInt64]

    init(words: [UInt64]) { self.words = words }

    public static var zero: CounterSnapshot {
        CounterSnapshot(words: Array(repeating: 0, count: Counters.wordCount))
    }

    public subscript(counter: Counter) -> UInt64 { words[counter.rawValue] }
    public func receiveDrops(_ reason: DropReason) -> UInt64 { words[Counters.drops + Int(reason.rawValue)] }
    public func transmitDrops(_ reason: DropReason) -> UInt64 {
        words[Counters.drops + DropReason.count + Int(reason.rawValue)]
    }
    public var receiveDropTotal: UInt64 { DropReason.allCases.reduce(0) { $0 + receiveDrops($1) } }
    public var transmitDropTotal: UInt64 { DropReason.allCases.reduce(0) { $0 + transmitDrops($1) } }

    public static func + (left: CounterSnapshot, right: CounterSnapshot) -> CounterSnapshot {
        CounterSnapshot(words: zip(left.words, right.words).map { $0 &+ $1 })
    }
}
