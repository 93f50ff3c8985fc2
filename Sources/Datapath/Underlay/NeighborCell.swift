// What workers and the resolver tell each other about one next hop: three words of a cache line of shared memory.
//
//   word 0   link address     written by the resolver, read by workers
//   word 1   last used        written by workers, read by the resolver; monotonic milliseconds
//   word 2   last wanted      the same; 0: not since it was resolved
//
// Workers never wait: each word is an atomic of its own with relaxed ordering, which compiles to a plain move. The
// words need not agree with one another. Workers' clocks differ by a breath, so a word may be from the future.
//
// A cell is taken back only when no program refers to it any more.

public import Synchronization
public import Wire

/// A handle on the cell of one next hop.
@frozen
public struct NeighborCell: BitwiseCopyable, Hashable, @unchecked Sendable {
    // Unchecked: the memory is atomic words, and outlives its handles by the rule above.
    @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>

    /// A cache line, so that next hops in use do not wait for each other's.
    @inlinable public static var byteCount: Int { 64 }

    /// Set in the link address when its low 48 bits are the next hop's MAC address.
    @inlinable public static var valid: UInt64 { @_noLocks get { 1 &<< 63 } }
    /// Set in the link address when nobody answered: drop, and do not hold frames. Never together with `valid`.
    @inlinable public static var failed: UInt64 { @_noLocks get { 1 &<< 62 } }

    /// Being used is noted at most this often.
    @inlinable static var useMilliseconds: Int64 { @_noLocks get { 1000 } }
    /// A worker that finds no address wakes the resolver at most this often.
    @inlinable static var wakeMilliseconds: Int64 { @_noLocks get { 100 } }

    init(words: UnsafeMutablePointer<Atomic<UInt64>>) { self.words = words }

    // MARK: Workers

    /// The link address: `valid` and 48 bits of MAC address, or `failed`, or neither while it is being resolved.
    @_noLocks
    @inlinable
    public func load() -> UInt64 { words[0].load(ordering: .relaxed) }

    /// Notes that a frame went to the link address. `now`: monotonic milliseconds.
    @_noLocks
    @inlinable
    public func noteUse(_ now: UInt64) {
        let elapsed = Int64(bitPattern: now &- words[1].load(ordering: .relaxed))
        if elapsed >= NeighborCell.useMilliseconds { words[1].store(now, ordering: .relaxed) }
    }

    /// Notes that a frame found no link address. True when the resolver is to be woken: this is the first since the
    /// address was lost, or it was last woken 100 ms ago. `now`: monotonic milliseconds, not 0.
    @_noLocks
    @inlinable
    public func noteWanted(_ now: UInt64) -> Bool {
        let last = words[2].load(ordering: .relaxed)
        let elapsed = Int64(bitPattern: now &- last)
        guard last == 0 || elapsed >= NeighborCell.wakeMilliseconds else { return false }
        words[2].store(now, ordering: .relaxed)
        return true
    }

    // MARK: The resolver

    /// Milliseconds at which it was last used, to a second; 0 for never.
    public var lastUsed: UInt64 { words[1].load(ordering: .relaxed) }
    /// Milliseconds at which it was last wanted without an address; 0 when it was not since `publish(_:)`.
    public var lastWanted: UInt64 { words[2].load(ordering: .relaxed) }

    /// Frames go to `address` from now on.
    public func publish(_ address: MACAddress) {
        words[0].store(NeighborCell.valid | address.rawValue, ordering: .relaxed)
        words[2].store(0, ordering: .relaxed)
    }

    /// There is no address; whether frames wait for one is said by `isFailed`.
    public func withdraw(isFailed: Bool) {
        words[0].store(isFailed ? NeighborCell.failed : 0, ordering: .relaxed)
    }
}

/// The memory of all cells. Belongs to the resolver, as what is handed out and taken back.
public struct NeighborCells: @unchecked Sendable {
    // Unchecked: the memory is shared as cells are; what is free is only this value's to say.
    private let base: UnsafeMutableRawPointer
    public let capacity: Int
    private var highWater = 0
    private var free: [Int] = []

    public static func byteCount(capacity: Int) -> Int { capacity * NeighborCell.byteCount }

    /// Over `byteCount(capacity:)` bytes of zeroed memory, aligned to 64 bytes, that outlive every cell.
    public init(memory: UnsafeMutableRawPointer, capacity: Int) {
        precondition(UInt(bitPattern: memory) % UInt(NeighborCell.byteCount) == 0, "whole cache lines")
        base = memory
        self.capacity = capacity
    }

    /// Cells handed out.
    public var count: Int { highWater - free.count }

    /// A cell without address, use or want; nil when all are in use.
    public mutating func take() -> NeighborCell? {
        let index: Int
        if let last = free.popLast() {
            index = last
        } else {
            guard highWater < capacity else { return nil }
            index = highWater
            highWater += 1
        }
        let wordCount = NeighborCell.byteCount / MemoryLayout<Atomic<UInt64>>.stride
        let words = (base + index * NeighborCell.byteCount)
            .bindMemory(to: Atomic<UInt64>.self, capacity: wordCount)
        for word in 0..<wordCount { (words + word).initialize(to: Atomic(0)) }
        return NeighborCell(words: words)
    }

    /// Takes back a cell that no program refers to.
    public mutating func giveBack(_ cell: NeighborCell) {
        let offset = UnsafeMutableRawPointer(cell.words) - base
        precondition(
            offset >= 0 && offset < NeighborCells.byteCount(capacity: capacity), "one of these cells")
        free.append(offset / NeighborCell.byteCount)
    }
}
