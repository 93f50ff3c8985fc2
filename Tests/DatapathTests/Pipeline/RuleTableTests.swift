// Owns: compiled rules beside rules that are looked at one by one, what a look costs, and what ranges become.

import Testing
import Wire

@testable import Datapath

@Suite("compiled rules")
struct RuleTableTests {
    private func key(_ bytes: [UInt8], port: UInt64, vni: UInt32) -> FlowKey {
        withFrame(bytes) { FlowKey($0, FrameShape($0), port: port, vni: vni) }
    }

    @Test(
        "random rules are found as one would find them reading from the top, and so is every frame that looks alike",
        arguments: 1...12 as ClosedRange<UInt64>)
    func randomRules(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let rules = (0..<1 + generator.below(60)).map { _ in
            (UInt16(generator.below(4)), UInt8(generator.below(2)), generator.match(), [RuleAction.drop])
        }
        let set = RuleSet(rules)
        var keys: [(FlowKey, FlowMask, UInt32)] = []
        for _ in 0..<400 {
            let key = key(
                generator.frame(), port: UInt64(generator.below(6)),
                vni: UInt32(generator.chance(50) ? 0 : 100 + generator.below(2)))
            var mask = FlowMask(of: key)
            let rank = set.table.handle.find(key, table: 0, &mask)
            let wanted = set.table.rules.firstIndex { $0.table == 0 && $0.match.accepts(key) }
            #expect(rank == wanted.map { UInt32($0) } ?? Rules.absent, "seed \(seed): \(key)")
            keys.append((key, mask, rank))
        }
        for (key, mask, rank) in keys {
            for (other, _, itsRank) in keys where other.masked(by: mask) == key.masked(by: mask) {
                #expect(rank == itsRank, "seed \(seed): \(key) and \(other) under \(mask)")
            }
        }
    }

    @Test("of rules with one priority the earlier wins, and a higher priority always")
    func order() {
        let any = RuleMatch()
        let tcp = RuleMatch.with { $0.ipProtocol = .tcp }
        let set = RuleSet([(5, 0, any, []), (5, 0, tcp, []), (9, 0, tcp, []), (9, 0, tcp, [])])
        #expect(set.table.rules.map(\.identity) == [2, 3, 0, 1])
        let tcpKey = key(TestFrame.tcp4().bytes(), port: 0, vni: 0)
        let udpKey = key(TestFrame.udp4().bytes(), port: 0, vni: 0)
        var mask = FlowMask(of: tcpKey)
        #expect(set.table.handle.find(tcpKey, table: 0, &mask) == 0)
        #expect(set.table.handle.find(udpKey, table: 0, &mask) == 2)
        #expect(set.table.handle.find(udpKey, table: 1, &mask) == Rules.absent)
    }

    @Test("a look that can no longer be beaten looks at nothing more")
    func stops() {
        let high = RuleMatch.with { $0.etherType = .ipv4 }
        let low = RuleMatch.with { $0.destinationPorts = 80...80 }
        let set = RuleSet([(9, 0, high, []), (5, 0, low, [])])
        var mask = FlowMask(of: FlowKey())
        _ = set.table.handle.find(key(TestFrame.tcp4().bytes(), port: 0, vni: 0), table: 0, &mask)
        #expect(mask.bits.transport == 0)
        _ = set.table.handle.find(key(TestFrame.tcp6().bytes(), port: 0, vni: 0), table: 0, &mask)
        #expect(mask.bits.transport == 0xffff << 32 | 3)
    }

    @Test("ranges become the fewest prefixes that say them")
    func ranges() {
        #expect(RuleMatch.prefixes(0...65_535).map(\.mask) == [0])
        #expect(RuleMatch.prefixes(80...80).map(\.mask) == [0xffff])
        #expect(RuleMatch.prefixes(1...65_534).count == 30)
        for range in [0...0, 3...17, 1024...65_535, 65_535...65_535] as [ClosedRange<UInt16>] {
            let parts = RuleMatch.prefixes(range)
            let met = (0...65_535).filter { number in parts.contains { UInt64(number) & $0.mask == $0.value }
            }
            #expect(met == range.map { Int($0) })
        }
        let match = RuleMatch.with {
            $0.sourcePorts = 1...65_534
            $0.destinationPorts = 1...65_534
            $0.inPorts = [1, 2]
        }
        #expect(match.termCount == 1800 && match.terms.count == 1800)
        #expect(RuleMatch.with { $0.inPorts = [] }.terms.isEmpty)
    }

    @Test("ports, flags and ICMP are those of packets in one piece")
    func fragments() {
        let port = RuleMatch.with { $0.destinationPorts = 0...0 }
        let fragment = key(
            TestFrame.udp4([UInt8](repeating: 1, count: 64)).fragment(offset: 8, more: false), port: 0, vni: 0
        )
        var mask = FlowMask(of: fragment)
        let set = RuleSet([(1, 0, port, [])])
        #expect(set.table.handle.find(fragment, table: 0, &mask) == Rules.absent)
        #expect(
            RuleMatch.with {
                $0.destinationPorts = 0...0
                $0.fragment = .later
            }.terms.isEmpty)
    }

    @Test("ten thousand rules of a dozen masks are a dozen looks")
    func tenThousand() {
        let rules = (0..<RuleTable.capacity).map { number in
            let match = RuleMatch.with {
                $0.etherType = .ipv4
                $0.ipProtocol = .tcp
                $0.networkSource = IPPrefix(
                    .v4(IPv4Address(rawValue: UInt32(number) << 12)), length: 20 + number % 12)
                $0.destinationPorts = UInt16(number)...UInt16(number)
            }
            return (UInt16(number % 50), UInt8(0), match, [RuleAction.drop])
        }
        let set = RuleSet(rules)
        #expect(set.table.tupleCount == 12 && set.table.termCount == RuleTable.capacity)
    }
}
