import Testing

@testable import Wire

@Suite("TCP headers")
struct TCPTests {
    private let segment = Array(Vectors.tcpv6Data[54...])
    private let opening = Array(Vectors.tcpv4SYN[34...])

    @Test("deconstruct: each field is where RFC 9293 puts it")
    func deconstruct() throws {
        try withGuarded(segment) { base, count in
            let view = try #require(TCPView(checking: base, count: count))
            #expect(view.sourcePort == 40000 && view.destinationPort == 443)
            #expect(view.sequence == 0xffff_ffff && view.acknowledgement == 0x8000_0001)
            #expect(view.headerByteCount == 20 && view.optionByteCount == 0)
            #expect(view.flags == TCPFlags.psh.union(.ack))
            #expect(view.window == 512 && view.urgent == 0)
            #expect(view.checksum == base.bigEndian16(at: 16))
            #expect(view.payload == base + 20 && view.payloadByteCount == 7)
            #expect(view.maximumSegmentSize == nil)
            #expect(view.isChecksumValid(source: ip6("2001:db8::1"), destination: ip6("2001:db8:0:1::2")))
            #expect(!view.isChecksumValid(source: ip6("2001:db8::"), destination: ip6("2001:db8:0:1::2")))
        }
    }

    @Test("deconstruct: options are found and the maximum segment size among them")
    func options() throws {
        try withGuarded(opening) { base, count in
            let view = try #require(TCPView(checking: base, count: count))
            #expect(view.headerByteCount == 40 && view.optionByteCount == 20 && view.payloadByteCount == 0)
            #expect(view.options == base + 20)
            #expect(view.maximumSegmentSize == 1460 && view.maximumSegmentSizeOffset == 22)
            #expect(view.flags.contains(.syn) && view.flags.contains(.ece) && view.flags.contains(.cwr))
            #expect(!view.flags.contains(.ack))
            #expect(view.isChecksumValid(source: ip4("192.0.2.1"), destination: ip4("198.51.100.2")))
        }
    }

    @Test("construct: 20 bytes, or 24 with a maximum segment size")
    func construct() throws {
        var header = TCPHeader(
            sourcePort: 40000, destinationPort: 443, sequence: 0xffff_ffff, acknowledgement: 0x8000_0001,
            flags: TCPFlags.psh.union(.ack), window: 512,
            checksum: UInt16(segment[16]) << 8 | UInt16(segment[17]))
        #expect(emitted(header.byteCount) { header.emit(to: $0) } == Array(segment.prefix(20)))
        header.maximumSegmentSize = 1380
        #expect(header.byteCount == 24)
        let bytes = emitted(24) { header.emit(to: $0) }
        #expect(bytes.suffix(4) == [2, 4, 0x05, 0x64] && bytes[12] == 0x60)
        try withGuarded(bytes) { base, count in
            let view = try #require(TCPView(checking: base, count: count))
            #expect(TCPHeader.parse(view) == header)
        }
    }

    @Test("a data offset under 20 bytes or over the segment is refused", arguments: 0..<16)
    func impossible(words: UInt8) {
        var bytes = segment
        bytes[12] = words << 4
        withGuarded(bytes) { base, count in
            let view = TCPView(checking: base, count: count)
            #expect((view != nil) == (words == 5 || words == 6), "27 bytes hold 20 or 24 of header")
        }
    }

    @Test("truncated in the header there is no segment; without payload there is")
    func truncated() {
        #expect(acceptedLengths(opening) { TCPView(checking: $0, count: $1) != nil } == [40])
        #expect(acceptedLengths(segment) { TCPView(checking: $0, count: $1) != nil } == Array(20...27))
    }

    @Test(
        "hostile options end the search without a trap",
        arguments: [
            ("02 00 05 b4", nil), ("02 01 05 b4", nil), ("02 03 05 b4", nil), ("02 05 05 b4", nil),
            ("01 01 01 02", nil), ("01 01 02 04", nil), ("00 02 04 05", nil), ("03 ff 00 00", nil),
            ("08 00 00 00", nil), ("02 04 05 b4", 1460), ("02 04 00 00", 0),
        ] as [(String, UInt16?)])
    func hostileOptions(options: String, expected: UInt16?) throws {
        var bytes = Array(segment.prefix(20)) + hex(options)
        bytes[12] = 0x60
        try withGuarded(bytes) { base, count in
            let view = try #require(TCPView(checking: base, count: count))
            #expect(view.maximumSegmentSize == expected)
        }
    }

    @Test("flags print as tcpdump has them and combine")
    func flags() {
        #expect(TCPFlags.syn.description == "S")
        #expect(TCPFlags([.syn, .ack]).description == "S.")
        #expect(TCPFlags(rawValue: 0xff).description == "FSRP.UEW")
        #expect(TCPFlags().description == "none")
        #expect(TCPFlags(rawValue: 0xff).subtracting(.fin).rawValue == 0xfe)
    }
}
