// Owns: the bridge's mind. Every verdict and every reason `decide` can give.

import Testing
import Wire

@testable import Datapath

@Suite("decisions")
struct DecisionTests {
    /// A bridge with two local ports and two tunnels, and a second bridge with one port.
    private final class Bed {
        let rig = Rig()
        let bridge, other, first, second, tunnel, tunnel2, stranger: UInt32

        init(forwardsReserved: Bool = false, capacity: Int = 16) {
            bridge = rig.bridge(capacity: capacity, forwardsReserved: forwardsReserved)
            other = rig.bridge()
            first = rig.local(bridge)
            second = rig.local(bridge)
            tunnel = rig.tunnel(bridge, to: "192.0.2.11")
            tunnel2 = rig.tunnel(bridge, to: "192.0.2.12")
            stranger = rig.local(other)
        }

        func decide(_ source: MACAddress, _ destination: MACAddress, on ingress: UInt32, at now: UInt32 = 0)
            -> Verdict
        {
            decide(ethernet([1, 2, 3], .arp, from: source, to: destination), on: ingress, at: now)
        }

        func decide(_ bytes: [UInt8], on ingress: UInt32, at now: UInt32 = 0) -> Verdict {
            withFrame(bytes) { Datapath.decide($0, ingress: ingress, rig.program.view, nowSeconds: now) }
        }

        func learn(_ address: MACAddress, on port: UInt32, at now: UInt32 = 0) {
            _ = decide(address, mac(0xfff), on: port, at: now)
        }
    }

    @Test("a frame shorter than an Ethernet header is a runt, and teaches nothing", arguments: 0..<14)
    func runt(count: Int) {
        let bed = Bed()
        let bytes = Array(ethernet([], .arp, from: mac(1), to: mac(2)).prefix(count))
        #expect(bed.decide(bytes, on: bed.first) == .drop(.runt))
        #expect(bed.rig.table(bed.bridge).placeCount == 0)
    }

    @Test("fourteen bytes are a frame")
    func smallest() {
        let bed = Bed()
        let bytes = ethernet([], .arp, from: mac(1), to: mac(2))
        #expect(bytes.count == 14 && bed.decide(bytes, on: bed.first) == Verdict(action: .flood))
    }

    @Test("an address is learned and looked for in its frame's VLAN; a tag of priority only is of none")
    func byVLAN() {
        let bed = Bed()
        func decide(_ source: Int, _ destination: Int, _ tags: [UInt16], on port: UInt32) -> Verdict {
            bed.decide(
                ethernet([1], .arp, from: mac(source), to: mac(destination), tags: tags), on: port)
        }
        _ = decide(1, 9, [7], on: bed.first)
        _ = decide(1, 9, [8, 7], on: bed.tunnel)
        #expect(decide(2, 1, [0xe007], on: bed.second) == Verdict(action: .forward, egress: bed.first))
        #expect(decide(2, 1, [8], on: bed.second) == Verdict(action: .forward, egress: bed.tunnel))
        #expect(decide(2, 1, [], on: bed.second) == Verdict(action: .flood))
        #expect(bed.rig.table(bed.bridge).statistics.moves == 0)
        _ = decide(1, 9, [0x6000], on: bed.second)
        #expect(decide(3, 1, [], on: bed.first) == Verdict(action: .forward, egress: bed.second))
        let entries = bed.rig.table(bed.bridge).entries(in: 0..<16, nowSeconds: 0)
        #expect(entries.filter { $0.address == mac(1) }.map(\.vlan) == [7, 8, 0])
    }

    @Test("an unknown destination is flooded, and its sender learned where it came from")
    func unknown() {
        let bed = Bed()
        #expect(bed.decide(mac(1), mac(2), on: bed.second) == Verdict(action: .flood))
        let entry = bed.rig.table(bed.bridge).entry(mac(1), nowSeconds: 0)
        #expect(entry?.port == bed.second && entry?.isStatic == false)
        #expect(bed.rig.table(bed.other).placeCount == 0, "the other bridge learned nothing")
    }

    @Test("a known destination gets the frame alone: local to local, to a tunnel and from one")
    func known() {
        let bed = Bed()
        bed.learn(mac(1), on: bed.first)
        bed.learn(mac(2), on: bed.second)
        bed.learn(mac(3), on: bed.tunnel)
        #expect(bed.decide(mac(1), mac(2), on: bed.first) == Verdict(action: .forward, egress: bed.second))
        #expect(bed.decide(mac(1), mac(3), on: bed.first) == Verdict(action: .forward, egress: bed.tunnel))
        #expect(bed.decide(mac(3), mac(1), on: bed.tunnel) == Verdict(action: .forward, egress: bed.first))
    }

    @Test("broadcast and multicast are flooded, even where the table has the address")
    func groups() {
        let bed = Bed()
        let group = mac("33:33:00:00:00:01")
        bed.rig.table(bed.bridge).setStatic(group, port: bed.second, member: 2)
        #expect(bed.decide(mac(1), .broadcast, on: bed.first) == Verdict(action: .flood))
        #expect(bed.decide(mac(1), group, on: bed.first) == Verdict(action: .flood))
        #expect(bed.decide(mac(1), mac("01:80:c2:00:00:10"), on: bed.first) == Verdict(action: .flood))
    }

    @Test("01:80:c2:00:00:00 to 0f are dropped and teach nothing, unless the bridge forwards them")
    func reserved() {
        let strict = Bed()
        let open = Bed(forwardsReserved: true)
        for last in 0..<16 as Range<UInt64> {
            let group = MACAddress(rawValue: 0x0180_c200_0000 | last)
            #expect(strict.decide(mac(1), group, on: strict.first) == .drop(.reservedMulticast))
            #expect(open.decide(mac(1), group, on: open.first) == Verdict(action: .flood))
        }
        #expect(strict.rig.table(strict.bridge).placeCount == 0)
        #expect(open.rig.table(open.bridge).lookup(mac(1), nowSeconds: 0) == open.first)
    }

    @Test("a destination behind the port the frame came from is a hairpin")
    func hairpin() {
        let bed = Bed()
        for port in [bed.first, bed.tunnel] {
            bed.learn(mac(1), on: port)
            #expect(bed.decide(mac(2), mac(1), on: port) == .drop(.hairpin))
            #expect(bed.decide(mac(1), mac(1), on: port) == .drop(.hairpin), "to itself")
        }
    }

    @Test("a frame from a tunnel never leaves by another tunnel")
    func splitHorizon() {
        let bed = Bed()
        bed.learn(mac(2), on: bed.tunnel2)
        #expect(bed.decide(mac(1), mac(2), on: bed.tunnel) == .drop(.splitHorizon))
        #expect(bed.rig.table(bed.bridge).lookup(mac(1), nowSeconds: 0) == bed.tunnel, "but it is learned")
    }

    @Test("group and zero sources are never learned, and their frames go on")
    func strangeSources() {
        let bed = Bed()
        for source in [MACAddress.zero, .broadcast, mac("01:00:5e:00:00:01")] {
            #expect(bed.decide(source, mac(2), on: bed.first) == Verdict(action: .flood))
        }
        #expect(bed.rig.table(bed.bridge).placeCount == 0)
        #expect(bed.decide(mac(1), .zero, on: bed.first) == Verdict(action: .flood), "zero is nobody's")
    }

    @Test("an expired destination is unknown again")
    func expired() {
        let bed = Bed()
        bed.learn(mac(2), on: bed.second, at: 100)
        #expect(bed.decide(mac(1), mac(2), on: bed.first, at: 399).action == .forward)
        #expect(bed.decide(mac(1), mac(2), on: bed.first, at: 400).action == .flood)
    }

    @Test("a station that moves is followed with its first frame")
    func move() {
        let bed = Bed()
        bed.learn(mac(1), on: bed.first)
        bed.learn(mac(1), on: bed.tunnel)
        #expect(bed.decide(mac(2), mac(1), on: bed.second) == Verdict(action: .forward, egress: bed.tunnel))
        #expect(bed.rig.table(bed.bridge).statistics.moves == 1)
    }

    @Test("a pinned address stays where it is pinned, whoever claims it")
    func pinned() {
        let bed = Bed()
        bed.rig.table(bed.bridge).setStatic(mac(1), port: bed.second, member: 2)
        bed.learn(mac(1), on: bed.tunnel)
        #expect(bed.decide(mac(2), mac(1), on: bed.first) == Verdict(action: .forward, egress: bed.second))
    }

    @Test("a table full of pinned addresses floods for the others and goes on")
    func fullTable() {
        let bed = Bed(capacity: 2)
        for number in 1...2 { bed.rig.table(bed.bridge).setStatic(mac(number), port: bed.second, member: 2) }
        #expect(bed.decide(mac(3), mac(1), on: bed.first) == Verdict(action: .forward, egress: bed.second))
        #expect(bed.decide(mac(1), mac(3), on: bed.second) == Verdict(action: .flood))
        #expect(bed.rig.table(bed.bridge).statistics.refusals == 1)
    }

    @Test("the same addresses on two bridges are strangers to each other")
    func separateBridges() {
        let bed = Bed()
        bed.learn(mac(1), on: bed.first)
        #expect(bed.decide(mac(2), mac(1), on: bed.stranger) == Verdict(action: .flood))
        bed.learn(mac(1), on: bed.stranger)
        #expect(bed.decide(mac(2), mac(1), on: bed.second) == Verdict(action: .forward, egress: bed.first))
    }
}
