// Owns: outer headers as they are on the wire, and the ways flows take.

import Testing
import Wire

@testable import Datapath

@Suite("encapsulation down to the wire")
struct NativeEncapsulationTests {
    private func frame(_ ways: Ways, to port: UInt32, _ change: (inout TestFrame) -> Void = { _ in })
        -> TestFrame
    {
        TestFrame.udp4([1, 2, 3]).with { $0.destination = ways.station(port) }.with(change)
    }

    /// What leaves for a frame to tunnel `port`.
    private func leaving(
        _ ways: Ways, _ port: UInt32, _ change: (inout TestFrame) -> Void = { _ in }
    ) -> Sent? {
        ways.learn()
        var engine = ways.engine()
        let sent = engine.forward(frame(ways, to: port, change).bytes(), ingress: 0)
        return sent.count == 1 ? sent[0] : nil
    }

    @Test("an IPv4 header is right to the last bit")
    func ipv4() throws {
        let ways = Ways { $0.typeOfService = 0xb8 }
        let sent = try #require(leaving(ways, 1) { $0.trafficClass = 0x02 })
        #expect(sent.port == 1 && sent.vxlan == hex("08 00 00 00 00 00 64 00") && sent.outer.count == 42)
        #expect(sent.frame == frame(ways, to: 1) { $0.trafficClass = 0x02 }.bytes())
        let length = UInt16(8 + 8 + sent.frame.count)
        #expect(Array(sent.outer[..<14]) == hex("02 00 00 00 aa 01 02 00 00 00 01 00 08 00"))
        #expect(
            Array(sent.outer[14..<24]) == [0x45, 0xba] + bigEndian(20 + length) + hex("00 00 40 00 40 11"))
        #expect(plainSum(sent.outer[14..<34]) == 0xffff)
        #expect(Array(sent.outer[26..<34]) == hex("c0 00 02 64 c0 00 02 01"))
        #expect(Array(sent.outer[36..<40]) == bigEndian(UInt16(4789)) + bigEndian(length))
        #expect(Array(sent.outer[40...]) != [0, 0])
        let pseudo = sent.outer[26..<34] + [0, 17] + bigEndian(length)
        #expect(plainSum(pseudo + sent.outer[34...] + sent.vxlan + sent.frame) == 0xffff)
    }

    @Test("an IPv6 header is right to the last bit")
    func ipv6() throws {
        let ways = Ways { $0.timeToLive = 9 }
        let sent = try #require(leaving(ways, 2))
        #expect(sent.port == 2 && sent.outer.count == 62)
        let length = UInt16(8 + 8 + sent.frame.count)
        #expect(
            Array(sent.outer[..<6]) == hex("02 00 00 00 aa 01") && Array(sent.outer[12..<14]) == hex("86 dd"))
        #expect([0x00, 0x01].contains(sent.outer[11]), "the MAC address of one of two uplinks")
        #expect(Array(sent.outer[14..<22]) == hex("60 00 00 00") + bigEndian(length) + [17, 9])
        #expect(
            Array(sent.outer[22..<54])
                == hex(
                    "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 01 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01"
                ))
        let pseudo = sent.outer[22..<54] + [0, 17] + bigEndian(length)
        #expect(plainSum(pseudo + sent.outer[54...] + sent.vxlan + sent.frame) == 0xffff)
        #expect(Array(sent.outer[60...]) != [0, 0])
    }

    @Test(
        "without checksums the field is zero; without DF there is an identification",
        arguments: [1, 2] as [UInt32])
    func plain(port: UInt32) throws {
        let ways = Ways {
            $0.checksum = false
            $0.doNotFragment = false
        }
        let sent = try #require(leaving(ways, port))
        #expect(Array(sent.outer.suffix(2)) == [0, 0])
        if port == 1 { #expect(Array(sent.outer[18..<22]) == [0, 7, 0, 0], "the twin's number 7, no flags") }
    }

    @Test("TOS and TTL are the inner ones where the tunnel says so, and ECN always is")
    func inherited() throws {
        let copying = Ways {
            $0.timeToLive = 0
            $0.inheritsTypeOfService = true
            $0.typeOfService = 0xff
        }
        let sent = try #require(leaving(copying, 1) { ($0.trafficClass, $0.timeToLive) = (0x4b, 33) })
        #expect(sent.outer[15] == 0x4b && sent.outer[22] == 33)
        let fixed = Ways { $0.typeOfService = 0x4b }
        let other = try #require(leaving(fixed, 1) { $0.trafficClass = 0x01 })
        #expect(other.outer[15] == 0x49)
    }

    @Test("source ports are of the range, all of it, and a flow's is always the same")
    func sourcePorts() throws {
        let ways = Ways()
        ways.rig.underlay.sourcePorts = 40_000...40_063
        ways.learn()
        var engine = ways.engine()
        var seen: Set<UInt16> = []
        for number in 0..<1000 as Range<UInt16> {
            let bytes = frame(ways, to: 1) { $0.sourcePort = 1000 + number }.bytes()
            let ports = (0..<2).map { _ -> UInt16 in
                let outer = engine.forward(bytes, ingress: 0)[0].outer
                return UInt16(outer[34]) << 8 | UInt16(outer[35])
            }
            #expect(ports[0] == ports[1] && (40_000...40_063).contains(ports[0]))
            seen.insert(ports[0])
        }
        #expect(seen.count == 64)
        #expect(ways.balance)
    }

    @Test("every way is used as often as its weight, a flow keeps to one, and whatever the source port")
    func spread() {
        let ways = Ways()
        let cells = ways.cells
        // Weights 1 and 3.
        ways.rig.underlay.paths = [0, 1, 1, 1].map {
            PathEntry(uplink: UInt32($0), source: Ways.source4, neighbor: cells[$0])
        }
        ways.rig.underlay.sourcePorts = 40_000...40_001
        let program = ways.program(0) { $0.pathCount = 4 }
        let (view, tunnel) = (program.view, program.view.tunnels[0])
        var generator = SeededGenerator(seed: 4)
        // By source port and way.
        var counts = [[0, 0], [0, 0]]
        for _ in 0..<20_000 {
            let hash = UInt32(truncatingIfNeeded: generator.next())
            let path = view.path(of: tunnel, hash)
            #expect(view.path(of: tunnel, hash).neighbor == path.neighbor)
            counts[Int(view.sourcePort(hash)) - 40_000][Int(path.uplink)] += 1
        }
        for row in counts {
            #expect(
                abs(row[0] + row[1] - 10_000) < 500 && abs(row[0] * 4 - (row[0] + row[1])) < 1000, "\(counts)"
            )
        }
        withExtendedLifetime(program) {}
    }

    @Test("a superframe leaves whole by a TAP, in segments where the kernel refuses it or its metadata lies")
    func superframes() throws {
        let ways = Ways()
        ways.learn(vlan: 7)
        var engine = ways.engine()
        var generator = SeededGenerator(seed: 6)
        let frame = frame(ways, to: 1) {
            $0.payload = generator.bytes(2500)
            $0.tags = [7]
        }
        let honest = frame.offload(segment: 1000)
        var lying = honest
        lying.checksumStart = 65_000
        for (offload, takes, count) in [(honest, true, 1), (honest, false, 3), (lying, true, 3)] {
            var twin = Twin()
            twin.takesSuperframes = takes
            withFrame(frame.bytes(.partial), offload) {
                engine.forward($0, ingress: 0, nowMilliseconds: 5_000, to: &twin)
            }
            let sent = twin.take()
            #expect(sent.count == count && sent.allSatisfy { $0.outer.count == 42 })
            if count == 3 { #expect(sent.allSatisfy { hasRightChecksums($0.frame) }) }
        }
        #expect(ways.rig.counters(1)[.txPackets] == 9 && ways.balance)
        #expect(ways.rig.counters(0)[.rxPackets] == 3 && ways.rig.counters(0)[.rxCopies] == 9)
    }

    // MARK: Sums

    @Test("the sum by headers is the whole sum, whatever the field held and wherever it is")
    func sums() throws {
        var generator = SeededGenerator(seed: 2)
        var known = 0
        for round in 0..<2000 {
            let shape = SegmentationTests.shapes[round % SegmentationTests.shapes.count]
            let frame = shape.with { $0.payload = generator.bytes(generator.below(90)) }
            var bytes = frame.bytes(.partial) + generator.bytes(generator.below(3))
            var offload = frame.offload()
            if generator.chance(30) {
                let start = 14 + generator.below(bytes.count - 14)
                offload.checksumStart = UInt16(start)
                offload.checksumOffset = UInt16(generator.below(20))
            }
            if generator.chance(30) { bytes[generator.below(bytes.count)] ^= 0x5a }
            withFrame(bytes, offload) { frame in
                let sum = frame.sumOnceCompleted
                guard frame.completeChecksum() else {
                    #expect(sum == nil)
                    return
                }
                guard let sum else { return }
                known += 1
                #expect(plainSum(frame.bytes) % 0xffff == Checksum.fold(sum) % 0xffff)
            }
        }
        #expect(known > 1000)
        withFrame(TestFrame.udp4([1]).bytes()) { #expect($0.sumOnceCompleted == nil) }
    }

    @Test("so is a segment's", arguments: SegmentationTests.shapes)
    func segmentSums(shape: TestFrame) throws {
        var generator = SeededGenerator(seed: 3)
        let frame = shape.with { $0.payload = generator.bytes(3001) }
        try withFrame(frame.bytes(.partial), frame.offload(segment: 999)) { superframe in
            let plan = try #require(SegmentPlan(superframe, FrameShape(superframe)))
            for index in 0..<plan.count {
                let header = emitted(plan.headerByteCount) { plan.emitHeader(index, of: superframe, to: $0) }
                let start = plan.headerByteCount + index * 999
                let payload = superframe.bytes[start..<start + plan.byteCount(of: index)]
                let sum = header.withUnsafeBytes {
                    plan.shape.sumOfSegment($0.baseAddress!, payloadByteCount: payload.count)
                }
                #expect(plainSum(header + payload) % 0xffff == Checksum.fold(sum) % 0xffff)
            }
        }
    }
}
