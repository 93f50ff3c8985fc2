// Owns: what each action does to a frame and to its counts, and what happens to frames while rules change.

import Testing
import Wire

@testable import Datapath

@Suite("what rules do")
struct RuleActionTests {
    /// Local ports 0, 1 and 2, tunnel 3 of VNI 100, tunnels 4 and 5 of the flow's.
    private final class Bed {
        let rig = Rig()
        let bridge: UInt32
        let set: RuleSet
        private var kept: [AnyObject] = []

        init(
            _ rules: [(priority: UInt16, table: UInt8, match: RuleMatch, actions: [RuleAction])],
            mtu: UInt32 = 1500, mirrors: [Mirror] = [], map: [(vlan: UInt16, vni: VNI)] = [],
            _ change: (Rig) -> Void = { _ in }
        ) {
            rig.listener()
            bridge = rig.bridge()
            for _ in 0..<3 { rig.local(bridge, mtu: mtu) }
            rig.tunnel(bridge, to: "192.0.2.3", vni: 100)
            rig.tunnel(bridge, to: "192.0.2.4", vni: nil)
            rig.tunnel(bridge, to: "192.0.2.5", vni: nil)
            set = RuleSet(rules)
            let table = MirrorTable(mirrors)
            let mapping = VLANMapping(map)
            kept = [table, mapping]
            rig.change(bridge: bridge) {
                $0.rules = set.table.handle
                $0.mirrors = mirrors.isEmpty ? .none : table.handle
                $0.vlanMap = mapping.map
            }
            change(rig)
        }

        /// Everything that came in went somewhere, once.
        func isBalanced() -> Bool {
            let total = rig.total(bridge)
            return total[.rxPackets]
                == total[.rxForwarded] + total[.neighAnswered] + total.receiveDropTotal
                && total[.rxCopies] + total[.icmpGenerated] + total[.neighAnswered]
                    == total[.txPackets] + total.transmitDropTotal
        }
    }

    private let any = RuleMatch()

    private func only(_ actions: RuleAction...) -> Bed { Bed([(0, 0, any, actions)]) }

    private func vni(_ sent: Sent) -> Int {
        Int(sent.vxlan[4]) << 16 | Int(sent.vxlan[5]) << 8 | Int(sent.vxlan[6])
    }

    @Test("a rule without an output drops, and so does one that says so")
    func drops() {
        for bed in [only(), only(.drop), only(.setDSCP(3)), only(.mirror(port: 9), .drop)] {
            var engine = Engine(bed.rig.program)
            #expect(engine.forward(TestFrame.udp4().bytes(), ingress: 0).isEmpty)
            #expect(
                bed.rig.counters(0).receiveDrops(.rule) == 1 && bed.set.packets == [1] && bed.isBalanced())
        }
    }

    @Test("outputs go out in order, also from tunnel to tunnel, but not where the frame came from")
    func outputs() {
        let bed = only(.output(port: 1), .output(port: 4), .output(port: 0), .output(port: 2))
        var engine = Engine(bed.rig.program)
        let frame = TestFrame.udp4().bytes()
        #expect(engine.forward(frame, ingress: 0).map(\.port) == [1, 4, 2])
        #expect(engine.receive(vxlan(frame), from: "192.0.2.3").map(\.port) == [1, 4, 0, 2])
        #expect(bed.rig.counters(0)[.rxCopies] == 3 && bed.rig.counters(3)[.rxForwarded] == 1)
        #expect(bed.isBalanced() && bed.set.counters[0].snapshot.bytes == UInt64(2 * frame.count))
        #expect(bed.set.counters[0].snapshot.usedMilliseconds == 5_000)
        let hairpin = only(.output(port: 0))
        engine = Engine(hairpin.rig.program)
        #expect(engine.forward(frame, ingress: 0).isEmpty)
        #expect(hairpin.rig.counters(0).receiveDrops(.hairpin) == 1)
    }

    @Test("set_tunnel chooses the VNI of what follows, and the tunnel; other tunnels keep theirs")
    func setTunnel() {
        let (first, second) = (VNI(truncating: 7_000_000), VNI(truncating: 9))
        let bed = only(
            .output(port: 4), .setTunnel(first, via: nil), .output(port: 4), .output(port: 3),
            .setTunnel(second, via: 5), .output(port: 4))
        var engine = Engine(bed.rig.program)
        let sent = engine.forward(TestFrame.udp4().bytes(), ingress: 0)
        #expect(sent.map(\.port) == [4, 4, 3, 5] && sent.map { vni($0) } == [0, 7_000_000, 100, 9])
        #expect(bed.isBalanced())
    }

    @Test(
        "a copy that is queued is sent as it was, whatever is done to the frame afterwards",
        arguments: [false, true])
    func editsAfterQueued(isTrain: Bool) {
        let first = TestFrame.udp4([UInt8](repeating: 1, count: 600)).with { $0.doNotFragment = true }
        let bed = only(
            .output(port: 4), .setNetworkSource(packed("203.0.113.7")), .pushVLAN(9, priority: 2),
            .output(port: 5), .popVLAN, .setDestinationPort(8080), .output(port: 1))
        var engine = Engine(bed.rig.program)
        let frames = (0..<(isTrain ? 3 : 1)).map { number in
            first.with { $0.identification += UInt16(number) }
        }
        let queue = engine.receiveLate(train: frames.map { vxlan($0.bytes()) }, from: "192.0.2.3")
        #expect(queue.filter { $0.port == 4 }.map(\.frame) == frames.map { $0.bytes() })
        let natted = frames.map { $0.with { $0.source4 = ip4("203.0.113.7") } }
        #expect(
            queue.filter { $0.port == 5 }.map(\.frame)
                == natted.map { $0.with { $0.tags = [0x4009] }.bytes() })
        let local = queue.filter { $0.port == 1 }
        #expect(local.count == 1 && local[0].frameCount == frames.count)
        if !isTrain { #expect(local[0].frame == natted[0].with { $0.destinationPort = 8080 }.bytes()) }
        #expect(bed.isBalanced() && bed.set.packets == [UInt64(frames.count)])
    }

    @Test("a superframe is changed once, and each of its segments has it")
    func superframes() {
        let whole = TestFrame.tcp4([UInt8](repeating: 3, count: 4000))
        let bed = only(.setNetworkDestination(packed("203.0.113.9")), .setDSCP(46), .output(port: 3))
        var engine = Engine(bed.rig.program)
        let sent = engine.forward(whole.bytes(.partial), whole.offload(segment: 1000), ingress: 0)
        #expect(sent.count == 4 && bed.rig.counters(0)[.rxCopies] == 4)
        for copy in sent {
            #expect(hasRightChecksums(copy.frame) && copy.frame[15] == 46 << 2)
            #expect(Array(copy.frame[30..<34]) == [203, 0, 113, 9])
        }
        #expect(bed.isBalanced())
    }

    @Test("a packet whose TTL is used up ends there; before, it was output")
    func timeToLive() {
        let bed = only(.output(port: 1), .decrementTimeToLive, .output(port: 2))
        var engine = Engine(bed.rig.program)
        let frame = TestFrame.udp4().with { $0.timeToLive = 1 }
        #expect(engine.forward(frame.bytes(), ingress: 0).map(\.port) == [1])
        let second = only(.decrementTimeToLive, .output(port: 2))
        engine = Engine(second.rig.program)
        #expect(engine.forward(frame.bytes(), ingress: 0).isEmpty)
        #expect(second.rig.counters(0).receiveDrops(.expiredTTL) == 1 && second.isBalanced())
        let more = engine.forward(frame.with { $0.timeToLive = 2 }.bytes(), ingress: 0)
        #expect(more.map(\.frame) == [frame.bytes()])
    }

    @Test("what is too much is dropped, and the rest is not")
    func police() {
        let meter = Meter.bandwidth(kilobitsPerSecond: 8, burstKilobits: 8)
        defer { meter.deallocate() }
        let bed = only(.police(meter), .output(port: 1))
        var engine = Engine(bed.rig.program)
        let frame = TestFrame.udp4([UInt8](repeating: 0, count: 458)).bytes()
        let passed = (0..<10).count { _ in !engine.forward(frame, ingress: 0).isEmpty }
        #expect(frame.count == 500 && passed == 2 && bed.rig.counters(0).receiveDrops(.policed) == 8)
        #expect(engine.forward(frame, ingress: 0, at: 5_600).count == 1 && bed.isBalanced())
    }

    @Test("tables are gone through upwards, each once, and the next sees what the last has changed")
    func tables() {
        var rules = (0..<15).map { table in
            (UInt16(0), UInt8(table), any, [RuleAction.goToTable(UInt8(table + 1))])
        }
        rules[3].3.insert(.setNetworkSource(packed("203.0.113.1")), at: 0)
        let changed = RuleMatch.with {
            $0.etherType = .ipv4
            $0.networkSource = IPPrefix("203.0.113.1/32")
        }
        let bed = Bed(rules + [(1, 15, changed, [.output(port: 2)]), (0, 15, any, [.output(port: 1)])])
        var engine = Engine(bed.rig.program)
        #expect(engine.forward(TestFrame.udp4().bytes(), ingress: 0).map(\.port) == [2])
        #expect(engine.forward(TestFrame.udp6().bytes(), ingress: 0).map(\.port) == [1])
        #expect(bed.set.packets == Array(repeating: 2, count: 15) + [1, 1])
        let flows = engine.flows.flows(in: 0..<9, nowMilliseconds: 5_000)
        #expect(
            flows.count == 2 && flows.allSatisfy { $0.plan?.ranks.count == 16 && $0.plan?.switched == nil })
    }

    @Test("the next frame meets the new rules, and its flow keeps its counts")
    func replaced() {
        let bed = Bed([(0, 0, any, [.output(port: 1)])])
        var engine = Engine(bed.rig.program)
        let frame = TestFrame.udp4().bytes()
        for _ in 0..<3 { #expect(engine.forward(frame, ingress: 0).map(\.port) == [1]) }
        #expect(engine.flows.statistics.exactHits == 2)
        let next = RuleSet([(0, 0, any, [.output(port: 2)])])
        bed.rig.change(bridge: bed.bridge) { $0.rules = next.table.handle }
        engine.adopt(
            Program(
                ports: bed.rig.ports, tunnels: bed.rig.tunnels, bridges: bed.rig.bridges,
                listeners: bed.rig.listeners, senders: bed.rig.rules, ownAddresses: [],
                dropsReservedBits: true))
        #expect(engine.forward(frame, ingress: 0).map(\.port) == [2])
        #expect(bed.set.packets == [3] && next.packets == [1])
        let flows = engine.flows.flows(in: 0..<9, nowMilliseconds: 5_000)
        #expect(flows.count == 1 && flows[0].packets == 4)
    }

    @Test("a mirror has a frame as it came or as it was sent, once")
    func mirrors() {
        var first = Mirror(output: 2)
        first.sources = [0]
        first.destinations = [1, 3]
        let bed = Bed([(0, 0, any, [.setDSCP(46), .output(port: 1), .output(port: 3)])], mirrors: [first])
        var engine = Engine(bed.rig.program)
        let frame = TestFrame.udp4().bytes()
        let sent = engine.forward(frame, ingress: 0)
        #expect(sent.map(\.port) == [2, 1, 3] && sent[0].frame == frame && sent[1].frame != frame)
        let other = engine.receive(vxlan(frame), from: "192.0.2.4")
        #expect(other.map(\.port) == [1, 2, 3] && other[1].frame == other[0].frame)
        #expect(engine.forward(frame, ingress: 2).isEmpty)
        #expect(bed.rig.counters(2).receiveDrops(.mirrorPort) == 1 && bed.isBalanced())
    }

    @Test("the sender of a packet that does not fit is told of its own packet, not of what rules made of it")
    func tooBig() {
        let frame = TestFrame.udp4([UInt8](repeating: 0, count: 1400)).with { $0.tags = [5] }
        let bed = only(
            .popVLAN, .setEtherSource(mac(9)), .setNetworkSource(packed("203.0.113.7")),
            .setDestinationPort(1),
            .output(port: 3))
        bed.rig.change(port: 3) { $0.mtu = 1000 }
        var engine = Engine(bed.rig.program)
        let sent = engine.forward(frame.bytes(), ingress: 0)
        let plain = Rig()
        let bridge = plain.bridge()
        plain.local(bridge)
        // The egress counts no tag, as here.
        plain.local(bridge, mtu: 1000)
        var reference = Engine(plain.program)
        #expect(sent == reference.forward(frame.bytes(), ingress: 0))
        #expect(sent.map(\.port) == [0] && bed.rig.counters(0)[.icmpGenerated] == 1 && bed.isBalanced())
    }

    @Test("a storm is stopped where it would be flooded, and known stations are reached")
    func storm() {
        let meter = Meter.frames(perSecond: 1, burst: 2)
        defer { meter.deallocate() }
        let bed = Bed([]) { $0.change(port: 0) { $0.storm = meter } }
        var engine = Engine(bed.rig.program)
        let broadcast = TestFrame.udp4().with { $0.destination = .broadcast }.bytes()
        let passed = (0..<6).count { _ in !engine.forward(broadcast, ingress: 0).isEmpty }
        #expect(passed == 2 && bed.rig.counters(0).receiveDrops(.policed) == 4)
        let answer = ethernet([1], .arp, from: TestFrame.destinationMAC, to: TestFrame.sourceMAC)
        #expect(engine.forward(answer, ingress: 1).map(\.port) == [0])
        #expect(engine.forward(TestFrame.udp4().bytes(), ingress: 0).map(\.port) == [1] && bed.isBalanced())
    }

    @Test("a port with as many addresses as it may have lets no others in; security no stranger")
    func limits() {
        let secured = SecuredAddresses(macs: [mac(1), mac(2), mac(3)], addresses: [])
        let bed = Bed([]) {
            $0.change(port: 0) {
                $0.macLimit = 2
                $0.security = secured.security
            }
        }
        var engine = Engine(bed.rig.program)
        func isIn(_ source: Int) -> Bool {
            !engine.forward(
                ethernet([1], EtherType(rawValue: 0x88b5), from: mac(source), to: .broadcast), ingress: 0
            ).isEmpty
        }
        #expect([1, 2, 3, 1, 2, 3, 4].map { isIn($0) } == [true, true, false, true, true, false, false])
        #expect(bed.rig.counters(0).receiveDrops(.macLimit) == 2)
        #expect(bed.rig.counters(0).receiveDrops(.portSecurity) == 1 && bed.isBalanced())
        withExtendedLifetime(secured) {}
    }
}

extension Engine {
    /// Takes in datagrams as one train, by an output that reads what it was given only when it is flushed.
    mutating func receiveLate(train datagrams: [[UInt8]], from source: String) -> [Sent] {
        var twin = LateTwin()
        withFrame(Array(datagrams.joined())) {
            receive(
                Datagram(
                    base: $0.base, byteCount: $0.byteCount,
                    segmentByteCount: datagrams.count > 1 ? datagrams[0].count : 0, source: packed(source)),
                listener: 0, nowMilliseconds: 5_000, to: &twin)
            twin.flush()
        }
        return twin.sent
    }
}

/// The twin of a kernel that is handed datagrams late, and whose header memory is overwritten once it was.
struct LateTwin: EngineOutput, ~Copyable {
    private(set) var sent: [Sent] = []
    private var twin = Twin()
    private var queue:
        [(
            header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, Envelope,
            TunnelEntry, PortEntry
        )] = []
    private var reserved: [(memory: UnsafeMutableRawPointer, byteCount: Int)] = []

    mutating func write(_ frame: Superframe, to port: PortEntry) { twin.write(frame, to: port) }

    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let memory = twin.reserve(byteCount)
        reserved.append((memory, byteCount))
        return memory
    }

    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry
    ) { queue.append((header, payload, envelope, tunnel, port)) }

    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry
    ) { twin.emit(header: header, payload: payload, sumOfFrame: sumOfFrame, outer, tunnel, port) }

    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool { false }

    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool { false }
    mutating func noteWanted() {}

    mutating func flush() {
        for it in queue { twin.send(header: it.header, payload: it.payload, it.2, it.3, it.4) }
        queue.removeAll()
        for it in reserved {
            it.memory.initializeMemory(as: UInt8.self, repeating: 0xee, count: it.byteCount)
        }
        reserved.removeAll()
        sent += twin.take()
    }
}
