import Testing

@testable import Wire

@Suite("IPv6 headers")
struct IPv6Tests {
    private let packet = Array(Vectors.udpv6[14...])

    private let header = IPv6Header(
        source: ip6("2001:db8::1"), destination: ip6("2001:db8:0:1::2"), nextHeader: .udp,
        payloadByteCount: 15, hopLimit: 17, trafficClass: 3, flowLabel: 0xabcde)

    @Test("deconstruct: each field is where RFC 8200 puts it")
    func deconstruct() throws {
        try withGuarded(packet) { base, count in
            let view = try #require(IPv6View(checking: base, count: count))
            #expect(view.trafficClass == 3 && view.dscp == 0 && view.ecn == 3)
            #expect(view.flowLabel == 0xabcde)
            #expect(view.payloadLength == 15 && view.totalLength == 55)
            #expect(view.nextHeader == .udp && view.hopLimit == 17)
            #expect(view.source == ip6("2001:db8::1") && view.destination == ip6("2001:db8:0:1::2"))
            #expect(view.payload == base + 40)
            #expect(IPv6Header.parse(view) == header)
        }
    }

    @Test("construct: 40 bytes over whatever was there")
    func construct() {
        #expect(emitted(header.byteCount) { header.emit(to: $0) } == Array(packet.prefix(40)))
    }

    @Test("impossible versions and lengths are refused", arguments: [(0, 0x40), (0, 0x70), (5, 16), (4, 1)])
    func impossible(index: Int, value: UInt8) {
        var bytes = packet
        bytes[index] = value
        withGuarded(bytes) { base, count in #expect(IPv6View(checking: base, count: count) == nil) }
    }

    @Test("truncated at any byte there is no packet; padding after it is not payload")
    func truncated() {
        let padded = packet + [0, 0, 0]
        #expect(acceptedLengths(padded) { IPv6View(checking: $0, count: $1) != nil } == [55, 56, 57, 58])
    }

    @Test("setters clamp and mask, so every value can be emitted")
    func clamps() {
        var header = header
        header.payloadByteCount = 70000
        #expect(header.payloadByteCount == 65535)
        header.payloadByteCount = -1
        #expect(header.payloadByteCount == 0)
        header.flowLabel = .max
        #expect(header.flowLabel == 0xf_ffff)
        #expect(emitted(40) { header.emit(to: $0) }[0] == 0x60)
    }

    @Test("changing the traffic class in place touches nothing else", arguments: [0, 0x0f, 0xf0, 0xff])
    func trafficClass(value: UInt8) {
        var header = header
        let bytes = emitted(40) { base in
            header.emit(to: base)
            IPv6Header.setTrafficClass(value, at: base)
        }
        header.trafficClass = value
        #expect(bytes == emitted(40) { header.emit(to: $0) })
    }
}

@Suite("IPv6 extension headers")
struct IPv6ExtensionTests {
    private func walk(_ bytes: some Collection<UInt8>) throws -> IPv6UpperLayer? {
        try withGuarded(bytes) { base, count in
            try #require(IPv6View(checking: base, count: count)).upperLayer()
        }
    }

    /// An IPv6 packet of `first` as next header and `rest` after the fixed header.
    private func packet(_ first: IPProtocol, _ rest: [UInt8]) -> [UInt8] {
        let header = IPv6Header(
            source: ip6("::1"), destination: ip6("::2"), nextHeader: first, payloadByteCount: rest.count)
        return emitted(40) { header.emit(to: $0) } + rest
    }

    @Test("without extension headers the upper layer is right there")
    func none() throws {
        let expected = IPv6UpperLayer(protocolNumber: .udp, offset: 40, byteCount: 15, fragment: .whole)
        #expect(try walk(Vectors.udpv6[14...]) == expected)
    }

    @Test("hop-by-hop, destination options, routing and AH are passed")
    func chain() throws {
        let expected = IPv6UpperLayer(protocolNumber: .udp, offset: 96, byteCount: 15, fragment: .whole)
        #expect(try walk(Vectors.ipv6Chain[14...]) == expected)
    }

    @Test("first, later and atomic fragments are told apart")
    func fragments() throws {
        let expected: (FragmentPosition, Int) -> IPv6UpperLayer = {
            IPv6UpperLayer(protocolNumber: .udp, offset: 48, byteCount: $1, fragment: $0)
        }
        #expect(try walk(Vectors.ipv6FirstFragment[14...]) == expected(.first, 15))
        #expect(try walk(Vectors.ipv6LaterFragment[14...]) == expected(.later, 7))
        #expect(try walk(Vectors.ipv6AtomicFragment[14...]) == expected(.whole, 15))
        #expect(expected(.first, 0).isFragment && expected(.later, 0).isFragment)
        #expect(!expected(.whole, 0).isFragment)
    }

    @Test("after a later fragment's header nothing is taken for a header")
    func laterFragmentStops() throws {
        // Next header says destination options, but the bytes are the middle of a payload.
        let rest = hex("3c 00 00 08 00 00 00 01 ff ff ff ff")
        let upper = try walk(packet(.fragment, rest))
        #expect(upper?.protocolNumber == .destinationOptions && upper?.offset == 48 && upper?.byteCount == 4)
    }

    @Test("a header that does not fit is malformed, whichever it is")
    func truncatedHeaders() throws {
        let kinds: [IPProtocol] = [
            .hopByHopOptions, .routing, .fragment, .destinationOptions, .authentication,
        ]
        for kind in kinds {
            for count in 0..<8 {
                #expect(
                    try walk(packet(kind, [UInt8](repeating: 0, count: count))) == nil, "\(kind) \(count)")
            }
        }
        // Says 16 bytes, has 8; AH says 12 bytes, has 8.
        #expect(try walk(packet(.destinationOptions, hex("11 01 01 04 00 00 00 00"))) == nil)
        #expect(try walk(packet(.authentication, hex("11 01 00 00 00 00 00 00"))) == nil)
        #expect(try walk(packet(.routing, hex("11 ff 00 00 00 00 00 00"))) == nil)
    }

    @Test("an exactly filled header leaves an empty upper layer")
    func emptyUpperLayer() throws {
        let upper = try walk(packet(.destinationOptions, hex("3b 00 01 04 00 00 00 00")))
        #expect(upper?.protocolNumber == .noNextHeader && upper?.offset == 48 && upper?.byteCount == 0)
    }

    @Test("hop-by-hop anywhere but first is malformed")
    func hopByHopLater() throws {
        let beforeHopByHop = hex("00 00 01 04 00 00 00 00")
        let beforeUDP = hex("11 00 01 04 00 00 00 00")
        #expect(try walk(packet(.destinationOptions, beforeHopByHop + beforeUDP)) == nil)
        #expect(try walk(packet(.hopByHopOptions, beforeHopByHop + beforeUDP)) == nil)
        #expect(try walk(packet(.hopByHopOptions, beforeUDP))?.protocolNumber == .udp)
    }

    @Test("eight headers are walked, a ninth is refused")
    func bound() throws {
        let link = hex("3c 00 01 04 00 00 00 00")
        let last = hex("11 00 01 04 00 00 00 00")
        let chain = { (count: Int) in Array(repeatElement(link, count: count - 1).joined()) + last }
        #expect(try walk(packet(.destinationOptions, chain(8)))?.offset == 104)
        #expect(try walk(packet(.destinationOptions, chain(9))) == nil)
    }

    @Test("ESP and unknown protocols end the walk")
    func opaque() throws {
        #expect(try walk(packet(.encapsulatingSecurity, [1]))?.protocolNumber == .encapsulatingSecurity)
        #expect(try walk(packet(IPProtocol(rawValue: 253), []))?.offset == 40)
    }
}
