// Owns: the MAC table as anybody would write it with a dictionary, for the real one to be compared with.

import Testing
import Wire

@testable import Datapath

/// What a table knows by itself: an address in a VLAN.
struct Station: Hashable {
    var address: MACAddress
    var vlan: UInt16

    init(_ address: MACAddress, vlan: UInt16 = 0) {
        self.address = address
        self.vlan = vlan
    }

    init(key: UInt64) { self.init(MACAddress(rawValue: key), vlan: UInt16(key >> 48)) }
}

/// A MAC table without any cleverness: every question is a walk over all entries.
struct TableModel {
    struct Entry {
        var port: UInt32
        var seen: UInt32
        /// When it joined the end of its port's list; nil when static.
        var order: Int?
        var isStatic: Bool { order == nil }
    }

    var entries: [Station: Entry] = [:]
    let capacity: Int
    var ageing: UInt32
    var moves: UInt64 = 0
    var evictions: UInt64 = 0
    var expirations: UInt64 = 0
    var refusals: UInt64 = 0
    private var ticks = 0
    /// When each port's count last changed: of several that hold most, the latest loses.
    private var countChanged: [UInt32: Int] = [:]

    init(capacity: Int, ageing: UInt32) {
        self.capacity = capacity
        self.ageing = ageing
    }

    private mutating func tick() -> Int {
        ticks += 1
        return ticks
    }

    func isExpired(_ entry: Entry, _ now: UInt32) -> Bool { !entry.isStatic && now - entry.seen >= ageing }

    /// A port's learned addresses, least recently heard first.
    func addresses(of port: UInt32) -> [Station] {
        entries.filter { $0.value.port == port && !$0.value.isStatic }
            .sorted { $0.value.order! < $1.value.order! }.map(\.key)
    }

    func lookup(_ address: Station, _ now: UInt32) -> UInt32 {
        guard let entry = entries[address], !isExpired(entry, now) else { return .max }
        return entry.port
    }

    mutating func learn(_ address: Station, _ port: UInt32, _ now: UInt32) -> LearnOutcome {
        guard let old = entries[address] else { return add(address, port, now) }
        if old.isStatic { return old.port == port ? .refreshed : .refused }
        if old.port == port {
            if old.seen != now { entries[address] = Entry(port: port, seen: now, order: tick()) }
            return .refreshed
        }
        drop(address)
        put(address, port, now)
        if isExpired(old, now) {
            expirations += 1
            return .added
        }
        moves += 1
        return .moved
    }

    private mutating func add(_ address: Station, _ port: UInt32, _ now: UInt32) -> LearnOutcome {
        let isFull = entries.count == capacity
        if isFull, !evict() {
            refusals += 1
            return .refused
        }
        put(address, port, now)
        return isFull ? .addedByEviction : .added
    }

    private mutating func evict() -> Bool {
        let learned = entries.values.filter { !$0.isStatic }
        let counts = Dictionary(grouping: learned, by: \.port).mapValues(\.count)
        let loser = counts.max {
            ($0.value, countChanged[$0.key] ?? 0) < ($1.value, countChanged[$1.key] ?? 0)
        }
        guard let loser, let oldest = addresses(of: loser.key).first else { return false }
        drop(oldest)
        evictions += 1
        return true
    }

    private mutating func put(_ address: Station, _ port: UInt32, _ now: UInt32) {
        entries[address] = Entry(port: port, seen: now, order: tick())
        countChanged[port] = tick()
    }

    /// False when it was not there.
    @discardableResult
    mutating func drop(_ address: Station) -> Bool {
        guard let old = entries.removeValue(forKey: address) else { return false }
        if !old.isStatic { countChanged[old.port] = tick() }
        return true
    }

    mutating func setStatic(_ address: Station, _ port: UInt32) -> Bool {
        drop(address)
        if entries.count == capacity, !evict() { return false }
        entries[address] = Entry(port: port, seen: 0, order: nil)
        return true
    }

    mutating func flush(_ port: UInt32) { for address in addresses(of: port) { drop(address) } }

    mutating func expire(_ address: Station) {
        drop(address)
        expirations += 1
    }

    /// Into an empty model of another size: statics in `order`, then what was learned, oldest first, ties in
    /// `order`.
    func resized(to capacity: Int, order: [Station]) -> TableModel {
        var result = TableModel(capacity: capacity, ageing: ageing)
        (result.moves, result.evictions) = (moves, evictions)
        (result.expirations, result.refusals) = (expirations, refusals)
        for address in order {
            if let entry = entries[address], entry.isStatic { _ = result.setStatic(address, entry.port) }
        }
        let learned = order.enumerated().filter { entries[$0.element]?.isStatic == false }
        let oldestFirst = learned.sorted {
            (entries[$0.element]!.seen, $0.offset) < (entries[$1.element]!.seen, $1.offset)
        }
        for address in oldestFirst.map(\.element) {
            _ = result.learn(address, entries[address]!.port, entries[address]!.seen)
        }
        return result
    }
}

extension ForwardingTable {
    /// A member's learned addresses, least recently heard first, both links of every entry checked.
    func stations(of member: UInt32) -> [Station] {
        var result: [Station] = []
        var previous: UInt32 = 0
        var entry = header.pointee.members[Int(member)].oldest
        while entry != 0 {
            let place = header.pointee.entries[Int(entry)]
            guard place.older == previous, place.member == member, result.count <= capacity else {
                Issue.record("member \(member)'s list is broken at place \(entry)")
                return result
            }
            result.append(Station(key: place.key))
            (previous, entry) = (entry, place.newer)
        }
        #expect(header.pointee.members[Int(member)].newest == previous)
        #expect(header.pointee.members[Int(member)].count == UInt32(result.count))
        return result
    }

    func addresses(of member: UInt32) -> [MACAddress] { stations(of: member).map(\.address) }

    /// Addresses by place, expired ones too.
    var addressesByPlace: [Station] {
        (1..<placeCount + 1).map { header.pointee.entries[$0] }.filter { $0.word != 0 }
            .map { Station(key: $0.key) }
    }
}

/// Compares everything that can be asked, and what lies beneath.
func expectSame(
    _ table: ForwardingTable, _ model: TableModel, _ now: UInt32, universe: [Station], ports: [UInt32],
    _ what: @autoclosure () -> String
) -> Bool {
    var same = table.addressesByPlace.count == model.entries.count
    for address in universe {
        let found = table.lookup(address.address, vlan: address.vlan, nowSeconds: now)
        same = same && found == model.lookup(address, now)
    }
    let seen = table.entries(in: 0..<table.placeCount, nowSeconds: now)
    let live = model.entries.filter { !model.isExpired($0.value, now) }
    same = same && seen.count == live.count
    for entry in seen {
        guard let other = live[Station(entry.address, vlan: entry.vlan)] else {
            same = false
            continue
        }
        same = same && other.port == entry.port && other.isStatic == entry.isStatic
        same = same && entry.ageSeconds == (other.isStatic ? 0 : now - other.seen)
    }
    for port in ports { same = same && table.stations(of: port) == model.addresses(of: port) }
    let counts = table.statistics
    same = same && counts.statics == model.entries.values.count(where: \.isStatic)
    same = same && counts.learned + counts.statics == model.entries.count
    same = same && counts.moves == model.moves && counts.evictions == model.evictions
    same = same && counts.expirations == model.expirations && counts.refusals == model.refusals
    if !same { Issue.record("the table and its model differ after \(what())") }
    return same
}
