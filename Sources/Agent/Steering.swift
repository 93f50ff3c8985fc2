// What a bridge does to frames besides switching them, as the datapath has it: rules, mirrors, the VLANs of its
// ports, their limits. Compiled anew when anything of the bridge but its MAC entries changes; what has counted
// something, rules and meters, is kept under its name and goes on counting.

internal import API
internal import Datapath
internal import LinuxIO
internal import Wire

/// A meter and its end.
final class RunningMeter {
    let meter: Meter
    init(_ meter: Meter) { self.meter = meter }
    deinit { meter.deallocate() }
}

/// A rule's counters and meters, from its first writing to its deletion.
final class RunningRule {
    let identity: UInt32
    let counters: RuleCounters
    /// By place in the list of actions.
    var meters: [Int: (policer: Policer, meter: RunningMeter)] = [:]
    /// What it names that is not there any more.
    var error: String?

    init(identity: UInt32, workers: Int) {
        self.identity = identity
        counters = .allocate(workers: workers)
    }

    deinit { counters.deallocate() }
}

/// What a port or tunnel lets pass.
final class RunningPolicy {
    /// What it is made of.
    struct Source: Equatable {
        var mode = VLANMode.trunk
        var tag: Int?
        var trunks: [Int] = []
        var security: API.PortSecurity?
        var macLimit: Int?
        var stormRate: Int?
        var stormBurst: Int?

        init(_ member: some VLANMember) {
            (mode, tag, trunks) = (member.effectiveVLANMode, member.tag, member.trunks ?? [])
            guard let port = member as? API.Port else { return }
            (security, macLimit) = (port.security, port.macLimit)
            (stormRate, stormBurst) = (port.bumPolicingRate, port.bumPolicingBurst)
        }

        func carries(_ vlan: Int) -> Bool {
            mode == .access ? tag == vlan : trunks.isEmpty || trunks.contains(vlan) || tag == vlan
        }

        func hasVLANs(of other: Source) -> Bool {
            mode == other.mode && tag == other.tag && trunks == other.trunks
        }
    }

    let source: Source
    private let vlans: VLANSet?
    private let vlan: PortVLAN
    private let secured: SecuredAddresses?
    private let storm: RunningMeter?

    /// Goes on with the meter of the one before where that has the same rate.
    init(_ source: Source, after old: RunningPolicy?) {
        self.source = source
        let set = source.trunks.isEmpty ? nil : VLANSet(RunningPolicy.carried(source))
        vlans = set
        vlan = PortVLAN(
            mode: PortVLAN.Mode(source.mode), tag: UInt16(source.tag ?? 0), trunks: set)
        secured = source.security.map { SecuredAddresses(macs: $0.macs, addresses: $0.ips) }
        if let rate = source.stormRate {
            let isSame = old?.source.stormRate == rate && old?.source.stormBurst == source.stormBurst
            let burst = source.stormBurst ?? max(10, rate / 10)
            storm = isSame ? old?.storm : RunningMeter(.frames(perSecond: rate, burst: burst))
        } else {
            storm = nil
        }
    }

    /// The native VLAN of a trunk is always one of its VLANs, as in Open vSwitch.
    private static func carried(_ source: Source) -> [UInt16] {
        (source.trunks + (source.tag.map { [$0] } ?? [])).map { UInt16($0) }
    }

    func apply(to entry: inout PortEntry) {
        entry.vlan = vlan
        entry.security = secured?.security ?? .none
        entry.storm = storm?.meter ?? .none
        entry.macLimit = UInt32(source.macLimit ?? 0)
    }
}

extension PortVLAN.Mode {
    fileprivate init(_ mode: VLANMode) {
        self =
            switch mode {
            case .access: .access
            case .trunk: .trunk
            case .nativeTagged: .nativeTagged
            case .nativeUntagged: .nativeUntagged
            }
    }
}

/// Of one bridge.
final class Steering {
    fileprivate(set) var rules: [Name: RunningRule] = [:]
    /// Of rules, by what flows know them by.
    fileprivate(set) var names: [UInt32: Name] = [:]
    fileprivate(set) var table = RuleTable([])
    fileprivate(set) var mirrors: MirrorTable?
    private var mirrorOutputs: Set<UInt32> = []
    fileprivate(set) var map: (source: [API.VLANMapping], mapping: Datapath.VLANMapping)?
    /// Of the local port, the ports and the tunnels, by number; none where nothing is set.
    fileprivate(set) var policies: [UInt32: RunningPolicy] = [:]

    func isMirrorOutput(_ port: UInt32) -> Bool { mirrorOutputs.contains(port) }

    fileprivate func set(_ mirrors: [Datapath.Mirror]) {
        self.mirrors = mirrors.isEmpty ? nil : MirrorTable(mirrors)
        mirrorOutputs = Set(mirrors.map(\.output))
    }

    func apply(to entry: inout BridgeEntry) {
        entry.rules = table.handle
        entry.mirrors = mirrors?.handle ?? .none
        entry.vlanMap = map?.mapping.map ?? .none
    }

    /// Keeps everything as it is until a program without it is in force.
    fileprivate var parts: [AnyObject] {
        [table] + rules.values.map { $0 } + policies.values.map { $0 }
            + rules.values.flatMap { $0.meters.values.map(\.meter) }
            + [mirrors as AnyObject?, map?.mapping as AnyObject?].compactMap { $0 }
    }
}

// MARK: - Compiling

extension Host {
    /// Compiles a bridge's steering anew. What it replaces is kept until the next program is in force.
    func steer(_ name: Name, _ desired: DesiredBridge) {
        guard let bridge = bridges[name] else { return }
        let steering = bridge.steering
        for part in steering.parts { bury(part) }
        let members = Members(name, desired, bridge)
        steerPorts(name, desired, bridge)
        steerRules(desired, steering, members)
        steering.set(desired.mirrors.sorted { $0.key < $1.key }.compactMap { mirror($0.value, members) })
        let pairs = desired.spec.vlanVNI ?? []
        if pairs != steering.map?.source ?? [] {
            let mapping = Datapath.VLANMapping(pairs.map { (vlan: UInt16($0.vlan), vni: $0.vni) })
            steering.map = pairs.isEmpty ? nil : (pairs, mapping)
        }
    }

    private func steerPorts(_ name: Name, _ desired: DesiredBridge, _ bridge: RunningBridge) {
        let old = bridge.steering.policies
        var policies: [UInt32: RunningPolicy] = [:]
        let plain = RunningPolicy.Source(API.Port())
        func settle(_ place: Place, _ member: some VLANMember) {
            let source = RunningPolicy.Source(member)
            let before = old[place.number]
            if !source.hasVLANs(of: before?.source ?? plain) {
                // What was learned in a VLAN may be in another one now.
                later(.flush(bridge.table, member: place.member))
            }
            guard source != plain else { return }
            policies[place.number] =
                before?.source == source ? before : RunningPolicy(source, after: before)
        }
        settle(bridge.local.place, desired.spec)
        for (port, running) in bridge.ports {
            if let spec = desired.ports[port] { settle(running.place, spec) }
        }
        for running in bridge.tunnels.values { settle(running.place, running.spec) }
        bridge.steering.policies = policies
    }

    private func steerRules(_ desired: DesiredBridge, _ steering: Steering, _ members: Members) {
        steering.rules = steering.rules.filter { desired.rules[$0.key] != nil }
        var compiled: [Datapath.Rule] = []
        compiled.reserveCapacity(desired.rules.count)
        // Of two with the same priority the one whose name comes first is followed.
        for (name, spec) in desired.rules.sorted(by: { $0.key < $1.key }) {
            let running =
                steering.rules[name]
                ?? RunningRule(
                    identity: UInt32(truncatingIfNeeded: newIdentity()), workers: workerCount)
            steering.rules[name] = running
            compiled.append(rule(spec, running, members))
        }
        steering.names = Dictionary(uniqueKeysWithValues: steering.rules.map { ($1.identity, $0) })
        steering.table = RuleTable(compiled)
    }

    private func rule(_ spec: API.Rule, _ running: RunningRule, _ members: Members) -> Datapath.Rule {
        var compiler = ActionCompiler(running: running, members: members)
        for (index, action) in spec.actions.enumerated() { compiler.take(action, index) }
        running.meters = compiler.meters
        running.error = compiler.error
        return Datapath.Rule(
            table: UInt8(spec.table), priority: UInt16(spec.priority),
            match: Datapath.RuleMatch(spec.match, members),
            actions: compiler.error == nil ? compiler.actions : [.drop], counters: running.counters,
            identity: running.identity)
    }

    private func mirror(_ spec: API.Mirror, _ members: Members) -> Datapath.Mirror? {
        guard let output = members[spec.outputPort]?.number else { return nil }
        var mirror = Datapath.Mirror(output: output)
        mirror.sources = spec.selectSourcePorts.compactMap { members[$0]?.number }
        mirror.destinations = spec.selectDestinationPorts.compactMap { members[$0]?.number }
        mirror.selectsAll = spec.selectAll || mirror.sources.isEmpty && mirror.destinations.isEmpty
        if !spec.selectVLANs.isEmpty { mirror.vlans = VLANSet(spec.selectVLANs.map { UInt16($0) }) }
        return mirror
    }
}

/// What the names in rules and mirrors stand for.
private struct Members {
    private var places: [String: Place] = [:]
    /// Numbers of tunnels whose VNI is the flow's, by remote.
    private var flowTunnels: [IPAddress: UInt32] = [:]
    /// Identities of tunnels, by remote.
    private var identities: [IPAddress: [UInt64]] = [:]

    init(_ name: Name, _ desired: DesiredBridge, _ bridge: RunningBridge) {
        places["\(name)"] = bridge.local.place
        for (port, running) in bridge.ports { places["\(port)"] = running.place }
        for (tunnel, running) in bridge.tunnels.sorted(by: { $0.key > $1.key }) {
            places["\(tunnel)"] = running.place
            identities[running.spec.remoteIP, default: []].append(running.place.identity)
            if desired.vni(of: running.spec) == .flow {
                flowTunnels[running.spec.remoteIP] = running.place.number
            }
        }
    }

    subscript(name: String) -> Place? { places[name] }
    func flowTunnel(to remote: IPAddress) -> UInt32? { flowTunnels[remote] }
    func tunnels(to remote: IPAddress) -> [UInt64] { identities[remote] ?? [] }
}

extension Datapath.RuleMatch {
    fileprivate init(_ match: API.RuleMatch, _ members: Members) {
        self.init()
        if let port = match.inPort { inPorts = members[port].map { [$0.identity] } ?? [] }
        if let remote = match.tunnelSource {
            let tunnels = members.tunnels(to: remote)
            inPorts = inPorts.map { $0.filter(tunnels.contains) } ?? tunnels
        }
        etherSource = match.etherSource.map(MaskedMAC.init)
        etherDestination = match.etherDestination.map(MaskedMAC.init)
        etherType = match.impliedEtherType
        let priority = match.vlanPriority.map { UInt8($0) }
        vlan =
            switch match.vlan {
            case .some(.none): .untagged
            case .any: .tagged(priority: priority)
            case .id(let id): .vid(UInt16(id), priority: priority)
            case nil: priority.map { .tagged(priority: $0) }
            }
        networkSource = match.networkSource
        networkDestination = match.networkDestination
        ipProtocol = match.impliedProtocol
        dscp = match.dscp.map { UInt8($0) }
        fragment = match.fragment.map(Fragment.init)
        sourcePorts = match.sourcePorts?.range
        destinationPorts = match.destinationPorts?.range
        tcpFlags = match.tcpFlags.map { Flags(value: $0.value, mask: $0.mask) }
        icmpType = match.icmpType.map { UInt8($0) }
        icmpCode = match.icmpCode.map { UInt8($0) }
        arpOperation = match.arpOperation.map { UInt8($0) }
        arpSender = match.arpSender
        arpTarget = match.arpTarget
        arpSenderMAC = match.arpSenderMAC.map { MaskedMAC($0) }
        arpTargetMAC = match.arpTargetMAC.map { MaskedMAC($0) }
        vni = match.tunnelVNI
    }
}

extension MaskedMAC {
    fileprivate init(_ mask: MACMask) { self.init(mask.address, mask: mask.mask.rawValue) }
}

extension Datapath.RuleMatch.Fragment {
    fileprivate init(_ match: FragmentMatch) {
        self =
            switch match {
            case .no: .no
            case .yes: .yes
            case .first: .first
            case .later: .later
            case .notLater: .notLater
            }
    }
}

/// Translates the steps of one rule.
private struct ActionCompiler {
    let running: RunningRule
    let members: Members
    var actions: [Datapath.RuleAction] = []
    var meters: [Int: (policer: Policer, meter: RunningMeter)] = [:]
    var error: String?

    mutating func take(_ action: API.RuleAction, _ index: Int) {
        if let name = action.port {
            guard let port = members[name]?.number else {
                return fail("there is no port or tunnel \(name)")
            }
            actions.append(action.mirror == nil ? .output(port: port) : .mirror(port: port))
        }
        if let choice = action.tunnel { take(choice) }
        if let change = action.change { take(change) }
        if let tag = action.pushTag {
            actions.append(.pushVLAN(UInt16(tag.vlan), priority: UInt8(tag.priority)))
        }
        if action.popTag != nil { actions.append(.popVLAN) }
        if action.decrementTimeToLive != nil { actions.append(.decrementTimeToLive) }
        if let policer = action.police { take(policer, index) }
        if let table = action.table { actions.append(.goToTable(UInt8(table))) }
        if action.normal != nil { actions.append(.normal) }
        if action.drop != nil { actions.append(.drop) }
    }

    private mutating func take(_ choice: TunnelChoice) {
        guard let remote = choice.remoteIP else {
            return actions.append(.setTunnel(choice.vni, via: nil))
        }
        guard let tunnel = members.flowTunnel(to: remote) else {
            return fail("there is no tunnel with vni \"flow\" to \(remote)")
        }
        actions.append(.setTunnel(choice.vni, via: tunnel))
    }

    private mutating func take(_ change: FieldChange) {
        if let mac = change.etherSource { actions.append(.setEtherSource(mac)) }
        if let mac = change.etherDestination { actions.append(.setEtherDestination(mac)) }
        if let vlan = change.vlan { actions.append(.setVLAN(UInt16(vlan))) }
        if let priority = change.vlanPriority { actions.append(.setVLANPriority(UInt8(priority))) }
        if let address = change.networkSource { actions.append(.setNetworkSource(PackedAddress(address))) }
        if let address = change.networkDestination {
            actions.append(.setNetworkDestination(PackedAddress(address)))
        }
        if let dscp = change.dscp { actions.append(.setDSCP(UInt8(dscp))) }
        if let hops = change.timeToLive { actions.append(.setTimeToLive(UInt8(hops))) }
        if let port = change.sourcePort { actions.append(.setSourcePort(UInt16(port))) }
        if let port = change.destinationPort { actions.append(.setDestinationPort(UInt16(port))) }
    }

    private mutating func take(_ policer: Policer, _ index: Int) {
        let meter =
            if let old = running.meters[index], old.policer == policer {
                old.meter
            } else {
                RunningMeter(.bandwidth(kilobitsPerSecond: policer.rate, burstKilobits: policer.burst))
            }
        meters[index] = (policer, meter)
        actions.append(.police(meter.meter))
    }

    private mutating func fail(_ text: String) {
        if error == nil { error = text }
    }
}
