// What the control plane asks of a MAC table, between breaths: static entries, flushes, ageing, reading.

public import Wire

/// Counts of one table.
public struct ForwardingStatistics: Equatable, Sendable {
    public var learned = 0
    public var statics = 0
    public var capacity = 0
    public var moves: UInt64 = 0
    public var evictions: UInt64 = 0
    public var expirations: UInt64 = 0
    /// Addresses not learned because static entries fill the table.
    public var refusals: UInt64 = 0

    public init() {}
}

/// An address heard on another port than before.
public struct ForwardingMove: Equatable, Sendable {
    public var address: MACAddress
    /// 0 for untagged frames.
    public var vlan: UInt16 = 0
    public var from: UInt32
    public var to: UInt32
}

extension ForwardingTable {
    private static func vlan(of key: UInt64) -> UInt16 { UInt16(key >> 48) }

    /// The moves after the first `count` there ever were, as far as they are remembered.
    public func moves(since count: UInt64) -> [ForwardingMove] {
        let total = header.pointee.moves
        let first = max(
            count, total > ForwardingTable.moveCapacity ? total - ForwardingTable.moveCapacity : 0)
        guard first < total else { return [] }
        return (first..<total).map { number in
            let move = header.pointee.recentMoves[Int(number % ForwardingTable.moveCapacity)]
            return ForwardingMove(
                address: MACAddress(rawValue: move.key), vlan: ForwardingTable.vlan(of: move.key),
                from: move.from, to: move.to)
        }
    }

    public var statistics: ForwardingStatistics {
        let it = header.pointee
        var result = ForwardingStatistics()
        result.learned = Int(it.count - it.staticCount)
        result.statics = Int(it.staticCount)
        result.capacity = Int(it.capacity)
        result.moves = it.moves
        result.evictions = it.evictions
        result.expirations = it.expirations
        result.refusals = it.refusals
        return result
    }

    public var capacity: Int { Int(header.pointee.capacity) }

    public func setAgeing(seconds: Int) {
        header.pointee.ageingSeconds = UInt32(seconds)
        // A longer time brings back what had expired and was not swept.
        header.pointee.additions &+= 1
    }

    /// Pins an address to a port, replacing what was learned or pinned. False when static entries already
    /// fill the table.
    @discardableResult
    public func setStatic(_ address: MACAddress, vlan: UInt16 = 0, port: UInt32, member: UInt32) -> Bool {
        let key = ForwardingTable.key(address, vlan)
        let old = find(key)
        if old != 0 { remove(old) }
        if header.pointee.count == header.pointee.capacity, !evictOne() { return false }
        let entry = takePlace()
        fill(entry, key | 1 << 63, port, member, 0)
        enter(entry, key)
        header.pointee.staticCount += 1
        return true
    }

    /// Unpins an address. False when it was not pinned.
    @discardableResult
    public func removeStatic(_ address: MACAddress, vlan: UInt16 = 0) -> Bool {
        let entry = find(ForwardingTable.key(address, vlan))
        guard entry != 0, header.pointee.entries[Int(entry)].isStatic else { return false }
        remove(entry)
        return true
    }

    /// Forgets a learned address. False when there is none.
    @discardableResult
    public func forget(_ address: MACAddress, vlan: UInt16 = 0) -> Bool {
        let entry = find(ForwardingTable.key(address, vlan))
        guard entry != 0, !header.pointee.entries[Int(entry)].isStatic else { return false }
        remove(entry)
        return true
    }

    /// The entry of an address, nil when there is none or it has expired.
    public func entry(_ address: MACAddress, vlan: UInt16 = 0, nowSeconds: UInt32) -> ForwardingEntry? {
        let entry = find(ForwardingTable.key(address, vlan))
        return entry == 0 ? nil : entries(in: Int(entry) - 1..<Int(entry), nowSeconds: nowSeconds).first
    }

    /// Forgets every learned address; returns how many.
    @discardableResult
    public func flushLearned() -> Int {
        var flushed = 0
        for entry in stride(from: 1, through: header.pointee.highWater, by: 1) {
            let place = header.pointee.entries[Int(entry)]
            if place.word != 0, !place.isStatic {
                remove(entry)
                flushed += 1
            }
        }
        return flushed
    }

    /// Forgets every learned address of one port of the bridge.
    public func flush(member: UInt32) {
        while header.pointee.members[Int(member)].oldest != 0 {
            remove(header.pointee.members[Int(member)].oldest)
        }
    }

    /// Reclaims expired places, looking at no more than `limit` of them; the next call goes on from there. Workers
    /// call it too: one that finds another changing the table leaves it for later.
    public func sweep(nowSeconds: UInt32, limit: Int) {
        guard header.pointee.isShared else { return sweepAlone(nowSeconds, limit) }
        guard tryLock() else { return }
        sweepAlone(nowSeconds, limit)
        unlock()
    }

    private func sweepAlone(_ nowSeconds: UInt32, _ limit: Int) {
        let end = header.pointee.highWater
        guard end > 0 else { return }
        for _ in 0..<min(limit, Int(end)) {
            header.pointee.sweepCursor = header.pointee.sweepCursor % end + 1
            let entry = header.pointee.sweepCursor
            if header.pointee.entries[Int(entry)].word != 0, isExpired(entry, nowSeconds) {
                remove(entry)
                header.pointee.expirations += 1
            }
        }
    }

    /// Entries in places `range` (places count from 0 up to `placeCount`), expired ones left out.
    public func entries(in range: Range<Int>, nowSeconds: UInt32) -> [ForwardingEntry] {
        var result: [ForwardingEntry] = []
        for number in range.clamped(to: 0..<placeCount) {
            let entry = UInt32(number + 1)
            let place = header.pointee.entries[Int(entry)]
            guard place.word != 0, !isExpired(entry, nowSeconds) else { continue }
            result.append(
                ForwardingEntry(
                    address: MACAddress(rawValue: place.key), vlan: ForwardingTable.vlan(of: place.key),
                    port: place.port, isStatic: place.isStatic,
                    ageSeconds: place.isStatic ? 0 : nowSeconds &- place.seenSeconds))
        }
        return result
    }

    /// One more than the highest place ever used.
    public var placeCount: Int { Int(header.pointee.highWater) }

    /// Takes over what another table knows, oldest first, as far as it fits, and its totals.
    public func adopt(_ other: ForwardingTable) {
        header.pointee.moves = other.header.pointee.moves
        header.pointee.evictions = other.header.pointee.evictions
        header.pointee.expirations = other.header.pointee.expirations
        header.pointee.refusals = other.header.pointee.refusals
        var learned: [Entry] = []
        for number in 1...max(1, other.placeCount) where other.placeCount > 0 {
            let place = other.header.pointee.entries[number]
            guard place.word != 0 else { continue }
            if place.isStatic {
                setStatic(
                    MACAddress(rawValue: place.key), vlan: ForwardingTable.vlan(of: place.key),
                    port: place.port, member: place.member)
            } else {
                learned.append(place)
            }
        }
        learned.sort { Int32(bitPattern: $0.seenSeconds &- $1.seenSeconds) < 0 }
        for place in learned {
            _ = learn(place.key, port: place.port, member: place.member, nowSeconds: place.seenSeconds)
        }
    }
}
