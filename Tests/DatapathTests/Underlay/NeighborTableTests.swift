// Owns: how a neighbour goes from state to state, with the clock in hand.

import Testing
import Wire

@testable import Datapath

@Suite("neighbour states")
struct NeighborTableTests {
    let peer = key("192.0.2.9")
    let one = mac("02:00:00:00:00:01")
    let two = mac("02:00:00:00:00:02")

    /// A neighbour that has just answered.
    private func reachable(_ rig: NeighborRig) throws -> NeighborCell {
        let cell = try rig.pin(peer)
        rig.pass(0)
        rig.arp(from: "192.0.2.9", one)
        rig.pass(0)
        return cell
    }

    @Test("a next hop that is pinned is asked for at once, and its frames go when it answers")
    func resolved() throws {
        let rig = NeighborRig()
        let cell = rig.table.pin(peer, source: .v4(ip4("203.0.113.1")), now: rig.now)
        #expect(rig.state(peer) == .incomplete && cell?.load() == 0)
        let asked = rig.pass(0)
        #expect(
            asked.questions
                == [NeighborQuestion(key: peer, source: .v4(ip4("203.0.113.1")), destination: nil)])
        rig.pass(200)
        rig.arp(from: "192.0.2.9", one)
        let answered = rig.pass(0)
        #expect(rig.state(peer) == .reachable && cell?.load() == NeighborCell.valid | one.rawValue)
        #expect(answered.settled == [cell] && answered.notices == [.resolved(peer, one)])
        #expect(answered.questions.isEmpty)
        #expect(rig.table.snapshot(now: rig.now + 5).first?.confirmedMilliseconds == 5)
    }

    @Test("after three questions without answer, a second apart, it has failed and waiting frames are let go")
    func failed() throws {
        let rig = NeighborRig()
        let cell = try rig.pin(peer)
        #expect(rig.pass(0).questions.count == 1 && rig.pass(999).questions.isEmpty)
        #expect(rig.pass(1).questions.count == 1 && rig.pass(1000).questions.count == 1)
        #expect(rig.pass(999) == NeighborOutput() && cell.load() == 0)
        let end = rig.pass(1)
        #expect(end.questions.isEmpty && end.settled == [cell] && end.notices == [.failed(peer)])
        #expect(rig.state(peer) == .failed && cell.load() == NeighborCell.failed)
        #expect(rig.pass(3_600_000) == NeighborOutput(), "nobody wants it: nothing happens")
        #expect(rig.table.nextTick(now: rig.now) == nil)
    }

    @Test(
        "a failed one is tried again when it is wanted, after pauses of 1, 2, 4 and then 8 s, and says so once"
    )
    func retried() throws {
        let rig = NeighborRig()
        let cell = try rig.pin(peer)
        rig.pass(3000)
        var failedAt = rig.now
        for pause in [1000, 2000, 4000, 8000, 8000] as [UInt64] {
            var output = NeighborOutput()
            while output.questions.isEmpty, rig.now - failedAt < 60_000 {
                #expect(cell.load() == NeighborCell.failed)
                if cell.noteWanted(rig.now) { rig.table.scan(now: rig.now) }
                output = rig.pass(0)
                if output.questions.isEmpty { rig.pass(50) }
            }
            #expect((pause...pause + 150).contains(rig.now - failedAt), "\(rig.now - failedAt) of \(pause)")
            #expect(cell.load() == 0, "frames wait again")
            #expect(rig.pass(3000).notices.isEmpty)
            failedAt = rig.now
        }
        rig.announce("192.0.2.9", one)
        #expect(rig.pass(0).notices == [.resolved(peer, one)] && rig.state(peer) == .stale)
    }

    @Test("one that is used is asked at its own address before it ages out, and stays")
    func confirmed() throws {
        let rig = NeighborRig()
        let cell = try reachable(rig)
        let asked = rig.use(cell, for: 30_000)
        #expect(asked.questions == [NeighborQuestion(key: peer, source: nil, destination: one)])
        #expect(rig.state(peer) == .probe && cell.load() == NeighborCell.valid | one.rawValue)
        rig.arp(from: "192.0.2.9", one)
        #expect(rig.state(peer) == .reachable && rig.pass(0) == NeighborOutput())
    }

    @Test("one that is used and silent is asked three times, then everybody is, and then it has failed")
    func silent() throws {
        let rig = NeighborRig()
        let cell = try reachable(rig)
        let output = rig.use(cell, for: 35_500)
        #expect(output.questions.map(\.destination) == [one, one, one, nil, nil, nil])
        #expect(cell.load() == NeighborCell.valid | one.rawValue && output.notices.isEmpty)
        let end = rig.pass(500)
        #expect(
            end.notices == [.failed(peer)] && cell.load() == NeighborCell.failed && rig.state(peer) == .failed
        )
    }

    @Test("one that has another address and did not say so is found by asking everybody")
    func changedSilently() throws {
        let rig = NeighborRig()
        let cell = try reachable(rig)
        #expect(rig.use(cell, for: 33_500).questions.map(\.destination) == [one, one, one, nil])
        rig.arp(from: "192.0.2.9", two)
        let output = rig.pass(0)
        #expect(output.notices == [.changed(peer, from: one, to: two)] && output.settled.isEmpty)
        #expect(rig.state(peer) == .reachable && cell.load() == NeighborCell.valid | two.rawValue)
    }

    @Test("one that nobody uses goes stale and keeps its address; use has it asked within five seconds")
    func stale() throws {
        let rig = NeighborRig()
        let cell = try reachable(rig)
        #expect(rig.pass(30_000).questions.isEmpty && rig.state(peer) == .stale)
        #expect(rig.pass(600_000).questions.isEmpty && rig.state(peer) == .stale)
        #expect(cell.load() == NeighborCell.valid | one.rawValue)
        #expect(rig.use(cell, for: 5500).questions.count == 1 && rig.state(peer) == .probe)
    }

    @Test("what nobody refers to is collected a minute after it has gone stale or failed")
    func collected() {
        let rig = NeighborRig()
        rig.table.resolve(peer, now: rig.now)
        rig.table.resolve(key("192.0.2.10"), now: rig.now)
        #expect(rig.pass(0).questions.count == 2)
        rig.arp(from: "192.0.2.9", one)
        rig.pass(62_999)
        #expect(rig.state(key("192.0.2.10")) == .failed && rig.state(peer) == .stale)
        rig.pass(1)
        #expect(rig.state(key("192.0.2.10")) == nil)
        rig.pass(26_999)
        #expect(rig.state(peer) == .stale)
        rig.pass(1)
        #expect(rig.state(peer) == nil && rig.table.nextTick(now: rig.now) == nil)
    }

    @Test("a cell lives as long as somebody has it pinned, and its entry a minute longer")
    func unpinned() throws {
        let rig = NeighborRig()
        let cell = try reachable(rig)
        #expect(try rig.pin(peer) == cell)
        rig.table.unpin(peer, now: rig.now)
        rig.pass(100_000)
        #expect(rig.state(peer) == .stale && rig.table.snapshot(now: rig.now).map(\.pins) == [1])
        rig.table.unpin(peer, now: rig.now)
        rig.table.unpin(peer, now: rig.now)
        rig.pass(59_999)
        #expect(rig.state(peer) == .stale)
        let again = try rig.pin(peer)
        #expect(again.load() == NeighborCell.valid | one.rawValue, "what is known is known")
        rig.table.unpin(peer, now: rig.now)
        rig.pass(60_000)
        #expect(rig.state(peer) == nil)
    }

    @Test("entries that are pinned are never evicted; among the others failed ones go first, then the oldest")
    func eviction() throws {
        let rig = NeighborRig(capacity: 4)
        let pinned = try rig.pin(peer)
        rig.table.resolve(key("192.0.2.20"), now: rig.now)
        rig.pass(10)
        rig.arp(from: "192.0.2.20", two)
        for last in [21, 22] { rig.table.resolve(key("192.0.2.\(last)"), now: rig.now) }
        rig.pass(10)
        rig.arp(from: "192.0.2.22", two)
        rig.table.resolve(key("192.0.2.23"), now: rig.now)
        #expect(rig.state(key("192.0.2.21")) == nil && rig.table.entries.count == 4)
        rig.pass(10)
        rig.arp(from: "192.0.2.23", two)
        for last in 24...26 { _ = try rig.pin(key("192.0.2.\(last)")) }
        #expect(rig.table.pin(key("192.0.2.27"), source: nil, now: rig.now) == nil, "all are pinned")
        rig.table.resolve(key("192.0.2.28"), now: rig.now)
        #expect(rig.table.entries.count == 4 && rig.state(peer) == .incomplete && pinned.load() == 0)
    }

    @Test("what the operator sets is used at once, and nothing that is heard changes it")
    func permanent() throws {
        let rig = NeighborRig()
        let cell = try rig.pin(peer)
        #expect(rig.table.setStatic([peer: two], now: rig.now).isEmpty)
        #expect(rig.pass(0).settled == [cell] && cell.load() == NeighborCell.valid | two.rawValue)
        rig.arp(from: "192.0.2.9", one)
        rig.announce("192.0.2.9", one)
        #expect(rig.use(cell, for: 200_000) == NeighborOutput() && rig.state(peer) == .permanent)
        #expect(cell.load() == NeighborCell.valid | two.rawValue && rig.table.counters.permanent == 2)
        #expect(!rig.table.forget(peer, now: rig.now))
        #expect(rig.table.setStatic([:], now: rig.now).isEmpty)
        #expect(rig.state(peer) == .incomplete && cell.load() == 0 && rig.pass(0).questions.count == 1)
    }

    @Test("what is set takes the place of what was learned, has room before it, and leaves with its setting")
    func setting() {
        let rig = NeighborRig(capacity: 2)
        for last in [20, 21] { rig.table.resolve(key("192.0.2.\(last)"), now: rig.now) }
        let wanted = [peer: one, key("192.0.2.10"): two, key("192.0.2.11"): two]
        #expect(rig.table.setStatic(wanted, now: rig.now) == [key("192.0.2.11")])
        rig.pass(200_000)
        #expect(rig.table.snapshot(now: rig.now).map(\.state) == [.permanent, .permanent])
        #expect(rig.table.setStatic([:], now: rig.now).isEmpty && rig.table.entries.isEmpty)
    }

    @Test("what is forgotten and pinned is asked for anew, not within a second of the last question")
    func forgotten() throws {
        let rig = NeighborRig()
        let cell = try reachable(rig)
        rig.pass(200)
        #expect(rig.table.forget(peer, now: rig.now) && cell.load() == 0)
        #expect(rig.pass(799).questions.isEmpty && rig.pass(1).questions.count == 1)
        rig.table.unpin(peer, now: rig.now)
        #expect(rig.table.forget(peer, now: rig.now) && rig.state(peer) == nil)
        #expect(!rig.table.forget(peer, now: rig.now))
    }
}

@Suite("neighbours and their interfaces")
struct NeighborDeviceTests {
    let peer = key("192.0.2.9")
    let one = mac("02:00:00:00:00:01")

    @Test(
        "an interface that goes down or away takes what was learned with it, and brings back what is pinned")
    func downAndUp() throws {
        var down = NeighborRig.device
        down.isUp = false
        for devices in [[down, NeighborRig.other], [NeighborRig.other]] {
            let rig = NeighborRig()
            let cell = try rig.pin(peer)
            let far = key("198.51.100.9", on: 4)
            let farCell = try rig.pin(far)
            rig.table.resolve(key("192.0.2.10"), now: rig.now)
            rig.arp(from: "192.0.2.9", one)
            rig.arp(
                from: "198.51.100.9", one, target: "198.51.100.1", to: NeighborRig.other.mac, on: 4)
            rig.pass(5000)
            rig.table.setDevices(devices, now: rig.now)
            let output = rig.pass(0)
            #expect(output.notices == [.failed(peer)] && output.settled == [cell])
            #expect(cell.load() == NeighborCell.failed && rig.state(key("192.0.2.10")) == nil)
            #expect(cell.noteWanted(rig.now + 1))
            rig.pass(2000)
            rig.table.scan(now: rig.now)
            #expect(rig.pass(0).questions.isEmpty, "there is nothing to ask by")
            #expect(farCell.load() == NeighborCell.valid | one.rawValue && rig.state(far) == .reachable)
            rig.table.setDevices([NeighborRig.device, NeighborRig.other], now: rig.now)
            #expect(rig.pass(0).questions.map(\.key) == [peer] && rig.state(peer) == .incomplete)
        }
    }

    @Test("when our own address changes all peers are probed, which tells them")
    func ownMAC() throws {
        let rig = NeighborRig()
        let cell = try rig.pin(peer)
        rig.arp(from: "192.0.2.9", one)
        rig.pass(5000)
        var device = NeighborRig.device
        device.mac = mac("02:00:00:00:03:99")
        rig.table.setDevices([device, NeighborRig.other], now: rig.now)
        let output = rig.pass(0)
        #expect(output.questions == [NeighborQuestion(key: peer, source: nil, destination: one)])
        #expect(cell.load() == NeighborCell.valid | one.rawValue && rig.state(peer) == .probe)
        device.mac = one
        rig.table.setDevices([device, NeighborRig.other], now: rig.now)
        #expect(cell.load() == 0 && rig.state(peer) == .incomplete, "its address is ours now")
    }

    @Test("a next hop that is an address of ours has no neighbour")
    func ownAddress() throws {
        let rig = NeighborRig()
        let cell = try rig.pin(key("192.0.2.1"))
        #expect(cell.load() == NeighborCell.failed && rig.pass(10_000).questions.isEmpty)
        let peerCell = try rig.pin(peer)
        rig.arp(from: "192.0.2.9", one)
        var device = NeighborRig.device
        device.addresses.append(IPPrefix("192.0.2.9/24")!)
        rig.table.setDevices([device], now: rig.now)
        #expect(peerCell.load() == NeighborCell.failed && rig.pass(10_000).questions.isEmpty)
        rig.table.setDevices([NeighborRig.device], now: rig.now)
        #expect(peerCell.noteWanted(rig.now))
        rig.table.scan(now: rig.now)
        #expect(rig.pass(0).questions.map(\.key) == [peer])
    }

    @Test("the same interfaces once more change nothing")
    func same() throws {
        let rig = NeighborRig()
        _ = try rig.pin(peer)
        rig.arp(from: "192.0.2.9", one)
        rig.pass(0)
        rig.table.setDevices([NeighborRig.device, NeighborRig.other], now: rig.now)
        #expect(rig.pass(0) == NeighborOutput() && rig.state(peer) == .reachable)
    }

    @Test("questions are a thousand a second at most, and dead next hops do not delay live ones")
    func bounded() throws {
        let rig = NeighborRig(capacity: 3000)
        for number in 0..<2500 { _ = try rig.pin(key("10.0.\(number / 250).\(number % 250)")) }
        #expect(rig.pass(0).questions.count == 100)
        let first = rig.pass(1000).questions
        #expect((999...1001).contains(first.count))
        // Each asks once before the first asks a second time.
        let asked = rig.pass(1400).questions
        #expect(Set((first + asked).map(\.key)).count == 2400)
        rig.pass(20_000)
        for cell in rig.table.entries.values.compactMap(\.cell) { _ = cell.noteWanted(rig.now) }
        rig.table.scan(now: rig.now)
        _ = try rig.pin(peer)
        #expect(rig.pass(1).questions.map(\.key).contains(peer))
    }

    @Test("a next hop without address is asked for before those that are only probed")
    func urgency() throws {
        let rig = NeighborRig(capacity: 1000)
        for number in 0..<900 {
            let address = "10.0.\(number / 250).\(number % 250)"
            _ = try rig.pin(key(address))
            rig.arp(from: address, one)
        }
        rig.pass(5000)
        var device = NeighborRig.device
        device.mac = mac("02:00:00:00:03:99")
        rig.table.setDevices([device, NeighborRig.other], now: rig.now)
        #expect(rig.pass(10).questions.count == 110 && rig.state(key("10.0.3.9")) == .probe)
        _ = try rig.pin(peer)
        #expect(rig.pass(1).questions.map(\.key) == [peer])
    }
}
