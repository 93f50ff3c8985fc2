// Counters of one port, tunnel or listener: a row of 64-bit words with one writer (the worker) and any
// number of readers. Single-writer atomics with relaxed ordering compile to plain moves.
//
// At rest: rxPackets = rxForwarded + every rx drop, and over a bridge
// rxCopies + icmpGenerated = txPackets + every tx drop.

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
}

/// A borrowed row of counters; `CounterRow.allocate` and `deallocate` belong to the control plane.
@frozen
public struct Counters: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>

    /// Words in a row: the counters, then the drops of each direction by reason.
    @inlinable public static var wordCount: Int { 7 + 2 * DropReason.count }

    /// A zeroed row. Freed by `deallocate()` once no program refers to it.
    public static func allocate() -> Counters {
        let words = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: wordCount)
        for index in 0..<wordCount { (words + index).initialize(to: Atomic(0)) }
        return Counters(words: words)
    }

    @usableFromInline
    init(words: UnsafeMutablePointer<Atomic<UInt64>>) { self.words = words }

    public func deallocate() {
        words.deinitialize(count: Counters.wordCount)
        words.deallocate()
    }

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
        bump(7 &+ Int(reason.rawValue), by: UInt64(truncatingIfNeeded: count))
    }

    /// A copy (or each of `count`) that was to leave here did not.
    @inlinable
    public func dropTransmit(_ reason: DropReason, _ count: Int = 1) {
        bump(7 &+ DropReason.count &+ Int(reason.rawValue), by: UInt64(truncatingIfNeeded: count))
    }

    // MARK: Reading, from any thread

    public func value(_ counter: Counter) -> UInt64 { words[counter.rawValue].load(ordering: .relaxed) }
    public func receiveDrops(_ reason: DropReason) -> UInt64 {
        words[7 + Int(reason.rawValue)].load(ordering: .relaxed)
    }
    public func transmitDrops(_ reason: DropReason) -> UInt64 {
        words[7 + DropReason.count + Int(reason.rawValue)].load(ordering: .relaxed)
    }

    /// A copy of the row.
    public var snapshot: CounterSnapshot {
        CounterSnapshot(words: (0..<Counters.wordCount).map { words[$0].load(ordering: .relaxed) })
    }
}

/// Values of one row, read at about the same time.
public struct CounterSnapshot: Equatable, Sendable {
    var words: [UInt64]

    init(words: [UInt64]) { self.words = words }

    public static var zero: CounterSnapshot {
        CounterSnapshot(words: Array(repeating: 0, count: Counters.wordCount))
    }

    public subscript(counter: Counter) -> UInt64 { words[counter.rawValue] }
    public func receiveDrops(_ reason: DropReason) -> UInt64 { words[7 + Int(reason.rawValue)] }
    public func transmitDrops(_ reason: DropReason) -> UInt64 {
        words[7 + DropReason.count + Int(reason.rawValue)]
    }
    public var receiveDropTotal: UInt64 { DropReason.allCases.reduce(0) { $0 + receiveDrops($1) } }
    public var transmitDropTotal: UInt64 { DropReason.allCases.reduce(0) { $0 + transmitDrops($1) } }

    public static func + (left: CounterSnapshot, right: CounterSnapshot) -> CounterSnapshot {
        CounterSnapshot(words: zip(left.words, right.words).map { $0 &+ $1 })
    }
}
