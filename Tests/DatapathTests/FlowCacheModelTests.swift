// Owns: random lives of an engine beside one that decides every frame. Whatever happens to tables, programs
// and time, the same copies must leave and everything must count the same.

import Testing
import Wire

@testable import Datapath

@Suite("the engine with and without its flow cache")
struct FlowCacheModelTests {
    /// One engine with its world: two bridges of two local ports and a tunnel each.
    private struct World: ~Copyable {
        let rig = Rig()
        var engine: Engine
        var ports: [PortEntry]
        var bridges: [BridgeEntry]
        let isReference: Bool

        init(flows: Int, isReference: Bool) {
            rig.listener()
            for number in 0..<2 {
                let bridge = rig.bridge(capacity: 12, ageing: 20)
                rig.local(bridge)
                rig.local(bridge)
                rig.tunnel(bridge, to: "192.0.2.\(number + 1)", vni: 100 + number)
            }
            ports = rig.ports
            bridges = rig.bridges
            self.isReference = isReference
            engine = Engine(rig.program, flows: .make(capacity: flows))
        }

        /// The one without a cache has no flow that could be of its present program.
        mutating func forward(_ bytes: [UInt8], _ ingress: UInt32, _ now: UInt64) -> [Sent] {
            if isReference { engine.flows.invalidate() }
            guard ports[Int(ingress)].isTunnel else {
                return engine.forward(bytes, ingress: ingress, at: now)
            }
            let number = ingress < 3 ? 0 : 1
            return engine.receive(vxlan(bytes, vni: 100 + number), from: "192.0.2.\(number + 1)", at: now)
        }

        mutating func adopt() {
            engine.adopt(
                Program(
                    ports: ports, tunnels: rig.tunnels, bridges: bridges, listeners: rig.listeners,
                    senders: rig.rules, ownAddresses: [], dropsReservedBits: true))
        }

        /// Something that is not a frame. `choice` says what, `number` to whom.
        mutating func disturb(_ choice: Int, _ number: Int, _ now: UInt64) {
            let table = bridges[number % 2].table
            let (port, address) = (UInt32(number % 6), mac(1 + number % 16))
            switch choice {
            case 0: table.setStatic(address, port: port, member: ports[Int(port)].member)
            case 1: table.removeStatic(address)
            case 2: table.forget(address, vlan: number % 3 == 0 ? 0 : 7)
            case 3: table.flushLearned()
            case 4: table.setAgeing(seconds: 5 + number % 40)
            case 5: engine.sweep(nowMilliseconds: now)
            case 6: bridges[number % 2].forwardsReserved.toggle()
            // A local port changes sides, as one port that goes and another that gets its number.
            case 7 where !ports[Int(port)].isTunnel:
                bridges[Int(ports[Int(port)].bridge)].table.flush(member: ports[Int(port)].member)
                ports[Int(port)].bridge ^= 1
                ports[Int(port)].identity += 6
            default: break
            }
            if choice >= 6 { adopt() }
        }

        /// Everything countable; what left last of all ports.
        func account(_ now: UInt64) -> [String] {
            let seconds = UInt32(now / 1000)
            return rig.ports.map { "\($0.counters.snapshot)" }
                + bridges.map {
                    "\($0.table.statistics) \($0.table.entries(in: 0..<99, nowSeconds: seconds))"
                }
        }
    }

    @Test(
        "thousands of frames and changes leave the same behind", arguments: [8, 64, 1024],
        1...6 as ClosedRange<UInt64>)
    func randomLife(flows: Int, seed: UInt64) {
        var generator = SeededGenerator(seed: seed &* 31 &+ UInt64(flows))
        var cached = World(flows: flows, isReference: false)
        var reference = World(flows: flows, isReference: true)
        let special = [
            MACAddress.broadcast, .zero, mac("01:00:5e:00:00:01"), mac("01:80:c2:00:00:0e"),
        ]
        var now: UInt64 = 1_000_000
        var lookups: UInt64 = 0
        for step in 0..<4_000 {
            now += UInt64(generator.chance(3) ? generator.below(30_000) : generator.below(400))
            if generator.chance(4) {
                let (choice, number) = (generator.below(8), generator.below(96))
                cached.disturb(choice, number, now)
                reference.disturb(choice, number, now)
                continue
            }
            // Few pairs, so that flows are met again.
            let source = generator.chance(4) ? special[generator.below(4)] : mac(1 + generator.below(8))
            let destination = generator.chance(10) ? special[generator.below(4)] : mac(1 + generator.below(8))
            let type: EtherType = generator.chance(50) ? .arp : .ipv4
            let tags = (generator.chance(80) ? [] : [[0], [0xa007], [8, 7]][generator.below(3)]) as [UInt16]
            let bytes = ethernet(
                generator.bytes(generator.below(30)), type, from: source, to: destination, tags: tags)
            let ingress = UInt32(generator.below(6))
            let first = cached.forward(bytes, ingress, now)
            let second = reference.forward(bytes, ingress, now)
            lookups += 1
            let story = "flows \(flows) seed \(seed) step \(step): \(source) to \(destination) by \(ingress)"
            #expect(first == second, "\(story)")
            guard first == second else { return }
            if step % 50 == 0 {
                let same = cached.account(now) == reference.account(now)
                #expect(same, "\(story): counters or tables differ")
                guard same else { return }
            }
        }
        let counts = cached.engine.flows.statistics
        #expect(counts.lookups == lookups && reference.engine.flows.statistics.lookups == lookups)
        #expect(reference.engine.flows.statistics.exactHits == 0)
        #expect(counts.exactHits > 0 && counts.redecisions > 0 && counts.flows <= flows)
        #expect(flows > 8 || counts.evictions > 0)
        let found = cached.engine.flows.flows(in: 0..<flows, nowMilliseconds: now)
        #expect(Set(found.map(\.key)).count <= found.count && found.count <= counts.flows)
    }
}
