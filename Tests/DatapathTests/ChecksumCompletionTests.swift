// Owns: partial checksums. Handed on as they are to TAPs, completed for the wire, recovered from peers whose
// kernel never completed them.

import Testing
import Wire

@testable import Datapath

/// The frame after completion, nil where that was refused; a refused frame must not change.
private func completed(_ bytes: [UInt8], _ offload: Offload) -> [UInt8]? {
    withFrame(bytes, offload) { frame in
        guard frame.completeChecksum() else {
            #expect(frame.bytes == bytes && frame.offload == offload)
            return nil
        }
        #expect(!frame.offload.needsChecksum)
        return frame.bytes
    }
}

@Suite("partial checksums")
struct ChecksumCompletionTests {
    static let frames: [TestFrame] = [
        .tcp4([]), .tcp4([1]), .udp4([1, 2, 3]), .tcp6([1, 2]), .udp6([9, 8, 7, 6, 5]),
        TestFrame.tcp4([1, 2, 3]).with { $0.tags = [5] }, TestFrame.udp6([1]).with { $0.tags = [5, 0x6007] },
        TestFrame.udp4([1]).with { $0.options = [1, 1, 1, 0] },
        TestFrame.tcp6([1]).with { $0.options = [1, 4, 0, 0, 0, 0] },
        TestFrame.tcp4([UInt8](repeating: 0xff, count: 1001)).with { $0.tcpOptions = [1, 1, 1, 0] },
    ]

    @Test("completing gives the bytes a sender without offload would have sent", arguments: frames)
    func complete(frame: TestFrame) {
        #expect(completed(frame.bytes(.partial), frame.offload()) == frame.bytes(.complete))
        #expect(completed(frame.bytes(.complete), .none) == frame.bytes(.complete), "nothing to do")
    }

    @Test("a checksum that comes out as zero is written as ffff in UDP and stays zero in TCP")
    func zero() {
        for (frame, expected) in [(TestFrame.udp4(), [0xff, 0xff]), (.tcp4(), [0, 0])]
            as [(TestFrame, [UInt8])]
        {
            // The checksum of a payload of zero is the payload that makes it zero.
            let plain = frame.with { $0.payload = [0, 0] }.bytes()
            let field = frame.transportOffset + frame.checksumOffset
            let tuned = frame.with { $0.payload = Array(plain[field..<field + 2]) }
            #expect(Array(tuned.bytes(.complete)[field..<field + 2]) == expected)
            #expect(completed(tuned.bytes(.partial), tuned.offload()) == tuned.bytes(.complete))
        }
    }

    @Test(
        "metadata that points outside the frame is refused and nothing is written",
        arguments: [(33, 100), (0, 6), (13, 6), (44, 6), (43, 0), (0xffff, 0xffff), (36, 0), (14, 29)])
    func outside(start: Int, offset: Int) {
        let bytes = Array(TestFrame.udp4([1, 2]).bytes(.partial).prefix(37))
        let offload = Offload(
            needsChecksum: true, checksumStart: UInt16(start), checksumOffset: UInt16(offset))
        let isInside = start >= 14 && start + offset + 2 <= bytes.count
        #expect((completed(bytes, offload) != nil) == isInside)
    }

    @Test("a flooded partial frame reaches guests as it is and tunnels complete", arguments: frames)
    func flood(frame: TestFrame) {
        let rig = Rig()
        let bridge = rig.bridge()
        let ingress = rig.local(bridge)
        let far = rig.tunnel(bridge, to: "192.0.2.1")
        let guest = rig.local(bridge)
        let far2 = rig.tunnel(bridge, to: "192.0.2.2")
        var engine = Engine(rig.program)
        let sent = engine.forward(frame.bytes(.partial), frame.offload(), ingress: ingress)
        #expect(sent.map(\.port) == [guest, far, far2])
        #expect(sent[0].frame == frame.bytes(.partial) && sent[0].offload == frame.offload())
        #expect(sent[1].frame == frame.bytes(.complete) && sent[2].frame == frame.bytes(.complete))
    }

    @Test("a partial frame with bad metadata is dropped at each tunnel, counted as bad_offload")
    func badMetadata() {
        let rig = Rig()
        let bridge = rig.bridge()
        let ingress = rig.local(bridge)
        let tunnels = [rig.tunnel(bridge, to: "192.0.2.1"), rig.tunnel(bridge, to: "192.0.2.2")]
        var engine = Engine(rig.program)
        let offload = Offload(needsChecksum: true, checksumStart: 1000, checksumOffset: 6)
        #expect(engine.forward(TestFrame.udp4([1]).bytes(), offload, ingress: ingress).isEmpty)
        for tunnel in tunnels { #expect(rig.counters(tunnel).transmitDrops(.badOffload) == 1) }
        #expect(rig.counters(ingress)[.rxCopies] == 2)
    }
}

@Suite("what a peer's kernel left undone")
struct RecoverOffloadTests {
    /// The frame after recovery.
    private func recovered(_ bytes: [UInt8], mtu: Int = 1450) -> (bytes: [UInt8], offload: Offload) {
        withFrame(bytes) {
            recoverOffload(&$0, FrameShape($0), mtu: mtu)
            return ($0.bytes, $0.offload)
        }
    }

    @Test("a partial checksum is found, and then completes", arguments: ChecksumCompletionTests.frames)
    func partial(frame: TestFrame) {
        let result = recovered(frame.bytes(.partial))
        #expect(result.bytes == frame.bytes(.partial) && result.offload == frame.offload())
        #expect(completed(result.bytes, result.offload) == frame.bytes(.complete))
    }

    @Test("a complete checksum is left alone, padding and all", arguments: ChecksumCompletionTests.frames)
    func complete(frame: TestFrame) {
        for padding in [0, 1, 18] {
            let bytes = frame.with { $0.padding = padding }.bytes()
            let result = recovered(bytes)
            #expect(result.bytes == bytes && result.offload == .none)
        }
    }

    @Test("padding behind a partial frame is cut off, because completing would sum it")
    func padding() {
        for frame in ChecksumCompletionTests.frames {
            let result = recovered(frame.with { $0.padding = 7 }.bytes(.partial))
            #expect(result.bytes == frame.bytes(.partial) && result.offload == frame.offload())
        }
    }

    @Test("a right checksum that happens to equal the pseudo-header sum is left alone")
    func coincidence() {
        for plain in [TestFrame.tcp4([0, 0]), .udp4([0, 0]), .tcp6([0, 0]), .udp6([0, 0])] {
            let field = plain.transportOffset + plain.checksumOffset
            func word(_ bytes: [UInt8]) -> UInt16 { UInt16(bytes[field]) << 8 | UInt16(bytes[field + 1]) }
            let (complete, pseudo) = (word(plain.bytes()), word(plain.bytes(.partial)))
            // The payload word that moves the checksum there: complete - word = pseudo, carries added back.
            let tuned = plain.with {
                $0.payload = bigEndian(plainSum(bigEndian(complete) + bigEndian(~pseudo)))
            }
            #expect(word(tuned.bytes()) == word(tuned.bytes(.partial)))
            let result = recovered(tuned.bytes())
            #expect(result.bytes == tuned.bytes() && result.offload == .none)
        }
    }

    @Test("a wrong checksum stays wrong: the guest must see the damage")
    func damaged() {
        var bytes = TestFrame.tcp4([1, 2, 3]).bytes()
        bytes[bytes.count - 1] ^= 0x10
        let result = recovered(bytes)
        #expect(result.bytes == bytes && result.offload == .none)
    }

    @Test("UDP without a checksum keeps none")
    func noChecksum() {
        let bytes = TestFrame.udp4([1, 2, 3]).bytes(.zero)
        let result = recovered(bytes)
        #expect(result.bytes == bytes && result.offload == .none)
    }

    @Test(
        "a TCP superframe is cut to the tunnel's MTU",
        arguments: [(false, 0), (true, 0), (false, 2), (true, 1)])
    func superframe(isIPv6: Bool, tags: Int) {
        var frame = TestFrame.tcp4([UInt8](repeating: 3, count: 20_000))
        frame.isIPv6 = isIPv6
        frame.tags = [7, 8].suffix(tags)
        frame.tcpOptions = hex("01 01 08 0a 00 00 00 01 00 00 00 02")
        let result = recovered(frame.bytes(.partial))
        let segment = 1450 - (isIPv6 ? 40 : 20) - 32
        #expect(result.offload == frame.offload(segment: segment))
        // The largest frame that fits is none.
        frame.payload = [UInt8](repeating: 3, count: segment)
        #expect(recovered(frame.bytes(.partial)).offload == frame.offload())
        frame.payload.append(3)
        #expect(recovered(frame.bytes(.partial)).offload == frame.offload(segment: segment))
    }

    @Test("padding does not make a superframe")
    func paddedToMTU() {
        let frame = TestFrame.tcp4([UInt8](repeating: 1, count: 1400)).with { $0.padding = 100 }
        #expect(recovered(frame.bytes(.partial)).offload == frame.offload())
    }

    @Test("a large UDP frame gets no segment size: only TCP is handed over whole")
    func largeUDP() {
        let frame = TestFrame.udp4([UInt8](repeating: 3, count: 3000))
        #expect(recovered(frame.bytes(.partial)).offload == frame.offload())
    }

    @Test("an MTU too small for the headers makes no segments")
    func tinyMTU() {
        let frame = TestFrame.tcp4([UInt8](repeating: 3, count: 3000))
        for mtu in [0, 39, 40] {
            #expect(recovered(frame.bytes(.partial), mtu: mtu).offload == frame.offload())
        }
    }

    @Test("fragments, other protocols and frames that are not IP are left alone")
    func others() {
        let fragment = TestFrame.udp4([UInt8](repeating: 1, count: 64))
        let icmp = TestFrame.udp4(hex("08 00 f7 ff 00 00 00 00")).with { $0.transport = .icmp }
        for bytes in [
            fragment.fragment(offset: 0, more: true), fragment.fragment(offset: 64, more: false),
            icmp.bytes(), ethernet([1, 2, 3], .arp),
        ] {
            let result = recovered(bytes)
            #expect(result.bytes == bytes && result.offload == .none)
        }
    }

    @Test("a superframe from a tunnel reaches the guest whole, with the metadata to cut it")
    func delivered() {
        let rig = Rig()
        rig.listener()
        let bridge = rig.bridge()
        let guest = rig.local(bridge, mtu: 1450)
        rig.tunnel(bridge, to: "192.0.2.1")
        var engine = Engine(rig.program)
        let frame = TestFrame.tcp6([UInt8](repeating: 3, count: 20_000))
        let sent = engine.receive(vxlan(frame.bytes(.partial)), from: "192.0.2.1")
        let expected = Sent(
            port: guest, frame: frame.bytes(.partial), offload: frame.offload(segment: 1450 - 60))
        #expect(sent == [expected])
    }
}
