// Owns: the hash that chooses the outer UDP source port: one per flow, spread over flows.

import Testing
import Wire

@testable import Datapath

@Suite("flow hashes")
struct FlowHashTests {
    private func hash(_ frame: TestFrame) -> UInt32 { shape(frame.bytes()).flowHash }

    private static let flows: [TestFrame] = [
        .tcp4([1]), .udp4([1]), .tcp6([1]), .udp6([1]),
        TestFrame.tcp4([1]).with { $0.tags = [9] },
        TestFrame.udp6([1]).with { $0.options = [1, 4, 0, 0, 0, 0] },
    ]

    @Test("what changes within a flow does not change its hash", arguments: flows)
    func stable(flow: TestFrame) {
        let expected = hash(flow)
        #expect(expected == hash(flow.with { $0.payload = [UInt8](repeating: 7, count: 1000) }))
        #expect(expected == hash(flow.with { $0.sequence += 1000 }))
        #expect(expected == hash(flow.with { $0.flags = .syn }))
        #expect(expected == hash(flow.with { $0.identification += 1 }))
        #expect(expected == hash(flow.with { $0.timeToLive -= 1 }))
        #expect(expected == hash(flow.with { $0.trafficClass = 3 }))
        #expect(expected == hash(flow.with { $0.padding = 18 }))
        #expect(expected == shape(flow.bytes(.partial)).flowHash)
    }

    @Test("addresses, ports and the protocol each make another flow", arguments: flows)
    func different(flow: TestFrame) {
        let (other4, other6) = (ip4("192.0.2.3"), ip6("2001:db8::3"))
        let others = [
            flow.with { $0.sourcePort += 1 }, flow.with { $0.destinationPort += 1 },
            flow.with { $0.source4 = other4 }.with { $0.source6 = other6 },
            flow.with { $0.destination4 = other4 }.with { $0.destination6 = other6 },
            flow.with { $0.transport = flow.transport == .tcp ? .udp : .tcp },
        ]
        #expect(Set((others + [flow]).map { hash($0) }).count == 6)
    }

    @Test("the fragments of a packet share a hash, the first one too")
    func fragments() {
        let packet = TestFrame.udp4([UInt8](repeating: 1, count: 64))
        let first = shape(packet.fragment(offset: 0, more: true))
        let later = shape(packet.with { $0.sourcePort = 7 }.fragment(offset: 64, more: false))
        #expect(first.isFragment && later.isFragment && first.transport == .other)
        #expect(first.flowHash == later.flowHash)
        #expect(first.flowHash != hash(packet.with { $0.source4 = ip4("192.0.2.9") }))
        var six = TestFrame.udp6([UInt8](repeating: 1, count: 64)).bytes()
        six[14 + 6] = IPProtocol.fragment.rawValue
        // Fragment header: next header UDP, reserved, offset and M, identification.
        six.replaceSubrange(54..<62, with: hex("11 00  00 01  00 00 00 2a"))
        let first6 = shape(six)
        six.replaceSubrange(56..<58, with: hex("00 40"))
        six[62] ^= 0xff
        #expect(first6.isFragment && shape(six).isFragment && first6.flowHash == shape(six).flowHash)
    }

    @Test("a frame that is not IP is told by its MAC addresses and type")
    func notIP() {
        let base = shape(ethernet([1], .arp)).flowHash
        #expect(base == shape(ethernet([2, 3, 4], .arp)).flowHash)
        #expect(base != shape(ethernet([1], EtherType(rawValue: 0x88cc))).flowHash)
        #expect(base != shape(ethernet([1], .arp, from: mac(9))).flowHash)
        #expect(base != shape(ethernet([1], .arp, to: mac(9))).flowHash)
        #expect(base != 0)
    }

    @Test("a broken IP header makes a frame that is not IP, not a frame without a hash")
    func broken() {
        var bytes = TestFrame.udp4([1]).bytes()
        bytes[14] = 0x55
        let broken = shape(bytes)
        #expect(!broken.isIP && broken.flowHash != 0 && broken.trafficClass == 0)
    }

    /// Counts in 16 buckets: sixteen sockets of a sender pool.
    private func expectSpread(_ hashes: [UInt32], _ what: String) {
        var counts = [Int](repeating: 0, count: 16)
        for hash in hashes { counts[Int(hash) % 16] += 1 }
        let expected = Double(hashes.count) / 16
        let chiSquare = counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        // 15 degrees of freedom: 37.7 is exceeded once in a thousand; counting hosts and ports is not random.
        #expect(chiSquare < 60, "\(what): \(counts)")
        #expect(Set(hashes).count > hashes.count * 99 / 100, "\(what): collisions")
    }

    @Test("flows that differ in a counter spread evenly over the source ports")
    func spread() {
        for flow in [TestFrame.tcp4(), .udp6()] {
            expectSpread(
                (0..<2000).map { n in hash(flow.with { $0.sourcePort = 30_000 + UInt16(n) }) }, "ports")
            expectSpread(
                (0..<2000).map { n in
                    hash(
                        flow.with {
                            $0.source4 = IPv4Address(rawValue: 0x0a00_0000 + UInt32(n))
                            $0.source6 = IPv6Address(high: 0x2001_0db8_0000_0000, low: UInt64(n))
                        })
                }, "hosts")
            expectSpread(
                (0..<2000).map { n in
                    hash(
                        flow.with {
                            $0.destination6 = IPv6Address(high: 0x2001_0db8_0000_0000 + UInt64(n), low: 1)
                            $0.destination4 = IPv4Address(rawValue: 0x0a00_0000 + UInt32(n) << 8)
                        })
                }, "subnets")
            expectSpread(
                (0..<2000).map { n in
                    hash(
                        flow.with {
                            $0.destination6 = IPv6Address(high: 0x2001_0db8_0000_0000, low: UInt64(n))
                            $0.destination4 = IPv4Address(rawValue: 0x0a00_0000 + UInt32(n))
                        })
                }, "destinations")
        }
        expectSpread((0..<2000).map { shape(ethernet([], .arp, from: mac($0))).flowHash }, "MAC addresses")
    }
}
