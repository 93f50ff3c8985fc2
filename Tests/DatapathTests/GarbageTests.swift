// Owns: the promise that no frame, metadata or datagram makes the datapath trap or read outside what it was
// given. Memory ends at a guard page, so a read too far ends the test process.

import Testing
import Wire

@testable import Datapath

@Suite("garbage")
struct GarbageTests {
    /// Frames worth damaging: every branch of the parsers is one changed byte away from one of them.
    private static let seeds: [[UInt8]] = {
        var frames = SegmentationTests.shapes.map { $0.with { $0.payload = [1, 2, 3, 4, 5] } }
        frames += SegmentationTests.shapes.map { $0.with { $0.payload = [UInt8](repeating: 9, count: 90) } }
        frames += ChecksumCompletionTests.frames
        var bytes = frames.flatMap { [$0.bytes(), $0.bytes(.partial)] }.filter { $0.count < 256 }
        bytes.append(TestFrame.udp4([UInt8](repeating: 1, count: 64)).fragment(offset: 0, more: true))
        bytes.append(TestFrame.udp4(hex("08 00 f7 ff 00 00 00 00")).with { $0.transport = .icmp }.bytes())
        bytes.append(TestFrame.udp6(hex("80 00 00 00 00 00 00 00")).with { $0.transport = .icmpv6 }.bytes())
        // Hop-by-hop, routing, fragment, authentication, UDP.
        bytes.append(
            TestFrame.udp6(
                hex(
                    """
                    2b 00 01 04 00 00 00 00
                    2c 00 00 00 00 00 00 00
                    33 00 00 01 00 00 00 2a
                    11 04 00 00 00 00 00 01 00 00 00 02 00 00 00 00 00 00 00 00 00 00 00 00
                    00 01 00 02 00 08 00 00
                    """)
            ).with { $0.transport = .hopByHopOptions }.bytes())
        bytes.append(ethernet([UInt8](repeating: 0, count: 28), .arp))
        bytes.append(Question.arp("192.0.2.9").bytes)
        bytes.append(Question.arp("192.0.2.9").with { $0.tags = [7] }.bytes)
        bytes.append(Question.solicitation("2001:db8::9").bytes)
        bytes.append(Question.solicitation("2001:db8::9").with { $0.asks = "::" }.bytes)
        return bytes
    }()

    /// A frame with a few bytes changed, cut or extended; sometimes noise.
    private func damaged(_ generator: inout SeededGenerator) -> [UInt8] {
        if generator.chance(5) { return generator.bytes(generator.below(120)) }
        var bytes = Self.seeds[generator.below(Self.seeds.count)]
        for _ in 0..<generator.below(5) {
            let values: [UInt8] = [0, 0xff, 0x7f, 0x80, UInt8(truncatingIfNeeded: generator.next())]
            bytes[generator.below(bytes.count)] = values[generator.below(5)]
        }
        if generator.chance(30) { bytes.removeLast(generator.below(bytes.count + 1)) }
        if generator.chance(5) { bytes += generator.bytes(generator.below(40)) }
        return bytes
    }

    private func offload(_ generator: inout SeededGenerator) -> Offload {
        let kinds: [Offload.Segmentation] = [.none, .tcp4, .tcp6, .udp]
        let number = UInt16(truncatingIfNeeded: generator.next())
        return Offload(
            segmentation: kinds[generator.below(4)], needsChecksum: generator.chance(70),
            segmentByteCount: generator.chance(10) ? number : number % 100,
            checksumStart: generator.chance(10) ? number : UInt16(generator.below(80)),
            checksumOffset: generator.chance(10) ? number : generator.chance(50) ? 6 : 16)
    }

    private func encapsulated(_ frame: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
        var header = vxlan([])
        if generator.chance(10) {
            header[generator.below(8)] = UInt8(truncatingIfNeeded: generator.next())
        }
        return header + frame
    }

    /// A frame and copies of it, some of them damaged, the last one perhaps cut.
    private func damagedTrain(_ generator: inout SeededGenerator) -> [UInt8] {
        let seed = Self.seeds[generator.below(Self.seeds.count)]
        let damage = [0, 3, 30][generator.below(3)]
        var train: [UInt8] = []
        for _ in 0..<1 + generator.below(8) {
            var frame = seed
            while generator.chance(damage) {
                frame[generator.below(frame.count)] = UInt8(truncatingIfNeeded: generator.next())
            }
            train += encapsulated(frame, &generator)
        }
        if generator.chance(40) { train.removeLast(generator.below(seed.count)) }
        return train
    }

    /// Ports with tight MTUs, so that every way on is taken.
    private func makeRig() -> Rig {
        let rig = Rig()
        rig.listener()
        let bridge = rig.bridge(capacity: 16)
        rig.local(bridge)
        rig.local(bridge, mtu: 100)
        let tunnel = rig.tunnel(bridge, to: "192.0.2.1", mtu: 70)
        rig.bind(bridge, [(mac(99), tunnel, ["192.0.2.9", "2001:db8::9"])])
        rig.tunnel(bridge, to: "2001:db8::1", mtu: 1450) {
            $0.timeToLive = 0
            $0.inheritsTypeOfService = true
        }
        return rig
    }

    @Test("two hundred thousand damaged frames and datagrams are all accounted for")
    func everything() {
        var generator = SeededGenerator(seed: 0xbadf00d)
        let rig = makeRig()
        var engine = Engine(rig.program)
        var twin = Twin()
        let memory = GuardedMemory(capacity: 8192)
        defer { withExtendedLifetime(memory) {} }
        let sources = [packed("192.0.2.1"), packed("2001:db8::1"), packed("203.0.113.9")]
        let start = ContinuousClock.now
        var count: UInt64 = 0
        // A slow machine does fewer; the seed makes every prefix of the run the same.
        while count < 200_000, ContinuousClock.now - start < .seconds(5) {
            for _ in 0..<100 {
                var bytes = damaged(&generator)
                if generator.chance(50) {
                    let frame = Superframe(
                        base: memory.place(bytes), byteCount: bytes.count, offload: offload(&generator))
                    engine.forward(
                        frame, ingress: UInt32(generator.below(2)), nowMilliseconds: count * 50, to: &twin)
                } else {
                    bytes = encapsulated(bytes, &generator)
                    if generator.chance(5) { bytes.removeLast(generator.below(bytes.count + 1)) }
                    let datagram = Datagram(
                        base: memory.place(bytes), byteCount: bytes.count, isTruncated: generator.chance(1),
                        typeOfService: UInt8(truncatingIfNeeded: generator.next()),
                        source: sources[generator.below(40) / 19])
                    engine.receive(datagram, listener: 0, nowMilliseconds: count * 50, to: &twin)
                }
            }
            count += 100
            _ = twin.take()
        }
        let sum = rig.total(0)
        let listener = rig.listenerCounters(0)
        #expect(sum[.rxPackets] + listener.receiveDropTotal == count)
        #expect(sum[.rxPackets] == sum[.rxForwarded] + sum[.neighAnswered] + sum.receiveDropTotal)
        let made = sum[.icmpGenerated] + sum[.neighAnswered]
        #expect(sum[.rxCopies] + made == sum[.txPackets] + sum.transmitDropTotal)
        #expect(listener[.rxPackets] == listener[.rxForwarded] + listener.receiveDropTotal)
        // The run went everywhere it was meant to.
        for reason in [.runt, .hairpin, .splitHorizon, .congestionNotECN] as [DropReason] {
            #expect(sum.receiveDrops(reason) > 0, "\(reason)")
        }
        for reason in [.badOffload, .mtuExceeded] as [DropReason] {
            #expect(sum.transmitDrops(reason) > 0, "\(reason)")
        }
        #expect(sum[.icmpGenerated] > 0 && sum[.neighAnswered] > 100 && sum[.txPackets] > 1000)
    }

    @Test("fifty thousand damaged trains are all accounted for, datagram by datagram")
    func trains() {
        var generator = SeededGenerator(seed: 0xdecaf)
        let rig = makeRig()
        var engine = Engine(rig.program)
        var twin = Twin()
        let memory = GuardedMemory(capacity: 8192)
        defer { withExtendedLifetime(memory) {} }
        let start = ContinuousClock.now
        var offered = 0
        var merged = 0
        for round in 0..<50_000 {
            if round % 100 == 0, ContinuousClock.now - start > .seconds(5) { break }
            let bytes = damagedTrain(&generator)
            // Mostly where the frames really begin; sometimes anywhere.
            let count = 1 + generator.below(8)
            let segment =
                generator.chance(80) ? max(1, bytes.count / count) : 1 + generator.below(bytes.count + 20)
            let datagram = Datagram(
                base: memory.place(bytes), byteCount: bytes.count, segmentByteCount: segment,
                isTruncated: generator.chance(1),
                typeOfService: UInt8(generator.chance(80) ? 0 : generator.below(4)),
                source: packed(generator.chance(90) ? "192.0.2.1" : "203.0.113.9"))
            let before = rig.listenerCounters(0)[.rxPackets]
            engine.receive(datagram, listener: 0, nowMilliseconds: UInt64(round) * 50, to: &twin)
            let taken = Int(rig.listenerCounters(0)[.rxPackets] - before)
            #expect(taken == 1 || taken == (bytes.count + segment - 1) / segment)
            offered += taken
            merged += twin.take().count { $0.frameCount > 1 }
        }
        let sum = rig.total(0)
        let listener = rig.listenerCounters(0)
        #expect(listener[.rxPackets] == UInt64(offered))
        #expect(listener[.rxPackets] == listener[.rxForwarded] + listener.receiveDropTotal)
        #expect(sum[.rxPackets] == listener[.rxForwarded])
        #expect(sum[.rxPackets] == sum[.rxForwarded] + sum[.neighAnswered] + sum.receiveDropTotal)
        let made = sum[.icmpGenerated] + sum[.neighAnswered]
        #expect(sum[.rxCopies] + made == sum[.txPackets] + sum.transmitDropTotal)
        #expect(merged > 100, "\(merged) of \(offered)")
    }

    @Test("a shape never points outside its frame")
    func shapes() {
        var generator = SeededGenerator(seed: 5)
        let memory = GuardedMemory(capacity: 8192)
        defer { withExtendedLifetime(memory) {} }
        for _ in 0..<50_000 {
            let bytes = damaged(&generator)
            let layers = FrameShape(Superframe(base: memory.place(bytes), byteCount: bytes.count))
            guard bytes.count >= 14 else { continue }
            #expect(Int(layers.networkOffset) <= bytes.count)
            if layers.isIP { #expect(Int(layers.transportOffset) <= bytes.count) }
            if layers.transport != .other {
                #expect(layers.isIP && !layers.isFragment)
                #expect(layers.networkOffset < layers.transportOffset)
                #expect(layers.transportOffset < layers.payloadOffset)
                #expect(Int(layers.payloadOffset) <= bytes.count)
            }
        }
    }
}
