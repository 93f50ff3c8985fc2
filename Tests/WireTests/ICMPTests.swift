import Testing

@testable import Wire

@Suite("ICMP messages for IPv4")
struct ICMPv4Tests {
    private let echo = Array(Vectors.icmpv4Echo[34...])
    private let tooBig = Array(Vectors.icmpv4TooBig[34...])

    @Test("deconstruct: echo and fragmentation needed")
    func deconstruct() throws {
        try withGuarded(echo) { base, count in
            let view = try #require(ICMPv4View(checking: base, count: count))
            #expect(view.type == 8 && view.code == 0 && view.rest == 0x1234_0005 && view.isChecksumValid)
            #expect(view.body == base + 8 && view.bodyByteCount == 7)
            #expect(view.checksum == base.bigEndian16(at: 2))
            #expect(ICMPv4Message.parse(view) == .echoRequest(identifier: 0x1234, sequence: 5))
        }
        try withGuarded(tooBig) { base, count in
            let view = try #require(ICMPv4View(checking: base, count: count))
            #expect(ICMPv4Message.parse(view) == .fragmentationNeeded(nextHopMTU: 1450))
            #expect(view.isChecksumValid)
            #expect(IPv4View(checking: view.body, count: view.bodyByteCount)?.identification == 9)
        }
    }

    @Test("construct: 8 bytes before the body, checksum over both")
    func construct() {
        for (message, bytes) in [
            (ICMPv4Message.echoRequest(identifier: 0x1234, sequence: 5), echo),
            (ICMPv4Message.fragmentationNeeded(nextHopMTU: 1450), tooBig),
        ] {
            let written = emitted(bytes.count) { base in
                for (index, byte) in bytes.enumerated().dropFirst(8) { base.store(byte: byte, at: index) }
                message.emit(to: base, bodyByteCount: bytes.count - message.byteCount)
            }
            #expect(written == bytes)
        }
    }

    @Test("a reply differs from its request in type and checksum only")
    func reply() throws {
        let bytes = emitted(8) { ICMPv4Message.echoReply(identifier: 7, sequence: 8).emit(to: $0) }
        #expect(bytes == hex("00 00 ff f0 00 07 00 08"))
        try withGuarded(bytes) { base, count in
            let view = try #require(ICMPv4View(checking: base, count: count))
            #expect(ICMPv4Message.parse(view) == .echoReply(identifier: 7, sequence: 8))
        }
    }

    @Test(
        "other types and codes are seen but not parsed", arguments: [(8, 1), (3, 0), (3, 3), (11, 0), (5, 1)])
    func others(type: UInt8, code: UInt8) throws {
        try withGuarded([type, code, 0, 0, 0, 0, 0, 0]) { base, count in
            let view = try #require(ICMPv4View(checking: base, count: count))
            #expect(ICMPv4Message.parse(view) == nil)
        }
    }

    @Test(
        "why a destination is unreachable, by code (RFC 792, RFC 1812)",
        arguments: [
            (3, 0, .network), (3, 1, .host), (3, 2, .port), (3, 3, .port), (3, 4, nil), (3, 5, .network),
            (3, 6, .network), (3, 7, .host), (3, 9, .prohibited), (3, 10, .prohibited), (3, 11, .network),
            (3, 12, .host), (3, 13, .prohibited), (3, 15, .prohibited), (3, 16, nil), (11, 0, nil),
            (0, 0, nil),
        ] as [(UInt8, UInt8, UnreachableReason?)])
    func unreachable(type: UInt8, code: UInt8, reason: UnreachableReason?) throws {
        try withGuarded([type, code, 0, 0, 0, 0, 0, 0]) { base, count in
            let view = try #require(ICMPv4View(checking: base, count: count))
            #expect(view.unreachable == reason)
        }
    }

    @Test("fewer than 8 bytes is no message, a flipped bit fails the checksum")
    func truncated() throws {
        #expect(acceptedLengths(echo) { ICMPv4View(checking: $0, count: $1) != nil } == Array(8...15))
        var bytes = echo
        bytes[14] ^= 0x80
        try withGuarded(bytes) { base, count in
            let view = try #require(ICMPv4View(checking: base, count: count))
            #expect(!view.isChecksumValid)
        }
    }
}

@Suite("ICMPv6 messages")
struct ICMPv6Tests {
    private let echo = Array(Vectors.icmpv6Echo[54...])
    private let tooBig = Array(Vectors.icmpv6TooBig[54...])
    private let source = ip6("2001:db8::1")
    private let destination = ip6("2001:db8:0:1::2")

    @Test("deconstruct: echo and packet too big, checksum with the pseudo-header")
    func deconstruct() throws {
        try withGuarded(echo) { base, count in
            let view = try #require(ICMPv6View(checking: base, count: count))
            #expect(view.type == 128 && view.code == 0 && view.rest == 0x1234_0005)
            #expect(view.body == base + 8 && view.bodyByteCount == 7)
            #expect(view.checksum == base.bigEndian16(at: 2))
            #expect(ICMPv6Message.parse(view) == .echoRequest(identifier: 0x1234, sequence: 5))
            #expect(view.isChecksumValid(source: source, destination: destination))
            #expect(!view.isChecksumValid(source: source, destination: source))
        }
        try withGuarded(tooBig) { base, count in
            let view = try #require(ICMPv6View(checking: base, count: count))
            #expect(ICMPv6Message.parse(view) == .packetTooBig(mtu: 1430))
            #expect(view.isChecksumValid(source: source, destination: destination))
            #expect(IPv6View(checking: view.body, count: view.bodyByteCount)?.nextHeader == .udp)
        }
    }

    @Test("construct: 8 bytes before the body, checksum over pseudo-header and both")
    func construct() {
        for (message, bytes) in [
            (ICMPv6Message.echoRequest(identifier: 0x1234, sequence: 5), echo),
            (ICMPv6Message.packetTooBig(mtu: 1430), tooBig),
        ] {
            let written = emitted(bytes.count) { base in
                for (index, byte) in bytes.enumerated().dropFirst(8) { base.store(byte: byte, at: index) }
                message.emit(
                    to: base, bodyByteCount: bytes.count - message.byteCount, source: source,
                    destination: destination)
            }
            #expect(written == bytes)
        }
    }

    @Test("without addresses the checksum is left zero")
    func bare() throws {
        let bytes = emitted(8) { ICMPv6Message.echoReply(identifier: 7, sequence: 8).emit(to: $0) }
        #expect(bytes == hex("81 00 00 00 00 07 00 08"))
        try withGuarded(bytes) { base, count in
            let view = try #require(ICMPv6View(checking: base, count: count))
            #expect(ICMPv6Message.parse(view) == .echoReply(identifier: 7, sequence: 8))
        }
    }

    @Test("other types and codes are seen but not parsed", arguments: [(1, 0), (2, 1), (128, 1), (135, 0)])
    func others(type: UInt8, code: UInt8) throws {
        try withGuarded([type, code, 0, 0, 0, 0, 0, 0]) { base, count in
            let view = try #require(ICMPv6View(checking: base, count: count))
            #expect(ICMPv6Message.parse(view) == nil)
        }
    }

    @Test(
        "why a destination is unreachable, by code (RFC 4443)",
        arguments: [
            (1, 0, .network), (1, 1, .prohibited), (1, 2, .network), (1, 3, .host), (1, 4, .port),
            (1, 5, .prohibited), (1, 6, .prohibited), (1, 7, nil), (2, 0, nil), (3, 0, nil),
        ] as [(UInt8, UInt8, UnreachableReason?)])
    func unreachable(type: UInt8, code: UInt8, reason: UnreachableReason?) throws {
        try withGuarded([type, code, 0, 0, 0, 0, 0, 0]) { base, count in
            let view = try #require(ICMPv6View(checking: base, count: count))
            #expect(view.unreachable == reason)
        }
    }

    @Test("fewer than 8 bytes is no message")
    func truncated() {
        #expect(acceptedLengths(echo) { ICMPv6View(checking: $0, count: $1) != nil } == Array(8...15))
    }

    @Test("quotes fit the smallest packets both families promise")
    func quotes() {
        #expect(ICMPv4Message.maximumQuoteByteCount + 28 == 576)
        #expect(ICMPv6Message.maximumQuoteByteCount + 48 == 1280)
    }
}
