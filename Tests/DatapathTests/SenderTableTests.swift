// Owns: who is let in, and into which tunnel.

import Testing
import Wire

@testable import Datapath

@Suite("accepted senders")
struct SenderTableTests {
    private func rule(
        _ remote: String, _ vni: Int?, port: UInt32, local: String? = nil, listener: UInt32 = 0
    ) -> SenderTable.Rule {
        SenderTable.Rule(
            listener: listener, remote: packed(remote), local: local.map { packed($0) } ?? .none,
            vni: vni.map { VNI(truncating: UInt32($0)) }, port: port)
    }

    private func withTable(
        _ rules: [SenderTable.Rule], own: [String] = [], _ body: (SenderTable) -> Void
    ) {
        let table = SenderTable(rules: rules, ownAddresses: own.map { packed($0) })
        body(table)
        table.deallocate()
    }

    @Test("an exact VNI beats \"flow\"; other VNIs go to \"flow\"")
    func exactBeatsFlow() {
        withTable([rule("192.0.2.1", nil, port: 1), rule("192.0.2.1", 7, port: 2)]) { table in
            #expect(table.tunnel(0, from: packed("192.0.2.1"), to: .none, 7) == 2)
            for vni in [0, 6, 8, 0xff_ffff] as [UInt32] {
                #expect(table.tunnel(0, from: packed("192.0.2.1"), to: .none, vni) == 1)
            }
            #expect(table.tunnel(0, from: packed("192.0.2.2"), to: .none, 7) == nil)
        }
    }

    @Test("an exact local address beats any, and a VNI counts for more than a local address")
    func exactLocal() {
        let here = packed("203.0.113.1")
        let there = packed("203.0.113.2")
        let remote = packed("192.0.2.1")
        withTable([
            rule("192.0.2.1", 7, port: 1), rule("192.0.2.1", 7, port: 2, local: "203.0.113.1"),
            rule("192.0.2.1", nil, port: 3), rule("192.0.2.1", nil, port: 4, local: "203.0.113.1"),
            rule("192.0.2.1", 9, port: 5),
        ]) { table in
            #expect(table.tunnel(0, from: remote, to: here, 7) == 2)
            #expect(table.tunnel(0, from: remote, to: there, 7) == 1)
            #expect(table.tunnel(0, from: remote, to: .none, 7) == 1, "the kernel did not say")
            #expect(table.tunnel(0, from: remote, to: here, 8) == 4)
            #expect(table.tunnel(0, from: remote, to: there, 8) == 3)
            #expect(table.tunnel(0, from: remote, to: here, 9) == 5, "exact VNI, any local")
        }
    }

    @Test("a tunnel that pins its local address takes nothing that came to another")
    func pinnedOnly() {
        withTable([rule("2001:db8::1", 7, port: 1, local: "2001:db8::f")]) { table in
            #expect(table.tunnel(0, from: packed("2001:db8::1"), to: packed("2001:db8::f"), 7) == 1)
            #expect(table.tunnel(0, from: packed("2001:db8::1"), to: packed("2001:db8::e"), 7) == nil)
            #expect(table.tunnel(0, from: packed("2001:db8::1"), to: .none, 7) == nil)
            #expect(table.refusal(0, from: packed("2001:db8::1")) == .unknownVNI)
        }
    }

    @Test("a claim holds on its own listener only, for its own family only")
    func listeners() {
        withTable([rule("192.0.2.1", 7, port: 1), rule("192.0.2.1", 7, port: 2, listener: 1)]) { table in
            #expect(table.tunnel(0, from: packed("192.0.2.1"), to: .none, 7) == 1)
            #expect(table.tunnel(1, from: packed("192.0.2.1"), to: .none, 7) == 2)
            #expect(table.tunnel(2, from: packed("192.0.2.1"), to: .none, 7) == nil)
            #expect(table.refusal(2, from: packed("192.0.2.1")) == .unknownSender)
            #expect(table.tunnel(0, from: packed("::192.0.2.1"), to: .none, 7) == nil)
            #expect(table.tunnel(0, from: .none, to: .none, 7) == nil)
        }
    }

    @Test("a refusal says whether the VNI, the sender or our own address is the matter")
    func refusals() {
        withTable([rule("192.0.2.1", 7, port: 1, listener: 3)], own: ["203.0.113.1", "2001:db8::1"]) {
            #expect($0.refusal(3, from: packed("192.0.2.1")) == .unknownVNI)
            #expect($0.refusal(3, from: packed("192.0.2.2")) == .unknownSender)
            for own in ["203.0.113.1", "2001:db8::1"] {
                #expect($0.refusal(0, from: packed(own)) == .ownAddress)
                #expect($0.refusal(3, from: packed(own)) == .ownAddress, "on every listener")
            }
        }
    }

    @Test("addresses that differ in any part are different, remote and local")
    func wholeAddresses() {
        // Every slot of a small table is looked at: what differs must be told by comparison, not by luck.
        let high = (0..<64).map { PackedAddress(high: 1 << UInt64($0), low: 7) }
        let low = (0..<64).map { PackedAddress(high: 7, low: 1 << UInt64($0)) }
        let vni = VNI(truncating: 5)
        for (index, address) in (high + low).enumerated() {
            let other = (high + low)[(index + 1) % 128]
            let rules = [
                SenderTable.Rule(listener: 0, remote: address, local: .none, vni: vni, port: 1),
                SenderTable.Rule(listener: 1, remote: packed("::9"), local: address, vni: vni, port: 2),
            ]
            withTable(rules) { table in
                #expect(table.tunnel(0, from: address, to: .none, 5) == 1)
                #expect(table.tunnel(0, from: other, to: .none, 5) == nil)
                #expect(table.tunnel(1, from: packed("::9"), to: address, 5) == 2)
                #expect(table.tunnel(1, from: packed("::9"), to: other, 5) == nil)
            }
        }
    }

    @Test("of two equal claims the first stands")
    func firstStands() {
        withTable([rule("192.0.2.1", 7, port: 1), rule("192.0.2.1", 7, port: 2)]) { table in
            #expect(table.tunnel(0, from: packed("192.0.2.1"), to: .none, 7) == 1)
        }
    }

    @Test("an empty table refuses everybody")
    func empty() {
        withTable([]) { table in
            #expect(table.tunnel(0, from: packed("192.0.2.1"), to: .none, 0) == nil)
            #expect(table.refusal(0, from: packed("192.0.2.1")) == .unknownSender)
        }
    }

    private struct Key: Hashable {
        var listener: UInt32
        var remote, local: PackedAddress
        var vni: UInt32?
    }

    @Test("ten thousand random claims answer as a dictionary does", arguments: [1, 2] as [UInt64])
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        // Few of each, so that the claims overlap in every way.
        func address() -> PackedAddress {
            let host = UInt32(generator.below(60))
            return generator.chance(50)
                ? PackedAddress(IPv4Address(rawValue: 0xc000_0200 + host))
                : PackedAddress(IPv6Address(high: 0x2001_0db8_0000_0000, low: UInt64(host)))
        }
        let locals = [.none, .none, packed("203.0.113.1"), packed("2001:db8::f"), packed("203.0.113.2")]
        var rules: [SenderTable.Rule] = []
        var claims: [Key: UInt32] = [:]
        for number in 0..<10_000 as Range<UInt32> {
            let vni = generator.chance(10) ? nil : UInt32(generator.below(40))
            let rule = SenderTable.Rule(
                listener: UInt32(generator.below(3)), remote: address(),
                local: locals[generator.below(locals.count)],
                vni: vni.map { VNI(truncating: $0) }, port: number)
            rules.append(rule)
            let key = Key(listener: rule.listener, remote: rule.remote, local: rule.local, vni: vni)
            if claims[key] == nil { claims[key] = number }
        }
        let known = Set(rules.map { Key(listener: $0.listener, remote: $0.remote, local: .none) })
        let own = (0..<10).map { _ in address() }
        let table = SenderTable(rules: rules, ownAddresses: own)
        defer { table.deallocate() }
        for _ in 0..<20_000 {
            let listener = UInt32(generator.below(4))
            let (remote, local) = (address(), locals[generator.below(locals.count)])
            let vni = UInt32(generator.below(44))
            let keys = [(vni, local), (vni, .none), (nil, local), (nil, .none)] as [(UInt32?, PackedAddress)]
            let expected = keys.lazy
                .compactMap { claims[Key(listener: listener, remote: remote, local: $0.1, vni: $0.0)] }.first
            #expect(table.tunnel(listener, from: remote, to: local, vni) == expected)
            let isKnown = known.contains(Key(listener: listener, remote: remote, local: .none))
            let reason = own.contains(remote) ? DropReason.ownAddress : isKnown ? .unknownVNI : .unknownSender
            #expect(table.refusal(listener, from: remote) == reason)
        }
    }
}
