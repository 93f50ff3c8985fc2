// Owns: what goes into the outer header, and what the outer header does to the packet inside.

import Testing
import Wire

@testable import Datapath

@Suite("outer headers")
struct EnvelopeTests {
    private func envelope(_ frame: [UInt8], _ change: (inout TunnelEntry) -> Void = { _ in }) -> Envelope {
        var tunnel = TunnelEntry(remote: packed("192.0.2.1"), vni: VNI(truncating: 1))
        change(&tunnel)
        return Envelope(shape(frame), tunnel)
    }

    /// Inner fields in rows, outer ones in columns, both in the order Not-ECT, ECT(0), ECT(1), CE: the table
    /// of RFC 6040 §4.2, figure 4. Nil is "drop".
    private static let decapsulation: [[UInt8?]] = [
        [0b00, 0b00, 0b00, nil],
        [0b10, 0b10, 0b01, 0b11],
        [0b01, 0b01, 0b01, 0b11],
        [0b11, 0b11, 0b11, 0b11],
    ]
    private static let codepoints: [UInt8] = [0b00, 0b10, 0b01, 0b11]

    @Test("ECN is decapsulated by the whole table of RFC 6040", arguments: 0..<4, 0..<4)
    func decapsulate(inner: Int, outer: Int) {
        let expected = Self.decapsulation[inner][outer]
        // The upper six bits are DSCP and must not matter, nor change.
        for dscp: UInt8 in [0, 0xb8, 0xfc] {
            let innerClass = Self.codepoints[inner] | dscp
            let outerClass = Self.codepoints[outer] | ~dscp & 0xfc
            #expect(ECN.decapsulated(outer: outerClass, inner: innerClass) == expected)
            for frame in [
                TestFrame.udp4([1, 2, 3]), .tcp6([4]), TestFrame.tcp4([5]).with { $0.tags = [7] },
                TestFrame.udp6().with { $0.tags = [1, 2] },
                TestFrame.udp4([1]).with { $0.options = [1, 1, 1, 0] },
            ] {
                let before = frame.with { $0.trafficClass = innerClass }
                let after = frame.with { $0.trafficClass = (expected ?? 0) | dscp }
                withFrame(before.bytes()) {
                    #expect(applyOuterECN(outerClass, to: $0, FrameShape($0)) == (expected != nil))
                    if expected != nil { #expect($0.bytes == after.bytes(), "checksum and all") }
                }
            }
        }
    }

    @Test("a frame that is not IP passes whatever the outer ECN field says", arguments: 0..<4 as Range<UInt8>)
    func notIP(outer: UInt8) {
        let bytes = ethernet([UInt8](repeating: 0xff, count: 46), .arp)
        withFrame(bytes) {
            #expect(applyOuterECN(outer, to: $0, FrameShape($0)))
            #expect($0.bytes == bytes)
        }
    }

    @Test(
        "encapsulation copies the inner ECN field, whatever the tunnel's TOS",
        arguments: 0..<4 as Range<UInt8>)
    func encapsulate(ecn: UInt8) {
        for frame in [TestFrame.udp4(), .tcp6()].map({ $0.with { $0.trafficClass = 0xb8 | ecn }.bytes() }) {
            #expect(envelope(frame).typeOfService == ecn)
            #expect(envelope(frame) { $0.typeOfService = 0x48 }.typeOfService == 0x48 | ecn)
            #expect(envelope(frame) { $0.typeOfService = 0x4b }.typeOfService == 0x48 | ecn)
            #expect(envelope(frame) { $0.inheritsTypeOfService = true }.typeOfService == 0xb8 | ecn)
        }
    }

    @Test("the outer TTL is the tunnel's, or the inner one where it inherits")
    func timeToLive() {
        for inner in [1, 61, 255] as [UInt8] {
            for frame in [TestFrame.udp4(), .tcp6()].map({ $0.with { $0.timeToLive = inner }.bytes() }) {
                #expect(envelope(frame).timeToLive == 64)
                #expect(envelope(frame) { $0.timeToLive = 7 }.timeToLive == 7)
                #expect(envelope(frame) { $0.timeToLive = 0 }.timeToLive == inner)
            }
        }
        let dying = TestFrame.udp4().with { $0.timeToLive = 0 }.bytes()
        #expect(envelope(dying) { $0.timeToLive = 0 }.timeToLive == 64, "0 would never arrive")
    }

    @Test("a frame that is not IP has nothing to inherit: TTL 64, TOS 0")
    func nothingToInherit() {
        let result = envelope(ethernet([UInt8](repeating: 0xff, count: 46), .arp)) {
            $0.timeToLive = 0
            $0.inheritsTypeOfService = true
        }
        #expect(result.timeToLive == 64 && result.typeOfService == 0)
    }

    @Test("the VXLAN header is flag I, the VNI, and zero elsewhere")
    func header() {
        let rig = Rig()
        let bridge = rig.bridge()
        let guest = rig.local(bridge)
        let tunnel = rig.tunnel(bridge, to: "192.0.2.1", vni: 0xabcdef)
        let flow = rig.tunnel(bridge, to: "192.0.2.2", vni: nil)
        var engine = Engine(rig.program)
        let frame = TestFrame.udp4([1, 2, 3]).bytes()
        let sent = engine.forward(frame, ingress: guest)
        let expected = hex(
            """
            08         # flags: I
            00 00 00   # reserved
            ab cd ef   # VNI
            00         # reserved
            """)
        #expect(sent.map(\.port) == [tunnel, flow] && sent.map(\.frame) == [frame, frame])
        #expect(sent[0].vxlan == expected)
        #expect(sent[1].vxlan == hex("08 00 00 00  00 00 00 00"), "\"flow\" sends VNI 0")
    }
}
