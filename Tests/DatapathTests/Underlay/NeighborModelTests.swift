// Owns: random lives of a neighbour table, and what is true at every moment of them.

import Testing
import Wire

@testable import Datapath

@Suite("random lives of a neighbour table")
struct NeighborModelTests {
    /// One life: what is pinned and set, as a simple mind would note it down, and when each was last asked for.
    private struct Life {
        let rig = NeighborRig(capacity: 24)
        var random: SeededGenerator
        var pins: [NeighborKey: Int] = [:]
        var cells: [NeighborKey: NeighborCell] = [:]
        var settings: [NeighborKey: MACAddress] = [:]
        var askedAt: [NeighborKey: UInt64] = [:]
        var askedInAll = 0
        let start: UInt64

        init(seed: UInt64) {
            random = SeededGenerator(seed: seed)
            start = rig.now
        }

        mutating func anyKey() -> NeighborKey {
            let last = Int.random(in: 1...40, using: &random)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: return key("192.0.2.\(last)")
            case 1: return key("198.51.100.\(last)", on: 4)
            default: return key("2001:db8::\(last)")
            }
        }

        mutating func anyMAC() -> MACAddress {
            switch Int.random(in: 0..<12, using: &random) {
            case 0: NeighborRig.device.mac
            case 1: .broadcast
            case 2: .zero
            default: mac(Int.random(in: 1...5, using: &random))
            }
        }

        mutating func step() {
            let about = anyKey()
            switch Int.random(in: 0..<16, using: &random) {
            case 0, 1:
                if let cell = rig.table.pin(about, source: nil, now: rig.now) {
                    #expect(cells[about] == nil || cells[about] == cell)
                    cells[about] = cell
                    pins[about, default: 0] += 1
                } else {
                    #expect(
                        pins.count + Set(settings.keys).subtracting(pins.keys).count == rig.table.capacity)
                }
            case 2: unpin(pins.keys.sorted().randomElement(using: &random))
            case 3: rig.table.resolve(about, now: rig.now)
            case 4: _ = rig.table.forget(about, now: rig.now)
            case 5: set(about)
            case 6: move()
            case 7:
                for cell in cells.values where cell.load() & NeighborCell.valid == 0 {
                    _ = cell.noteWanted(rig.now)
                }
                rig.table.scan(now: rig.now)
            case 8, 9: for cell in cells.values where cell.load() >> 63 == 1 { cell.noteUse(rig.now) }
            default: hear(about)
            }
        }

        private mutating func unpin(_ about: NeighborKey?) {
            guard let about, let count = pins[about] else { return }
            rig.table.unpin(about, now: rig.now)
            pins[about] = count == 1 ? nil : count - 1
            if count == 1 { cells[about] = nil }
        }

        private mutating func set(_ about: NeighborKey) {
            if settings.count > 4 { settings = [:] } else { settings[about] = mac(77) }
            for key in rig.table.setStatic(settings, now: rig.now) { settings[key] = nil }
        }

        /// Interfaces go up and down and change.
        private mutating func move() {
            var devices = [NeighborRig.device, NeighborRig.other]
            for place in devices.indices {
                devices[place].isUp = Int.random(in: 0..<4, using: &random) > 0
                if Int.random(in: 0..<4, using: &random) == 0 { devices[place].mac = mac(100 + place) }
            }
            if Int.random(in: 0..<6, using: &random) == 0 { devices.removeLast() }
            rig.table.setDevices(devices, now: rig.now)
        }

        private mutating func hear(_ about: NeighborKey) {
            let claim = anyMAC()
            switch about.address {
            case .v4(let address):
                let isAnswer = Bool.random(using: &random)
                let own = rig.table.devices[about.index]?.mac ?? .broadcast
                rig.arp(
                    isAnswer ? .reply : .request, from: address.description, claim,
                    to: isAnswer ? own : .broadcast, on: about.index)
            case .v6(let address):
                rig.advertise(
                    address.description, Bool.random(using: &random) ? claim : nil,
                    isSolicited: Bool.random(using: &random), isOverride: Bool.random(using: &random))
            }
        }

        mutating func wait() {
            let pause = [0, 1, 90, 700, 1000, 6000, 40_000].randomElement(using: &random) ?? 0
            let end = rig.now + UInt64(pause)
            repeat {
                let next = min(max(rig.table.nextTick(now: rig.now) ?? end, rig.now), end)
                for question in rig.pass(next - rig.now).questions { note(question) }
                check()
            } while rig.now < end
        }

        private mutating func note(_ question: NeighborQuestion) {
            askedInAll += 1
            if let before = askedAt[question.key] {
                #expect(rig.now - before >= 1000, "\(question.key) was asked for \(rig.now - before) ms ago")
            }
            askedAt[question.key] = rig.now
            #expect(rig.table.devices[question.key.index]?.isUp == true)
            #expect(question.destination.map { !$0.isGroup && !$0.isZero } ?? true)
        }

        mutating func check() {
            let entries = rig.table.entries
            #expect(entries.count <= rig.table.capacity)
            #expect(askedInAll <= 100 + Int(rig.now - start))
            // An entry that is gone takes with it when it was asked for.
            askedAt = askedAt.filter { entries[$0.key] != nil }
            for (about, entry) in entries {
                #expect(entry.state.hasAddress == (entry.mac != nil), "\(entry.state)")
                #expect(entry.pins == pins[about, default: 0] && entry.cell == cells[about])
                #expect((entry.state == .permanent) == (settings[about] != nil))
                let isUsable = entry.mac.map { !$0.isGroup && !$0.isZero } ?? true
                #expect(
                    isUsable
                        && (entry.state == .permanent || entry.mac.map(rig.table.ownMACs.contains) != true))
                let address = entry.mac.map { NeighborCell.valid | $0.rawValue }
                let expected = address ?? (entry.state == .failed ? NeighborCell.failed : 0)
                if let cell = entry.cell { #expect(cell.load() == expected) }
                let isIdle = entry.dueAt == .max && !entry.isQueued
                #expect(!isIdle || entry.state == .permanent || entry.state == .failed && entry.pins > 0)
            }
            #expect(
                Set(pins.keys).isSubset(of: entries.keys) && Set(settings.keys).isSubset(of: entries.keys))
        }
    }

    @Test(
        "addresses, cells, pins, settings and questions agree at every moment",
        arguments: 1...40 as ClosedRange<UInt64>)
    func life(seed: UInt64) {
        var life = Life(seed: seed)
        for _ in 0..<400 {
            life.step()
            life.check()
            life.wait()
        }
        #expect(life.askedInAll > 20, "a life without questions proves nothing")
    }

    @Test("deadlines come in the order of their times")
    func deadlines() {
        var random = SeededGenerator(seed: 7)
        var deadlines = Deadlines<Int>()
        let times = (0..<500).map { _ in UInt64.random(in: 0..<200, using: &random) }
        for (number, time) in times.enumerated() { deadlines.add(number, at: time) }
        var taken: [UInt64] = []
        while let (time, number) = deadlines.take(dueAt: 150) {
            #expect(times[number] == time)
            taken.append(time)
        }
        #expect(taken == times.filter { $0 <= 150 }.sorted())
        #expect(deadlines.first == times.filter { $0 > 150 }.min())
    }
}
