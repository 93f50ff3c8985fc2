// The MAC table (FDB) of one bridge: which port a MAC address was last heard on, in each VLAN by itself.
//
// An entry's key is its address with the VLAN above it (IEEE 802.1Q's independent learning): 0 is a frame without
// a tag, or with one of priority only. What follows says "address" for both together.
//
// Contract. The bridge's workers read and write it while they run; the control plane touches it only while all
// of them are parked between two breaths. Memory comes from outside, zeroed, and is never grown: capacity is a
// promise. Lookups and learning take constant time.
//
// Sharing. With one worker (`isShared` false) there is nobody to mind. With several nobody waits:
// - Readers take no lock. They read aligned words, which the processor reads whole, and look at an entry's word
//   again after its port: if it has changed, the address is unknown for this frame.
// - Whatever changes lists, counts, index or statistics holds the table's lock, which is only ever tried
//   (`tryLock`): while another worker has it a frame's source is not learned; its next frame's is.
// - A writer clears an entry's word before it changes its port, and sets it last, with fences between. An entry
//   is in the index only while it is whole.
// - A known address heard on its own port stores the second it was heard in, without the lock; its place in the
//   order of eviction follows, at most once a second, when the lock is free.
// - A change that a reader may have taken for the absence of a known address counts as an addition, after it is
//   done: so no flow keeps flooding because it looked at the wrong moment. For this a reader takes `additions`
//   before it looks (`Decision.swift`).
// - Workers' clocks differ by a breath: an entry may have been heard in this worker's future.
//
// Ageing: an entry not refreshed for `ageingSeconds` is absent for every lookup from that second on; its
// place is reclaimed later by `sweep`.
//
// When the table is full a new address takes the place of the least recently heard address of the port that
// holds the most: a port that floods random source addresses evicts itself, not the others. Static entries
// never age, move or leave by themselves. Group and zero source addresses are never learned.
//
//   header | index: entry per hash slot | entries | members: LRU list and count per port | buckets
//
// Members with equal counts form a list in `buckets[count]`, so that "the port holding most" is found and
// kept up in constant time: counts change by one.

public import Synchronization
public import Wire

/// What happened to a source address.
@frozen
public enum LearnOutcome: BitwiseCopyable, Sendable {
    case refreshed, added, addedByEviction, moved
    /// A static entry says otherwise, or static entries fill the table.
    case refused
    /// Another worker is changing the table: the next frame will do.
    case postponed
    /// The port has as many addresses as it may have.
    case limited
}

/// One entry as the control plane sees it.
public struct ForwardingEntry: Equatable, Sendable {
    public var address: MACAddress
    /// 0 for untagged frames.
    public var vlan: UInt16 = 0
    public var port: UInt32
    public var isStatic: Bool
    public var ageSeconds: UInt32
}

/// A handle on the memory of one table.
@frozen
public struct ForwardingTable: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let header: UnsafeMutablePointer<Header>

    /// Entry 0, member 0 of a list: "none", so that zeroed memory is an empty table.
    @frozen @usableFromInline
    struct Entry: BitwiseCopyable {
        /// 48 address bits, 12 of the VLAN; bit 63 marks a static entry; 0 marks a free place.
        @usableFromInline var word: UInt64
        @usableFromInline var port: UInt32
        @usableFromInline var member: UInt32
        @usableFromInline var seenSeconds: UInt32
        /// Neighbours in the member's list, least recently heard first; `newer` also chains free places.
        @usableFromInline var older: UInt32
        @usableFromInline var newer: UInt32
        @usableFromInline var unused: UInt32

        @inlinable var key: UInt64 { @_noLocks get { word & ~(1 &<< 63) } }
        @inlinable var isStatic: Bool { @_noLocks get { word &>> 63 == 1 } }
    }

    /// The learned addresses of one port.
    @frozen @usableFromInline
    struct Member: BitwiseCopyable {
        @usableFromInline var count: UInt32
        @usableFromInline var oldest: UInt32
        @usableFromInline var newest: UInt32
        @usableFromInline var previousInBucket: UInt32
        @usableFromInline var nextInBucket: UInt32
    }

    /// One of the last moves; the table keeps `moveCapacity` of them, by number.
    @frozen @usableFromInline
    struct Move: BitwiseCopyable {
        @usableFromInline var key: UInt64
        @usableFromInline var from: UInt32
        @usableFromInline var to: UInt32

        @inlinable
        init(key: UInt64, from: UInt32, to: UInt32) {
            self.key = key
            self.from = from
            self.to = to
        }
    }

    /// Moves remembered: what an operator is told of in a second; how many there were is counted beside.
    @inlinable static var moveCapacity: UInt64 { 16 }

    @frozen @usableFromInline
    struct Header: BitwiseCopyable {
        @usableFromInline var index: UnsafeMutablePointer<UInt32>
        @usableFromInline var entries: UnsafeMutablePointer<Entry>
        @usableFromInline var members: UnsafeMutablePointer<Member>
        @usableFromInline var buckets: UnsafeMutablePointer<UInt32>
        @usableFromInline var recentMoves: UnsafeMutablePointer<Move>
        @usableFromInline var lock: UnsafeMutablePointer<Atomic<UInt32>>
        @usableFromInline var isShared: Bool
        @usableFromInline var capacity: UInt32
        @usableFromInline var indexShift: UInt64
        @usableFromInline var indexMask: UInt64
        @usableFromInline var seed: UInt64
        @usableFromInline var ageingSeconds: UInt32
        @usableFromInline var count: UInt32
        @usableFromInline var staticCount: UInt32
        @usableFromInline var highWater: UInt32
        @usableFromInline var firstFree: UInt32
        @usableFromInline var largestCount: UInt32
        @usableFromInline var sweepCursor: UInt32
        @usableFromInline var additions: UInt32
        @usableFromInline var moves: UInt64
        @usableFromInline var evictions: UInt64
        @usableFromInline var expirations: UInt64
        @usableFromInline var refusals: UInt64
    }

    /// Ports and tunnels one bridge can have: the member numbers 1…65,535.
    public static var memberCapacity: Int { 65_536 }

    /// The lock has a cache line to itself.
    private static var lockByteCount: Int { 64 }

    static func indexBits(capacity: Int) -> Int {
        // Twice the entries, so that probe sequences stay short.
        UInt64.bitWidth - UInt64(capacity * 2 - 1).leadingZeroBitCount
    }

    /// Bytes of zeroed, 8-byte aligned memory a table of `capacity` entries needs.
    public static func byteCount(capacity: Int) -> Int {
        let index = (1 << indexBits(capacity: capacity)) * 4
        let entries = (capacity + 1) * MemoryLayout<Entry>.stride
        let members = memberCapacity * MemoryLayout<Member>.stride
        let buckets = (capacity + 2) * 4
        let moves = Int(moveCapacity) * MemoryLayout<Move>.stride
        let all = lockByteCount + MemoryLayout<Header>.stride + index + entries + members + moves + buckets
        return (all + 63) & ~63
    }

    /// Lays an empty table into `memory`, which must be zeroed and at least `byteCount(capacity:)` long.
    /// `seed` keeps the hash unpredictable for those who choose MAC addresses; `isShared`: by several workers.
    public init(
        zeroed memory: UnsafeMutableRawPointer, capacity: Int, ageingSeconds: Int, seed: UInt64,
        isShared: Bool = false
    ) {
        let bits = ForwardingTable.indexBits(capacity: capacity)
        let lock = memory.bindMemory(to: Atomic<UInt32>.self, capacity: 1)
        lock.initialize(to: Atomic(0))
        let start = memory + ForwardingTable.lockByteCount
        var cursor = start + MemoryLayout<Header>.stride
        func take<T: BitwiseCopyable>(_ count: Int, _ type: T.Type) -> UnsafeMutablePointer<T> {
            defer { cursor += count * MemoryLayout<T>.stride }
            return cursor.bindMemory(to: T.self, capacity: count)
        }
        let entries = take(capacity + 1, Entry.self)
        let index = take(1 << bits, UInt32.self)
        let moves = take(Int(ForwardingTable.moveCapacity), Move.self)
        let members = take(ForwardingTable.memberCapacity, Member.self)
        let buckets = take(capacity + 2, UInt32.self)
        header = start.bindMemory(to: Header.self, capacity: 1)
        header.initialize(
            to: Header(
                index: index, entries: entries, members: members, buckets: buckets, recentMoves: moves,
                lock: lock, isShared: isShared, capacity: UInt32(capacity), indexShift: UInt64(64 - bits),
                indexMask: (1 << UInt64(bits)) - 1,
                seed: seed | 1, ageingSeconds: UInt32(ageingSeconds), count: 0, staticCount: 0, highWater: 0,
                firstFree: 0, largestCount: 0, sweepCursor: 0, additions: 0, moves: 0, evictions: 0,
                expirations: 0,
                refusals: 0))
    }

    // MARK: Lookup

    /// What an address has its entry by in a VLAN, 0…4095.
    @_noLocks
    @inlinable
    static func key(_ address: MACAddress, _ vlan: UInt16) -> UInt64 {
        address.rawValue | UInt64(vlan) &<< 48
    }

    @inlinable
    func slot(of key: UInt64) -> UInt64 {
        let mixed = (key ^ header.pointee.seed) &* 0x9E37_79B9_7F4A_7C15
        return ((mixed ^ (mixed &>> 29)) &* 0xBF58_476D_1CE4_E5B9) &>> header.pointee.indexShift
    }

    /// The entry of a key, 0 when there is none.
    @_noLocks
    @inlinable
    func find(_ key: UInt64) -> UInt32 {
        let mask = header.pointee.indexMask
        var slot = self.slot(of: key)
        while true {
            let entry = header.pointee.index[Int(truncatingIfNeeded: slot)]
            if entry == 0 || header.pointee.entries[Int(entry)].key == key { return entry }
            slot = (slot &+ 1) & mask
        }
    }

    @_noLocks
    @inlinable
    func isExpired(_ entry: UInt32, _ nowSeconds: UInt32) -> Bool {
        let it = header.pointee.entries[Int(entry)]
        let age = Int32(bitPattern: nowSeconds &- it.seenSeconds)
        return !it.isStatic && age >= Int32(bitPattern: header.pointee.ageingSeconds)
    }

    /// The port an address was last heard on, or `UInt32.max`.
    @_noLocks
    @inlinable
    public func lookup(_ address: MACAddress, vlan: UInt16 = 0, nowSeconds: UInt32) -> UInt32 {
        let key = ForwardingTable.key(address, vlan)
        let entry = find(key)
        guard entry != 0, !isExpired(entry, nowSeconds) else { return .max }
        return port(of: entry, key)
    }

    /// The port of a key that was found in place `entry`, or `UInt32.max` when it no longer is there.
    @_noLocks
    @inlinable
    func port(of entry: UInt32, _ key: UInt64) -> UInt32 {
        let place = header.pointee.entries + Int(entry)
        guard header.pointee.isShared else { return place.pointee.port }
        let word = place.pointee.word
        atomicMemoryFence(ordering: .acquiring)
        let port = place.pointee.port
        atomicMemoryFence(ordering: .acquiring)
        let isThere = word != 0 && place.pointee.word == word && place.pointee.key == key
        return isThere ? port : .max
    }

    // MARK: What flows rest on

    /// Counts whatever may have made an unknown address known: as long as it stays, what was unknown is.
    @inlinable
    var additions: UInt32 { @_noLocks get { header.pointee.additions } }

    /// The same for a look that follows: what another worker adds meanwhile counts as later.
    @_noLocks
    @inlinable
    func additionsBeforeLook() -> UInt32 {
        let additions = header.pointee.additions
        atomicMemoryFence(ordering: .acquiring)
        return additions
    }

    /// Whether place `entry` has `key`, alive, on `port`.
    @_noLocks
    @inlinable
    func holds(_ entry: UInt32, _ key: UInt64, port: UInt32, nowSeconds: UInt32) -> Bool {
        let place = header.pointee.entries[Int(entry)]
        guard place.key == key, place.port == port, !isExpired(entry, nowSeconds) else {
            return false
        }
        guard header.pointee.isShared else { return true }
        atomicMemoryFence(ordering: .acquiring)
        return place.word != 0 && header.pointee.entries[Int(entry)].word == place.word
    }

    /// What `learn` does for a key that is in place `entry` already. False when it is not, or would move.
    @_noLocks
    @inlinable
    func refresh(_ entry: UInt32, _ key: UInt64, port: UInt32, nowSeconds: UInt32) -> Bool {
        let place = header.pointee.entries + Int(entry)
        guard place.pointee.key == key else { return false }
        if place.pointee.isStatic { return true }
        guard place.pointee.port == port else { return false }
        if header.pointee.isShared { return refreshShared(entry, key, nowSeconds: nowSeconds) }
        if place.pointee.seenSeconds != nowSeconds { touch(entry, nowSeconds) }
        return true
    }

    // MARK: Learning

    /// Records that `address` was heard on `port`, whose number within the bridge is `member` (1…65,535).
    @_noLocks
    @inlinable
    public func learn(
        _ address: MACAddress, vlan: UInt16 = 0, port: UInt32, member: UInt32, nowSeconds: UInt32
    ) -> LearnOutcome {
        learn(ForwardingTable.key(address, vlan), port: port, member: member, nowSeconds: nowSeconds)
    }

    @_noLocks
    @inlinable
    func learn(_ key: UInt64, port: UInt32, member: UInt32, nowSeconds: UInt32) -> LearnOutcome {
        if header.pointee.isShared {
            return learnShared(key, port: port, member: member, nowSeconds: nowSeconds)
        }
        return learnAlone(key, port: port, member: member, nowSeconds: nowSeconds)
    }

    /// Learns, and returns the place where the key then is, 0 when it is in none.
    @_noLocks
    @inlinable
    func note(_ key: UInt64, port: UInt32, member: UInt32, nowSeconds: UInt32) -> UInt32 {
        _ = learn(key, port: port, member: member, nowSeconds: nowSeconds)
        return find(key)
    }

    /// What `learn` does when nobody else changes the table.
    @_noLocks
    @inlinable @inline(__always)
    func learnAlone(_ key: UInt64, port: UInt32, member: UInt32, nowSeconds: UInt32) -> LearnOutcome {
        let entry = find(key)
        guard entry != 0 else { return add(key, port, member, nowSeconds) }
        let place = header.pointee.entries + Int(entry)
        if place.pointee.isStatic { return place.pointee.port == port ? .refreshed : .refused }
        if place.pointee.port == port {
            // Once a second is enough for ageing and for the order of eviction.
            if place.pointee.seenSeconds != nowSeconds { touch(entry, nowSeconds) }
            return .refreshed
        }
        return move(entry, port, member, nowSeconds)
    }

    /// Notes that a known address was heard on another port than before.
    @inlinable @inline(never)
    func move(_ entry: UInt32, _ port: UInt32, _ member: UInt32, _ nowSeconds: UInt32) -> LearnOutcome {
        let place = header.pointee.entries + Int(entry)
        let key = place.pointee.key
        let wasExpired = isExpired(entry, nowSeconds)
        let former = place.pointee.port
        unlink(entry)
        place.pointee.word = 0
        fill(entry, key, port, member, nowSeconds)
        link(entry)
        noteAbsence()
        if wasExpired {
            header.pointee.expirations &+= 1
            header.pointee.additions &+= 1
            return .added
        }
        let slot = Int(truncatingIfNeeded: header.pointee.moves % ForwardingTable.moveCapacity)
        header.pointee.recentMoves[slot] = Move(key: key, from: former, to: port)
        header.pointee.moves &+= 1
        return .moved
    }

    @inlinable @inline(never)
    func touch(_ entry: UInt32, _ nowSeconds: UInt32) {
        let place = header.pointee.entries + Int(entry)
        if isExpired(entry, nowSeconds) { header.pointee.additions &+= 1 }
        place.pointee.seenSeconds = nowSeconds
        makeNewest(entry)
    }

    @inlinable
    func add(_ key: UInt64, _ port: UInt32, _ member: UInt32, _ nowSeconds: UInt32) -> LearnOutcome {
        var outcome = LearnOutcome.added
        if header.pointee.count == header.pointee.capacity {
            guard evictOne() else {
                header.pointee.refusals &+= 1
                return .refused
            }
            outcome = .addedByEviction
        }
        let entry = takePlace()
        fill(entry, key, port, member, nowSeconds)
        link(entry)
        enter(entry, key)
        return outcome
    }

    /// Writes an entry whose word is 0 so that whoever reads the word reads the rest of it too.
    @inlinable
    func fill(_ entry: UInt32, _ word: UInt64, _ port: UInt32, _ member: UInt32, _ nowSeconds: UInt32) {
        let place = header.pointee.entries + Int(entry)
        atomicMemoryFence(ordering: .releasing)
        place.pointee.port = port
        place.pointee.member = member
        place.pointee.seenSeconds = nowSeconds
        atomicMemoryFence(ordering: .releasing)
        place.pointee.word = word
    }

    /// Removes the least recently heard address of the port that holds most. False when all are static.
    @inlinable
    func evictOne() -> Bool {
        let largest = header.pointee.largestCount
        guard largest > 0 else { return false }
        let member = header.pointee.buckets[Int(largest)]
        remove(header.pointee.members[Int(member)].oldest)
        header.pointee.evictions &+= 1
        return true
    }

    // MARK: Places and the hash index

    /// Takes a free place. The table must not be full.
    @inlinable
    func takePlace() -> UInt32 {
        var entry = header.pointee.firstFree
        if entry != 0 {
            header.pointee.firstFree = header.pointee.entries[Int(entry)].newer
        } else {
            header.pointee.highWater &+= 1
            entry = header.pointee.highWater
        }
        header.pointee.count &+= 1
        return entry
    }

    /// Puts an entry that is whole into the index.
    @inlinable
    func enter(_ entry: UInt32, _ key: UInt64) {
        var slot = self.slot(of: key)
        while header.pointee.index[Int(truncatingIfNeeded: slot)] != 0 {
            slot = (slot &+ 1) & header.pointee.indexMask
        }
        atomicMemoryFence(ordering: .releasing)
        header.pointee.index[Int(truncatingIfNeeded: slot)] = entry
        atomicMemoryFence(ordering: .releasing)
        header.pointee.additions &+= 1
    }

    /// Takes an entry out of lists and index and frees its place.
    @_noLocks
    @inlinable
    func remove(_ entry: UInt32) {
        let place = header.pointee.entries + Int(entry)
        if place.pointee.isStatic {
            header.pointee.staticCount &-= 1
        } else {
            unlink(entry)
        }
        removeFromIndex(entry)
        place.pointee.word = 0
        place.pointee.newer = header.pointee.firstFree
        header.pointee.firstFree = entry
        header.pointee.count &-= 1
        noteAbsence()
    }

    /// Linear probing without tombstones: entries behind the hole move up when their home allows it.
    @inlinable
    func removeFromIndex(_ entry: UInt32) {
        let index = header.pointee.index
        let mask = header.pointee.indexMask
        var hole = slot(of: header.pointee.entries[Int(entry)].key)
        while index[Int(truncatingIfNeeded: hole)] != entry { hole = (hole &+ 1) & mask }
        var probe = hole
        while true {
            probe = (probe &+ 1) & mask
            let other = index[Int(truncatingIfNeeded: probe)]
            if other == 0 { break }
            let home = slot(of: header.pointee.entries[Int(other)].key)
            if (probe &- home) & mask >= (probe &- hole) & mask {
                index[Int(truncatingIfNeeded: hole)] = other
                hole = probe
            }
        }
        index[Int(truncatingIfNeeded: hole)] = 0
    }
}
