// Owns: cutting superframes. The model is the sender itself: each segment must be, byte for byte, the frame a
// guest without offload would have sent.

import Testing
import Wire

@testable import Datapath

@Suite("segmentation")
struct SegmentationTests {
    /// The frames a superframe stands for.
    static func model(_ frame: TestFrame, segment: Int) -> [[UInt8]] {
        let starts = Array(stride(from: 0, to: frame.payload.count, by: segment))
        return starts.enumerated().map { index, start in
            frame.with {
                $0.payload = Array(frame.payload[start..<min(start + segment, frame.payload.count)])
                $0.identification = frame.identification &+ UInt16(index)
                $0.sequence = frame.sequence &+ UInt32(start)
                if index > 0 { $0.flags = $0.flags.subtracting(.cwr) }
                if index < starts.count - 1 { $0.flags = $0.flags.subtracting(.fin).subtracting(.psh) }
            }.bytes()
        }
    }

    /// What the plan makes of it: headers and payload put together, headers in guarded memory.
    private func segments(_ frame: TestFrame, segment: Int) -> [[UInt8]]? {
        withFrame(frame.bytes(.partial), frame.offload(segment: segment)) { superframe in
            guard let plan = SegmentPlan(superframe, FrameShape(superframe)) else { return nil }
            let memory = GuardedMemory(capacity: plan.headerByteCount)
            return (0..<plan.count).map { index in
                let header = memory.last(plan.headerByteCount)
                plan.emitHeader(index, of: superframe, to: header)
                let start = plan.headerByteCount + index * plan.segmentByteCount
                return [UInt8](UnsafeRawBufferPointer(start: header, count: plan.headerByteCount))
                    + superframe.bytes[start..<start + plan.byteCount(of: index)]
            }
        }
    }

    private static let timestamps = hex("01 01 08 0a 00 01 02 03 00 04 05 06")

    static let shapes: [TestFrame] = [
        .tcp4(), .tcp6(), .udp4(), .udp6(),
        TestFrame.tcp4().with { $0.tcpOptions = timestamps }.with { $0.flags = [.ack, .psh, .fin] },
        TestFrame.tcp6().with { $0.tcpOptions = timestamps }.with { $0.flags = [.ack, .psh, .cwr, .ece] },
        TestFrame.tcp4().with { $0.tags = [7] }.with { $0.trafficClass = 0b10 }.with {
            $0.flags = [.ack, .cwr, .fin]
        },
        TestFrame.tcp6().with { $0.tags = [7, 0xe008] }.with { $0.options = [1, 4, 0, 0, 0, 0] },
        TestFrame.tcp4().with { $0.options = [1, 1, 1, 0] }.with { $0.identification = 0xfffe },
        TestFrame.udp4().with { $0.tags = [7] }.with { $0.identification = 0xffff },
        TestFrame.udp6().with { $0.options = [1, 4, 0, 0, 0, 0] },
        TestFrame.tcp4().with { $0.doNotFragment = false }.with { $0.flags = [.ack, .urg, .psh] },
    ]

    @Test("segments are what the guest would have sent itself", arguments: shapes)
    func byteExact(shape: TestFrame) throws {
        var generator = SeededGenerator(seed: 1)
        // One more, one less, exactly two, a last byte alone, a sequence number that wraps.
        for (payload, segment) in [
            (1, 1), (2, 1), (1000, 1000), (1000, 999), (1000, 1001), (2000, 1000), (9000, 1400),
        ] {
            let frame = shape.with { $0.payload = generator.bytes(payload) }
            let expected = Self.model(frame, segment: segment)
            let made = try #require(segments(frame, segment: segment))
            #expect(made == expected)
            #expect(made.allSatisfy { hasRightChecksums($0) })
        }
    }

    @Test("random superframes of random sizes", arguments: [1, 2, 3] as [UInt64])
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<40 {
            let segment = 1 + generator.below(1460)
            let frame = Self.shapes[generator.below(Self.shapes.count)].with {
                $0.payload = generator.bytes(1 + generator.below(min(8000, segment * 40)))
                $0.flags = TCPFlags(rawValue: UInt8(truncatingIfNeeded: generator.next()))
                $0.sequence = UInt32(truncatingIfNeeded: generator.next())
                $0.identification = UInt16(truncatingIfNeeded: generator.next())
                $0.tcpOptions = [UInt8](repeating: 1, count: 4 * generator.below(11))
            }
            let made = try #require(segments(frame, segment: segment))
            #expect(made == Self.model(frame, segment: segment), "seed \(seed), segment \(segment)")
        }
    }

    @Test("a segment's checksum that comes out as zero stays zero in TCP and is ffff in UDP")
    func zeroChecksum() throws {
        for (frame, expected) in [(TestFrame.tcp4(), [0, 0]), (.udp6(), [0xff, 0xff])]
            as [(TestFrame, [UInt8])]
        {
            // The checksum of a segment with payload zero is the payload that makes it zero.
            let plain = frame.with { $0.payload = [0, 0] }.bytes()
            let field = frame.transportOffset + frame.checksumOffset
            let tuned = frame.with { $0.payload = Array(plain[field..<field + 2]) + [1] }
            let made = try #require(segments(tuned, segment: 2))
            #expect(Array(made[0][field..<field + 2]) == expected && made == Self.model(tuned, segment: 2))
        }
    }

    @Test("a whole 64 KiB superframe goes through a tunnel as its segments, counted one by one")
    func throughTunnel() {
        let rig = Rig()
        let bridge = rig.bridge()
        let ingress = rig.local(bridge)
        let tunnel = rig.tunnel(bridge, to: "192.0.2.1")
        let guest = rig.local(bridge)
        var engine = Engine(rig.program)
        var generator = SeededGenerator(seed: 9)
        let frame = TestFrame.tcp4(generator.bytes(65_535 - 40)).with { $0.flags = [.ack, .psh] }
        let expected = Self.model(frame, segment: 1410)
        let sent = engine.forward(
            frame.bytes(.partial), frame.offload(segment: 1410), ingress: ingress)
        #expect(sent.first?.port == guest && sent.first?.frame == frame.bytes(.partial))
        #expect(sent.first?.offload == frame.offload(segment: 1410), "to a TAP: whole, metadata and all")
        let cut = sent.dropFirst()
        #expect(cut.map(\.frame) == expected && cut.allSatisfy { $0.port == tunnel })
        #expect(cut.allSatisfy { $0.vxlan == vxlan([]) && $0.envelope == cut.first?.envelope })
        #expect(rig.counters(tunnel)[.txPackets] == UInt64(expected.count))
        #expect(rig.counters(tunnel)[.txBytes] == UInt64(expected.reduce(0) { $0 + $1.count }))
        #expect(rig.counters(ingress)[.rxForwarded] == 1)
        #expect(rig.counters(ingress)[.rxCopies] == UInt64(expected.count + 1))
    }

    @Test("a superframe whose segments do not fit is refused whole and answered by ICMP")
    func segmentsTooLarge() {
        let rig = Rig()
        let bridge = rig.bridge()
        let ingress = rig.local(bridge)
        let tunnel = rig.tunnel(bridge, to: "192.0.2.1", mtu: 1450)
        var engine = Engine(rig.program)
        let frame = TestFrame.tcp4([UInt8](repeating: 5, count: 5000))
        let fitting = engine.forward(frame.bytes(.partial), frame.offload(segment: 1410), ingress: ingress)
        #expect(fitting.count == 4 && fitting.allSatisfy { $0.frame.count <= 1464 })
        let sent = engine.forward(frame.bytes(.partial), frame.offload(segment: 1411), ingress: ingress)
        #expect(sent.map(\.port) == [ingress], "only the ICMP answer")
        #expect(rig.counters(tunnel).transmitDrops(.mtuExceeded) == 1)
        #expect(rig.counters(ingress)[.icmpGenerated] == 1)
        // A last segment that fits by itself does not help; a small superframe does.
        let small = TestFrame.tcp4([UInt8](repeating: 5, count: 100))
        #expect(
            engine.forward(small.bytes(.partial), small.offload(segment: 9000), ingress: ingress).map(\.frame)
                == [small.bytes()])
    }

    @Test("metadata that does not fit the headers is refused: no plan, and bad_offload at the egress")
    func badMetadata() {
        let payload = [UInt8](repeating: 1, count: 3000)
        var cases: [(String, [UInt8], Offload)] = []
        for (name, frame) in [
            ("tcp4", TestFrame.tcp4(payload)), ("tcp6", .tcp6(payload)), ("udp", .udp4(payload)),
        ] {
            let right = frame.offload(segment: 1000)
            cases.append(("\(name) of size 0", frame.bytes(.partial), right.with { $0.segmentByteCount = 0 }))
            for other in [Offload.Segmentation.tcp4, .tcp6, .udp] where other != right.segmentation {
                cases.append(
                    ("\(name) as \(other)", frame.bytes(.partial), right.with { $0.segmentation = other }))
            }
            let bare = frame.with { $0.payload = [] }
            cases.append(("\(name) without payload", bare.bytes(.partial), right))
            let cut = Array(frame.bytes(.partial).prefix(frame.headerByteCount - 1))
            cases.append(("\(name) cut in its header", cut, right))
        }
        let fragment = TestFrame.tcp4(payload)
        cases.append(
            ("a fragment", fragment.fragment(offset: 0, more: true), fragment.offload(segment: 1000)))
        cases.append(("no IP at all", ethernet(payload, .arp), fragment.offload(segment: 1000)))
        let long = TestFrame.tcp6(payload).with { $0.options = [UInt8](repeating: 0, count: 510) }
        cases.append(("550 bytes of headers", long.bytes(.partial), long.offload(segment: 1000)))
        for (name, bytes, offload) in cases {
            withFrame(bytes, offload) { #expect(SegmentPlan($0, FrameShape($0)) == nil, "\(name)") }
            let rig = Rig()
            let bridge = rig.bridge()
            let ingress = rig.local(bridge, mtu: 9000)
            let others = [rig.local(bridge, mtu: 9000), rig.tunnel(bridge, to: "192.0.2.1", mtu: 9000)]
            var engine = Engine(rig.program)
            #expect(engine.forward(bytes, offload, ingress: ingress).isEmpty, "\(name)")
            for port in others { #expect(rig.counters(port).transmitDrops(.badOffload) == 1, "\(name)") }
            #expect(rig.counters(ingress)[.rxCopies] == 2)
        }
    }

    @Test("a frame that is not to be cut has no plan")
    func none() {
        let frame = TestFrame.tcp4([1, 2, 3])
        withFrame(frame.bytes()) { #expect(SegmentPlan($0, FrameShape($0)) == nil) }
    }
}

extension Offload {
    func with(_ change: (inout Offload) -> Void) -> Offload {
        var copy = self
        change(&copy)
        return copy
    }
}
