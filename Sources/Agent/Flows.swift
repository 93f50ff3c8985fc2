// One cached decision in the operator's words: what it matches, read off its mask, and what is done to its frames,
// read off its plan.

internal import API
internal import Datapath
internal import LinuxIO
internal import REST
internal import Wire

/// Which flows are asked for; nil asks for any.
struct FlowFilter: Sendable {
    var bridge: String?
    var inPort: String?
    var source: MACAddress?
    var destination: MACAddress?
    var etherType: UInt16?
    var vlan: Int?
    var vni: VNI?
    var networkSource: IPAddress?
    var networkDestination: IPAddress?
    var ipProtocol: IPProtocol?
    var sourcePort: Int?
    var destinationPort: Int?
    var rule: String?

    init(_ call: Call) throws(Problem) {
        bridge = try call.value(of: FlowDocument.bridgeFilter)
        inPort = try call.value(of: FlowDocument.inPortFilter)
        source = try call.value(of: FlowDocument.sourceFilter)
        destination = try call.value(of: FlowDocument.destinationFilter)
        etherType = try call.value(of: FlowDocument.etherTypeFilter)
        vlan = try call.value(of: FlowDocument.vlanFilter)
        vni = try call.value(of: FlowDocument.vniFilter)
        networkSource = try call.value(of: FlowDocument.ipSourceFilter)
        networkDestination = try call.value(of: FlowDocument.ipDestinationFilter)
        ipProtocol = try call.value(of: FlowDocument.protocolFilter)
        sourcePort = try call.value(of: FlowDocument.transportSourceFilter)
        destinationPort = try call.value(of: FlowDocument.transportDestinationFilter)
        rule = try call.value(of: FlowDocument.ruleFilter)
    }

    /// What a flow does not look at it is not about.
    func admits(_ flow: FlowSnapshot, of owner: FlowOwners.Owner, _ owners: FlowOwners) -> Bool {
        if let source, !flow.looks(at: \.source, 0xffff_ffff_ffff_0000) || source != flow.key.sourceMAC {
            return false
        }
        if let destination, destination != flow.key.destinationMAC { return false }
        if let etherType, etherType != flow.key.etherType.rawValue { return false }
        if let bridge, bridge != owner.bridge.description { return false }
        if let inPort, inPort != owner.name.description { return false }
        if let vlan, !flow.looks(at: \.ingress, 0x1000) || !flow.key.isTagged || vlan != Int(flow.key.vlan) {
            return false
        }
        if let vni, !flow.looks(at: \.transport, 0xff_ffff << 8) || vni.rawValue != flow.key.vni {
            return false
        }
        if let networkSource, flow.sourcePrefix?.contains(networkSource) != true { return false }
        if let networkDestination, flow.destinationPrefix?.contains(networkDestination) != true {
            return false
        }
        if let ipProtocol, ipProtocol != flow.ipProtocol { return false }
        if let sourcePort, !flow.has(sourcePort, in: \.transport, 48) { return false }
        if let destinationPort, !flow.has(destinationPort, in: \.transport, 32) { return false }
        if let rule, !owners.rules(of: flow, owner).contains(where: { "\($0.name)" == rule }) { return false }
        return true
    }
}

/// Which port an identity belongs to, and which rule a rank, for the length of one answer.
struct FlowOwners {
    struct Owner {
        var bridge: Name
        var name: Name
        var identity: UInt64
        var number: UInt32
        var isTunnel: Bool
    }

    private var owners: [UInt32: Owner] = [:]
    private var bridges: [Name: [Owner]] = [:]
    private var steerings: [Name: Steering] = [:]

    init(_ host: Host) {
        for (name, bridge) in host.bridges {
            var members = [(name, bridge.local.place, false)]
            members += bridge.ports.sorted { $0.key < $1.key }.map { ($0.key, $0.value.place, false) }
            members += bridge.tunnels.sorted { $0.key < $1.key }.map { ($0.key, $0.value.place, true) }
            let all = members.map {
                Owner(bridge: name, name: $0, identity: $1.identity, number: $1.number, isTunnel: $2)
            }
            bridges[name] = all
            steerings[name] = bridge.steering
            for owner in all { owners[UInt32(truncatingIfNeeded: owner.identity)] = owner }
        }
    }

    /// Keys have the low half of an identity.
    subscript(identity: UInt64) -> Owner? { owners[UInt32(truncatingIfNeeded: identity)] }

    /// Local port, ports, tunnels.
    func members(of bridge: Name) -> [Owner] { bridges[bridge] ?? [] }

    func member(_ number: UInt32, of bridge: Name) -> Owner? {
        members(of: bridge).first { $0.number == number }
    }

    /// Whether a port has frames of a VLAN sent to it when they are flooded.
    func isFlooded(_ owner: Owner, vlan: UInt16?) -> Bool {
        guard let steering = steerings[owner.bridge] else { return true }
        if steering.isMirrorOutput(owner.number) { return false }
        guard let vlan, let policy = steering.policies[owner.number] else { return true }
        return policy.source.carries(Int(vlan))
    }

    /// The rules a flow's frames follow; none where the next one is decided anew.
    func rules(of flow: FlowSnapshot, _ owner: Owner) -> [(name: Name, rule: Datapath.Rule)] {
        guard let plan = flow.plan, plan.isCurrent, let steering = steerings[owner.bridge] else { return [] }
        return plan.ranks.compactMap { rank in
            guard steering.table.rules.indices.contains(Int(rank)) else { return nil }
            let rule = steering.table.rules[Int(rank)]
            return steering.names[rule.identity].map { ($0, rule) }
        }
    }
}

extension FlowSnapshot {
    /// Whether any of the bits counts.
    fileprivate func looks(at word: KeyPath<FlowKey, UInt64>, _ bits: UInt64) -> Bool {
        mask.bits[keyPath: word] & bits != 0
    }

    /// Whether 16 bits of a word are looked at, and as far as they are, are these.
    fileprivate func has(_ value: Int, in word: KeyPath<FlowKey, UInt64>, _ shift: UInt64) -> Bool {
        let mask = mask.bits[keyPath: word] >> shift & 0xffff
        return mask != 0 && UInt64(value) & mask == key[keyPath: word] >> shift & 0xffff
    }

    fileprivate var sourcePrefix: IPPrefix? {
        prefix(\.networkSourceHigh, \.networkSourceLow)
    }

    fileprivate var destinationPrefix: IPPrefix? {
        prefix(\.networkDestinationHigh, \.networkDestinationLow)
    }

    /// The addresses of a pair of words; nil where none of their bits counts.
    private func prefix(
        _ high: KeyPath<FlowKey, UInt64>, _ low: KeyPath<FlowKey, UInt64>
    ) -> IPPrefix? {
        let isIPv4 = key.etherType == .ipv4 || key.etherType == .arp
        let (maskHigh, maskLow) = (mask.bits[keyPath: high], mask.bits[keyPath: low])
        if isIPv4 {
            let bits = UInt32(truncatingIfNeeded: maskLow)
            guard bits != 0 else { return nil }
            let address = IPv4Address(rawValue: UInt32(truncatingIfNeeded: key[keyPath: low]))
            return IPPrefix(.v4(address), length: bits.nonzeroBitCount)
        }
        guard key.etherType == .ipv6, maskHigh | maskLow != 0 else { return nil }
        let address = IPv6Address(high: key[keyPath: high], low: key[keyPath: low])
        return IPPrefix(.v6(address), length: maskHigh.nonzeroBitCount + maskLow.nonzeroBitCount)
    }

    /// Nil where it is not looked at.
    fileprivate var ipProtocol: IPProtocol? {
        looks(at: \.source, 0xff00) ? IPProtocol(rawValue: UInt8(key.source >> 8 & 0xff)) : nil
    }

    /// 16 bits of the transport word: a number, or with the bits that count.
    fileprivate func ports(_ shift: UInt64) -> String? {
        let (value, bits) = (key.transport >> shift & 0xffff, mask.bits.transport >> shift & 0xffff)
        guard bits != 0 else { return nil }
        let isType = ipProtocol == .icmp || ipProtocol == .icmpv6
        if bits == 0xffff || isType { return "\(value)" }
        return "0x\(FlowSnapshot.digits(value, count: 4))/0x\(FlowSnapshot.digits(bits, count: 4))"
    }

    fileprivate func mac(_ word: KeyPath<FlowKey, UInt64>) -> MACMask? {
        let bits = MACAddress(rawValue: mask.bits[keyPath: word] >> 16)
        return bits.isZero ? nil : MACMask(MACAddress(rawValue: key[keyPath: word] >> 16), mask: bits)
    }
}

extension FlowMatch {
    fileprivate init(_ flow: FlowSnapshot, _ owner: FlowOwners.Owner) {
        self.init()
        let (key, mask) = (flow.key, flow.mask.bits)
        inPort = "\(owner.name)"
        if mask.transport & 0xff_ffff << 8 != 0, owner.isTunnel { tunnelVNI = Int(key.vni) }
        etherSource = flow.mac(\.source)
        etherDestination = flow.mac(\.destination)
        if mask.ingress & 0x1000 != 0, key.isTagged {
            if mask.ingress & 0x0fff != 0 { vlan = Int(key.vlan) }
            if mask.ingress & 0xe000 != 0 { vlanPriority = Int(key.ingress >> 13 & 7) }
        }
        etherType = "0x" + FlowSnapshot.digits(UInt64(key.etherType.rawValue), count: 4)
        networkSource = flow.sourcePrefix
        networkDestination = flow.destinationPrefix
        ipProtocol = flow.ipProtocol
        if mask.source & 0xfc != 0 { dscp = Int(key.source >> 2 & 0x3f) }
        if mask.transport & 3 != 0 {
            fragment =
                switch key.fragment {
                case FlowKey.firstFragment: .first
                case FlowKey.laterFragment: .later
                default: .no
                }
        }
        transportSource = flow.ports(48)
        transportDestination = flow.ports(32)
        tcpFlags = TCPFlagsMatch(value: key.tcpFlags, mask: UInt16(mask.destination & 0x0fff))
    }
}

extension FlowDocument {
    init(_ flow: FlowSnapshot, of owner: FlowOwners.Owner, _ owners: FlowOwners, _ desired: DesiredState) {
        self.init()
        bridge = "\(owner.bridge)"
        match = FlowMatch(flow, owner)
        packets = Int(clamping: flow.packets)
        bytes = Int(clamping: flow.bytes)
        usedSeconds = Double(flow.idleMilliseconds) / 1000
        rules = owners.rules(of: flow, owner).map { "\($0.name)" }
        actions = FlowActions(flow, owner, owners, desired).texts
    }
}

/// What is done to the frames of a flow, as `ovs-appctl dpctl/dump-flows` shows it.
private struct FlowActions {
    let owner: FlowOwners.Owner
    let owners: FlowOwners
    let desired: DesiredState
    var texts: [String] = []

    init(
        _ flow: FlowSnapshot, _ owner: FlowOwners.Owner, _ owners: FlowOwners, _ desired: DesiredState
    ) {
        (self.owner, self.owners, self.desired) = (owner, owners, desired)
        guard let plan = flow.plan else {
            texts = [verdict(flow.verdict, owners[UInt64(flow.egress)], vlan: nil)]
            return
        }
        guard plan.isCurrent else {
            texts = ["decide"]
            return
        }
        for (_, rule) in owners.rules(of: flow, owner) { texts += rule.actions.compactMap(text) }
        if let switched = plan.switched {
            texts.append(verdict(switched, owners.member(switched.egress, of: owner.bridge), vlan: plan.vlan))
        } else if !texts.contains(where: { $0.hasPrefix("output(") }) {
            texts.append("drop(\(DropReason.rule.name))")
        }
    }

    private func verdict(_ verdict: Verdict, _ egress: FlowOwners.Owner?, vlan: UInt16?) -> String {
        switch verdict.action {
        case .planned: return "decide"
        case .punt: return "punt(bfd)"
        case .drop: return "drop(\(verdict.reason.name))"
        case .forward: return egress.map { "output(\(describe($0)))" } ?? "decide"
        case .flood:
            let isHeldBack = !owner.isTunnel && desired.bridges[owner.bridge]?.spec.flooding == .disabled
            let members = owners.members(of: owner.bridge).filter {
                $0.identity != owner.identity && !($0.isTunnel && (owner.isTunnel || isHeldBack))
                    && owners.isFlooded($0, vlan: vlan)
            }
            if members.isEmpty {
                return "drop(\((isHeldBack ? DropReason.floodingDisabled : .noDestination).name))"
            }
            let shown = members.prefix(AgentCore.floodNameLimit).map { describe($0) }
            let rest = members.count - shown.count
            return "flood(\((shown + (rest > 0 ? ["and \(rest) more"] : [])).joined(separator: ",")))"
        }
    }

    /// Nil for what only says where to go on.
    private func text(_ action: Datapath.RuleAction) -> String? {
        switch action {
        case .normal, .goToTable, .drop: nil
        case .output(let port): "output(\(name(port)))"
        case .mirror(let port): "mirror(\(name(port)))"
        case .setTunnel(let vni, let via):
            "set(tunnel(tun_id=0x\(String(vni.rawValue, radix: 16))"
                + (via.map { ",via=\(name($0))" } ?? "") + "))"
        case .setEtherSource(let mac): "set(eth(src=\(mac)))"
        case .setEtherDestination(let mac): "set(eth(dst=\(mac)))"
        case .pushVLAN(let vlan, let priority): "push_vlan(vid=\(vlan),pcp=\(priority))"
        case .popVLAN: "pop_vlan"
        case .setVLAN(let vlan): "set(vlan(vid=\(vlan)))"
        case .setVLANPriority(let priority): "set(vlan(pcp=\(priority)))"
        case .setNetworkSource(let address): "set(\(family(address))(src=\(plain(address))))"
        case .setNetworkDestination(let address): "set(\(family(address))(dst=\(plain(address))))"
        case .setDSCP(let dscp): "set(ip(dscp=\(dscp)))"
        case .setTimeToLive(let hops): "set(ip(ttl=\(hops)))"
        case .decrementTimeToLive: "dec_ttl"
        case .setSourcePort(let port): "set(tp(src=\(port)))"
        case .setDestinationPort(let port): "set(tp(dst=\(port)))"
        case .police: "police"
        }
    }

    private func name(_ number: UInt32) -> String {
        owners.member(number, of: owner.bridge).map { describe($0) } ?? "gone"
    }

    private func family(_ address: PackedAddress) -> String { isIPv4(address) ? "ipv4" : "ipv6" }

    private func isIPv4(_ address: PackedAddress) -> Bool {
        address.high == 0 && address.low >> 32 == 0xffff
    }

    private func plain(_ address: PackedAddress) -> String {
        isIPv4(address)
            ? "\(IPv4Address(rawValue: UInt32(truncatingIfNeeded: address.low)))"
            : "\(IPv6Address(high: address.high, low: address.low))"
    }

    /// A port's name; a tunnel's with where it leads and the VNI it sends.
    private func describe(_ owner: FlowOwners.Owner) -> String {
        guard owner.isTunnel, let spec = desired.bridges[owner.bridge], let tunnel = spec.tunnels[owner.name]
        else { return "\(owner.name)" }
        let vni = if case .fixed(let number) = spec.vni(of: tunnel) { number.rawValue } else { UInt32(0) }
        return "\(owner.name) vni=\(vni) remote_ip=\(tunnel.remoteIP)"
    }
}
