import Testing

@testable import Wire

@Suite("VXLAN headers")
struct VXLANTests {
    private let header = Array(Vectors.vxlanv4[42..<50])

    private func view<Result>(_ bytes: [UInt8], _ body: (VXLANView) throws -> Result) throws -> Result {
        try withGuarded(bytes) { base, count in
            try body(try #require(VXLANView(checking: base, count: count)))
        }
    }

    @Test("deconstruct: each field is where RFC 7348 puts it")
    func deconstruct() throws {
        try view(header) { view in
            #expect(view.flags == 8 && view.isVNIValid && !view.hasReservedBits)
            #expect(view.vni.rawValue == 0xabcdef)
            #expect(view.reserved1 == 0 && view.reserved2 == 0)
            #expect(view.payload == view.base + 8)
        }
        try view(hex("f7 12 34 56 00 00 01 ff")) { view in
            #expect(view.flags == 0xf7 && !view.isVNIValid && view.hasReservedBits)
            #expect(view.reserved1 == 0x123456 && view.vni.rawValue == 1 && view.reserved2 == 0xff)
        }
    }

    @Test("construct: 8 bytes over whatever was there")
    func construct() {
        let repr = VXLANHeader(vni: VNI(truncating: 0xabcdef))
        #expect(emitted(repr.byteCount) { repr.emit(to: $0) } == header)
        #expect(
            emitted(8) { VXLANHeader(vni: VNI(truncating: 0)).emit(to: $0) } == hex("08 00 00 00 00 00 00 00")
        )
    }

    @Test("every bit but I and the VNI is reserved", arguments: 0..<64)
    func reservedBits(bit: Int) throws {
        var bytes = header
        bytes[bit / 8] ^= 0x80 >> UInt8(bit % 8)
        try view(bytes) { view in
            let isFlag = bit == 4
            let isVNI = (32..<56).contains(bit)
            #expect(view.hasReservedBits == (!isFlag && !isVNI))
            #expect(view.isVNIValid == !isFlag)
            // What is parsed emits to the same bytes, so a header with anything else in it is not parsed.
            #expect((VXLANHeader.parse(view) != nil) == isVNI)
        }
    }

    @Test("parse then emit gives the same bytes")
    func roundTrip() throws {
        for value: UInt32 in [0, 1, 0x80_0000, 0xff_ffff] {
            let repr = VXLANHeader(vni: VNI(truncating: value))
            try view(emitted(8) { repr.emit(to: $0) }) { #expect(VXLANHeader.parse($0) == repr) }
        }
    }

    @Test("fewer than 8 bytes is no header")
    func truncated() {
        #expect(acceptedLengths(header + [0]) { VXLANView(checking: $0, count: $1) != nil } == [8, 9])
    }

    @Test("a whole encapsulation is built from Reprs, byte for byte as scapy builds it")
    func encapsulation() {
        let bytes = Vectors.vxlanv4
        let inner = bytes[50...]
        let written = emitted(bytes.count) { base in
            for (index, byte) in inner.enumerated() { base.store(byte: byte, at: 50 + index) }
            EthernetHeader(
                destination: mac("02:00:00:00:01:0b"), source: mac("02:00:00:00:01:0a"), etherType: .ipv4
            ).emit(to: base)
            let source = ip4("10.10.10.1")
            let destination = ip4("10.10.10.2")
            IPv4Header(
                source: source, destination: destination, protocolNumber: .udp,
                payloadByteCount: 16 + inner.count
            ).emit(to: base + 14)
            VXLANHeader(vni: VNI(truncating: 0xabcdef)).emit(to: base + 42)
            var udp = UDPHeader(sourcePort: 50000, destinationPort: 4789, payloadByteCount: 8 + inner.count)
            udp.emit(to: base + 34)
            let length = 16 + inner.count
            let pseudo = Checksum.pseudoHeader(
                source: source, destination: destination, protocol: .udp, length: length)
            let sum = Checksum.sum(UnsafeRawPointer(base + 34), count: length, adding: pseudo)
            udp.checksum = Checksum.finishUDP(sum)
            udp.emit(to: base + 34)
        }
        #expect(written == bytes)
    }
}
