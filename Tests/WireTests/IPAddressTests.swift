import Testing

@testable import Wire

@Suite("IPv4 addresses")
struct IPv4AddressTests {
    @Test("dotted quads read and print")
    func text() {
        #expect(IPv4Address("192.0.2.1")?.rawValue == 0xc000_0201)
        for text in ["0.0.0.0", "255.255.255.255", "1.2.3.4", "10.10.10.100"] {
            #expect(IPv4Address(text)?.description == text)
        }
    }

    @Test(
        "every other text is refused",
        arguments: [
            "", ".", "...", "1", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.", "1.2.3.4.5", "256.1.1.1",
            "1.1.1.256", "01.2.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.-4", "+1.2.3.4", " 1.2.3.4", "1.2.3.4 ",
            "1.2.3.4\n", "0x1.2.3.4", "1.2.3.4/24", "1.2.3.a", "3232235777", "1.2.3.99999999999999999999",
            "1,2,3,4", "１.2.3.4", "::ffff:1.2.3.4",
        ])
    func badText(text: String) {
        #expect(IPv4Address(text) == nil)
    }

    @Test("four octets load and store in wire order")
    func loadAndStore() {
        withGuarded(hex("ff c0 00 02 01")) { base, _ in
            #expect(IPv4Address(loading: base + 1) == ip4("192.0.2.1"))
        }
        #expect(emitted(4) { ip4("192.0.2.1").store(to: $0) } == hex("c0 00 02 01"))
    }

    @Test("classes end where their RFCs say")
    func classes() {
        #expect(ip4("224.0.0.0").isMulticast && ip4("239.255.255.255").isMulticast)
        #expect(!ip4("223.255.255.255").isMulticast && !ip4("240.0.0.0").isMulticast)
        #expect(ip4("127.0.0.0").isLoopback && ip4("127.255.255.255").isLoopback)
        #expect(!ip4("128.0.0.0").isLoopback && !ip4("126.255.255.255").isLoopback)
        #expect(ip4("169.254.0.1").isLinkLocal && !ip4("169.253.255.255").isLinkLocal)
        #expect(ip4("255.255.255.255").isBroadcast && !ip4("255.255.255.254").isBroadcast)
        #expect(IPv4Address.unspecified.isUnspecified && !ip4("0.0.0.1").isUnspecified)
    }
}

@Suite("IPv6 addresses")
struct IPv6AddressTests {
    @Test("the examples of RFC 4291 §2.2 read and print as RFC 5952 has them")
    func examples() {
        let cases = [
            ("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
            ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
            ("FF01:0:0:0:0:0:0:101", "ff01::101"), ("0:0:0:0:0:0:0:1", "::1"), ("0:0:0:0:0:0:0:0", "::"),
            ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("0:0:0:0:0:0:13.1.68.3", "::d01:4403"),
            ("::FFFF:129.144.52.38", "::ffff:129.144.52.38"), ("::ffff:8190:3426", "::ffff:129.144.52.38"),
            ("2001:db8::0001", "2001:db8::1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ]
        for (text, canonical) in cases { #expect(IPv6Address(text)?.description == canonical, "\(text)") }
    }

    @Test("text agrees with the C library's", arguments: Vectors.ipv6Texts)
    func library(high: UInt64, low: UInt64, text: String) {
        let address = IPv6Address(high: high, low: low)
        #expect(address.description == text)
        #expect(IPv6Address(text) == address)
    }

    @Test("random addresses read back from their text")
    func roundTrip() {
        var generator = SeededGenerator(seed: 6)
        for _ in 0..<500 {
            // Clearing bytes at random makes runs of zeros of every length and place.
            let mask = { (bits: UInt64) in (0..<4).reduce(UInt64(0)) { $0 << 16 | (bits >> $1 & 1) &* 0xffff }
            }
            let address = IPv6Address(
                high: generator.next() & mask(generator.next()),
                low: generator.next() & mask(generator.next()))
            #expect(IPv6Address(address.description) == address)
        }
    }

    @Test(
        "every other text is refused",
        arguments: [
            "", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
            "::1:2:3:4:5:6:7:8",
            "1::2::3", "1:::2", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:", ":1::", "::1:", "12345::", "g::",
            "::-1",
            "fe80::1%eth0", "[::1]", "::1/64", " ::1", "::1 ", "1.2.3.4", "1.2.3.4::", "::1.2.3.4:5",
            "::1.2.3",
            "::1.2.3.256", "::01.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::2:3:4:5:6:7:1.2.3.4", "::٠",
            "0000:0000:0000:0000:0000:0000:0000:00000", "1:2:3:4:5:6:1.2.3.4:8",
            "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555",
        ])
    func badText(text: String) {
        #expect(IPv6Address(text) == nil)
    }

    @Test("sixteen octets load and store in wire order")
    func loadAndStore() {
        let bytes = hex("20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02")
        withGuarded(bytes) { base, _ in #expect(IPv6Address(loading: base) == ip6("2001:db8:0:1::2")) }
        #expect(emitted(16) { ip6("2001:db8:0:1::2").store(to: $0) } == bytes)
    }

    @Test("classes end where their RFCs say")
    func classes() {
        #expect(ip6("ff00::").isMulticast && !ip6("feff::").isMulticast)
        #expect(ip6("fe80::1").isLinkLocal && ip6("febf::1").isLinkLocal && !ip6("fec0::1").isLinkLocal)
        #expect(ip6("::1").isLoopback && !ip6("::2").isLoopback && !ip6("1::1").isLoopback)
        #expect(ip6("::").isUnspecified && !ip6("::1").isUnspecified && !ip6("1::").isUnspecified)
        #expect(ip6("::ffff:1.2.3.4").mappedIPv4 == ip4("1.2.3.4") && ip6("::1.2.3.4").mappedIPv4 == nil)
        #expect(IPv6Address(mapping: ip4("1.2.3.4")) == ip6("::ffff:1.2.3.4"))
    }

    @Test("the solicited-node group takes the last three octets")
    func solicitedNode() {
        #expect(ip6("4037::01:800:200e:8c6c").solicitedNode == ip6("ff02::1:ff0e:8c6c"))
    }

    @Test("order is by value, high half first")
    func order() {
        #expect(ip6("::ffff") < ip6("1::") && ip6("1::1") < ip6("1::2") && !(ip6("1::1") < ip6("1::1")))
    }
}

@Suite("addresses of either family")
struct IPAddressTests {
    @Test("the text decides the family, and a mapped address stays IPv6")
    func families() {
        #expect(IPAddress("192.0.2.1") == .v4(ip4("192.0.2.1")))
        #expect(IPAddress("2001:db8::1") == .v6(ip6("2001:db8::1")))
        #expect(IPAddress("::ffff:192.0.2.1") != .v4(ip4("192.0.2.1")))
        for text in ["", "host", "1.2.3", "1:2", "192.0.2.1:80"] {
            #expect(IPAddress(text) == nil, "\(text)")
        }
        #expect(IPAddress("::1")?.bitCount == 128 && IPAddress("1.1.1.1")?.bitCount == 32)
    }

    @Test("classes and text are those of the family")
    func classes() {
        for text in ["224.0.0.1", "ff02::1"] { #expect(IPAddress(text)?.isMulticast == true) }
        for text in ["0.0.0.0", "::"] { #expect(IPAddress(text)?.isUnspecified == true) }
        for text in ["127.0.0.1", "::1"] { #expect(IPAddress(text)?.isLoopback == true) }
        for text in ["169.254.1.1", "fe80::1"] { #expect(IPAddress(text)?.isLinkLocal == true) }
        for text in ["192.0.2.1", "2001:db8::1"] { #expect(IPAddress(text)?.description == text) }
    }

    @Test("IPv4 sorts before IPv6")
    func order() {
        let texts = ["::1", "10.0.0.2", "2001:db8::", "10.0.0.1"]
        let sorted = texts.compactMap { IPAddress($0) }.sorted().map(\.description)
        #expect(sorted == ["10.0.0.1", "10.0.0.2", "::1", "2001:db8::"])
    }
}

@Suite("prefixes")
struct IPPrefixTests {
    @Test("host bits are kept and network drops them")
    func network() {
        let cases = [
            ("1.1.1.1/24", "1.1.1.0/24"), ("10.1.2.3/0", "0.0.0.0/0"), ("10.1.2.3/32", "10.1.2.3/32"),
            ("10.255.255.255/9", "10.128.0.0/9"), ("2001:db8:ffff::1/33", "2001:db8:8000::/33"),
            ("fe80::1/64", "fe80::/64"), ("::ff/121", "::80/121"), ("ffff::1/0", "::/0"),
            ("1::ffff/128", "1::ffff/128"), ("1:2:3:4:f000::/65", "1:2:3:4:8000::/65"),
        ]
        for (text, network) in cases {
            #expect(IPPrefix(text)?.description == text)
            #expect(IPPrefix(text)?.network.description == network)
        }
    }

    @Test(
        "a missing, signed, padded or too long length is refused",
        arguments: [
            "", "/", "1.1.1.1", "1.1.1.1/", "/24", "1.1.1.1/33", "1.1.1.1/-1", "1.1.1.1/+8", "1.1.1.1/08",
            "1.1.1.1/24/", "1.1.1.1/24 ", "1.1.1.1 /24", "1.1.1.1/255.255.255.0", "::1", "::1/129",
            "::/99999999999999999999", "1.1.1/24",
        ])
    func badText(text: String) {
        #expect(IPPrefix(text) == nil)
    }

    @Test("contains compares the first bits within one family")
    func contains() throws {
        let v4 = try #require(IPPrefix("10.10.10.77/24"))
        #expect(v4.contains(.v4(ip4("10.10.10.0"))) && v4.contains(.v4(ip4("10.10.10.255"))))
        #expect(!v4.contains(.v4(ip4("10.10.11.0"))) && !v4.contains(.v6(ip6("::ffff:10.10.10.1"))))
        let v6 = try #require(IPPrefix("2001:db8::/32"))
        #expect(v6.contains(.v6(ip6("2001:db8:ffff::1"))) && !v6.contains(.v6(ip6("2001:db9::"))))
        let everything = try #require(IPPrefix("0.0.0.0/0"))
        #expect(everything.contains(.v4(.broadcast)) && !everything.contains(.v6(.unspecified)))
    }

    @Test("a length outside the family's range makes no prefix")
    func lengths() {
        #expect(IPPrefix(.v4(.unspecified), length: 33) == nil)
        #expect(IPPrefix(.v4(.unspecified), length: -1) == nil)
        #expect(IPPrefix(.v6(.unspecified), length: 128)?.length == 128)
    }
}
