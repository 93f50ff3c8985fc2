// Owns: deliveries. Who gets a copy, in which form, and that every frame and copy is accounted for.

import Testing
import Wire

@testable import Datapath

@Suite("the engine")
struct EngineTests {
    /// Three local ports and two tunnels.
    private final class Bed {
        let rig = Rig()
        let bridge: UInt32
        let locals, tunnels: [UInt32]

        init(mtu: UInt32 = 1500, tunnelMTU: UInt32 = 1450) {
            let made = rig.bridge()
            bridge = made
            // Created out of order: the flood list sorts locals before tunnels.
            let first = rig.local(made, mtu: mtu)
            let far = rig.tunnel(made, to: "192.0.2.1", mtu: tunnelMTU)
            let second = rig.local(made, mtu: mtu, kind: .packetSocket)
            let far2 = rig.tunnel(made, to: "192.0.2.2", mtu: tunnelMTU)
            locals = [first, second, rig.local(made, mtu: mtu)]
            tunnels = [far, far2]
            rig.listener()
        }

        func expectBalance() {
            let sum = rig.total(bridge)
            #expect(sum[.rxPackets] == sum[.rxForwarded] + sum.receiveDropTotal)
            #expect(sum[.rxCopies] + sum[.icmpGenerated] == sum[.txPackets] + sum.transmitDropTotal)
        }
    }

    @Test("a broadcast goes once to every other port, locals first")
    func flood() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let frame = ethernet([1], .arp, to: .broadcast)
        let sent = engine.forward(frame, ingress: bed.locals[1])
        #expect(sent.map(\.port) == [bed.locals[0], bed.locals[2]] + bed.tunnels)
        #expect(sent.allSatisfy { $0.frame == frame })
        #expect(bed.rig.counters(bed.locals[1])[.rxCopies] == 4)
        #expect(bed.rig.counters(bed.locals[1])[.rxForwarded] == 1)
        bed.expectBalance()
    }

    @Test("with flooding disabled nothing unknown leaves by a tunnel, and all of it by local ports")
    func floodingDisabled() {
        let bed = Bed()
        bed.rig.disableFlooding(bed.bridge)
        var engine = Engine(bed.rig.program)
        let others = [bed.locals[1], bed.locals[2]]
        for destination in [MACAddress.broadcast, mac("33:33:00:00:00:01"), mac(77)] {
            let frame = ethernet([1], .arp, from: mac(1), to: destination)
            for _ in 0..<2 { #expect(engine.forward(frame, ingress: bed.locals[0]).map(\.port) == others) }
        }
        // From a tunnel as ever; what was learned from it is reached through it.
        let frame = ethernet([1], .arp, from: mac(9), to: .broadcast)
        #expect(engine.receive(vxlan(frame), from: "192.0.2.2").map(\.port) == bed.locals.sorted())
        let known = ethernet([1], .ipv4, from: mac(1), to: mac(9))
        #expect(engine.forward(known, ingress: bed.locals[0]).map(\.port) == [bed.tunnels[1]])
        #expect(bed.rig.total(bed.bridge).receiveDropTotal == 0)
        bed.expectBalance()
    }

    @Test("with flooding disabled a frame that has no local port to go to is dropped for that reason")
    func floodingDisabledAlone() {
        let rig = Rig()
        let bridge = rig.bridge()
        let alone = rig.local(bridge)
        rig.tunnel(bridge, to: "192.0.2.1")
        rig.disableFlooding(bridge)
        var engine = Engine(rig.program)
        for _ in 0..<3 {
            #expect(engine.forward(ethernet([1], .ipv4, to: .broadcast), ingress: alone).isEmpty)
        }
        #expect(rig.counters(alone).receiveDrops(.floodingDisabled) == 3)
        #expect(rig.counters(alone).receiveDropTotal == 3 && rig.counters(alone)[.rxForwarded] == 0)
    }

    @Test("a broadcast from a tunnel goes to local ports only")
    func splitHorizon() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let sent = engine.receive(vxlan(ethernet([1], .arp, to: .broadcast)), from: "192.0.2.1")
        #expect(sent.map(\.port) == bed.locals)
        bed.expectBalance()
    }

    @Test("a flood with nobody to go to is a drop with a name")
    func alone() {
        let rig = Rig()
        let lonely = rig.local(rig.bridge())
        let far = rig.bridge()
        rig.tunnel(far, to: "192.0.2.1")
        rig.tunnel(far, to: "192.0.2.2")
        rig.listener()
        var engine = Engine(rig.program)
        #expect(engine.forward(ethernet([1], .arp, to: .broadcast), ingress: lonely).isEmpty)
        #expect(rig.counters(lonely).receiveDrops(.noDestination) == 1)
        #expect(engine.receive(vxlan(ethernet([1], .arp, to: .broadcast)), from: "192.0.2.1").isEmpty)
        #expect(rig.counters(1).receiveDrops(.noDestination) == 1, "two tunnels, but no port")
        #expect(rig.counters(lonely)[.rxForwarded] == 0 && rig.counters(1)[.rxForwarded] == 0)
    }

    @Test("every drop of a received frame is counted once, and the frame is not counted as forwarded")
    func drops() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        _ = engine.forward(ethernet([1], .arp, from: mac(1), to: .broadcast), ingress: bed.locals[0])
        _ = engine.receive(vxlan(ethernet([], .arp, from: mac(2), to: .broadcast)), from: "192.0.2.2")
        let cases: [(frame: [UInt8], reason: DropReason)] = [
            ([1, 2, 3], .runt),
            (ethernet([1], .arp, to: mac("01:80:c2:00:00:0e")), .reservedMulticast),
            (ethernet([1], .arp, to: mac(1)), .hairpin),
        ]
        for (index, (frame, reason)) in cases.enumerated() {
            #expect(engine.forward(frame, ingress: bed.locals[0]).isEmpty)
            let row = bed.rig.counters(bed.locals[0])
            #expect(row.receiveDrops(reason) == 1 && row.receiveDropTotal == UInt64(index + 1))
        }
        #expect(engine.receive(vxlan(ethernet([1], .arp, to: mac(2))), from: "192.0.2.1").isEmpty)
        #expect(bed.rig.counters(bed.tunnels[0]).receiveDrops(.splitHorizon) == 1)
        bed.expectBalance()
    }

    @Test("a copy that cannot leave is dropped under its reason and the others still go")
    func closedPort() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let closed: Set<UInt32> = [bed.locals[1], bed.tunnels[0]]
        let sent = engine.forward(
            ethernet([1], .arp, to: .broadcast), ingress: bed.locals[0], closed: closed)
        #expect(sent.map(\.port) == [bed.locals[2], bed.tunnels[1]])
        for port in closed { #expect(bed.rig.counters(port).transmitDrops(.portDown) == 1) }
        bed.expectBalance()
    }

    @Test("a frame larger than the egress MTU is dropped there; one of that size is not")
    func mtu() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        // 1,450 bytes of layer 3 with IPv4 and UDP.
        let fits = TestFrame.udp4([UInt8](repeating: 1, count: 1422)).with { $0.doNotFragment = false }
        let others = [bed.locals[1], bed.locals[2]]
        #expect(engine.forward(fits.bytes(), ingress: bed.locals[0]).map(\.port) == others + bed.tunnels)
        let large = fits.with { $0.payload.append(1) }
        #expect(engine.forward(large.bytes(), ingress: bed.locals[0]).map(\.port) == others)
        for tunnel in bed.tunnels {
            #expect(bed.rig.counters(tunnel).transmitDrops(.mtuExceeded) == 1)
        }
        let jumbo = ethernet([UInt8](repeating: 0, count: 1501), .arp, to: .broadcast)
        #expect(engine.forward(jumbo, ingress: bed.locals[0]).isEmpty, "not IP: just dropped")
        #expect(bed.rig.counters(bed.locals[1]).transmitDrops(.mtuExceeded) == 1)
        bed.expectBalance()
    }

    @Test("an interface has room for VLAN tags beside its MTU; in a tunnel they take it from the packet")
    func mtuWithTags() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        for tags in [[7], [7, 8]] as [[UInt16]] {
            let inTunnel = TestFrame.udp4([UInt8](repeating: 1, count: 1422 - 4 * tags.count)).with {
                $0.tags = tags
                $0.doNotFragment = false
            }
            #expect(engine.forward(inTunnel.bytes(), ingress: bed.locals[0]).count == 4)
            let larger = inTunnel.with { $0.payload.append(1) }
            #expect(engine.forward(larger.bytes(), ingress: bed.locals[0]).count == 2)
            let local = inTunnel.with { $0.payload = [UInt8](repeating: 1, count: 1472) }
            #expect(engine.forward(local.bytes(), ingress: bed.locals[0]).count == 2)
            let answered = larger.with { $0.doNotFragment = true }
            let answer = engine.forward(answered.bytes(), ingress: bed.locals[0]).last
            let start = 14 + 4 * tags.count
            #expect(
                answer.map { Array($0.frame[start + 26..<start + 28]) }
                    == bigEndian(
                        UInt16(1450 - 4 * tags.count)), "the MTU it names leaves room for the tags")
        }
    }

    @Test("a frame that does not fit is answered by ICMP, once, to the port it came from")
    func tooBig() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let large = TestFrame.udp4([UInt8](repeating: 1, count: 1423))
        let sent = engine.forward(large.bytes(), ingress: bed.locals[0])
        let answers = sent.filter { $0.port == bed.locals[0] }
        #expect(answers.count == 1, "two tunnels refused it, one answer went back")
        #expect(answers.first.map { Array($0.frame[34..<36]) } == [3, 4])
        #expect(bed.rig.counters(bed.locals[0])[.icmpGenerated] == 1)
        bed.expectBalance()
    }

    @Test("a frame from a tunnel that fits no guest is answered through the tunnel")
    func tooBigFromTunnel() {
        let bed = Bed(mtu: 1400)
        var engine = Engine(bed.rig.program)
        let large = TestFrame.udp6([UInt8](repeating: 1, count: 1402))
        let sent = engine.receive(vxlan(large.bytes()), from: "192.0.2.2")
        #expect(sent.map(\.port) == [bed.tunnels[1]])
        #expect(sent.first?.vxlan == vxlan([]) && sent.first?.frame[54] == 2, "ICMPv6 packet too big")
        #expect(sent.first?.frame.count == 14 + 1280)
        bed.expectBalance()
    }

    @Test("an adopted program takes effect with the next frame")
    func adopting() {
        let bed = Bed()
        let other = Rig()
        let bridge = other.bridge()
        let ports = [other.local(bridge), other.local(bridge)]
        var engine = Engine()
        #expect(engine.program.portCount == 0)
        engine.sweep(nowMilliseconds: 1)
        engine.adopt(bed.rig.program)
        #expect(engine.forward(ethernet([], .arp, to: .broadcast), ingress: 0).count == 4)
        engine.adopt(other.program)
        #expect(engine.forward(ethernet([], .arp, to: .broadcast), ingress: 0).map(\.port) == [ports[1]])
    }

    @Test("a sweep reaches every bridge's table")
    func sweep() {
        let rig = Rig()
        let bridges = [rig.bridge(ageing: 10), rig.bridge(ageing: 10)]
        let ports = bridges.map { rig.local($0) }
        var engine = Engine(rig.program)
        for port in ports {
            _ = engine.forward(ethernet([], .arp, to: .broadcast), ingress: port, at: 5_000)
        }
        engine.sweep(nowMilliseconds: 14_999)
        #expect(bridges.allSatisfy { rig.table($0).statistics.learned == 1 })
        engine.sweep(nowMilliseconds: 15_000)
        #expect(bridges.allSatisfy { rig.table($0).statistics.learned == 0 })
    }
}
