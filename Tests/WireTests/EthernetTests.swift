import Testing

@testable import Wire

@Suite("Ethernet headers")
struct EthernetTests {
    let header = EthernetHeader(
        destination: .broadcast, source: mac("02:00:00:00:00:0a"), etherType: .arp)

    @Test("deconstruct: each field is where IEEE 802.3 puts it")
    func deconstruct() throws {
        try withGuarded(Vectors.arpRequest) { base, count in
            let view = try #require(EthernetView(checking: base, count: count))
            #expect(view.destination == .broadcast)
            #expect(view.source == mac("02:00:00:00:00:0a"))
            #expect(view.etherType == .arp)
            #expect(view.payload == base + 14)
        }
    }

    @Test("construct: 14 bytes over whatever was there")
    func construct() {
        #expect(emitted(header.byteCount) { header.emit(to: $0) } == Array(Vectors.arpRequest.prefix(14)))
    }

    @Test("parse then emit gives the same bytes", arguments: Vectors.all)
    func roundTrip(name: String, bytes: [UInt8]) throws {
        try withGuarded(bytes) { base, count in
            let parsed = EthernetHeader.parse(try #require(EthernetView(checking: base, count: count)))
            #expect(emitted(14) { parsed.emit(to: $0) } == Array(bytes.prefix(14)))
        }
    }

    @Test("fewer than 14 bytes, or a count below zero, is no header")
    func truncated() {
        let accepted = acceptedLengths(Vectors.arpRequest) { EthernetView(checking: $0, count: $1) != nil }
        #expect(accepted == Array(14...Vectors.arpRequest.count))
        withGuarded([]) { base, _ in #expect(EthernetView(checking: base, count: .min) == nil) }
    }

    @Test("types name themselves, lengths are told apart")
    func etherTypes() {
        #expect(EtherType(rawValue: 0x05ff).isLength && !EtherType(rawValue: 0x0600).isLength)
        #expect(EtherType.vlan.isVLAN && EtherType.serviceVLAN.isVLAN && !EtherType.ipv6.isVLAN)
        #expect(EtherType.ipv4.description == "IPv4")
        #expect(EtherType(rawValue: 0x88cc).description == "0x88cc")
        #expect(EtherType(rawValue: 5).description == "0x0005")
    }
}
