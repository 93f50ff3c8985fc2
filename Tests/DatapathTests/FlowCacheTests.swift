// Owns: what a flow cache promises: counts, capacity, time, and when a flow is decided anew.

import Testing
import Wire

@testable import Datapath

@Suite("the flow cache")
struct FlowCacheTests {
    /// Two local ports and two tunnels on a bridge.
    private final class Bed {
        let rig = Rig()
        let bridge, first, second, tunnel: UInt32

        init(ageing: Int = 300, capacity: Int = 64) {
            bridge = rig.bridge(capacity: capacity, ageing: ageing)
            first = rig.local(bridge)
            second = rig.local(bridge)
            tunnel = rig.tunnel(bridge, to: "192.0.2.1")
            rig.listener()
        }

        func engine(flows: Int = 256) -> Engine { Engine(rig.program, flows: .make(capacity: flows)) }
    }

    private func frame(_ source: Int, _ destination: Int, _ type: EtherType = .arp) -> [UInt8] {
        ethernet([1], type, from: mac(source), to: mac(destination))
    }

    private func flows(_ engine: borrowing Engine, at now: UInt64 = 5_000) -> [FlowSnapshot] {
        engine.flows.flows(in: 0..<engine.flows.placeCount, nowMilliseconds: now)
    }

    @Test("a flow has two cache lines")
    func layout() {
        #expect(MemoryLayout<FlowCache.Flow>.stride == 128 && MemoryLayout<FlowKey>.size == 64)
    }

    @Test("the first frame makes a flow, the next ones count in it")
    func counting() {
        let bed = Bed()
        var engine = bed.engine()
        _ = engine.forward(frame(2, 9), ingress: bed.second)
        for _ in 0..<3 { _ = engine.forward(frame(1, 2), ingress: bed.first) }
        let flow = flows(engine).first { $0.key.sourceMAC == mac(1) }
        #expect(flow?.packets == 3 && flow?.bytes == 45)
        #expect(flow?.verdict == Verdict(action: .forward, egress: bed.second))
        #expect(flow?.egress == UInt32(bed.rig.ports[Int(bed.second)].identity))
        let counts = engine.flows.statistics
        #expect(counts.misses == 2 && counts.exactHits == 2 && counts.redecisions == 0)
        #expect(counts.flows == 2 && counts.masks == 1)
    }

    @Test("another packet of a flow is found under its mask once, then by its whole key")
    func masked() {
        let bed = Bed()
        var engine = bed.engine()
        for port in [1, 2, 2] as [UInt16] {
            let bytes = TestFrame.udp4().with { $0.sourcePort = port }.bytes()
            _ = engine.forward(bytes, ingress: bed.first)
        }
        let counts = engine.flows.statistics
        #expect(counts.misses == 1 && counts.maskedHits == 1 && counts.exactHits == 1 && counts.flows == 1)
        #expect(counts.probes == 1, "one mask, tried once: an empty cache has none to try")
    }

    @Test("drops are flows too, and are counted at the port each time")
    func drops() {
        let bed = Bed()
        var engine = bed.engine()
        for _ in 0..<3 { _ = engine.forward(frame(1, 1), ingress: bed.first) }
        let flow = flows(engine).first
        #expect(flow?.verdict == .drop(.hairpin) && flow?.packets == 3)
        #expect(bed.rig.counters(bed.first).receiveDrops(.hairpin) == 3)
    }

    @Test("a runt is no lookup")
    func runt() {
        let bed = Bed()
        var engine = bed.engine()
        _ = engine.forward([1, 2, 3], ingress: bed.first)
        #expect(engine.flows.statistics.lookups == 0 && engine.flows.statistics.flows == 0)
        #expect(bed.rig.counters(bed.first).receiveDrops(.runt) == 1)
    }

    @Test("a station that moves costs one decision per flow it has, and no other flow any")
    func move() {
        let bed = Bed()
        var engine = bed.engine()
        for source in 2...4 { _ = engine.forward(frame(source, 99), ingress: bed.second) }
        func round() -> FlowStatistics {
            for destination in 2...4 { _ = engine.forward(frame(1, destination), ingress: bed.first) }
            return engine.flows.statistics
        }
        _ = round()
        let before = round()
        _ = engine.receive(vxlan(frame(2, 99)), from: "192.0.2.1")
        let after = round()
        #expect(after.redecisions == before.redecisions + 1)
        #expect(after.exactHits == before.exactHits + 2)
        let moved = flows(engine).first { $0.key.destinationMAC == mac(2) }
        #expect(moved?.verdict == Verdict(action: .forward, egress: bed.tunnel) && moved?.packets == 3)
    }

    @Test("an unknown destination is flooded until it is heard, and not one frame longer")
    func unknown() {
        let bed = Bed()
        var engine = bed.engine()
        #expect(engine.forward(frame(1, 2), ingress: bed.first).count == 2)
        #expect(engine.forward(frame(1, 2), ingress: bed.first).count == 2)
        _ = engine.forward(frame(2, 1), ingress: bed.second)
        #expect(engine.forward(frame(1, 2), ingress: bed.first).map(\.port) == [bed.second])
        #expect(engine.flows.statistics.redecisions == 1)
    }

    @Test("a destination expires under a busy flow at its second, and the flow follows")
    func ageing() {
        let bed = Bed(ageing: 3)
        var engine = bed.engine()
        _ = engine.forward(frame(2, 1), ingress: bed.second, at: 10_000)
        for now in stride(from: 10_000, to: 13_000, by: 500) as StrideTo<UInt64> {
            #expect(engine.forward(frame(1, 2), ingress: bed.first, at: now).count == 1)
        }
        #expect(engine.forward(frame(1, 2), ingress: bed.first, at: 13_000).count == 2)
        let table = bed.rig.table(bed.bridge)
        #expect(table.lookup(mac(1), nowSeconds: 15) == bed.first, "hits have kept the source alive")
        // An expired entry that no sweep has met comes back without being added.
        _ = engine.forward(frame(2, 1), ingress: bed.second, at: 13_100)
        #expect(engine.forward(frame(1, 2), ingress: bed.first, at: 13_200).map(\.port) == [bed.second])
    }

    @Test("a new program is in force for every flow at its next frame, which keeps its counters")
    func adopting() {
        let bed = Bed()
        var engine = bed.engine()
        for _ in 0..<2 { _ = engine.forward(frame(1, 9), ingress: bed.first) }
        let alone = Program(
            ports: [bed.rig.ports[0]], tunnels: [], bridges: bed.rig.bridges, listeners: [], senders: [],
            ownAddresses: [], dropsReservedBits: true)
        engine.adopt(alone)
        #expect(engine.forward(frame(1, 9), ingress: bed.first).isEmpty)
        #expect(bed.rig.counters(bed.first).receiveDrops(.noDestination) == 1)
        #expect(flows(engine).map(\.packets) == [3] && engine.flows.statistics.redecisions == 1)
    }

    @Test("when what is looked at changes, the flow becomes another with the same counters")
    func otherMask() {
        let bed = Bed()
        var engine = bed.engine()
        let bytes = ethernet([1], .arp, from: mac(1), to: mac("01:80:c2:00:00:00"))
        for _ in 0..<2 { _ = engine.forward(bytes, ingress: bed.first) }
        var open = bed.rig.bridges
        open[0].forwardsReserved = true
        engine.adopt(
            Program(
                ports: bed.rig.ports, tunnels: bed.rig.tunnels, bridges: open, listeners: [], senders: [],
                ownAddresses: [], dropsReservedBits: true))
        #expect(engine.forward(bytes, ingress: bed.first).count == 2)
        let flows = flows(engine)
        #expect(flows.count == 1 && flows[0].packets == 3 && flows[0].mask.bits.source != 0)
        #expect(engine.flows.statistics.masks == 1)
    }

    @Test("a port that has got a former port's number has none of its flows")
    func reusedNumber() {
        let bed = Bed()
        var engine = bed.engine()
        _ = engine.forward(frame(1, 9), ingress: bed.first)
        var ports = bed.rig.ports
        ports[Int(bed.first)].identity = 77
        engine.adopt(
            Program(
                ports: ports, tunnels: bed.rig.tunnels, bridges: bed.rig.bridges, listeners: [], senders: [],
                ownAddresses: [], dropsReservedBits: true))
        _ = engine.forward(frame(1, 9), ingress: bed.first)
        #expect(flows(engine).map(\.packets) == [1, 1] && engine.flows.statistics.misses == 2)
    }

    @Test("a flow is gone ten seconds after its last frame, swept or not, and begins anew")
    func idle() {
        let bed = Bed()
        var engine = bed.engine()
        _ = engine.forward(frame(1, 9), ingress: bed.first, at: 5_000)
        #expect(flows(engine, at: 14_999).count == 1 && flows(engine, at: 15_000).isEmpty)
        _ = engine.forward(frame(1, 9), ingress: bed.first, at: 15_000)
        #expect(flows(engine, at: 15_000).map(\.packets) == [1])
        #expect(engine.flows.statistics.misses == 2 && engine.flows.statistics.expirations == 1)
        engine.sweep(nowMilliseconds: 24_999)
        #expect(engine.flows.statistics.flows == 1)
        engine.sweep(nowMilliseconds: 25_000)
        let counts = engine.flows.statistics
        #expect(counts.flows == 0 && counts.masks == 0 && counts.expirations == 2)
    }

    @Test("a sweep looks at no more places than it may, and goes on where it stopped")
    func sweepLimit() {
        let bed = Bed()
        var engine = bed.engine()
        for number in 1...10 { _ = engine.forward(frame(number, 99), ingress: bed.first) }
        for left in [6, 2, 0] {
            engine.flows.sweep(nowMilliseconds: 60_000, limit: 4)
            #expect(engine.flows.statistics.flows == left)
        }
    }

    @Test("a full cache gives up flows that were used once before those in use")
    func eviction() {
        let bed = Bed(capacity: 1000)
        var engine = bed.engine(flows: 32)
        for number in 0..<500 {
            // Two busy flows beside a scan.
            _ = engine.forward(frame(1, 99), ingress: bed.first)
            _ = engine.forward(frame(2, 99), ingress: bed.second)
            _ = engine.forward(frame(100 + number, 99), ingress: bed.first)
        }
        let counts = engine.flows.statistics
        #expect(counts.flows == 32 && counts.evictions == 500 + 2 - 32)
        let busy = flows(engine).filter { [mac(1), mac(2)].contains($0.key.sourceMAC) }
        #expect(busy.map(\.packets) == [500, 500])
    }

    @Test("a full cache of busy flows still takes a new one, in bounded work")
    func allBusy() {
        let bed = Bed(capacity: 1000)
        var engine = bed.engine(flows: 64)
        for _ in 0..<2 {
            for number in 1...64 { _ = engine.forward(frame(number, 99), ingress: bed.first) }
        }
        _ = engine.forward(frame(200, 99), ingress: bed.first)
        #expect(flows(engine).contains { $0.key.sourceMAC == mac(200) })
        #expect(engine.flows.statistics.evictions == 1 && engine.flows.statistics.flows == 64)
    }

    @Test("packets of all flows together are the lookups, whatever finds them")
    func sums() {
        let bed = Bed(capacity: 1000)
        var engine = bed.engine(flows: 4096)
        var generator = SeededGenerator(seed: 11)
        var frames: UInt64 = 0
        for _ in 0..<5_000 {
            let types: [EtherType] = [.arp, .ipv4, .ipv6, EtherType(rawValue: 0x88cc)]
            let bytes = frame(
                1 + generator.below(20), 1 + generator.below(20), types[generator.below(4)])
            _ = engine.forward(bytes, ingress: generator.chance(50) ? bed.first : bed.second)
            frames += 1
        }
        let counts = engine.flows.statistics
        #expect(counts.lookups == frames && counts.evictions == 0)
        #expect(flows(engine).reduce(0) { $0 + $1.packets } == frames)
        #expect(flows(engine).reduce(0) { $0 + $1.bytes } == frames * 15)
        #expect(flows(engine).count == counts.flows)
    }

    @Test("masks are tried in the order of their use, and one without flows is not tried")
    func maskOrder() {
        let cache = FlowCache.make()
        var key = FlowKey()
        key.ingress = 1 << 32 | 0x0800 << 16
        var narrow = FlowMask(of: key)
        narrow.addSourceMAC()
        let numbers = [FlowMask(of: FlowKey()), narrow].map { cache.maskNumber($0) }
        #expect(numbers == [1, 1], "no flow has taken the first one yet")
        let wide = cache.add(
            key.masked(by: FlowMask(of: FlowKey())), cache.maskNumber(FlowMask(of: FlowKey())))
        key.source = 5 << 16
        let second = cache.add(key.masked(by: narrow), cache.maskNumber(narrow))
        #expect(cache.statistics.masks == 2 && cache.findMasked(key) == wide)
        cache.remove(wide)
        #expect(cache.findMasked(key) == second && cache.statistics.masks == 1)
        #expect(cache.statistics.probes == 2)
    }

    @Test("a decision for whose mask there is no room is kept under every bit")
    func tooManyMasks() {
        let cache = FlowCache.make()
        for bit in 1..<FlowCache.maskCapacity {
            var key = FlowKey()
            key.ingress = 1
            var mask = FlowMask(of: key)
            mask.bits.networkSourceLow = 1 << UInt64(bit)
            let number = cache.maskNumber(mask)
            #expect(Int(number) == bit)
            _ = cache.add(key, number)
        }
        var mask = FlowMask(of: FlowKey())
        mask.bits.networkSourceHigh = 1
        #expect(cache.maskNumber(mask) == 0 && cache.maskNumber(.exact) == 0)
    }

    @Test("a flush leaves nothing, and the next frame is decided")
    func flush() {
        let bed = Bed()
        var engine = bed.engine()
        for number in 1...20 { _ = engine.forward(frame(number, 99), ingress: bed.first) }
        engine.flows.flush(in: 0..<10)
        #expect(engine.flows.statistics.flows == 10)
        engine.flows.flush(in: 10..<1_000)
        #expect(engine.flows.statistics.flows == 0 && flows(engine).isEmpty)
        #expect(engine.forward(frame(1, 99), ingress: bed.first).count == 2)
        #expect(engine.flows.statistics.misses == 21)
    }
}
