// Owns: random lives of a MAC table beside its model, compared after every step.

import Testing
import Wire

@testable import Datapath

@Suite("the MAC table against a dictionary")
struct ForwardingTableModelTests {
    /// A table, its model, and a clock.
    private struct Pair {
        var owned: OwnedTable
        var model: TableModel
        var now: UInt32 = 1000
        let universe: [Station]
        let ports: [UInt32] = [1, 2, 3, 4, 5]
        var table: ForwardingTable { owned.table }

        init(capacity: Int, addresses: Int, seed: UInt64) {
            owned = OwnedTable(capacity: capacity, ageing: 30, seed: seed)
            model = TableModel(capacity: capacity, ageing: 30)
            // Half of the addresses are met in two VLANs, or untagged and in one.
            universe = (1...addresses).map {
                Station(mac($0 % max(1, addresses / 2)), vlan: UInt16($0 * 4095 / addresses))
            }
        }

        /// One random step; returns its name.
        mutating func step(_ generator: inout SeededGenerator) -> String {
            let address = universe[generator.below(universe.count)]
            let port = ports[generator.below(ports.count)]
            switch generator.below(1000) {
            case ..<550: return learn(address, port)
            case ..<700:
                // The port it is on, so that refreshing is not an accident.
                return learn(address, model.entries[address]?.port ?? port)
            case ..<800:
                now += UInt32(generator.chance(5) ? generator.below(40) : generator.below(3))
                return "the clock moving to \(now)"
            case ..<860:
                let isPinned = table.setStatic(address.address, vlan: address.vlan, port: port, member: port)
                #expect(isPinned == model.setStatic(address, port))
                return "setStatic \(address) \(port)"
            case ..<910:
                let isStatic = model.entries[address]?.isStatic ?? false
                #expect(table.removeStatic(address.address, vlan: address.vlan) == isStatic)
                if isStatic { model.drop(address) }
                return "removeStatic \(address)"
            case ..<950:
                let isLearned = model.entries[address].map { !$0.isStatic } ?? false
                #expect(table.forget(address.address, vlan: address.vlan) == isLearned)
                if isLearned { model.drop(address) }
                return "forget \(address)"
            case ..<960:
                table.flush(member: port)
                model.flush(port)
                return "flush \(port)"
            case ..<963: return flushLearned()
            case ..<990: return sweep(limit: generator.below(table.capacity + 1) + 1)
            case ..<995:
                model.ageing = UInt32(generator.below(60)) + 1
                table.setAgeing(seconds: Int(model.ageing))
                return "setAgeing \(model.ageing)"
            default: return resize(to: generator.below(universe.count) + 2, seed: generator.next())
            }
        }

        private mutating func learn(_ address: Station, _ port: UInt32) -> String {
            let outcome = table.learn(
                address.address, vlan: address.vlan, port: port, member: port, nowSeconds: now)
            #expect(outcome == model.learn(address, port, now))
            return "learn \(address) \(port): \(outcome)"
        }

        private mutating func flushLearned() -> String {
            let learned = model.entries.filter { !$0.value.isStatic }.map(\.key)
            #expect(table.flushLearned() == learned.count)
            for port in ports { model.flush(port) }
            return "flushLearned"
        }

        /// Which places a sweep looks at is its own affair; it may only take what has expired, and a sweep
        /// over all of them takes everything that has.
        private mutating func sweep(limit: Int) -> String {
            let expired = model.entries.filter { model.isExpired($0.value, now) }.map(\.key)
            let isWhole = limit >= table.placeCount
            // One port's addresses leave in the order of their places; the model is told in that order.
            let before = table.addressesByPlace
            let cursor = Int(table.header.pointee.sweepCursor)
            let places = table.placeCount
            let turned = (0..<places).map { (cursor + $0) % places + 1 }
            let order = turned.compactMap { place -> Station? in
                let word = table.header.pointee.entries[place].word
                return word == 0 ? nil : Station(key: table.header.pointee.entries[place].key)
            }
            table.sweep(nowSeconds: now, limit: limit)
            let after = Set(table.addressesByPlace)
            let gone = Set(before).subtracting(after)
            #expect(gone.isSubset(of: expired) && gone.count <= limit)
            if isWhole { #expect(gone.count == expired.count) }
            for address in order where gone.contains(address) { model.expire(address) }
            return "sweep \(limit)"
        }

        private mutating func resize(to capacity: Int, seed: UInt64) -> String {
            let larger = OwnedTable(capacity: capacity, ageing: Int(model.ageing), seed: seed)
            larger.table.adopt(table)
            model = model.resized(to: capacity, order: table.addressesByPlace)
            owned = larger
            return "adopt into \(capacity)"
        }
    }

    @Test(
        "thousands of random steps leave the table and its model the same",
        arguments: [(1, 3), (2, 5), (7, 20), (16, 24), (33, 30), (64, 150)] as [(Int, Int)],
        [1, 2] as [UInt64])
    func randomLife(size: (capacity: Int, addresses: Int), seed: UInt64) {
        var generator = SeededGenerator(seed: seed &* 1000 &+ UInt64(size.capacity))
        var pair = Pair(capacity: size.capacity, addresses: size.addresses, seed: generator.next())
        var last: [String] = []
        for number in 0..<(20_000 / size.addresses) {
            last.append(pair.step(&generator))
            let same = expectSame(
                pair.table, pair.model, pair.now, universe: pair.universe, ports: pair.ports,
                "step \(number) of seed \(seed): \(last.suffix(3).joined(separator: ", "))")
            guard same else { return }
        }
    }

    @Test("the index survives heavy deletion: whatever order entries leave in, the others are found")
    func backwardShift() {
        for seed in 0..<20 as Range<UInt64> {
            var generator = SeededGenerator(seed: seed)
            // 64 entries in an index of 128 slots: probe sequences are long and wrap around its end.
            let owned = OwnedTable(capacity: 64, seed: generator.next())
            var present = (1...64).map { _ in MACAddress(rawValue: generator.next() & 0xfeff_ffff_ffff) }
            for address in present {
                #expect(owned.table.learn(address, port: 1, member: 1, nowSeconds: 0) == .added)
            }
            while !present.isEmpty {
                #expect(owned.table.forget(present.remove(at: generator.below(present.count))))
                for address in present { #expect(owned.table.lookup(address, nowSeconds: 0) == 1) }
            }
            let index = owned.table.header.pointee.index
            #expect((0..<128).allSatisfy { index[$0] == 0 }, "no slot points at a place that is free")
            #expect(owned.table.statistics.learned == 0)
        }
    }
}
