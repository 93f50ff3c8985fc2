import Testing

@testable import Wire

@Suite("IPv4 headers")
struct IPv4Tests {
    private let packet = Array(Vectors.udpv4[14...])

    private func header(_ bytes: some Collection<UInt8>) throws -> IPv4Header {
        try withGuarded(bytes) { base, count in
            let view = try #require(IPv4View(checking: base, count: count))
            return try #require(IPv4Header.parse(view))
        }
    }

    @Test("deconstruct: each field is where RFC 791 puts it")
    func deconstruct() throws {
        try withGuarded(packet) { base, count in
            let view = try #require(IPv4View(checking: base, count: count))
            #expect(view.headerByteCount == 20)
            #expect(view.trafficClass == 0xba && view.dscp == 46 && view.ecn == 2)
            #expect(view.totalLength == 35 && view.payloadByteCount == 15)
            #expect(view.identification == 0x1234)
            #expect(view.doNotFragment && !view.moreFragments && !view.isFragment && !view.isLaterFragment)
            #expect(view.fragmentOffset == 0)
            #expect(view.ttl == 63)
            #expect(view.protocolNumber == .udp)
            #expect(view.source == ip4("192.0.2.1") && view.destination == ip4("198.51.100.2"))
            #expect(view.headerChecksum == base.bigEndian16(at: 10) && view.isHeaderChecksumValid)
            #expect(view.payload == base + 20)
        }
    }

    @Test("deconstruct: options move the payload and count in the checksum")
    func options() throws {
        try withGuarded(Vectors.ipv4Options[14...]) { base, count in
            let view = try #require(IPv4View(checking: base, count: count))
            #expect(view.headerByteCount == 24 && view.payload == base + 24)
            #expect(view.isHeaderChecksumValid)
            #expect(IPv4Header.parse(view)?.payloadByteCount == 15)
        }
    }

    @Test("deconstruct: first and later fragments are told apart, offsets are in bytes")
    func fragments() throws {
        try withGuarded(Vectors.ipv4FirstFragment[14...]) { base, count in
            let view = try #require(IPv4View(checking: base, count: count))
            #expect(view.isFragment && view.moreFragments && !view.isLaterFragment)
        }
        try withGuarded(Vectors.ipv4LaterFragment[14...]) { base, count in
            let view = try #require(IPv4View(checking: base, count: count))
            #expect(view.isFragment && !view.moreFragments && view.isLaterFragment)
            #expect(view.fragmentOffset == 1400)
        }
    }

    @Test("construct: 20 bytes and the checksum over whatever was there")
    func construct() {
        let header = IPv4Header(
            source: ip4("192.0.2.1"), destination: ip4("198.51.100.2"), protocolNumber: .udp,
            payloadByteCount: 15, ttl: 63, trafficClass: 0xba, identification: 0x1234)
        #expect(emitted(header.byteCount) { header.emit(to: $0) } == Array(packet.prefix(20)))
    }

    @Test(
        "parse then emit gives the same bytes when there are no options",
        arguments: [Vectors.udpv4, Vectors.ipv4FirstFragment, Vectors.ipv4LaterFragment, Vectors.tcpv4SYN])
    func roundTrip(frame: [UInt8]) throws {
        let header = try header(frame[14...])
        #expect(emitted(20) { header.emit(to: $0) } == Array(frame[14..<34]))
    }

    @Test("one flipped bit anywhere in the header fails its checksum", arguments: 0..<160)
    func flippedBit(bit: Int) {
        var bytes = packet
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        withGuarded(bytes) { base, count in
            guard let view = IPv4View(checking: base, count: count) else { return }
            #expect(!view.isHeaderChecksumValid)
            #expect(IPv4Header.parse(view) == nil)
        }
    }

    @Test(
        "impossible lengths and versions are refused",
        arguments: [
            // IHL of 4, 0, and 15 words in 35 bytes; versions 6, 0, 5.
            (0, 0x44), (0, 0x40), (0, 0x4f), (0, 0x65), (0, 0x05), (0, 0x55),
            // Total length under the header, over the bytes.
            (3, 0), (3, 19), (3, 36), (2, 1), (2, 0xff),
        ])
    func impossible(index: Int, value: UInt8) {
        var bytes = packet
        bytes[index] = value
        withGuarded(bytes) { base, count in #expect(IPv4View(checking: base, count: count) == nil) }
    }

    @Test("truncated at any byte there is no packet; padding after it is not payload")
    func truncated() throws {
        let padded = packet + [UInt8](repeating: 0xee, count: 11)
        #expect(acceptedLengths(padded) { IPv4View(checking: $0, count: $1) != nil } == Array(35...46))
        try withGuarded(padded) { base, count in
            let view = try #require(IPv4View(checking: base, count: count))
            #expect(view.payloadByteCount == 15)
        }
    }

    @Test("setters clamp, so every value can be emitted")
    func clamps() throws {
        var header = try header(packet)
        for (given, kept) in [(-1, 0), (65515, 65515), (65516, 65515), (Int.max, 65515), (Int.min, 0)] {
            header.payloadByteCount = given
            #expect(header.payloadByteCount == kept)
        }
        for (given, kept) in [(-8, 0), (7, 0), (8, 8), (65528, 65528), (65536, 65528), (Int.max, 65528)] {
            header.fragmentOffset = given
            #expect(header.fragmentOffset == kept && header.doNotFragment && !header.moreFragments)
        }
        header.moreFragments = true
        header.doNotFragment = false
        #expect(header.moreFragments && !header.doNotFragment && header.fragmentOffset == 65528)
    }

    @Test("changing the traffic class in place keeps the checksum right", arguments: [0, 1, 3, 0xb9, 0xff])
    func trafficClass(value: UInt8) {
        let bytes = emitted(20) { base in
            for (index, byte) in packet.prefix(20).enumerated() { base.store(byte: byte, at: index) }
            IPv4Header.setTrafficClass(value, at: base)
        }
        withGuarded(bytes + packet[20...]) { base, count in
            let view = IPv4View(checking: base, count: count)
            #expect(view?.trafficClass == value && view?.isHeaderChecksumValid == true)
            #expect(view?.identification == 0x1234)
        }
    }
}
