// Owns: a bridge with everything a bridge can have, made at random, and frames to go through it: the same twice for the
// same seed, so that two engines can be compared.

import Testing
import Wire

@testable import Datapath

/// A twin of the kernel whose tunnels read what they send when they are told to, as queues do: who changes a frame that
/// is queued is found out. What was reserved is given back then, and holds rubbish.
struct QueueingTwin: EngineOutput, ~Copyable {
    private struct Datagram {
        var header: UnsafeMutableRawBufferPointer
        var payload: UnsafeMutableRawBufferPointer
        var envelope: Envelope
        var tunnel: TunnelEntry
        var port: PortEntry
    }

    private var twin = Twin()
    private var queue: [Datagram] = []
    private var reserved: [UnsafeMutableRawBufferPointer] = []

    mutating func write(_ frame: Superframe, to port: PortEntry) { twin.write(frame, to: port) }

    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let memory = twin.reserve(byteCount)
        reserved.append(UnsafeMutableRawBufferPointer(start: memory, count: byteCount))
        return memory
    }

    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        queue.append(
            Datagram(header: header, payload: payload, envelope: envelope, tunnel: tunnel, port: port))
    }

    mutating func flush() {
        for it in queue {
            twin.send(header: it.header, payload: it.payload, it.envelope, it.tunnel, it.port)
        }
        for memory in reserved { for index in memory.indices { memory[index] = 0xdd } }
        queue.removeAll()
        reserved.removeAll()
    }

    mutating func take() -> [Sent] { twin.take() }

    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        twin.emit(header: header, payload: payload, sumOfFrame: sumOfFrame, outer, tunnel, port)
    }

    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool { twin.emitWhole(frame, plan, outer, tunnel, port) }

    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool { false }
    mutating func noteWanted() { twin.noteWanted() }
}

/// One engine with its bridge: three local ports, a tunnel of VNI 100 and one with the VNI of the flow.
final class PipelineWorld {
    let rig = Rig()
    var engine: Engine
    private(set) var ports: [PortEntry]
    private(set) var bridge: BridgeEntry
    private(set) var rules: [Rule] = []
    private var owners: [AnyObject] = []
    private var meters: [Meter] = []
    let isReference: Bool

    static let vlans: [UInt16] = [0, 7, 8]
    static let portCount = 5

    init(flows: Int, isReference: Bool) {
        rig.listener()
        let bridge = rig.bridge(capacity: 24, ageing: 20)
        for _ in 0..<3 { rig.local(bridge, mtu: 1500) }
        rig.tunnel(bridge, to: "192.0.2.1", vni: 100, mtu: 1450)
        rig.tunnel(bridge, to: "192.0.2.2", vni: nil, mtu: 1450)
        ports = rig.ports
        self.bridge = rig.bridges[0]
        self.isReference = isReference
        engine = Engine(rig.program, flows: .make(capacity: flows))
    }

    deinit {
        for rule in rules { rule.counters.deallocate() }
        for meter in meters { meter.deallocate() }
    }

    /// What leaves, in its order at each port. The one without a cache has no flow that could be of its present
    /// program, and its output reads at once.
    func take(_ arrival: Arriving, _ now: UInt64) -> [UInt32: [Sent]] {
        if isReference { engine.flows.invalidate() }
        let sent =
            switch arrival {
            case .local(let port, let bytes, let offload):
                isReference
                    ? engine.forward(bytes, offload, ingress: port, at: now)
                    : forwardLate(bytes, offload, port, now)
            case .tunnel(let port, let vni, let frames):
                receive(frames.map { vxlan($0, vni: vni) }, "192.0.2.\(port - 2)", now)
            }
        return Dictionary(grouping: sent, by: \.port)
    }

    private func forwardLate(_ bytes: [UInt8], _ offload: Offload, _ port: UInt32, _ now: UInt64) -> [Sent] {
        var twin = QueueingTwin()
        withFrame(bytes, offload) {
            engine.forward($0, ingress: port, nowMilliseconds: now, to: &twin)
            twin.flush()
        }
        return twin.take()
    }

    private func receive(_ datagrams: [[UInt8]], _ source: String, _ now: UInt64) -> [Sent] {
        if isReference { return engine.receive(train: datagrams, from: source, at: now) }
        var twin = QueueingTwin()
        withFrame(Array(datagrams.joined())) {
            let datagram = Datagram(
                base: $0.base, byteCount: $0.byteCount, segmentByteCount: datagrams[0].count,
                source: packed(source))
            engine.receive(datagram, listener: 0, nowMilliseconds: now, to: &twin)
            twin.flush()
        }
        return twin.take()
    }

    /// Something that is not a frame.
    func disturb(_ choice: Int, _ seed: UInt64, _ now: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let address = mac(1 + generator.below(8))
        let vlan = Self.vlans[generator.below(3)]
        let port = UInt32(generator.below(Self.portCount))
        switch choice {
        case 0: bridge.table.setStatic(address, vlan: vlan, port: port, member: ports[Int(port)].member)
        case 1: bridge.table.removeStatic(address, vlan: vlan)
        case 2: bridge.table.forget(address, vlan: vlan)
        case 3: engine.sweep(nowMilliseconds: now)
        default: configure(&generator)
        }
    }

    func configure(_ generator: inout SeededGenerator) {
        for port in ports.indices {
            let isTunnel = ports[port].isTunnel
            ports[port].vlan = generator.chance(50) ? PortVLAN() : vlan(&generator)
            ports[port].security = !isTunnel && generator.chance(25) ? security(&generator) : .none
            ports[port].macLimit = generator.chance(25) ? UInt32(1 + generator.below(4)) : 0
            ports[port].storm = generator.chance(15) ? meter(.frames(perSecond: 20, burst: 5)) : .none
        }
        rules = (0..<generator.below(14)).map { rule(&generator, identity: $0) }
        let table = RuleTable(rules)
        bridge.rules = table.handle
        let pairs: [(vlan: UInt16, vni: VNI)] = [(7, VNI(truncating: 207)), (0, VNI(truncating: 200))]
        let mapping = VLANMapping(generator.chance(70) ? [] : pairs)
        bridge.vlanMap = mapping.map
        owners += [table, mapping]
        bridge.mirrors = .none
        if generator.chance(30) {
            var mirror = Mirror(output: UInt32(generator.below(Self.portCount)))
            mirror.sources = generator.chance(50) ? [0, 3] : []
            mirror.destinations = generator.chance(50) ? [1, 4] : []
            mirror.selectsAll = generator.chance(20)
            if generator.chance(30) { mirror.vlans = VLANSet([7]) }
            let mirrors = MirrorTable([mirror])
            owners.append(mirrors)
            bridge.mirrors = mirrors.handle
        }
        engine.adopt(
            Program(
                ports: ports, tunnels: rig.tunnels, bridges: [bridge], listeners: rig.listeners,
                senders: rig.rules, ownAddresses: [], dropsReservedBits: true))
    }

    private func meter(_ meter: Meter) -> Meter {
        meters.append(meter)
        return meter
    }

    private func vlan(_ generator: inout SeededGenerator) -> PortVLAN {
        let trunks = generator.chance(50) ? nil : VLANSet(generator.chance(50) ? [7] : [0, 8])
        if let trunks { owners.append(trunks) }
        let tag = Self.vlans[generator.below(3)]
        switch generator.below(4) {
        case 0: return PortVLAN(mode: .trunk, trunks: trunks)
        case 1: return PortVLAN(mode: .access, tag: tag)
        case 2: return PortVLAN(mode: .nativeTagged, tag: tag, trunks: trunks)
        default: return PortVLAN(mode: .nativeUntagged, tag: tag, trunks: trunks)
        }
    }

    private func security(_ generator: inout SeededGenerator) -> PortSecurity {
        let macs = generator.chance(50) ? [] : (1...6).map { mac($0) }
        let prefixes = generator.chance(50) ? [] : ["10.0.0.0/29", "2001:db8::/126"].map { IPPrefix($0)! }
        let list = SecuredAddresses(macs: macs, addresses: prefixes)
        owners.append(list)
        return list.security
    }

    /// Everything countable.
    func account(_ now: UInt64) -> [String] {
        let seconds = UInt32(now / 1000)
        return ports.map { "\($0.counters.snapshot)" }
            + rules.map { "\($0.identity): \($0.counters.snapshot)" }
            + ["\(bridge.table.statistics) \(bridge.table.entries(in: 0..<99, nowSeconds: seconds))"]
    }

    /// Whether what came in is what left or was dropped.
    var isBalanced: Bool {
        let sum = ports.reduce(.zero) { $0 + $1.counters.snapshot }
        return sum[.rxPackets] == sum[.rxForwarded] + sum[.neighAnswered] + sum.receiveDropTotal
            && sum[.rxCopies] + sum[.icmpGenerated] + sum[.neighAnswered]
                == sum[.txPackets] + sum.transmitDropTotal
    }
}

// MARK: Rules at random

extension PipelineWorld {
    private func rule(_ generator: inout SeededGenerator, identity: Int) -> Rule {
        var actions: [RuleAction] = (0..<generator.below(5)).map { _ in action(&generator) }
        let table = UInt8(generator.chance(60) ? 0 : 1 + generator.below(3))
        switch generator.below(4) {
        case 0: actions.append(.goToTable(table + 1 + UInt8(generator.below(3))))
        case 1: break
        default: actions.append(generator.chance(10) ? .drop : .normal)
        }
        return Rule(
            table: table, priority: UInt16(generator.below(4)), match: match(&generator), actions: actions,
            counters: .allocate(), identity: UInt32(identity))
    }

    private func action(_ generator: inout SeededGenerator) -> RuleAction {
        let port = UInt32(generator.below(Self.portCount))
        let short = [80, 443, 0, 9_999][generator.below(4)] as UInt16
        switch generator.below(22) {
        case 0, 1, 2: return .output(port: port)
        case 3: return .setTunnel(VNI(truncating: 300), via: generator.chance(50) ? 4 : nil)
        case 4: return .setEtherSource(mac(1 + generator.below(8)))
        case 5: return .setEtherDestination(mac(1 + generator.below(8)))
        case 6, 7: return .pushVLAN(Self.vlans[generator.below(3)], priority: UInt8(generator.below(8)))
        case 8, 9: return .popVLAN
        case 10: return .setVLAN(Self.vlans[generator.below(3)])
        case 11: return .setVLANPriority(UInt8(generator.below(8)))
        case 12: return .setNetworkSource(PackedAddress(Self.address(&generator)))
        case 13: return .setNetworkDestination(PackedAddress(Self.address(&generator)))
        case 14: return .setDSCP(UInt8([0, 10, 46][generator.below(3)]))
        case 15: return .setTimeToLive(UInt8(generator.below(3)))
        case 16: return .decrementTimeToLive
        case 17: return .setSourcePort(short)
        case 18: return .setDestinationPort(short)
        case 19: return .mirror(port: port)
        case 20 where generator.chance(30):
            return .police(meter(.bandwidth(kilobitsPerSecond: 1000, burstKilobits: 50)))
        default: return .output(port: port)
        }
    }

    static func address(_ generator: inout SeededGenerator) -> IPAddress {
        let number = generator.below(12)
        return IPAddress(generator.chance(60) ? "10.0.0.\(number)" : "2001:db8::\(number)")!
    }

    private func prefix(_ generator: inout SeededGenerator) -> IPPrefix {
        let address = Self.address(&generator)
        let length = address.isIPv4 ? [0, 24, 30, 31, 32] : [0, 64, 126, 127, 128]
        return IPPrefix(address, length: length[generator.below(5)])!
    }

    private func match(_ generator: inout SeededGenerator) -> RuleMatch {
        var match = RuleMatch()
        for _ in 0..<generator.below(4) {
            switch generator.below(17) {
            case 0: match.inPorts = [UInt64(generator.below(5)), UInt64(generator.below(5))]
            case 1:
                let mask: UInt64 = generator.chance(50) ? 0xffff_ffff_ffff : 3
                match.etherSource = MaskedMAC(mac(generator.below(8)), mask: mask)
            case 2: match.etherDestination = MaskedMAC(mac(generator.below(8)))
            case 3, 4: match.etherType = [.ipv4, .ipv6, .arp][generator.below(3)]
            case 5:
                let vid = Self.vlans[generator.below(3)]
                match.vlan =
                    [.untagged, .tagged(priority: nil), .vid(vid, priority: nil), .vid(vid, priority: 5)][
                        generator.below(4)]
            case 6: match.networkSource = prefix(&generator)
            case 7: match.networkDestination = prefix(&generator)
            case 8: match.ipProtocol = [.tcp, .udp, .icmp, .icmpv6][generator.below(4)]
            case 9: match.dscp = UInt8([0, 10, 46][generator.below(3)])
            case 10: match.fragment = [.no, .yes, .first, .later, .notLater][generator.below(5)]
            case 11: match.sourcePorts = generator.chance(50) ? 80...443 : 1000...9999
            case 12: match.destinationPorts = generator.chance(50) ? 80...80 : 0...1023
            case 13: match.tcpFlags = RuleMatch.Flags(value: 2, mask: UInt16([2, 0x12][generator.below(2)]))
            case 14: match.icmpType = UInt8([8, 128, 135, 136][generator.below(4)])
            case 15: match.arpOperation = UInt8(1 + generator.below(2))
            default: match.vni = VNI(truncating: UInt32([0, 100, 200, 207][generator.below(4)]))
            }
        }
        return match
    }
}

// MARK: Frames at random

/// A frame on its way in.
enum Arriving {
    case local(UInt32, [UInt8], Offload)
    /// One frame, or several that may be put together.
    case tunnel(UInt32, vni: Int, [[UInt8]])

    static func random(_ generator: inout SeededGenerator) -> Arriving {
        let port = UInt32(generator.below(PipelineWorld.portCount))
        let vni = port == 3 ? 100 : [200, 207, 300][generator.below(3)]
        guard generator.chance(75) else { return odd(port, vni, &generator) }
        var frame = TestFrame.random(&generator)
        (frame.source, frame.destination) = (station(&generator), station(&generator))
        frame.options = generator.chance(10) ? frame.options : []
        (frame.padding, frame.doNotFragment) = (0, generator.chance(50))
        frame.tags = tags(&generator)
        if frame.transport == .sctp || frame.transport == .igmp { frame.transport = .tcp }
        frame.trafficClass = [0, 40, 184, 1][generator.below(4)]
        frame.timeToLive = [1, 2, 64][generator.below(3)]
        frame.sourcePort = [80, 443, 5000][generator.below(3)]
        frame.destinationPort = [80, 443, 5000][generator.below(3)]
        frame.flags = generator.chance(50) ? .ack : TCPFlags(rawValue: 2)
        for way in 0..<2 {
            let text = "\(generator.below(12))"
            if way == 0 {
                (frame.source4, frame.source6) = (ip4("10.0.0." + text), ip6("2001:db8::" + text))
            } else {
                (frame.destination4, frame.destination6) = (ip4("10.0.0." + text), ip6("2001:db8::" + text))
            }
        }
        if port >= 3 {
            guard generator.chance(25), frame.transport == .tcp else {
                return .tunnel(port, vni: vni, [frame.wireBytes()])
            }
            // A train of segments that continue one another.
            frame.flags = .ack
            return .tunnel(
                port, vni: vni,
                (0..<3).map { number in
                    frame.with {
                        $0.payload = [UInt8](repeating: UInt8(number), count: 120)
                        $0.sequence = 1000 + UInt32(number) * 120
                        $0.identification &+= UInt16(number)
                    }.wireBytes()
                })
        }
        if generator.chance(20), frame.transport == .tcp || frame.transport == .udp {
            frame.payload = generator.bytes(1 + generator.below(3000))
            let isSuper = frame.payload.count > 1000 && frame.transport == .tcp
            return .local(port, frame.bytes(.partial), frame.offload(segment: isSuper ? 1000 : 0))
        }
        return .local(port, frame.wireBytes(), .none)
    }

    private static func station(_ generator: inout SeededGenerator) -> MACAddress {
        generator.chance(8) ? .broadcast : mac(1 + generator.below(8))
    }

    private static func tags(_ generator: inout SeededGenerator) -> [UInt16] {
        let count = generator.chance(50) ? 0 : generator.chance(80) ? 1 : 2
        return (0..<count).map { _ in
            PipelineWorld.vlans[generator.below(3)] | [0, 0xa000][generator.below(2)]
        }
    }

    /// Fragments, ARP, neighbour discovery, and IP that is none.
    private static func odd(_ port: UInt32, _ vni: Int, _ generator: inout SeededGenerator) -> Arriving {
        let bytes: [UInt8]
        let (source, destination) = (station(&generator), station(&generator))
        let tags = tags(&generator)
        switch generator.below(5) {
        case 0:
            let frame = TestFrame.udp4(generator.bytes(24)).with {
                ($0.source, $0.destination, $0.tags) = (source, destination, tags)
                $0.source4 = ip4("10.0.0.\(generator.below(12))")
            }
            bytes = frame.fragment(offset: generator.chance(50) ? 0 : 8, more: true)
        case 1:
            let packet = ARPPacket(
                operation: generator.chance(50) ? .request : .reply,
                senderMAC: generator.chance(70) ? source : station(&generator),
                senderIP: ip4("10.0.0.\(generator.below(12))"), targetMAC: .zero, targetIP: ip4("10.0.0.1"))
            bytes = ethernet(
                emitted(28) { packet.emit(to: $0) }, .arp, from: source, to: destination, tags: tags)
        case 2:
            let message = NeighborAdvertisement(
                target: ip6("2001:db8::\(generator.below(6))"),
                linkLayerAddress: generator.chance(50) ? source : station(&generator))
            bytes = TestFrame.udp6(emitted(message.byteCount) { message.emit(to: $0) }).with {
                ($0.source, $0.destination, $0.tags) = (source, destination, tags)
                ($0.transport, $0.timeToLive) = (.icmpv6, 255)
                $0.source6 = ip6("2001:db8::\(generator.below(6))")
            }.wireBytes()
        case 3:
            // A version that is none: a packet without fields.
            var broken = TestFrame.udp4([1, 2]).with {
                ($0.source, $0.destination, $0.tags) = (source, destination, tags)
            }.bytes()
            broken[14 + 4 * tags.count] = 0x55
            bytes = broken
        default:
            let type: EtherType = generator.chance(50) ? .ipv4 : .ipv6
            bytes = ethernet(
                generator.bytes(generator.below(60)), type, from: source, to: destination, tags: tags)
        }
        return port >= 3 ? .tunnel(port, vni: vni, [bytes]) : .local(port, bytes, .none)
    }
}
