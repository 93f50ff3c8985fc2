// Frames that wait for their next hop's link address: copies, a few per next hop, in memory set aside for them.
// One per worker, used by its thread alone. It keeps the order in which they came.

/// What a worker's held frames look like.
@frozen
public struct HeldFrame: BitwiseCopyable {
    /// The tunnel, and which one of those that have had its number.
    @usableFromInline var port: UInt32
    @usableFromInline var identity: UInt64
    /// What it is to be sent with.
    @usableFromInline var vni: UInt32
    @usableFromInline var neighbor: NeighborCell?
    @usableFromInline var byteCount: Int
    @usableFromInline var offload: Offload
    /// Copies it was counted as when it came.
    @usableFromInline var pieces: Int
    @usableFromInline var sinceMilliseconds: UInt64
}

/// The frames of one worker that wait.
public struct HoldQueue: ~Copyable {
    /// Frames in all, of any next hop.
    public static var capacity: Int { @_noLocks get { 64 } }
    /// Frames for one next hop: a handshake's first packets (RFC 1122 §2.3.2.2 asks for one at least).
    public static var perNeighbor: Int { @_noLocks get { 4 } }
    /// Longest wait; the resolver has given up by then.
    public static var milliseconds: UInt64 { 4000 }
    static var slotByteCount: Int { @_noLocks get { (Superframe.maximumByteCount &+ 63) & ~63 } }
    public static var byteCount: Int { capacity * slotByteCount }

    private let memory: UnsafeMutableRawPointer?
    /// In order of arrival; `slots[i]` is where the bytes of `frames[i]` are.
    private let frames: UnsafeMutablePointer<HeldFrame>
    private let slots: UnsafeMutablePointer<Int>
    public private(set) var count = 0

    /// `memory`: `byteCount` bytes that outlive the queue and are touched only when used; nil holds nothing.
    public init(memory: UnsafeMutableRawPointer?) {
        self.memory = memory
        frames = .allocate(capacity: HoldQueue.capacity)
        slots = .allocate(capacity: HoldQueue.capacity)
        for index in 0..<HoldQueue.capacity { (slots + index).initialize(to: index) }
    }

    deinit {
        frames.deallocate()
        slots.deallocate()
    }

    subscript(index: Int) -> HeldFrame { @_noLocks get { frames[index] } }

    /// The frame as it came, in this queue's memory.
    @_noLocks
    func superframe(_ index: Int) -> Superframe {
        let held = frames[index]
        let base = bytes(index) ?? UnsafeMutableRawPointer(frames)
        return Superframe(base: base, byteCount: held.byteCount, offload: held.offload)
    }

    @_noLocks
    private func bytes(_ index: Int) -> UnsafeMutableRawPointer? {
        guard let memory else { return nil }
        return memory + slots[index] &* HoldQueue.slotByteCount
    }

    /// Whether one of the first `limit` frames waits for this next hop.
    @_noLocks
    @usableFromInline
    func holds(for neighbor: NeighborCell, before limit: Int) -> Bool {
        for index in 0..<limit where frames[index].neighbor?.words == neighbor.words { return true }
        return false
    }

    /// Has frame `index` wait for another next hop, or for none.
    mutating func readdress(_ index: Int, to neighbor: NeighborCell?) { frames[index].neighbor = neighbor }

    /// Keeps a copy; false when there is no room.
    @_noLocks
    @usableFromInline
    mutating func hold(
        _ frame: Superframe, pieces: Int, port: UInt32, identity: UInt64, vni: UInt32,
        _ neighbor: NeighborCell, _ now: UInt64
    ) -> Bool {
        guard count < HoldQueue.capacity, frame.byteCount <= Superframe.maximumByteCount,
            let target = bytes(count)
        else { return false }
        var ofNeighbor = 0
        for index in 0..<count where frames[index].neighbor?.words == neighbor.words { ofNeighbor &+= 1 }
        guard ofNeighbor < HoldQueue.perNeighbor else { return false }
        frame.copy(to: target)
        (frames + count).initialize(
            to: HeldFrame(
                port: port, identity: identity, vni: vni, neighbor: neighbor, byteCount: frame.byteCount,
                offload: frame.offload, pieces: pieces, sinceMilliseconds: now))
        count &+= 1
        return true
    }

    /// Is as full as `other` from now on, next hop by next hop, without the frames themselves: for finding out what
    /// would become of one more. `cell` leads from its next hops to those of this queue.
    mutating func mirror(_ other: borrowing HoldQueue, _ cell: (NeighborCell) -> NeighborCell) {
        count = other.count
        for index in 0..<count {
            (frames + index).initialize(to: other.frames[index])
            frames[index].neighbor = frames[index].neighbor.map(cell)
            slots[index] = other.slots[index]
        }
        for index in count..<HoldQueue.capacity { slots[index] = other.slots[index] }
    }

    /// Forgets frame `index`; those behind it move up.
    @_noLocks
    mutating func remove(_ index: Int) {
        let slot = slots[index]
        for next in (index &+ 1)..<max(count, index &+ 1) {
            frames[next &- 1] = frames[next]
            slots[next &- 1] = slots[next]
        }
        count &-= 1
        slots[count] = slot
    }
}
