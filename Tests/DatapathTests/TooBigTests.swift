// Owns: the ICMP answers to packets that do not fit: their bytes, who gets none, and how many there may be.

import Testing
import Wire

@testable import Datapath

@Suite("ICMP too big")
struct TooBigTests {
    /// The answer, written up to a guard page.
    private func answer(_ bytes: [UInt8], mtu: Int = 1450) -> [UInt8]? {
        let memory = GuardedMemory(capacity: TooBig.maximumByteCount)
        return withFrame(bytes) { frame in
            let base = memory.last(TooBig.maximumByteCount)
            let count = TooBig.answer(to: frame, FrameShape(frame), mtu: mtu, into: base)
            return count == 0 ? nil : [UInt8](UnsafeRawBufferPointer(start: base, count: count))
        }
    }

    @Test("IPv4: fragmentation needed, byte for byte (RFC 792, RFC 1191 §4)")
    func vector4() {
        let expected = hex(
            """
            02 00 00 00 00 01                    # to who sent it
            02 00 00 00 00 02                    # from whom it was for
            08 00                                # IPv4
            45 00 00 3b 00 00 00 00 40 01 8e 8b  # 59 bytes, may be fragmented, TTL 64, ICMP
            c6 33 64 02                          # from 198.51.100.2
            c0 00 02 01                          # to 192.0.2.1
            03 04 e3 a5                          # destination unreachable, fragmentation needed
            00 00 05 aa                          # next-hop MTU 1450
            45 00 00 1f 12 34 40 00 3d 11 3f 63  # the packet as it came
            c0 00 02 01 c6 33 64 02
            9c 40 01 bb 00 0b 71 a3 01 02 03
            """)
        #expect(answer(TestFrame.udp4([1, 2, 3]).bytes()) == expected)
        #expect(answer(TestFrame.udp4([1, 2, 3]).with { $0.padding = 15 }.bytes()) == expected)
    }

    @Test("IPv6: packet too big, byte for byte (RFC 4443 §3.2)")
    func vector6() {
        let expected = hex(
            """
            02 00 00 00 00 01                                # to who sent it
            02 00 00 00 00 02                                # from whom it was for
            86 dd                                            # IPv6
            60 00 00 00 00 3b 3a 40                          # 59 bytes, ICMPv6, hop limit 64
            20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02  # from 2001:db8:0:1::2
            20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01  # to 2001:db8::1
            02 00 08 3e                                      # packet too big
            00 00 05 64                                      # MTU 1380
            60 01 23 45 00 0b 11 3d                          # the packet as it came
            20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01
            20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02
            9c 40 01 bb 00 0b 02 65 01 02 03
            """)
        #expect(answer(TestFrame.udp6([1, 2, 3]).bytes(), mtu: 1380) == expected)
    }

    @Test("VLAN tags go back as they came", arguments: [[7], [0x6007, 8]] as [[UInt16]])
    func tagged(tags: [UInt16]) throws {
        for frame in [TestFrame.udp4([1, 2, 3]), .tcp6([1])] {
            let plain = try #require(answer(frame.bytes()))
            let tagged = try #require(answer(frame.with { $0.tags = tags }.bytes()))
            let back = ethernet(
                Array(plain[14...]), frame.isIPv6 ? .ipv6 : .ipv4, from: TestFrame.destinationMAC,
                to: TestFrame.sourceMAC, tags: tags)
            #expect(tagged == back)
        }
    }

    @Test("a long packet is quoted as far as the RFCs allow: 576 bytes in all, or 1,280")
    func longQuotes() throws {
        let payload = [UInt8](repeating: 0xab, count: 3000)
        let four = try #require(answer(TestFrame.tcp4(payload).bytes()))
        #expect(four.count == 14 + 576)
        #expect(Array(four[42...]) == Array(TestFrame.tcp4(payload).bytes()[14..<14 + 548]))
        #expect(plainSum(four[14..<34]) == 0xffff && plainSum(four[34...]) == 0xffff)
        let six = try #require(answer(TestFrame.tcp6(payload).with { $0.tags = [1, 2] }.bytes()))
        #expect(six.count == 22 + 1280 && six.count == TooBig.maximumByteCount)
        #expect(hasRightChecksums(six))
    }

    @Test("options and extension headers are quoted with the packet")
    func options() throws {
        let four = TestFrame.udp4([1]).with { $0.options = [1, 1, 1, 0] }.bytes()
        #expect(try #require(answer(four)).suffix(four.count - 14) == four[14...])
        let six = TestFrame.udp6([1]).with { $0.options = [1, 4, 0, 0, 0, 0] }.bytes()
        #expect(try #require(answer(six)).suffix(six.count - 14) == six[14...])
    }

    private static func icmp4(_ type: UInt8) -> TestFrame {
        TestFrame.udp4([type, 0, 0, 0, 0, 0, 0, 0]).with { $0.transport = .icmp }
    }

    private static func icmp6(_ type: UInt8) -> TestFrame {
        TestFrame.udp6([type, 0, 0, 0, 0, 0, 0, 0]).with { $0.transport = .icmpv6 }
    }

    @Test("ICMP errors are never answered, queries are")
    func errors() {
        for type in [3, 4, 5, 11, 12] as [UInt8] { #expect(answer(Self.icmp4(type).bytes()) == nil) }
        for type in [0, 8, 13, 17] as [UInt8] { #expect(answer(Self.icmp4(type).bytes()) != nil) }
        for type in [1, 2, 3, 4, 100, 127, 137] as [UInt8] {
            #expect(answer(Self.icmp6(type).bytes()) == nil, "ICMPv6 type \(type)")
        }
        for type in [128, 129, 135] as [UInt8] { #expect(answer(Self.icmp6(type).bytes()) != nil) }
        #expect(answer(Self.icmp4(8).with { $0.payload = [] }.bytes()) == nil, "what it is, is not there")
        #expect(answer(Self.icmp6(128).with { $0.payload = [] }.bytes()) == nil)
        let behindOptions = Self.icmp6(3).with { $0.options = [1, 4, 0, 0, 0, 0] }
        #expect(answer(behindOptions.bytes()) == nil)
    }

    @Test("nothing is said about packets that may be fragmented or are later fragments")
    func fragments() {
        let frame = TestFrame.udp4([UInt8](repeating: 1, count: 64))
        #expect(answer(frame.with { $0.doNotFragment = false }.bytes()) == nil)
        #expect(answer(frame.fragment(offset: 64, more: true)) == nil)
        #expect(answer(frame.fragment(offset: 0, more: true)) != nil)
    }

    @Test("nothing is said to groups, to nobody or about them")
    func groups() {
        var silent = [
            TestFrame.udp4().with { $0.destination = .broadcast },
            TestFrame.udp6().with { $0.destination = mac("33:33:00:00:00:01") },
            TestFrame.udp4().with { $0.source = mac("01:00:5e:00:00:01") },
        ]
        for address in ["224.0.0.1", "255.255.255.255"] {
            silent.append(TestFrame.udp4().with { $0.destination4 = ip4(address) })
        }
        for address in ["224.0.0.1", "0.0.0.0", "255.255.255.255", "127.0.0.1"] {
            silent.append(TestFrame.udp4().with { $0.source4 = ip4(address) })
        }
        silent.append(TestFrame.udp6().with { $0.destination6 = ip6("ff02::1") })
        for address in ["ff02::1", "::", "::1"] {
            silent.append(TestFrame.udp6().with { $0.source6 = ip6(address) })
        }
        for frame in silent {
            #expect(answer(frame.bytes()) == nil, "\(frame.source) \(frame.source4) \(frame.source6)")
        }
        #expect(answer(ethernet([UInt8](repeating: 0x45, count: 100), .arp)) == nil, "not IP")
    }

    @Test("an MTU below the protocol's least is never named")
    func leastMTU() {
        #expect(answer(TestFrame.udp4([1]).bytes(), mtu: 67) == nil)
        #expect(answer(TestFrame.udp4([1]).bytes(), mtu: 68) != nil)
        #expect(answer(TestFrame.udp6([1]).bytes(), mtu: 1279) == nil)
        #expect(answer(TestFrame.udp6([1]).bytes(), mtu: 1280) != nil)
    }

    @Test("a packet with its checksum still partial is answered like any other")
    func partial() throws {
        let bytes = TestFrame.tcp4([1, 2, 3]).bytes(.partial)
        #expect(try #require(answer(bytes)).suffix(bytes.count - 14) == bytes[14...])
    }

    @Test("the budget is a thousand at once and a thousand a second, however the clock moves")
    func budget() {
        let steps: [(now: UInt64, wanted: Int, granted: Int)] = [
            (0, 1500, 1000),  // full from the start
            (0, 10, 0),
            (1, 10, 1),  // a millisecond earns one
            (11, 100, 10),
            (511, 1000, 500),
            (511, 1, 0),
            (100, 10, 0),  // backwards: nothing earned, nothing lost
            (512, 10, 1),
            (1_000_000, 5000, 1000),  // a long silence earns no more than the bucket holds
            (1_000_500, 200, 200),
            (1_000_600, 1000, 400),
        ]
        var budget = ErrorBudget()
        for step in steps {
            let granted = (0..<step.wanted).count { _ in budget.take(nowMilliseconds: step.now) }
            #expect(granted == step.granted, "at \(step.now)")
        }
    }

    @Test("the engine answers within the budget and drops every frame alike")
    func engineBudget() {
        let rig = Rig()
        let bridge = rig.bridge()
        let guest = rig.local(bridge)
        let tunnel = rig.tunnel(bridge, to: "192.0.2.1", mtu: 1000)
        var engine = Engine(rig.program)
        let bytes = TestFrame.udp4([UInt8](repeating: 1, count: 1200)).bytes()
        // The bucket's thousand, and one more for the millisecond that began at 5,001.
        var answers = 0
        for now in [5_000, 5_001] as [UInt64] {
            for _ in 0..<1100 { answers += engine.forward(bytes, ingress: guest, at: now).count }
        }
        #expect(answers == 1001 && rig.counters(guest)[.icmpGenerated] == 1001)
        #expect(rig.counters(tunnel).transmitDrops(.mtuExceeded) == 2200)
        let sum = rig.total(bridge)
        #expect(sum[.rxCopies] + sum[.icmpGenerated] == sum[.txPackets] + sum.transmitDropTotal)
    }
}
