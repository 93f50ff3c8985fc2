// Owns: random rules, VLANs and frames, through the engine and through the model beside it: the same copies, reasons
// and counts, whether a flow is cached or not.

import Testing
import Wire

@testable import Datapath

@Suite("rules and VLANs, beside a slow model")
struct PipelineModelTests {
    /// Local ports 0, 1 and 2, tunnel 3 of VNI 100, tunnels 4 and 5 of the flow's.
    private final class World {
        let rig = Rig()
        let bridge: UInt32
        let set: RuleSet
        let mapping: VLANMapping
        let mirrors: MirrorTable?
        let sets = [VLANSet([0, 5]), VLANSet([5, 6])]
        var model: PipelineModel

        init(_ generator: inout SeededGenerator) {
            rig.listener()
            bridge = rig.bridge(capacity: 256)
            for _ in 0..<3 { rig.local(bridge) }
            rig.tunnel(bridge, to: "192.0.2.3", vni: 100)
            rig.tunnel(bridge, to: "192.0.2.4", vni: nil)
            rig.tunnel(bridge, to: "192.0.2.5", vni: nil)
            var ports = [nil, nil, nil, 100, 0, 0].map { PipelineModel.Port(vni: $0) }
            if generator.chance(70) {
                for number in 0..<6 where generator.chance(60) {
                    let mode = generator.pick(
                        [PortVLAN.Mode.trunk, .access, .nativeTagged, .nativeUntagged])
                    let trunks = generator.chance(50) ? generator.pick(sets) : nil
                    ports[number].vlan = PortVLAN(
                        mode: mode, tag: mode == .trunk ? 0 : generator.pick([5, 6]), trunks: trunks)
                    rig.change(port: UInt32(number)) { $0.vlan = ports[number].vlan }
                }
            }
            let pairs: [(vlan: UInt16, vni: VNI)] = [(5, VNI(truncating: 100)), (6, VNI(truncating: 600))]
            mapping = VLANMapping(generator.chance(40) ? pairs : [])
            mirrors = generator.chance(30) ? MirrorTable([World.mirror]) : nil
            set = RuleSet((0..<generator.below(25)).map { _ in generator.rule() })
            model = PipelineModel(ports: ports, rules: set.table.rules)
            if !mapping.map.isEmpty { model.map = [5: 100, 6: 600] }
            if mirrors != nil { model.mirror = 2 }
            rig.change(bridge: bridge) {
                $0.rules = set.table.handle
                $0.vlanMap = mapping.map
                $0.mirrors = mirrors?.handle ?? .none
            }
        }

        private static var mirror: Mirror {
            var mirror = Mirror(output: 2)
            mirror.sources = [0]
            return mirror
        }
    }

    /// Frames of a tunnel come with a VNI.
    private func copies(_ sent: [Sent]) -> [ModelOutcome.Copy] {
        sent.map {
            let isTunnel = !$0.vxlan.isEmpty
            let vni =
                isTunnel ? UInt32($0.vxlan[4]) << 16 | UInt32($0.vxlan[5]) << 8 | UInt32($0.vxlan[6]) : nil
            return ModelOutcome.Copy(port: $0.port, frame: $0.frame, vni: vni)
        }
    }

    @Test(
        "every frame leaves as the model says, or is dropped for its reason",
        arguments: 1...60 as ClosedRange<UInt64>)
    func randomLives(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let world = World(&generator)
        var engine = Engine(world.rig.program)
        // Few frames, met again and again.
        let frames = (0..<60).map { _ in generator.frame() }
        var drops: [DropReason: UInt64] = [:]
        for step in 0..<1_000 {
            let bytes = generator.pick(frames)
            let ingress = UInt32(generator.below(6))
            let vni: UInt32 = ingress < 3 ? 0 : ingress == 3 ? 100 : generator.pick([100, 600, 7])
            let sent =
                ingress < 3
                ? engine.forward(bytes, ingress: ingress)
                : engine.receive(vxlan(bytes, vni: Int(vni)), from: "192.0.2.\(ingress)")
            let wanted = world.model.process(bytes, ingress: ingress, vni: vni)
            if let drop = wanted.drop { drops[drop, default: 0] += 1 }
            let learned = world.rig.table(world.bridge).entries(in: 0..<256, nowSeconds: 5)
            let stations = learned.map { ($0.address.rawValue | UInt64($0.vlan) << 48, $0.port) }
            let same =
                copies(sent) == wanted.copies
                && Dictionary(uniqueKeysWithValues: stations) == world.model.stations
            #expect(same, "seed \(seed) step \(step) by \(ingress) vni \(vni): \(bytes) \(sent) \(wanted)")
            guard same else {
                return
            }
        }
        for reason in DropReason.allCases {
            let counted = (0..<6).reduce(0) { $0 + world.rig.counters(UInt32($1)).receiveDrops(reason) }
            #expect(counted == drops[reason] ?? 0, "seed \(seed): \(reason)")
        }
        let total = world.rig.total(world.bridge)
        #expect(total[.rxPackets] == 1_000)
        #expect(total[.rxPackets] == total[.rxForwarded] + total.receiveDropTotal)
        #expect(total[.rxCopies] == total[.txPackets] + total.transmitDropTotal)
        for (index, rule) in world.set.table.rules.enumerated() {
            let packets = rule.counters.snapshot.packets
            #expect(packets == world.model.met[rule.identity] ?? 0, "seed \(seed): rule \(index)")
        }
        let counts = engine.flows.statistics
        #expect(counts.lookups == 1_000 && counts.exactHits + counts.maskedHits > 0, "seed \(seed)")
    }

    @Test("a walk through a bridge without rules comes to what switching does")
    func plain() {
        var generator = SeededGenerator(seed: 5)
        let rigs = [Rig(), Rig()]
        let set = RuleSet([(0, 3, RuleMatch(), [.drop])])
        for rig in rigs {
            rig.listener()
            let bridge = rig.bridge()
            for _ in 0..<3 { rig.local(bridge) }
            rig.tunnel(bridge, to: "192.0.2.3")
        }
        rigs[1].change(bridge: 0) { $0.rules = set.table.handle }
        var first = Engine(rigs[0].program)
        var second = Engine(rigs[1].program)
        #expect(rigs[0].program.view.bridges[0].isPlain && !rigs[1].program.view.bridges[0].isPlain)
        for _ in 0..<2_000 {
            var bytes = generator.frame()
            // A tag of nothing stays where nothing is looked at.
            if bytes.count > 15, bytes[12] == 0x81, bytes[14] & 0x0f == 0, bytes[15] == 0 { bytes[15] = 9 }
            let ingress = UInt32(generator.below(4))
            if ingress < 3 {
                #expect(
                    first.forward(bytes, ingress: ingress) == second.forward(bytes, ingress: ingress))
            } else {
                let datagram = vxlan(bytes)
                #expect(
                    first.receive(datagram, from: "192.0.2.3")
                        == second.receive(datagram, from: "192.0.2.3"))
            }
        }
        #expect(rigs[0].total(0) == rigs[1].total(0))
    }
}

extension SeededGenerator {
    mutating func rule() -> (priority: UInt16, table: UInt8, match: RuleMatch, actions: [RuleAction]) {
        let table = UInt8(below(3))
        var actions = (0..<below(4)).map { _ in action() }
        switch below(5) {
        case 0, 1: actions.append(.normal)
        case 2: actions.append(.goToTable(table + 1 + UInt8(below(2))))
        case 3: actions.append(.drop)
        default: break
        }
        return (UInt16(below(4)), table, match(), actions)
    }

    mutating func action() -> RuleAction {
        switch below(14) {
        case 0, 1, 2: .output(port: UInt32(below(6)))
        case 3:
            .setTunnel(VNI(truncating: UInt32(900 + below(3))), via: chance(50) ? nil : UInt32(4 + below(2)))
        case 4: chance(50) ? .setEtherSource(mac(1 + below(4))) : .setEtherDestination(mac(1 + below(4)))
        case 5: .pushVLAN(pick([5, 6]), priority: UInt8(below(8)))
        case 6: .popVLAN
        case 7: .setVLAN(pick([5, 6]))
        case 8: .setVLANPriority(UInt8(below(8)))
        case 9:
            chance(50)
                ? .setNetworkSource(packed(chance(70) ? "192.0.2.\(below(8))" : "2001:db8::\(below(4))"))
                : .setNetworkDestination(packed(chance(70) ? "203.0.113.1" : "2001:db8::\(below(4))"))
        case 10: .setDSCP(pick([0, 46]))
        case 11: chance(50) ? .setTimeToLive(UInt8(below(4))) : .decrementTimeToLive
        case 12: .setSourcePort(UInt16(below(2500)))
        default: .setDestinationPort(UInt16(below(600)))
        }
    }
}
