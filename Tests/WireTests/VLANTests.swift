import Testing

@testable import Wire

@Suite("VLAN tags")
struct VLANTests {
    @Test("deconstruct: priority 5, VLAN 100, IPv4 inside")
    func deconstruct() throws {
        try withGuarded(Vectors.vlanUDP[14...]) { base, count in
            let view = try #require(VLANView(checking: base, count: count))
            #expect(view.tci == 0xa064)
            #expect(view.priority == 5)
            #expect(!view.dropEligible)
            #expect(view.identifier == 100)
            #expect(view.etherType == .ipv4)
            #expect(view.payload == base + 4)
        }
    }

    @Test("deconstruct: tags stack, the outer one drop eligible")
    func stacked() throws {
        try withGuarded(Vectors.stackedVLAN[14...]) { base, count in
            let outer = try #require(VLANView(checking: base, count: count))
            #expect(outer.dropEligible && outer.identifier == 4000 && outer.etherType == .vlan)
            let inner = try #require(VLANView(checking: outer.payload, count: count - 4))
            #expect(inner.identifier == 1 && inner.etherType == .ipv4)
        }
    }

    @Test("construct: 4 bytes over whatever was there")
    func construct() {
        let tag = VLANTag(priority: 5, identifier: 100, etherType: .ipv4)
        #expect(emitted(tag.byteCount) { tag.emit(to: $0) } == hex("a0 64 08 00"))
        let dropEligible = VLANTag(dropEligible: true, identifier: 4000, etherType: .vlan)
        #expect(emitted(4) { dropEligible.emit(to: $0) } == Array(Vectors.stackedVLAN[14..<18]))
    }

    @Test("a priority or identifier too large keeps its low bits and spills into nothing")
    func masks() {
        let tag = VLANTag(priority: 0xff, identifier: 0xffff, etherType: .ipv6)
        #expect(tag.priority == 7 && !tag.dropEligible && tag.identifier == 0xfff)
    }

    @Test("parse then emit gives the same bytes for every tag")
    func roundTrip() throws {
        for tci in stride(from: UInt16(0), through: 0xfff0, by: 0x111) {
            let tag = VLANTag(tci: tci, etherType: .arp)
            let bytes = emitted(4) { tag.emit(to: $0) }
            try withGuarded(bytes) { base, count in
                let view = try #require(VLANView(checking: base, count: count))
                #expect(VLANTag.parse(view) == tag)
            }
        }
    }

    @Test("fewer than 4 bytes is no tag")
    func truncated() {
        let bytes = Vectors.vlanUDP[14..<22]
        #expect(acceptedLengths(bytes) { VLANView(checking: $0, count: $1) != nil } == Array(4...8))
    }
}
