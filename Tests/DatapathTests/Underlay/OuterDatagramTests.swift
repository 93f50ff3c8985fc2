// Owns: whole outer frames taken in: what is refused and why, what the kernel's word is taken for, and the promise
// that every byte and frame is accounted for.

import Testing
import Wire

@testable import Datapath

@Suite("outer frames in")
struct OuterDatagramTests {
    private static let inner = TestFrame.udp4([1, 2, 3, 4, 5]).with { $0.destination = mac(0x77) }
    private static let good = OuterFrameBytes().with { $0.payload = vxlan(inner.bytes()) }
    private static let good6 = good.with { $0.isIPv4 = false }

    private func datagram(
        _ bytes: [UInt8], _ offload: Offload = .none, isEncapsulated: Bool = false, isVerified: Bool = false,
        _ body: (OuterDatagram) -> Void
    ) {
        withFrame(bytes) {
            body(
                OuterDatagram(
                    checking: OuterFrame(
                        base: $0.base, byteCount: $0.byteCount, offload: offload,
                        isEncapsulated: isEncapsulated, isVerified: isVerified)))
        }
    }

    /// A copy with bytes changed, and the IPv4 header's checksum made right again.
    private static func changed(_ frame: OuterFrameBytes, _ changes: [(Int, [UInt8])]) -> [UInt8] {
        var bytes = frame.bytes
        for (place, values) in changes { bytes.replaceSubrange(place..<place + values.count, with: values) }
        if frame.isIPv4 {
            bytes.replaceSubrange(24..<26, with: [0, 0])
            bytes.replaceSubrange(24..<26, with: bigEndian(plainChecksum(bytes[14..<34])))
        }
        return bytes
    }

    private static let refused: [(String, [UInt8], DropReason)] = [
        ("nothing", [], .outerMalformed),
        ("half an Ethernet header", Array(good.bytes[..<13]), .outerMalformed),
        ("no IP header", Array(good.bytes[..<20]), .outerMalformed),
        ("no UDP header", Array(good.bytes[..<41]), .outerMalformed),
        ("a byte short", good.bytes.dropLast(), .outerMalformed),
        ("a byte short, IPv6", good6.bytes.dropLast(), .outerMalformed),
        ("another EtherType", changed(good, [(12, [0x08, 0x06])]), .outerMalformed),
        ("tagged", Array(good.bytes[..<12] + [0x81, 0, 0, 5] + good.bytes[12...]), .outerMalformed),
        ("version 5", changed(good, [(14, [0x55])]), .outerMalformed),
        ("IHL 4", changed(good, [(14, [0x44])]), .outerMalformed),
        (
            "a wrong header checksum",
            {
                var b = good.bytes
                b[24] ^= 1
                return b
            }(), .outerMalformed
        ),
        ("a first fragment", changed(good, [(20, [0x20, 0])]), .outerMalformed),
        ("a last fragment", changed(good, [(20, [0, 9])]), .outerMalformed),
        ("TCP", changed(good, [(23, [6])]), .outerMalformed),
        ("a total length below its header", changed(good, [(16, [0, 19])]), .outerMalformed),
        ("version 4 in IPv6", changed(good6, [(14, [0x40])]), .outerMalformed),
        ("an extension header", changed(good6, [(20, [0])]), .outerMalformed),
        ("a jumbogram", changed(good6, [(18, [0, 0])]), .outerMalformed),
        ("a UDP length of 7", changed(good, [(38, [0, 7])]), .outerMalformed),
        ("a UDP length of 0", changed(good, [(38, [0, 0])]), .outerMalformed),
        ("a UDP length beyond the packet", changed(good, [(38, [0xff, 0xff])]), .outerMalformed),
        ("a wrong UDP checksum", changed(good, [(41, [good.bytes[41] ^ 1])]), .outerChecksum),
        ("a wrong UDP checksum, IPv6", changed(good6, [(61, [good6.bytes[61] ^ 1])]), .outerChecksum),
        ("a changed payload", changed(good, [(60, [0xee])]), .outerChecksum),
        ("a changed source", changed(good, [(27, [9])]), .outerChecksum),
    ]

    @Test("what is malformed is refused for its reason, and counted")
    func malformed() {
        for (name, bytes, reason) in Self.refused {
            datagram(bytes) { #expect(!$0.isAccepted && $0.reason == reason, "\(name)") }
            let ways = Ways()
            var engine = ways.engine()
            let sent = engine.receive(outer: bytes)
            let row = ways.rig.uplinkCounters(0)
            #expect(sent.isEmpty && row[.rxPackets] == 1 && row.receiveDrops(reason) == 1, "\(name)")
            #expect(row.receiveDropTotal == 1 && row[.rxBytes] == UInt64(bytes.count), "\(name)")
        }
    }

    @Test("a datagram without a listener is refused: another port, or another family")
    func noListener() {
        let ways = Ways()
        var engine = ways.engine()
        _ = engine.receive(outer: Self.good.with { $0.destinationPort = 4790 }.bytes)
        #expect(ways.rig.uplinkCounters(0).receiveDrops(.noListener) == 1)
    }

    @Test("what is well-formed is forwarded, on both families", arguments: [true, false])
    func forwarded(isIPv4: Bool) {
        let ways = Ways()
        var engine = ways.engine()
        let sent = engine.receive(outer: Self.good.with { $0.isIPv4 = isIPv4 }.bytes)
        #expect(sent.map(\.frame) == [Self.inner.bytes()] && sent.map(\.port) == [0])
        let uplink = ways.rig.uplinkCounters(0)
        #expect(uplink[.rxPackets] == 1 && uplink[.rxForwarded] == 1 && uplink.receiveDropTotal == 0)
        #expect(ways.rig.listenerCounters(isIPv4 ? 0 : 1)[.rxForwarded] == 1)
        #expect(ways.rig.counters(isIPv4 ? 1 : 2)[.rxPackets] == 1 && ways.balance)
    }

    @Test("padding is cut, and the UDP length is what counts", arguments: [true, false])
    func lengths(isIPv4: Bool) {
        let padded = Self.good.with {
            ($0.isIPv4, $0.padding, $0.slack) = (isIPv4, 9, 3)
        }
        datagram(padded.bytes) {
            #expect($0.isAccepted && $0.isIPv4 == isIPv4 && $0.datagram.byteCount == padded.payload.count)
            #expect($0.datagram.source == packed(isIPv4 ? "192.0.2.1" : "2001:db8::1"))
            #expect($0.datagram.destination == packed(isIPv4 ? "192.0.2.100" : "2001:db8::100"))
        }
    }

    @Test(
        "a zero checksum, a verified one and one left to hardware are not looked at",
        arguments: [true, false])
    func checksums(isIPv4: Bool) {
        let good = Self.good.with { ($0.isIPv4, $0.typeOfService) = (isIPv4, 0xb9) }
        datagram(good.with { $0.checksum = false }.bytes) {
            #expect($0.isAccepted && $0.datagram.typeOfService == 0xb9)
        }
        let field = good.transportOffset + 6
        let wrong = Self.changed(good, [(field, [0xab, 0xcd])])
        datagram(wrong) { #expect($0.reason == .outerChecksum && !$0.isAccepted) }
        datagram(wrong, isVerified: true) { #expect($0.isAccepted) }
        let partial = Offload(
            needsChecksum: true, checksumStart: UInt16(good.transportOffset), checksumOffset: 6)
        datagram(wrong, partial) {
            #expect($0.isAccepted && $0.datagram.isOffloadKnown && $0.datagram.offload == .none)
        }
    }

    /// `count` datagrams of one size behind one header.
    private func train(_ count: Int, _ frame: [UInt8], last: [UInt8]? = nil) -> (
        bytes: [UInt8], offload: Offload
    ) {
        let payload = (0..<count).flatMap { _ in vxlan(frame) } + (last.map { vxlan($0) } ?? [])
        let offload = Offload(
            segmentation: .udp, needsChecksum: true, segmentByteCount: UInt16(8 + frame.count),
            checksumStart: 34, checksumOffset: 6)
        return (Self.good.with { $0.payload = payload }.bytes, offload)
    }

    @Test("a train is taken apart, its inner checksums completed where they were left open")
    func trains() {
        let ways = Ways()
        var engine = ways.engine()
        let complete = TestFrame.tcp4([1, 2, 3]).with { $0.destination = mac(0x77) }.with {
            $0.flags = [.ack, .syn]
        }
        let (bytes, offload) = train(3, complete.bytes(), last: Self.inner.with { $0.payload = [9] }.bytes())
        let sent = engine.receive(outer: bytes, offload)
        #expect(
            sent.map(\.frame) == [
                complete.bytes(), complete.bytes(), complete.bytes(),
                Self.inner.with { $0.payload = [9] }.bytes(),
            ])
        let (open, openOffload) = train(2, complete.bytes(.partial))
        let completed = engine.receive(outer: open, openOffload)
        #expect(completed.count == 2 && completed.allSatisfy { $0.offload.needsChecksum })
        #expect(ways.rig.listenerCounters(0)[.rxPackets] == 6 && ways.rig.uplinkCounters(0)[.rxPackets] == 2)
        #expect(ways.balance && ways.rig.counters(0)[.txPackets] == 6)
    }

    @Test("a superframe inside counts as the frames it would have been", arguments: [true, false])
    func superframe(isIPv4: Bool) {
        let ways = Ways()
        var engine = ways.engine()
        let frame = Self.inner.with { $0.payload = [UInt8](repeating: 3, count: 2500) }
        let outer = OuterFrameBytes().with {
            ($0.isIPv4, $0.payload) = (isIPv4, vxlan(frame.bytes(.partial)))
        }
        var offload = frame.offload(segment: 1000)
        offload.checksumStart += UInt16(outer.transportOffset + 16)
        let sent = engine.receive(outer: outer.bytes, offload, isEncapsulated: true)
        #expect(sent.count == 1 && sent[0].offload == frame.offload(segment: 1000))
        #expect(sent.first?.frame == frame.bytes(.partial) && sent.first?.frameCount == 3)
        let row = ways.rig.counters(isIPv4 ? 1 : 2)
        #expect(row[.rxPackets] == 3 && row[.rxBytes] == UInt64(frame.bytes().count + 2 * 42))
        #expect(ways.rig.listenerCounters(isIPv4 ? 0 : 1)[.rxBytes] == row[.rxBytes] + 24 && ways.balance)
    }

    @Test("metadata that fits no frame is refused")
    func odd() {
        let inner = Self.inner.offload(segment: 2)
        func words(_ start: Int, _ kind: Offload.Segmentation, needs: Bool = true, segment: UInt16 = 2)
            -> Offload
        {
            Offload(
                segmentation: kind, needsChecksum: needs, segmentByteCount: segment,
                checksumStart: UInt16(start), checksumOffset: 6)
        }
        let innerStart = 50 + Int(inner.checksumStart)
        let table: [(String, Offload, Bool)] = [
            ("to be cut, but nothing about checksums", words(34, .udp, needs: false), false),
            ("the same in a tunnel", words(innerStart, .udp, needs: false), true),
            ("a train in a tunnel", words(34, .udp), true),
            ("a train of TCP", words(34, .tcp4), false),
            ("a train of nothing", words(34, .udp, segment: 0), false),
            ("a checksum in the outer IP header", words(20, .none), false),
            ("a checksum in the VXLAN header", words(45, .none), false),
            ("a checksum in the inner Ethernet header", words(64, .none), false),
            ("to be cut inside, but not in a tunnel", words(innerStart, .udp), false),
        ]
        for (name, offload, isEncapsulated) in table {
            datagram(Self.good.bytes, offload, isEncapsulated: isEncapsulated) {
                #expect(!$0.isAccepted && $0.reason == .outerMalformed, "\(name)")
            }
        }
        // What points behind the frame, or cuts along another protocol, goes no further than its port.
        let ways = Ways()
        var engine = ways.engine()
        #expect(
            engine.receive(outer: Self.good.bytes, words(innerStart, .tcp4), isEncapsulated: true).isEmpty)
        #expect(ways.rig.counters(0).transmitDrops(.badOffload) == 1 && ways.balance)
    }

    @Test("a hundred thousand damaged outer frames are all accounted for")
    func garbage() {
        var generator = SeededGenerator(seed: 0xfeed)
        let ways = Ways()
        var engine = ways.engine()
        var twin = Twin()
        let memory = GuardedMemory(capacity: 8192)
        defer { withExtendedLifetime(memory) {} }
        let seeds = [true, false].flatMap { isIPv4 in
            SegmentationTests.shapes.flatMap { shape in
                [TestFrame.Sum.complete, .partial].map { sum in
                    OuterFrameBytes().with {
                        $0.isIPv4 = isIPv4
                        $0.payload = vxlan(
                            shape.with { $0.payload = [UInt8](repeating: 9, count: 40) }.bytes(sum))
                    }.bytes
                }
            }
        }
        let kinds: [Offload.Segmentation] = [.none, .none, .tcp4, .tcp6, .udp]
        let start = ContinuousClock.now
        var (count, byteCount) = (0, 0)
        while count < 100_000, ContinuousClock.now - start < .seconds(5) {
            var bytes = seeds[generator.below(seeds.count)]
            for _ in 0..<generator.below(4) {
                bytes[generator.below(bytes.count)] = UInt8(truncatingIfNeeded: generator.next())
            }
            if generator.chance(10) { bytes.removeLast(generator.below(bytes.count + 1)) }
            let number = UInt16(truncatingIfNeeded: generator.next())
            let offload = Offload(
                segmentation: kinds[generator.below(5)], needsChecksum: generator.chance(60),
                segmentByteCount: generator.chance(10) ? number : number % 100,
                checksumStart: [34, 54, 84, 104, UInt16(generator.below(160)), number][generator.below(6)],
                checksumOffset: generator.chance(80) ? 6 : number)
            let frame = OuterFrame(
                base: memory.place(bytes), byteCount: bytes.count, offload: offload,
                isEncapsulated: generator.chance(40), isVerified: generator.chance(70))
            engine.receive(frame, uplink: 0, nowMilliseconds: UInt64(count), to: &twin)
            count += 1
            byteCount += bytes.count
            _ = twin.take()
        }
        let uplink = ways.rig.uplinkCounters(0)
        #expect(uplink[.rxPackets] == UInt64(count) && uplink[.rxBytes] == UInt64(byteCount))
        #expect(uplink[.rxPackets] == uplink[.rxForwarded] + uplink.receiveDropTotal)
        let listeners = ways.rig.listenerCounters(0) + ways.rig.listenerCounters(1)
        #expect(listeners[.rxPackets] == listeners[.rxForwarded] + listeners.receiveDropTotal)
        #expect(listeners[.rxPackets] >= uplink[.rxForwarded])
        let sum = ways.rig.total(ways.bridge)
        #expect(sum[.rxPackets] == listeners[.rxForwarded] && sum[.icmpGenerated] == 0)
        #expect(ways.balance && sum[.txPackets] > 1000 && uplink.receiveDrops(.outerChecksum) > 100)
    }
}
