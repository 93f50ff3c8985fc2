import Testing

@testable import Wire

@Suite("UDP headers")
struct UDPTests {
    private let datagram = Array(Vectors.udpv4[34...])

    @Test("deconstruct: each field is where RFC 768 puts it")
    func deconstruct() throws {
        try withGuarded(datagram) { base, count in
            let view = try #require(UDPView(checking: base, count: count))
            #expect(view.sourcePort == 49152 && view.destinationPort == 4000)
            #expect(view.length == 15 && view.payloadByteCount == 7)
            #expect(view.checksum == base.bigEndian16(at: 6))
            #expect(view.payload == base + 8)
        }
    }

    @Test("construct: 8 bytes over whatever was there, with scapy's checksum")
    func construct() {
        var header = UDPHeader(sourcePort: 49152, destinationPort: 4000, payloadByteCount: 7)
        let pseudo = Checksum.pseudoHeader(
            source: ip4("192.0.2.1"), destination: ip4("198.51.100.2"), protocol: .udp, length: 15)
        let bare = emitted(8) { header.emit(to: $0) }
        withGuarded(bare + datagram[8...]) { base, count in
            header.checksum = Checksum.finishUDP(Checksum.sum(base, count: count, adding: pseudo))
        }
        #expect(emitted(header.byteCount) { header.emit(to: $0) } == Array(datagram.prefix(8)))
    }

    @Test("parse then emit gives the same bytes")
    func roundTrip() throws {
        try withGuarded(datagram) { base, count in
            let header = UDPHeader.parse(try #require(UDPView(checking: base, count: count)))
            #expect(emitted(8) { header.emit(to: $0) } == Array(datagram.prefix(8)))
        }
    }

    @Test("lengths below 8 or beyond the bytes are refused, zero too", arguments: [0, 1, 7, 16, 255])
    func impossible(length: UInt8) {
        var bytes = datagram
        bytes[5] = length
        withGuarded(bytes) { base, count in #expect(UDPView(checking: base, count: count) == nil) }
    }

    @Test("a length of exactly 8 is an empty datagram, and a short one leaves padding out")
    func shortLengths() throws {
        for (length, payload) in [(UInt8(8), 0), (9, 1), (14, 6)] {
            var bytes = datagram
            bytes[5] = length
            try withGuarded(bytes) { base, count in
                let view = try #require(UDPView(checking: base, count: count))
                #expect(view.payloadByteCount == payload)
            }
        }
    }

    @Test("truncated at any byte there is no datagram")
    func truncated() {
        #expect(acceptedLengths(datagram + [0]) { UDPView(checking: $0, count: $1) != nil } == [15, 16])
    }

    @Test("the checksum covers pseudo-header, header and payload of both families")
    func checksums() throws {
        try withGuarded(datagram) { base, count in
            let view = try #require(UDPView(checking: base, count: count))
            #expect(view.isChecksumValid(source: ip4("192.0.2.1"), destination: ip4("198.51.100.2")))
            #expect(!view.isChecksumValid(source: ip4("192.0.2.2"), destination: ip4("198.51.100.2")))
        }
        try withGuarded(Vectors.udpv6[54...]) { base, count in
            let view = try #require(UDPView(checking: base, count: count))
            #expect(view.isChecksumValid(source: ip6("2001:db8::1"), destination: ip6("2001:db8:0:1::2")))
            #expect(!view.isChecksumValid(source: ip6("2001:db8::1"), destination: ip6("2001:db8:0:1::3")))
        }
    }

    @Test("a zero checksum is none and passes, one flipped payload bit does not")
    func zeroChecksum() throws {
        var none = datagram
        none[6] = 0
        none[7] = 0
        var flipped = datagram
        flipped[14] ^= 1
        for (bytes, valid) in [(none, true), (flipped, false)] {
            try withGuarded(bytes) { base, count in
                let view = try #require(UDPView(checking: base, count: count))
                #expect(
                    view.isChecksumValid(source: ip4("192.0.2.1"), destination: ip4("198.51.100.2")) == valid)
            }
        }
    }

    @Test("the payload length clamps to what 16 bits can say")
    func clamps() {
        for (given, kept) in [(-1, 0), (0, 0), (65527, 65527), (65528, 65527), (Int.max, 65527)] {
            let header = UDPHeader(sourcePort: 1, destinationPort: 2, payloadByteCount: given)
            #expect(header.payloadByteCount == kept)
        }
    }
}
