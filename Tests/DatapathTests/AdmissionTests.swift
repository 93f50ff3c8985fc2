// Owns: malformed and unwanted datagrams. Each is counted once, under its own reason, in the right row.

import Testing
import Wire

@testable import Datapath

@Suite("admission of datagrams")
struct AdmissionTests {
    /// One local port, a tunnel with VNI 100 and one with any VNI on the first listener, one on the second.
    private final class Bed {
        let rig = Rig()
        let bridge, guest, tunnel, flow, other: UInt32

        init(strict: Bool = true) {
            rig.dropsReservedBits = strict
            rig.ownAddresses = [packed("203.0.113.1")]
            bridge = rig.bridge()
            guest = rig.local(bridge)
            tunnel = rig.tunnel(bridge, to: "192.0.2.1")
            flow = rig.tunnel(bridge, to: "192.0.2.2", vni: nil)
            rig.listener()
            rig.listener()
            other = rig.tunnel(bridge, to: "2001:db8::1", vni: 5, listener: 1)
        }
    }

    /// A datagram that must not get in.
    struct Refused: CustomTestStringConvertible, Sendable {
        var what: String
        var bytes: [UInt8]
        var reason: DropReason
        var source = "192.0.2.1"
        var isTruncated = false
        var listener: UInt32 = 0
        var testDescription: String { what }
    }

    private static let inner = TestFrame.udp4([1, 2, 3]).bytes()

    private static func header(_ text: String) -> [UInt8] { hex(text) + inner }

    private static let refused: [Refused] =
        (0..<8).map {
            Refused(
                what: "\($0) bytes of VXLAN header", bytes: Array(vxlan([]).prefix($0)),
                reason: .vxlanTruncated)
        }
        + (8..<22).map {
            Refused(
                what: "\($0 - 8) bytes of inner frame", bytes: Array(vxlan(inner).prefix($0)),
                reason: .innerRunt)
        }
        + [
            Refused(
                what: "cut by the receive buffer", bytes: vxlan(inner), reason: .datagramTruncated,
                isTruncated: true),
            Refused(what: "no flag", bytes: header("00 00 00 00 00 00 64 00"), reason: .vxlanFlags),
            Refused(what: "all flags but I", bytes: header("f7 00 00 00 00 00 64 00"), reason: .vxlanFlags),
            Refused(what: "flag bit 0", bytes: header("09 00 00 00 00 00 64 00"), reason: .vxlanReservedBits),
            Refused(what: "flag bit 7", bytes: header("88 00 00 00 00 00 64 00"), reason: .vxlanReservedBits),
            Refused(
                what: "a GPE next protocol", bytes: header("0c 00 00 03 00 00 64 00"),
                reason: .vxlanReservedBits),
            Refused(
                what: "a GBP group", bytes: header("08 00 12 34 00 00 64 00"), reason: .vxlanReservedBits),
            Refused(
                what: "the last byte", bytes: header("08 00 00 00 00 00 64 01"), reason: .vxlanReservedBits),
            Refused(what: "another VNI", bytes: vxlan(inner, vni: 101), reason: .unknownVNI),
            Refused(what: "VNI 0", bytes: vxlan(inner, vni: 0), reason: .unknownVNI),
            Refused(
                what: "a stranger", bytes: vxlan(inner), reason: .unknownSender, source: "192.0.2.3"),
            Refused(
                what: "a stranger by IPv6", bytes: vxlan(inner), reason: .unknownSender, source: "::1"),
            Refused(
                what: "a peer of another listener", bytes: vxlan(inner, vni: 5), reason: .unknownSender,
                source: "2001:db8::1"),
            Refused(
                what: "a peer of the first listener on the second", bytes: vxlan(inner),
                reason: .unknownSender, listener: 1),
            Refused(
                what: "ourselves", bytes: vxlan(inner), reason: .ownAddress, source: "203.0.113.1"),
        ]

    @Test("each malformed or unwanted datagram is dropped once, under its own reason", arguments: refused)
    func refuse(_ datagram: Refused) {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let sent = engine.receive(
            datagram.bytes, from: datagram.source, listener: datagram.listener,
            isTruncated: datagram.isTruncated)
        #expect(sent.isEmpty)
        let row = bed.rig.listenerCounters(datagram.listener)
        #expect(row[.rxPackets] == 1 && row[.rxBytes] == UInt64(datagram.bytes.count))
        #expect(row.receiveDrops(datagram.reason) == 1 && row.receiveDropTotal == 1)
        #expect(row[.rxForwarded] == 0)
        #expect(bed.rig.total(bed.bridge) == .zero, "no port has seen it")
    }

    @Test("every reason a listener has is in the table above")
    func complete() {
        let all: Set<DropReason> = [
            .datagramTruncated, .vxlanTruncated, .vxlanFlags, .vxlanReservedBits, .innerRunt, .unknownSender,
            .unknownVNI, .ownAddress,
        ]
        #expect(Set(Self.refused.map(\.reason)) == all)
    }

    @Test("a lenient receiver ignores reserved bits, as RFC 7348 says, but never the I flag")
    func lenient() {
        for datagram in Self.refused where datagram.reason == .vxlanReservedBits {
            let bed = Bed(strict: false)
            var engine = Engine(bed.rig.program)
            #expect(engine.receive(datagram.bytes, from: "192.0.2.1").map(\.port) == [bed.guest])
            #expect(bed.rig.listenerCounters(0).receiveDropTotal == 0)
        }
        for datagram in Self.refused where datagram.reason == .vxlanFlags {
            let bed = Bed(strict: false)
            var engine = Engine(bed.rig.program)
            #expect(engine.receive(datagram.bytes, from: "192.0.2.1").isEmpty)
            #expect(bed.rig.listenerCounters(0).receiveDrops(.vxlanFlags) == 1)
        }
    }

    @Test("a good datagram is counted by its listener and its tunnel, and its frame delivered as it was")
    func accept() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        #expect(
            engine.receive(vxlan(Self.inner), from: "192.0.2.1")
                == [Sent(port: bed.guest, frame: Self.inner)])
        #expect(engine.receive(vxlan(Self.inner, vni: 9), from: "192.0.2.2").map(\.port) == [bed.guest])
        #expect(
            engine.receive(vxlan(Self.inner, vni: 5), from: "2001:db8::1", listener: 1).map(\.port)
                == [bed.guest])
        let listener = bed.rig.listenerCounters(0)
        #expect(listener[.rxPackets] == 2 && listener[.rxForwarded] == 2)
        #expect(listener[.rxBytes] == UInt64(2 * (Self.inner.count + 8)))
        let row = bed.rig.counters(bed.tunnel)
        #expect(row[.rxPackets] == 1 && row[.rxBytes] == UInt64(Self.inner.count))
        #expect(row[.rxForwarded] == 1 && row[.rxCopies] == 1 && row.receiveDropTotal == 0)
        #expect(bed.rig.counters(bed.guest)[.txPackets] == 3)
    }

    @Test("a fourteen-byte inner frame is enough")
    func smallest() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let frame = ethernet([], .arp)
        #expect(engine.receive(vxlan(frame), from: "192.0.2.1") == [Sent(port: bed.guest, frame: frame)])
    }

    @Test("CE outside on a packet that is not ECN-capable is dropped, counted by the tunnel")
    func congestion() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        #expect(engine.receive(vxlan(Self.inner), from: "192.0.2.1", typeOfService: 3).isEmpty)
        let row = bed.rig.counters(bed.tunnel)
        #expect(row.receiveDrops(.congestionNotECN) == 1 && row.receiveDropTotal == 1)
        #expect(row[.rxPackets] == 1 && row[.rxForwarded] == 0)
        #expect(bed.rig.listenerCounters(0)[.rxForwarded] == 1, "the listener has done its part")
        #expect(bed.rig.table(bed.bridge).placeCount == 0, "and nothing was learned")
    }

    @Test("CE outside marks an ECN-capable packet on its way to the guest")
    func marked() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let capable = TestFrame.tcp4([1, 2, 3]).with { $0.trafficClass = 0b10 }
        let sent = engine.receive(vxlan(capable.bytes()), from: "192.0.2.1", typeOfService: 0xff)
        #expect(sent.map(\.frame) == [capable.with { $0.trafficClass = 0b11 }.bytes()])
    }

    @Test("frames from a tunnel cut at every byte reach the guest as they are, or are counted as runts")
    func truncatedInside() {
        for frame in [
            TestFrame.tcp4([1, 2, 3]).with { $0.tags = [5] }, .udp6([4, 5]),
            TestFrame.tcp6([6]).with { $0.tcpOptions = [1, 1, 1, 0] },
        ].map({ $0.bytes() }) {
            let bed = Bed()
            var engine = Engine(bed.rig.program)
            for count in 14..<frame.count {
                let sent = engine.receive(vxlan(Array(frame.prefix(count))), from: "192.0.2.1")
                #expect(sent == [Sent(port: bed.guest, frame: Array(frame.prefix(count)))])
            }
        }
    }
}
