// What a trace found, in the operator's words: names for numbers, and beside what the datapath did what the control
// plane knows of the reasons.

internal import API
internal import Datapath
internal import LinuxIO
internal import Wire

struct TraceWriter {
    private(set) var document: TraceDocument
    private let trace: FrameTrace
    private let arrival: TraceArrival
    private let bridge: Name
    private let host: Host
    private let desired: DesiredBridge
    private let running: RunningBridge
    private let owners: FlowOwners

    init(
        _ document: TraceDocument, _ trace: FrameTrace, _ arrival: TraceArrival, _ bridge: Name, _ host: Host,
        _ desired: DesiredBridge, _ running: RunningBridge
    ) {
        self.document = document
        self.trace = trace
        self.arrival = arrival
        self.bridge = bridge
        self.host = host
        self.desired = desired
        self.running = running
        owners = FlowOwners(host)
    }

    /// Writes steps, outputs and verdict.
    mutating func write() {
        writeArrival()
        if trace.flow != nil { trace.walk.isEmpty ? writeDecision() : writeWalk() }
        for copy in trace.copies.prefix(TraceDocument.copyLimit) { write(copy) }
        let more = trace.copies.count - TraceDocument.copyLimit
        if more > 0 { add(.output, 1, "\(more) more ports are not shown") }
        switch trace.verdict {
        case .delivered: document.verdict = .delivered
        case .held: document.verdict = .held
        case .answered: document.verdict = .answered
        case .dropped(let reason):
            document.drop(reason)
            if trace.refusal != nil { add(.drop, 0, "\(reason.name): \(reason.explanation)") }
        }
    }

    private mutating func add(_ kind: TraceStepKind, _ depth: Int, _ text: String) {
        document.steps.append(TraceStep(kind, depth: depth, text))
    }

    // MARK: In

    private mutating func writeArrival() {
        if case .datagram(_, let vni, let source, let destination, let typeOfService) = arrival {
            let to = destination == .none ? "" : " to \(destination.text)"
            let ecn = typeOfService == 0 ? "" : ", ECN \(typeOfService & 3)"
            let found =
                trace.ingress.map { "tunnel \(name($0)) takes it" } ?? "no tunnel takes it"
            add(.tunnelIn, 0, "datagram of \(source.text)\(to), VNI \(vni.rawValue)\(ecn): \(found)")
            if trace.ingress == nil { return }
        }
        var text = packet
        if case .port(_, let offload) = arrival, let words = offload.words { text += "; \(words) to be done" }
        add(.parse, 0, text)
    }

    /// "IPv4 ICMP packet of 84 bytes, no VLAN tag"
    private var packet: String {
        guard let key else { return "\(document.frame.count) bytes" }
        let tag = key.ingress & 0x1fff
        let tagged = tag == 0 ? "no VLAN tag" : "VLAN \(tag & 0xfff) priority \(key.ingress >> 13 & 7)"
        let upper = key.isIP ? " \(IPProtocol(rawValue: UInt8(truncatingIfNeeded: key.source >> 8)))" : ""
        return "\(key.etherType)\(upper) packet of \(networkByteCount) bytes, \(tagged)"
    }

    /// The fields of the frame as it came; nil for one without an Ethernet header.
    private var key: FlowKey? {
        parsed { frame, shape in
            frame.byteCount < EthernetView.byteCount ? nil : FlowKey(frame, shape, port: 0)
        }
    }

    /// Behind Ethernet and its tags.
    private var networkByteCount: Int { parsed { $0.byteCount - Int($1.networkOffset) } ?? 0 }

    private func parsed<R>(_ body: (Superframe, FrameShape) -> R?) -> R? {
        var bytes = document.frame
        return bytes.withUnsafeMutableBytes { memory in
            guard let base = memory.baseAddress else { return nil }
            let frame = Superframe(base: base, byteCount: memory.count)
            return body(frame, FrameShape(frame))
        }
    }

    // MARK: The bridge's mind

    private mutating func writeDecision() {
        guard let flow = trace.flow else { return }
        if case .drop = flow.verdict.action, flow.verdict.reason == .reservedMulticast {
            add(.fdb, 0, "\(destination) is for bridges only, and forward_bpdu is off")
            return
        }
        add(.learn, 0, learning)
        switch flow.verdict.action {
        case .flood where destination.isGroup: add(.flood, 0, "\(destination) is a group: to \(members)")
        case .flood: add(.flood, 0, "\(destination) is not known: to \(members)")
        default: add(.fdb, 0, place)
        }
        if trace.copies.contains(where: \.isAnswer), trace.refusal == nil, counted(.neighAnswered) {
            add(.answer, 0, "the bridge answers for its static entries: not flooded")
        }
    }

    private mutating func writeWalk() {
        for step in trace.walk {
            switch step {
            case .admitted(let vlan): add(.vlan, 0, vlan == 0 ? "of no VLAN" : "of VLAN \(vlan)")
            case .secured(let isAllowed):
                add(
                    .portSecurity, 0,
                    isAllowed ? "its addresses are allowed" : "its addresses are not allowed")
            case .table(let number): add(.rules, 0, "table \(number)")
            case .met(let rank): add(.rules, 1, rule(rank))
            case .metNone: add(.rules, 1, "no rule matches: normal")
            case .action(let action): add(.rules, 2, words(of: action))
            case .normal(let vlan): add(.learn, 0, learning + (vlan == 0 ? "" : ", in VLAN \(vlan)"))
            case .learned, .ended: break
            case .found: add(.fdb, 0, place)
            case .unknown: add(.flood, 0, "\(destination) is not known: to \(copyNames)")
            case .group: add(.flood, 0, "\(destination) is a group: to \(copyNames)")
            }
        }
    }

    private var copyNames: String {
        let names = trace.copies.filter { !$0.isAnswer }.prefix(AgentCore.floodNameLimit).map {
            name($0.port)
        }
        return names.isEmpty ? "nobody" : names.joined(separator: ", ")
    }

    private func rule(_ rank: UInt32) -> String {
        let steering = running.steering
        guard steering.table.rules.indices.contains(Int(rank)) else { return "a rule that is gone" }
        let rule = steering.table.rules[Int(rank)]
        return "rule \(steering.names[rule.identity].map { "\($0)" } ?? "?"), priority \(rule.priority)"
    }

    private var source: MACAddress { trace.sourceAddress }
    private var destination: MACAddress { trace.destinationAddress }

    private func counted(_ counter: Counter) -> Bool { trace.counted.contains { $0.counts[counter] > 0 } }

    private var learning: String {
        guard !source.isGroup, !source.isZero else { return "\(source) is no station: not learned" }
        let here = trace.ingress.map(name) ?? ""
        guard let known = trace.source else { return "\(source) is new: learned at \(here)" }
        let port = name(number: known.port)
        if known.isStatic {
            return port == here
                ? "\(source) has a static entry here" : "\(source) has a static entry at \(port): not learned"
        }
        return port == here ? "\(source) is known here" : "\(source) was at \(port): moves to \(here)"
    }

    private var place: String {
        let here = trace.ingress.map(name) ?? ""
        guard destination != source || trace.destination?.isStatic == true else {
            return "\(destination) is at \(here), where the frame came from"
        }
        guard let entry = trace.destination else { return "\(destination) is not known" }
        let since = entry.isStatic ? "static" : "heard \(entry.ageSeconds) s ago"
        let port = name(number: entry.port)
        return "\(destination) is at \(port) (\(since))\(port == here ? ", where the frame came from" : "")"
    }

    /// Ports a flood goes to.
    private var members: String {
        let isTunnel = trace.ingress.flatMap { owners[$0] }?.isTunnel ?? false
        let isHeldBack = desired.spec.flooding == .disabled
        let ports = owners.members(of: bridge).filter {
            $0.identity != trace.ingress && !($0.isTunnel && (isTunnel || isHeldBack))
        }
        let shown = ports.prefix(AgentCore.floodNameLimit).map { "\($0.name)" }
        let rest = ports.count - shown.count
        let all = (shown + (rest > 0 ? ["\(rest) more"] : [])).joined(separator: ", ")
        let why =
            isTunnel
            ? " (split horizon: no tunnels)" : isHeldBack ? " (flooding is disabled: no tunnels)" : ""
        return (all.isEmpty ? "nobody" : all) + why
    }

    // MARK: Out

    private mutating func write(_ copy: FrameTrace.Copy) {
        let isAnswer = copy.isAnswer
        if isAnswer { add(.answer, 0, "to \(name(copy.port)), made here for the sender") }
        if let tunnel = running.tunnels.first(where: { $0.value.place.identity == copy.port }) {
            write(copy, by: tunnel.key, tunnel.value)
        } else {
            let port = running.locals.first { $0.place.identity == copy.port }
            add(.output, 1, "\(name(copy.port)), MTU \(port?.mtu ?? 0)")
        }
        for output in copy.outputs {
            var leaving = API.TraceOutput(output, name(copy.port))
            leaving.isAnswer = isAnswer
            if let tunnel = running.tunnels.values.first(where: { $0.place.identity == copy.port }) {
                leaving.remoteIP = tunnel.spec.remoteIP
                leaving.driver = tunnel.route.way.driver
                leaving.vni = output.vni
            }
            if isAnswer { add(.output, 2, leaving.text) }
            document.outputs.append(leaving)
        }
        let outers = copy.outputs.filter { !$0.outer.isEmpty }
        if let first = outers.first { add(.outer, 2, words(of: first, count: outers.count)) }
        if copy.held > 0 { add(.nextHop, 2, "the frame waits for it") }
        for (reason, count) in copy.drops.sorted(by: { $0.key.name < $1.key.name }) {
            add(.drop, 2, "\(reason.name): \(reason.explanation)\(count > 1 ? " (\(count) segments)" : "")")
        }
    }

    private mutating func write(_ copy: FrameTrace.Copy, by name: Name, _ tunnel: RunningTunnel) {
        let (spec, route) = (tunnel.spec, tunnel.route)
        let vni = copy.outputs.first?.vni.map { ", VNI \($0.rawValue)" } ?? ""
        add(
            .tunnel, 1,
            "\(name) to \(spec.remoteIP) UDP port \(spec.dstPort)\(vni), by \(route.way.driver.rawValue)")
        let path =
            route.pathMTU.map { "; the path takes \($0), from \(route.pathMTUFrom?.rawValue ?? "none")" }
            ?? ""
        add(
            .mtu, 2,
            "\(networkByteCount) bytes came in; the tunnel carries \(tunnel.innerMTU)\(path)")
        let lookup = host.underlay.lookUp(spec.remoteIP, from: spec.localIP)
        let gateway = route.way.gateway.map { " via \($0)" } ?? ""
        let way = route.way.ifname.map { ": by \($0)\(gateway)" } ?? ""
        add(.route, 2, tunnel.error ?? lookup.reason + way)
        guard route.way.driver == .native, tunnel.error == nil else { return }
        let next = route.way.gateway ?? spec.remoteIP
        guard let neighbor = host.underlay.neighbor(of: route.way) else { return }
        let mac = neighbor.mac.map { "\(next) is at \($0)" } ?? "the address of \(next) is not known"
        add(.nextHop, 2, "\(mac) (\(neighbor.state.rawValue))")
    }

    private func words(of output: TracedOutput, count: Int) -> String {
        let times = count > 1 ? ", the first of \(count)" : ""
        switch output.way {
        case .port: return ""
        case .socket(let envelope):
            return
                "VXLAN \(HexText.text(output.outer)); TOS \(envelope.typeOfService), TTL \(envelope.timeToLive), "
                + "IP and UDP are the kernel's\(times)"
        case .uplink: return "\(HexText.text(output.outer))\(times)"
        case .control: return "taken in: it is the tunnel's liveness (BFD)"
        }
    }

    // MARK: Names

    private func name(_ identity: UInt64) -> String {
        owners[identity].map { "\($0.name)" } ?? "a port that is gone"
    }

    func name(number: UInt32) -> String {
        running.places.first { $0.number == number }.map { name($0.identity) } ?? "a port that is gone"
    }

    /// What was counted, by name.
    func counts(_ counted: [FrameTrace.Counted]) -> [TraceCounts] {
        counted.map { row in
            var counts = TraceCounts()
            switch row.owner {
            case .port(let identity): counts.name = name(identity)
            case .listener(let identity):
                let listener = host.listeners.first { $0.value.identity == identity }
                counts.name = "listener \(listener?.key.name ?? "")"
            case .uplink(let identity):
                let uplink = host.underlay.uplinks.running.values.first { $0.identity == identity }
                counts.name = "uplink \(uplink.flatMap { host.underlay.name(of: $0.interface) } ?? "")"
            }
            counts.counters = row.counts.named
            return counts
        }.sorted { $0.name < $1.name }
    }
}

extension API.TraceOutput {
    fileprivate init(_ output: TracedOutput, _ port: String) {
        self.init()
        self.port = port
        frame = output.frame
        text = output.frame.frameText
        count = output.frameCount
        offload = output.offload.words
        outer = output.outer.isEmpty ? nil : output.outer
    }
}

extension TracedOutput {
    /// Of the VXLAN header, the last of what is in front.
    fileprivate var vni: VNI? {
        guard outer.count >= VXLANHeader.byteCount else { return nil }
        let digits = outer.suffix(4).prefix(3)
        return VNI(truncating: digits.reduce(0) { $0 << 8 | UInt32($1) })
    }
}

extension Offload {
    /// "checksum, tcp4 segments of 1400 bytes"; nil for a frame that is complete.
    fileprivate var words: String? {
        var words: [String] = needsChecksum ? ["checksum"] : []
        switch segmentation {
        case .none: break
        case .tcp4, .tcp6: words.append("TCP segments of \(segmentByteCount) bytes")
        case .udp: words.append("UDP datagrams of \(segmentByteCount) bytes")
        }
        return words.isEmpty ? nil : words.joined(separator: ", ")
    }
}

extension PackedAddress {
    var text: String {
        isIPv4
            ? "\(IPv4Address(rawValue: UInt32(truncatingIfNeeded: low)))"
            : "\(IPv6Address(high: high, low: low))"
    }
}

extension CounterSnapshot {
    /// Under the names the API has for them, zeros left out.
    fileprivate var named: [String: Int] {
        let counters: [(String, Counter)] = [
            ("rx_packets", .rxPackets), ("rx_bytes", .rxBytes), ("rx_forwarded", .rxForwarded),
            ("rx_copies", .rxCopies), ("tx_packets", .txPackets), ("tx_bytes", .txBytes),
            ("icmp_generated", .icmpGenerated), ("neigh_answered", .neighAnswered),
        ]
        var named: [String: Int] = [:]
        for (name, counter) in counters { named[name] = Int(clamping: self[counter]) }
        for reason in DropReason.allCases {
            named["drops.\(reason.name)"] = Int(clamping: receiveDrops(reason) + transmitDrops(reason))
        }
        return named.filter { $0.value != 0 }
    }
}
