// Owns: putting frames of a train together. What leaves, cut again, is what came, frame for frame; runs are as
// long as the plain model's; and nobody can tell from the counters that anything was put together.

import Testing
import Wire

@testable import Datapath

@Suite("coalescing")
struct CoalescingTests {
    /// Two bridges, each with a tunnel from the same peer (VNI 100 and 200) and two local ports.
    private final class Bed {
        let rig = Rig()
        let bridges: [UInt32]

        init(mtu: UInt32 = 9000, strict: Bool = true) {
            bridges = [rig.bridge(), rig.bridge()]
            for (bridge, vni) in zip(bridges, [100, 200]) {
                rig.tunnel(bridge, to: "192.0.2.1", vni: vni, mtu: 9000)
                rig.local(bridge, mtu: mtu)
                rig.local(bridge, mtu: mtu, kind: .packetSocket)
                // Never used: split horizon holds for superframes as well.
                rig.tunnel(bridge, to: "192.0.2.2", vni: vni, mtu: 9000)
            }
            rig.dropsReservedBits = strict
            rig.listener()
        }

        /// Every row there is.
        var rows: [CounterSnapshot] {
            rig.ports.map(\.counters.snapshot) + [rig.listenerCounters(0)]
        }

        func expectBalance() {
            let listener = rig.listenerCounters(0)
            #expect(listener[.rxPackets] == listener[.rxForwarded] + listener.receiveDropTotal)
            for bridge in bridges {
                let sum = rig.total(bridge)
                #expect(sum[.rxPackets] == sum[.rxForwarded] + sum.receiveDropTotal)
                #expect(sum[.rxCopies] + sum[.icmpGenerated] == sum[.txPackets] + sum.transmitDropTotal)
            }
        }
    }

    /// What the receiving kernel makes of a superframe: the frames it stands for.
    static func cut(_ sent: Sent) -> [[UInt8]] {
        guard sent.frameCount > 1 else { return [sent.frame] }
        return withFrame(sent.frame, sent.offload) { superframe in
            guard let plan = SegmentPlan(superframe, FrameShape(superframe)) else { return [] }
            return (0..<plan.count).map { index in
                let header = emitted(plan.headerByteCount) {
                    plan.emitHeader(index, of: superframe, to: $0)
                }
                let start = plan.headerByteCount + index * plan.segmentByteCount
                return header + superframe.bytes[start..<start + plan.byteCount(of: index)]
            }
        }
    }

    /// A superframe as linux/virtio_net.h wants it: a pseudo-header sum to be completed, right lengths, and a
    /// right IPv4 header.
    static func expectWellFormed(_ sent: Sent) {
        let layers = shape(sent.frame)
        #expect(sent.offload.needsChecksum && sent.offload.segmentation != .none)
        #expect(Int(sent.offload.checksumStart) == Int(layers.transportOffset))
        #expect(Int(sent.offload.checksumOffset) == layers.transport.checksumOffset)
        let ip = Int(layers.networkOffset)
        let start = Int(layers.transportOffset)
        let length = sent.frame.count - start
        if layers.network == .ipv4 {
            #expect(plainSum(sent.frame[ip..<start]) == 0xffff)
            #expect(sent.frame[ip + 2..<ip + 4] + [] == bigEndian(UInt16(sent.frame.count - ip)))
        }
        let addresses = layers.network == .ipv4 ? ip + 12..<ip + 20 : ip + 8..<ip + 40
        let pseudo =
            sent.frame[addresses] + [0, layers.upperProtocol.rawValue] + bigEndian(UInt32(length))
        let field = start + layers.transport.checksumOffset
        #expect(sent.frame[field..<field + 2] + [] == bigEndian(plainSum(pseudo)))
        if layers.transport == .udp {
            #expect(sent.frame[start + 4..<start + 6] + [] == bigEndian(UInt16(length)))
        }
    }

    // MARK: The property

    @Test(
        "random trains leave as they came, as long as the rules allow, and counted one by one",
        arguments: 1...8 as ClosedRange<UInt64>)
    func random(seed: UInt64) {
        var generator = TrainGenerator(seed: seed)
        let strict = generator.random.chance(50)
        let (whole, single) = (Bed(strict: strict), Bed(strict: strict))
        var on = Engine(whole.rig.program)
        var off = Engine(single.rig.program, coalescing: .none)
        var merged = 0
        for number in 0..<40 {
            let train = generator.train()
            let mark = UInt8(generator.random.chance(70) ? 0 : generator.random.below(4))
            let isTruncated = generator.random.chance(2)
            let source = generator.random.chance(3) ? "203.0.113.9" : "192.0.2.1"
            let note: Comment = "seed \(seed), train \(number)"
            // What each datagram becomes by itself, by port.
            var alone: [UInt32: [Offered?]] = [:]
            for datagram in train {
                let sent = off.receive(
                    datagram, from: source, typeOfService: mark, isTruncated: isTruncated)
                for port in [1, 2, 5, 6] as [UInt32] {
                    let frame = sent.first { $0.port == port }?.frame
                    alone[port, default: []].append(
                        frame.map {
                            Offered(
                                header: Array(datagram[..<8]), frame: $0,
                                wasMarked: $0 != Array(datagram[8...]))
                        })
                }
                #expect(
                    sent.allSatisfy { mark != 0 || $0.frame == Array(datagram[8...]) }, note)
            }
            let sent = on.receive(
                train: train, from: source, typeOfService: mark, isTruncated: isTruncated)
            for port in [1, 2, 5, 6] as [UInt32] {
                let left = sent.filter { $0.port == port }
                let expected = modelRuns(alone[port] ?? [])
                #expect(left.map(\.frameCount) == expected.map(\.count), note)
                #expect(left.map(Self.cut) == expected, note)
            }
            for superframe in sent where superframe.frameCount > 1 {
                Self.expectWellFormed(superframe)
                merged += superframe.frameCount
            }
            #expect(whole.rows == single.rows, note)
        }
        whole.expectBalance()
        #expect(merged > 300, "seed \(seed) put too little together: \(merged)")
    }

    @Test("the generator makes every kind of frame there is, and superframes of every kind")
    func generatorIsWide() {
        var generator = TrainGenerator(seed: 1)
        var kinds: [String: Int] = [:]
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        for _ in 0..<400 {
            for sent in engine.receive(train: generator.train(), from: "192.0.2.1") where sent.frameCount > 1
            {
                let layers = shape(sent.frame)
                kinds["\(layers.transport) \(layers.network) \(layers.networkOffset)", default: 0] += 1
                if sent.frameCount == 64 { kinds["64", default: 0] += 1 }
            }
        }
        for transport in ["tcp", "udp"] {
            for network in ["ipv4", "ipv6"] {
                for offset in [14, 18, 22] {
                    #expect(kinds["\(transport) \(network) \(offset)", default: 0] > 0, "\(kinds)")
                }
            }
        }
        #expect(kinds["64", default: 0] > 0)
        #expect(TrainGenerator.Change.allCases.allSatisfy { generator.made[$0, default: 0] > 10 })
    }

    // MARK: The rules, one by one

    /// `count` frames that continue one another.
    static func flow(_ first: TestFrame, _ count: Int, payload: Int = 100) -> [TestFrame] {
        var generator = SeededGenerator(seed: 4)
        return (0..<count).map { index in
            first.with {
                $0.payload = generator.bytes(payload)
                $0.sequence = first.sequence &+ UInt32(index * payload)
                $0.identification = first.identification &+ UInt16(index)
            }
        }
    }

    /// How many frames each of what leaves stands for, at one local port.
    private func runs(_ datagrams: [[UInt8]], _ coalescing: Coalescing = .all) -> [Int] {
        let bed = Bed()
        var engine = Engine(bed.rig.program, coalescing: coalescing)
        let sent = engine.receive(train: datagrams, from: "192.0.2.1").filter { $0.port == 1 }
        bed.expectBalance()
        #expect(bed.rig.counters(1)[.txPackets] == UInt64(datagrams.count))
        return sent.map(\.frameCount)
    }

    private static let plain: [TestFrame] = [.tcp4(), .tcp6(), .udp4(), .udp6()]

    @Test("a train of 130 becomes 64, 64 and 2", arguments: plain)
    func longest(first: TestFrame) {
        #expect(runs(Self.flow(first, 130).map { vxlan($0.bytes()) }) == [64, 64, 2])
    }

    @Test("an IP packet has 65,535 bytes at most", arguments: plain)
    func largest(first: TestFrame) {
        // Exactly as large as allowed, then one byte more in the last frame.
        let headers = first.headerByteCount - 14
        let room = 65_535 - headers
        for (extra, expected) in [(0, [48]), (1, [47, 1])] {
            var frames = Self.flow(first, 48, payload: 1380)
            let rest = room - 47 * 1380
            #expect(rest > 0 && rest < 1380)
            frames[47].payload = [UInt8](repeating: 3, count: rest + extra)
            #expect(runs(frames.map { vxlan($0.bytes()) }) == expected)
        }
    }

    private typealias Difference = (inout TestFrame) -> Void

    @Test("one difference in the third of five frames ends a run, or lets it be")
    func oneDifference() {
        let apart: [Difference] = [
            { $0.trafficClass = 4 }, { $0.timeToLive = 9 }, { $0.flags = [.ack, .ece] },
            { $0.flags = [.ack, .cwr] }, { $0.flags = [.ack, .fin] }, { $0.flags = [.ack, .rst] },
            { $0.flags = [.ack, .urg] }, { $0.flags = [.ack, .syn] }, { $0.flags = [] },
            { $0.window = 511 }, { $0.acknowledgement = 7 }, { $0.urgentPointer = 1 },
            { $0.sequence &+= 1 }, { $0.sequence &-= 100 }, { $0.sourcePort = 1 },
            { $0.destinationPort = 1 }, { $0.source4 = ip4("192.0.2.3") },
            { $0.destination4 = ip4("192.0.2.3") }, { $0.source = mac(77) }, { $0.destination = mac(78) },
            { $0.doNotFragment = false },
        ]
        let table =
            apart.map { ($0, [2, 1, 2]) } + [
                ({ $0.flags = [.ack, .psh] }, [3, 2]), ({ $0.identification = 0 }, [5]),
            ] as [(Difference, [Int])]
        for (number, (change, expected)) in table.enumerated() {
            var frames = Self.flow(.tcp4(), 5)
            change(&frames[2])
            #expect(runs(frames.map { vxlan($0.bytes()) }) == expected, "row \(number)")
        }
    }

    @Test("without DF the identification must count up; it wraps")
    func identification() {
        let free = TestFrame.udp4().with {
            $0.doNotFragment = false
            $0.identification = 0xfffe
        }
        var frames = Self.flow(free, 5)
        #expect(runs(frames.map { vxlan($0.bytes()) }) == [5])
        frames[2].identification = 9
        #expect(runs(frames.map { vxlan($0.bytes()) }) == [2, 1, 2])
    }

    @Test("each kind of coalescing is used only where it is on", arguments: plain)
    func switches(first: TestFrame) {
        let datagrams = Self.flow(first, 3).map { vxlan($0.bytes()) }
        let isTCP = first.transport == .tcp
        #expect(runs(datagrams, Coalescing(tcp: true, udp: false)) == (isTCP ? [3] : [1, 1, 1]))
        #expect(runs(datagrams, Coalescing(tcp: false, udp: true)) == (isTCP ? [1, 1, 1] : [3]))
        #expect(runs(datagrams, .none) == [1, 1, 1])
    }

    @Test("a frame that is damaged goes on as it came: the guest's kernel is to see it", arguments: plain)
    func damaged(first: TestFrame) {
        for place in [first.networkOffset + 8, first.transportOffset + 1, first.headerByteCount + 3] {
            for index in 0..<4 {
                var datagrams = Self.flow(first, 4).map { vxlan($0.bytes()) }
                datagrams[index][8 + place] ^= 0x10
                let bed = Bed()
                var engine = Engine(bed.rig.program)
                let sent = engine.receive(train: datagrams, from: "192.0.2.1").filter { $0.port == 1 }
                let expected = modelRuns(
                    datagrams.map { Offered(header: Array($0[..<8]), frame: Array($0[8...])) })
                #expect(sent.map(Self.cut) == expected)
                #expect(sent.flatMap(Self.cut)[index] == Array(datagrams[index][8...]))
                #expect(sent.map(\.frameCount).max()! <= 3, "the damaged one is alone")
            }
        }
    }

    @Test("nothing follows a frame that was shorter, whatever a kernel should put behind it")
    func shorter() throws {
        var frames = Self.flow(.udp4(), 4)
        frames[2].payload = [1, 2, 3]
        let datagrams = frames.map { vxlan($0.bytes()) }
        let memory = datagrams.map { datagram in
            let memory = GuardedMemory(capacity: datagram.count)
            return (base: memory.place(datagram), memory)
        }
        defer { withExtendedLifetime(memory) {} }
        let first = Superframe(base: memory[0].base + 8, byteCount: datagrams[0].count - 8)
        var run = try #require(
            Run(
                memory[0].base, count: datagrams[0].count, FrameShape(first), port: 0, vni: 100,
                stride: datagrams[0].count, .all))
        let taken = (1..<4).map { run.accept(memory[$0].base, count: datagrams[$0].count) }
        #expect(taken == [true, true, false] && run.count == 3)
    }

    // MARK: Egresses that do not take it

    @Test(
        "a train too large for a port is counted frame by frame and answered once, by its first frame",
        arguments: [TestFrame.tcp4(), .tcp6(), .udp4(), .udp6()])
    func tooLarge(first: TestFrame) throws {
        let bed = Bed(mtu: 1300)
        let bridge = bed.bridges[0]
        var engine = Engine(bed.rig.program)
        // The destination is known behind port 1, so that one port refuses.
        _ = engine.forward(ethernet([1], .arp, from: TestFrame.destinationMAC, to: .broadcast), ingress: 1)
        let before = bed.rig.total(bridge)
        let frames = Self.flow(first, 5, payload: 1300).map { $0.bytes() }
        let sent = engine.receive(train: frames.map { vxlan($0) }, from: "192.0.2.1")
        #expect(bed.rig.counters(1).transmitDrops(.mtuExceeded) == 5)
        #expect(sent.map(\.port) == [0], "one answer, back into the tunnel")
        let answer = try #require(sent.first).frame
        let quote = first.isIPv6 ? 14 + 40 + 8 : 14 + 20 + 8
        #expect(Array(answer[quote...]) == Array(frames[0][14..<14 + answer.count - quote]))
        #expect(answer.count - quote >= 500)
        let after = bed.rig.total(bridge)
        #expect(after[.icmpGenerated] - before[.icmpGenerated] == 1)
        #expect(after[.rxPackets] - before[.rxPackets] == 5)
        bed.expectBalance()
    }

    @Test("a port that is down costs every frame of a train")
    func closed() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let datagrams = Self.flow(.tcp4(), 7).map { vxlan($0.bytes()) }
        let sent = engine.receive(train: datagrams, from: "192.0.2.1", closed: [1])
        #expect(sent.map(\.port) == [2] && sent.map(\.frameCount) == [7])
        #expect(bed.rig.counters(1).transmitDrops(.portDown) == 7)
        #expect(bed.rig.counters(2)[.txPackets] == 7)
        #expect(bed.rig.counters(2)[.txBytes] == UInt64(7 * (datagrams[0].count - 8)))
        bed.expectBalance()
    }

    @Test("drops that a decision makes count every frame of a train")
    func decided() {
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        // Behind the tunnel itself: hairpin. To a group reserved for bridges: not forwarded.
        _ = engine.receive(
            vxlan(ethernet([1], .arp, from: TestFrame.destinationMAC, to: .broadcast)), from: "192.0.2.1")
        _ = engine.receive(
            train: Self.flow(.udp4(), 6).map { vxlan($0.bytes()) }, from: "192.0.2.1")
        #expect(bed.rig.counters(0).receiveDrops(.hairpin) == 6)
        let reserved = TestFrame.udp6().with { $0.destination = mac("01:80:c2:00:00:03") }
        _ = engine.receive(train: Self.flow(reserved, 3).map { vxlan($0.bytes()) }, from: "192.0.2.1")
        #expect(bed.rig.counters(0).receiveDrops(.reservedMulticast) == 3)
        // Behind the other tunnel of the bridge: split horizon.
        _ = engine.receive(
            vxlan(ethernet([1], .arp, from: mac(99), to: .broadcast)), from: "192.0.2.2")
        let other = TestFrame.tcp6().with { $0.destination = mac(99) }
        _ = engine.receive(train: Self.flow(other, 4).map { vxlan($0.bytes()) }, from: "192.0.2.1")
        #expect(bed.rig.counters(0).receiveDrops(.splitHorizon) == 4)
        bed.expectBalance()
    }

    // MARK: Not a train

    @Test(
        "a UDP superframe of a kernel on the same machine is not taken for a train",
        arguments: [
            TestFrame.udp4(), .udp6(), TestFrame.udp4().with { $0.tags = [7] },
            TestFrame.udp6().with { $0.options = [1, 4, 0, 0, 0, 0] },
        ])
    func kernelSuperframe(shape: TestFrame) throws {
        var generator = SeededGenerator(seed: 11)
        for (payload, segment) in [(2, 1), (40, 1), (3000, 1200), (3600, 1200), (60_000, 1200)] {
            let bed = Bed(mtu: 1450)
            var engine = Engine(bed.rig.program)
            let frame = shape.with { $0.payload = generator.bytes(payload) }
            let bytes = vxlan(frame.bytes(.partial))
            var twin = Twin()
            withFrame(bytes) {
                let datagram = Datagram(
                    base: $0.base, byteCount: bytes.count, segmentByteCount: segment,
                    source: packed("192.0.2.1"))
                engine.receive(datagram, listener: 0, nowMilliseconds: 5_000, to: &twin)
            }
            let sent = try #require(twin.take().first)
            #expect(sent.frame == frame.bytes(.partial) && sent.offload == frame.offload(segment: segment))
            #expect(sent.offload.segmentation == .udp)
            #expect(bed.rig.listenerCounters(0)[.rxPackets] == 1)
            bed.expectBalance()
        }
    }

    @Test("a train whose first frame claims the length of all of it is nobody's superframe but its sender's")
    func liar() {
        // Three datagrams; the first one's packet says it is as long as all three. Nothing else suffers.
        let bed = Bed()
        var engine = Engine(bed.rig.program)
        let whole = TestFrame.udp4([UInt8](repeating: 1, count: 3 * 150)).bytes()
        let pieces = stride(from: 0, to: 480, by: 160).map { Array(vxlan(whole)[$0..<$0 + 160]) }
        let sent = engine.receive(train: pieces, from: "192.0.2.1")
        #expect(sent.allSatisfy { $0.frame.count < 500 })
        bed.expectBalance()
    }
}
