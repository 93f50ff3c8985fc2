import Testing

@testable import Wire

@Suite("frames as text")
struct FrameTextTests {
    private func describe(_ bytes: some Collection<UInt8>) -> String {
        withGuarded(bytes) { FrameText.describe($0, count: $1) }
    }

    private static let link = "02:00:00:00:00:0a > 02:00:00:00:00:0b, "

    private static let lines: [(bytes: [UInt8], text: String)] = [
        (Vectors.arpReply, "02:00:00:00:00:0b > 02:00:00:00:00:0a, ARP 192.0.2.2 is-at 02:00:00:00:00:0b"),
        (Vectors.udpv4, "\(link)IPv4 192.0.2.1.49152 > 198.51.100.2.4000 UDP, length 7"),
        (Vectors.udpv6, "\(link)IPv6 2001:db8::1.49152 > 2001:db8:0:1::2.4000 UDP, length 7"),
        (Vectors.vlanUDP, "\(link)vlan 100 p 5, IPv4 192.0.2.1.1024 > 198.51.100.2.53 UDP, length 7"),
        (
            Vectors.stackedVLAN,
            """
            \(link)vlan 4000 p 0 DEI, vlan 1 p 0, IPv4 192.0.2.1.1 > 198.51.100.2.2 UDP\
            , length 0
            """
        ),
        (
            Vectors.tcpv4SYN,
            """
            \(link)IPv4 192.0.2.1.40000 > 198.51.100.2.80 TCP [SEW] seq 16909060 win 64240\
            , length 0
            """
        ),
        (
            Vectors.icmpv4Echo,
            """
            \(link)IPv4 192.0.2.1 > 198.51.100.2 ICMP echo request id 4660 seq 5\
            , length 15
            """
        ),
        (
            Vectors.icmpv4TooBig,
            """
            \(link)IPv4 192.0.2.1 > 198.51.100.2 ICMP fragmentation needed mtu 1450\
            , length 36
            """
        ),
        (
            Vectors.icmpv6TooBig,
            """
            \(link)IPv6 2001:db8::1 > 2001:db8:0:1::2 ICMPv6 packet too big mtu 1430\
            , length 56
            """
        ),
        (
            Vectors.solicitation,
            """
            02:00:00:00:00:0a > 33:33:ff:00:00:0b, IPv6 fe80::a > ff02::1:ff00:b ICMPv6 \
            neighbor solicitation who-has fe80::b, length 32
            """
        ),
        (
            Vectors.advertisement,
            """
            02:00:00:00:00:0b > 02:00:00:00:00:0a, IPv6 fe80::b > fe80::a ICMPv6 neighbor \
            advertisement fe80::b is-at 02:00:00:00:00:0b, length 32
            """
        ),
        (Vectors.ipv6Chain, "\(link)IPv6 2001:db8::1.1 > 2001:db8:0:1::2.2 UDP, length 7"),
        (
            Vectors.ipv4FirstFragment,
            """
            \(link)IPv4 frag 3:0+ 192.0.2.1 > 198.51.100.2 UDP fragment\
            , length 15
            """
        ),
        (Vectors.ipv4LaterFragment, "\(link)IPv4 frag 3:1400 192.0.2.1 > 198.51.100.2 UDP, length 7"),
        (Vectors.ipv6LaterFragment, "\(link)IPv6 frag+ 2001:db8::1 > 2001:db8:0:1::2 UDP, length 7"),
    ]

    @Test("each kind of frame prints on one line", arguments: lines)
    func line(bytes: [UInt8], expected: String) {
        #expect(describe(bytes) == expected)
    }

    @Test("VXLAN is opened on both ports and its inner frame follows")
    func vxlan() {
        let inner = Self.link + "IPv4 192.0.2.1.5000 > 198.51.100.2.6000 UDP, length 7"
        let outer = "02:00:00:00:01:0a > 02:00:00:00:01:0b, "
        #expect(
            describe(Vectors.vxlanv4) == outer
                + "IPv4 10.10.10.1.50000 > 10.10.10.2.4789 UDP, VXLAN vni 11259375: " + inner)
        #expect(
            describe(Vectors.vxlanv6) == outer
                + "IPv6 2001:db8:a::1.50000 > 2001:db8:a::2.8472 UDP, VXLAN vni 100: " + inner)
    }

    @Test("ICMP errors, neighbour discovery and ARP of all sorts have names")
    func names() {
        func icmp(_ vector: [UInt8], _ offset: Int, _ type: UInt8, _ code: UInt8) -> String {
            var bytes = vector
            (bytes[offset], bytes[offset + 1]) = (type, code)
            return String(describe(bytes).split(separator: "ICMP")[1])
        }
        for (type, code, text) in [
            (3, 3, "unreachable port"), (3, 13, "unreachable prohibited"),
            (11, 0, "time exceeded in transit"),
            (3, 7, "unreachable code 7"), (12, 0, "parameter problem"), (77, 1, "type 77 code 1"),
        ] as [(UInt8, UInt8, String)] {
            #expect(icmp(Vectors.icmpv4Echo, 34, type, code).contains(" \(text), length "), "\(type)")
        }
        for (type, code, text) in [
            (1, 4, "unreachable port"), (133, 0, "router solicitation"), (134, 0, "router advertisement"),
            (143, 0, "multicast listener report v2"), (3, 1, "time exceeded reassembly"),
        ] as [(UInt8, UInt8, String)] {
            #expect(icmp(Vectors.icmpv6Echo, 54, type, code).contains(" \(text), length "), "\(type)")
        }
        var probe = Vectors.arpRequest
        for index in 28..<32 { probe[index] = 0 }
        #expect(describe(probe).contains(", ARP probe "))
        var announcement = Vectors.arpRequest
        for index in 0..<4 { announcement[38 + index] = announcement[28 + index] }
        #expect(describe(announcement).contains(", ARP announcement "))
    }

    @Test("a bad header checksum, reserved VXLAN bits and a missing I flag are named")
    func oddities() {
        var bytes = Vectors.vxlanv4
        bytes[42] = 0x80
        bytes[24] ^= 1
        let text = describe(bytes)
        #expect(text.contains("IPv4 bad-checksum 10.10.10.1"))
        #expect(text.contains("VXLAN vni 11259375 no-I-flag reserved-bits: "))
    }

    @Test("what can not be read is named, not guessed")
    func malformed() {
        #expect(describe([]) == "truncated Ethernet, length 0")
        #expect(describe(Vectors.udpv4.prefix(13)) == "truncated Ethernet, length 13")
        #expect(describe(Vectors.udpv4.prefix(20)) == Self.link + "malformed IPv4, length 6")
        #expect(describe(Vectors.arpRequest.prefix(40)).hasSuffix(", malformed ARP, length 26"))
        var shortUDP = Vectors.udpv4
        shortUDP[39] = 7
        #expect(describe(shortUDP) == Self.link + "IPv4 192.0.2.1 > 198.51.100.2 malformed UDP, length 15")
        var unknown = Vectors.udpv4
        unknown[12] = 0x88
        unknown[13] = 0xcc
        #expect(describe(unknown) == Self.link + "ethertype 0x88cc, length 35")
        unknown[12] = 0
        #expect(describe(unknown) == Self.link + "802.3, length 35")
    }

    @Test("VXLAN inside VXLAN stops at a fixed depth")
    func depth() {
        var bytes = Vectors.udpv4
        for _ in 0..<6 {
            let payload = bytes
            let outer = Array(Vectors.vxlanv4.prefix(50))
            bytes = emitted(50 + payload.count) { base in
                for (index, byte) in (outer + payload).enumerated() { base.store(byte: byte, at: index) }
                IPv4Header(
                    source: ip4("10.0.0.1"), destination: ip4("10.0.0.2"), protocolNumber: .udp,
                    payloadByteCount: 16 + payload.count
                ).emit(to: base + 14)
                UDPHeader(sourcePort: 1, destinationPort: 4789, payloadByteCount: 8 + payload.count)
                    .emit(to: base + 34)
            }
        }
        let text = describe(bytes)
        #expect(text.split(separator: "VXLAN").count - 1 == FrameText.maximumDepth)
        #expect(text.hasSuffix("10.0.0.1.1 > 10.0.0.2.4789 UDP, length \(bytes.count - 2 * 50 - 42)"))
    }
}
