import Testing

@testable import Wire

@Suite("neighbour discovery")
struct NeighborDiscoveryTests {
    private let solicitation = Array(Vectors.solicitation[54...])
    private let detection = Array(Vectors.solicitationDAD[54...])
    private let advertisement = Array(Vectors.advertisement[54...])

    @Test("deconstruct: a solicitation with the asker's address")
    func deconstructSolicitation() throws {
        try withGuarded(solicitation) { base, count in
            let view = try #require(NeighborSolicitationView(checking: base, count: count))
            #expect(view.target == ip6("fe80::b"))
            #expect(view.linkLayerAddress == mac("02:00:00:00:00:0a"))
        }
    }

    @Test("deconstruct: unknown options are passed over")
    func deconstructDetection() throws {
        try withGuarded(detection) { base, count in
            let view = try #require(NeighborSolicitationView(checking: base, count: count))
            #expect(view.target == ip6("fe80::b") && view.linkLayerAddress == nil)
        }
    }

    @Test("deconstruct: an advertisement's flags and address")
    func deconstructAdvertisement() throws {
        try withGuarded(advertisement) { base, count in
            let view = try #require(NeighborAdvertisementView(checking: base, count: count))
            #expect(view.target == ip6("fe80::b"))
            #expect(!view.isRouter && view.isSolicited && view.isOverride)
            #expect(view.linkLayerAddress == mac("02:00:00:00:00:0b"))
        }
    }

    @Test("construct: both messages, checksum included")
    func construct() {
        let asked = NeighborSolicitation(
            target: ip6("fe80::b"), linkLayerAddress: mac("02:00:00:00:00:0a"))
        let written = emitted(asked.byteCount) {
            asked.emit(to: $0, source: ip6("fe80::a"), destination: asked.target.solicitedNode)
        }
        #expect(written == solicitation)
        let told = NeighborAdvertisement(
            target: ip6("fe80::b"), linkLayerAddress: mac("02:00:00:00:00:0b"), isSolicited: true,
            isOverride: true)
        let answer = emitted(told.byteCount) {
            told.emit(to: $0, source: ip6("fe80::b"), destination: ip6("fe80::a"))
        }
        #expect(answer == advertisement)
    }

    @Test("parse then emit gives the same message, with and without address and flags", arguments: 0..<16)
    func roundTrip(bits: Int) throws {
        let address = bits & 8 == 0 ? nil : mac("02:00:00:00:00:0b")
        let told = NeighborAdvertisement(
            target: ip6("2001:db8::b"), linkLayerAddress: address, isRouter: bits & 1 != 0,
            isSolicited: bits & 2 != 0, isOverride: bits & 4 != 0)
        try withGuarded(emitted(told.byteCount) { told.emit(to: $0) }) { base, count in
            #expect(count == (address == nil ? 24 : 32))
            let view = try #require(NeighborAdvertisementView(checking: base, count: count))
            #expect(NeighborAdvertisement.parse(view) == told)
        }
        let asked = NeighborSolicitation(target: ip6("2001:db8::b"), linkLayerAddress: address)
        try withGuarded(emitted(asked.byteCount) { asked.emit(to: $0) }) { base, count in
            let view = try #require(NeighborSolicitationView(checking: base, count: count))
            #expect(NeighborSolicitation.parse(view) == asked)
        }
    }

    @Test(
        "a wrong type or code or a group target is refused", arguments: [(0, 136), (0, 0), (1, 1), (8, 0xff)])
    func impossible(index: Int, value: UInt8) {
        var bytes = solicitation
        bytes[index] = value
        withGuarded(bytes) { base, count in
            #expect(NeighborSolicitationView(checking: base, count: count) == nil)
        }
    }

    @Test("option lengths of zero or beyond the message are refused", arguments: [0, 2, 255])
    func optionLengths(units: UInt8) {
        var asked = solicitation
        asked[25] = units
        withGuarded(asked) { base, count in
            #expect(NeighborSolicitationView(checking: base, count: count) == nil)
        }
        var told = advertisement
        told[25] = units
        withGuarded(told) { base, count in
            #expect(NeighborAdvertisementView(checking: base, count: count) == nil)
        }
    }

    @Test("truncated at any byte only whole options are accepted")
    func truncated() {
        let accepts = { (base: UnsafeRawPointer, count: Int) in
            NeighborSolicitationView(checking: base, count: count)?.target == ip6("fe80::b")
        }
        #expect(acceptedLengths(solicitation, accepts) == [24, 32])
        let advertised = acceptedLengths(advertisement) {
            NeighborAdvertisementView(checking: $0, count: $1) != nil
        }
        #expect(advertised == [24, 32])
    }

    @Test("sixteen options are walked, the first address counts, a seventeenth is refused")
    func optionBound() throws {
        let unknown = hex("0e 01 00 00 00 00 00 00")
        let address = hex("01 01 02 00 00 00 00 01")
        let other = hex("01 01 02 00 00 00 00 02")
        let bare = Array(solicitation.prefix(24))
        let full = bare + Array(repeatElement(unknown, count: 14).joined()) + address + other
        try withGuarded(full) { base, count in
            let view = try #require(NeighborSolicitationView(checking: base, count: count))
            #expect(view.linkLayerAddress == mac("02:00:00:00:00:01"))
        }
        withGuarded(full + unknown) { base, count in
            #expect(NeighborSolicitationView(checking: base, count: count) == nil)
        }
    }

    @Test("a link-layer address of another length is not an Ethernet one")
    func longAddress() throws {
        let bytes = solicitation.prefix(24) + hex("01 02 02 00 00 00 00 01 00 00 00 00 00 00 00 00")
        try withGuarded(bytes) { base, count in
            let view = try #require(NeighborSolicitationView(checking: base, count: count))
            #expect(view.linkLayerAddress == nil)
        }
    }
}
