// How a frame goes through a bridge that is not plain, decided once per flow: its VLAN, port security, the rules table
// by table, then switching. Nothing is sent here; what is to be done becomes the flow's plan.
//
//   VLAN ─▶ security ─▶ table 0 ─▶ … ─▶ normal: reserved? learn, look up, VLAN of the egress
//                          └─ goto ─┘
//
// An observer is told of every step: a trace goes the very way that frames go.

internal import Wire

/// Something a walk found out.
public enum WalkStep: BitwiseCopyable, Sendable {
    /// The frame is of this VLAN.
    case admitted(vlan: UInt16)
    /// The port's addresses were asked.
    case secured(isAllowed: Bool)
    case table(UInt8)
    /// The rule of this rank is met.
    case met(rank: UInt32)
    case metNone
    /// What a rule does, in order.
    case action(RuleAction)
    /// It is switched, in this VLAN.
    case normal(vlan: UInt16)
    case learned(LearnOutcome)
    /// The destination is behind this port, by its number.
    case found(port: UInt32)
    case unknown
    /// A group address.
    case group
    /// The end: switching's verdict, or why it ends if nothing was output.
    case ended(Verdict)
}

/// Whoever wants to know how a frame went.
public protocol WalkObserver {
    mutating func saw(_ step: WalkStep)
}

/// Nobody: it leaves no instruction behind.
struct Unobserved: WalkObserver {
    @inline(__always)
    mutating func saw(_ step: WalkStep) {}
}

/// A frame on its walk.
struct Walk: BitwiseCopyable {
    let frame: Superframe
    let shape: FrameShape
    let ingress: UInt32
    let view: ProgramView
    let nowSeconds: UInt32
    /// The fields as rules have made them so far.
    var key: FlowKey
    var mask: FlowMask
    var plan = FlowPlan()
    /// Tags taken off that were there from the start, and tags put on that are still there, outermost last.
    private var poppedCount = 0
    private var pushed: UInt32 = 0
    private var pushedCount = 0
    private var changedTags = false
    private var setsVNI = false

    @_noLocks
    init(
        _ frame: Superframe, _ shape: FrameShape, _ key: FlowKey, ingress: UInt32, _ view: ProgramView,
        nowSeconds: UInt32
    ) {
        self.frame = frame
        self.shape = shape
        self.key = key
        self.ingress = ingress
        self.view = view
        self.nowSeconds = nowSeconds
        mask = FlowMask(of: key)
    }

    private var port: UnsafeMutablePointer<PortEntry> { @_noLocks get { view.ports + Int(ingress) } }
    private var bridge: UnsafeMutablePointer<BridgeEntry> {
        @_noLocks get { view.bridges + Int(view.ports[Int(ingress)].bridge) }
    }

    /// Makes the plan, watched by nobody.
    @_noLocks
    mutating func run(_ trail: UnsafeMutablePointer<UInt32>) {
        var nobody = Unobserved()
        run(trail, &nobody)
    }

    /// Makes the plan; the ranks of the rules that are met go to `trail`, `RuleTable.tableCount` at most.
    mutating func run<Observer: WalkObserver>(
        _ trail: UnsafeMutablePointer<UInt32>, _ observer: inout Observer
    ) {
        if enter(&observer), meetRules(trail, &observer) { switchIt(&observer) }
        observer.saw(.ended(Verdict(action: plan.action, reason: plan.reason, egress: plan.egress)))
    }

    // MARK: Coming in

    private mutating func enter<Observer: WalkObserver>(_ observer: inout Observer) -> Bool {
        guard !port.pointee.isMirrorOutput else {
            plan.drop(.mirrorPort)
            return false
        }
        guard let vlan = admit() else { return false }
        plan.vlan = vlan
        plan.mirrors = bridge.pointee.mirrors.select(port.pointee.sourceMirrors, vlan)
        observer.saw(.admitted(vlan: vlan))
        guard port.pointee.security.isSet else { return true }
        let isAllowed = secure()
        observer.saw(.secured(isAllowed: isAllowed))
        return isAllowed
    }

    /// The VLAN a frame with the present tags is of at its port; nil when it may not come in.
    @_noLocks
    private mutating func admit() -> UInt16? {
        mask.addVLAN()
        let map = bridge.pointee.vlanMap
        guard port.pointee.isTunnel, !map.isEmpty, view.tunnels[Int(port.pointee.tunnel)].acceptsAnyVNI else {
            let vlan = port.pointee.vlan.admit(key.vlan)
            if vlan == nil { plan.drop(.vlanDenied) }
            return vlan
        }
        mask.addVNI()
        guard let vlan = map.vlan(of: key.vni) else {
            plan.drop(.unmappedVNI)
            return nil
        }
        // The VNI is the tag: another one has no place.
        guard key.vlan == 0, port.pointee.vlan.carries(vlan) else {
            plan.drop(.vlanDenied)
            return nil
        }
        return vlan
    }

    @_noLocks
    private mutating func secure() -> Bool {
        switch port.pointee.security.judge(key, &mask) {
        case .allowed: return true
        case .byFrame:
            plan.checksNeighbors = true
            return true
        case .denied:
            plan.drop(.portSecurity)
            return false
        }
    }

    // MARK: Rules

    /// Whether the frame is to be switched in the end.
    private mutating func meetRules<Observer: WalkObserver>(
        _ trail: UnsafeMutablePointer<UInt32>, _ observer: inout Observer
    ) -> Bool {
        let rules = bridge.pointee.rules
        guard !rules.isEmpty else { return true }
        var table: UInt8 = 0
        while true {
            observer.saw(.table(table))
            let rank = rules.find(key, table: table, &mask)
            guard rank != Rules.absent else {
                observer.saw(.metNone)
                return true
            }
            observer.saw(.met(rank: rank))
            trail[Int(plan.trailCount)] = rank
            plan.trailCount &+= 1
            let row = rules.row(rank)
            var next: UInt8 = 0
            for position in row.firstAction..<row.endAction {
                let action = rules.action(position)
                observer.saw(.action(action))
                switch action {
                case .normal: return true
                case .drop: return false
                case .goToTable(let number): next = number
                default: if !note(action) { return false }
                }
            }
            guard next > table, Int(next) < Rules.tableCount else { return false }
            table = next
        }
    }

    /// What an action makes of the fields. False when the frame goes no further.
    @_noLocks
    private mutating func note(_ action: RuleAction) -> Bool {
        switch action {
        case .setTunnel: setsVNI = true
        case .setEtherSource(let address): key.source = address.rawValue &<< 16 | key.source & 0xffff
        case .setEtherDestination(let address):
            key.destination = address.rawValue &<< 16 | key.destination & 0xffff
        case .pushVLAN(let vlan, let priority): return push(vlan, priority)
        case .popVLAN: pop()
        case .setVLAN(let vlan):
            guard key.isTagged else { return push(vlan, 0) }
            setTag(key.ingress & 0xf000 | UInt64(vlan & 0x0fff))
        case .setVLANPriority(let priority):
            guard key.isTagged else { return push(0, priority) }
            setTag(UInt64(priority & 7) &<< 13 | key.ingress & 0x1fff)
        case .setNetworkSource(let address) where hasFamily(of: address):
            key.networkSourceHigh = address.high
            key.networkSourceLow = address.low
        case .setNetworkDestination(let address) where hasFamily(of: address):
            key.networkDestinationHigh = address.high
            key.networkDestinationLow = address.low
        case .setDSCP(let value) where key.isIP:
            key.source = key.source & ~0xfc | UInt64(value & 0x3f) &<< 2
        case .setSourcePort(let port):
            if hasPorts() { key.transport = key.transport & ~(0xffff &<< 48) | UInt64(port) &<< 48 }
        case .setDestinationPort(let port):
            if hasPorts() { key.transport = key.transport & ~(0xffff &<< 32) | UInt64(port) &<< 32 }
        default: break
        }
        return true
    }

    // What follows goes by the key alone, as the flow's mask does: of a packet whose header is broken the fields are
    // set here and not in the frame.

    @_noLocks
    private func hasFamily(of address: PackedAddress) -> Bool {
        let family: EtherType = address.isIPv4 ? .ipv4 : .ipv6
        return key.etherType == family
    }

    @_noLocks
    private mutating func hasPorts() -> Bool {
        guard key.isIP, key.fragment == FlowKey.notFragment else { return false }
        mask.bits.source |= 0xff00
        let number = key.source &>> 8 & 0xff
        return number == UInt64(IPProtocol.tcp.rawValue) || number == UInt64(IPProtocol.udp.rawValue)
    }

    // MARK: Tags

    /// A frame has two tags at most.
    @_noLocks
    private mutating func push(_ vlan: UInt16, _ priority: UInt8) -> Bool {
        mask.addTagCount()
        guard key.tagCount < FrameShape.maximumTags else { return false }
        pushed = pushed &<< 16 | UInt32(truncatingIfNeeded: key.ingress & 0xffff)
        pushedCount &+= 1
        key.transport &+= 1 &<< 2
        setTag(0x1000 | UInt64(priority & 7) &<< 13 | UInt64(vlan & 0x0fff))
        return true
    }

    /// A key has the outermost tag only: what is behind the frame's own is read from the frame.
    @_noLocks
    private mutating func pop() {
        mask.addTagCount()
        guard key.tagCount > 0 else { return }
        key.transport &-= 1 &<< 2
        if pushedCount > 0 {
            pushedCount &-= 1
            setTag(UInt64(pushed & 0xffff))
            pushed = pushed &>> 16
            return
        }
        poppedCount &+= 1
        guard key.tagCount > 0 else { return setTag(0) }
        let place = EthernetView.byteCount &+ VLANView.byteCount &* poppedCount
        setTag(UInt64(UnsafeRawPointer(frame.base).bigEndian16(at: place)) | 0x1000)
        plan.isLasting = false
    }

    @_noLocks
    private mutating func setTag(_ control: UInt64) {
        key.ingress = key.ingress & ~0xffff | control
        changedTags = true
    }

    // MARK: Switching

    private mutating func switchIt<Observer: WalkObserver>(_ observer: inout Observer) {
        plan.isSwitched = true
        plan.switchedVLAN = plan.vlan
        if changedTags {
            guard let vlan = admit() else { return }
            plan.switchedVLAN = vlan
        }
        observer.saw(.normal(vlan: plan.switchedVLAN))
        let destination = key.destinationMAC
        mask.addDestinationMAC()
        if destination.isReservedGroup, !bridge.pointee.forwardsReserved {
            return plan.drop(.reservedMulticast)
        }
        mask.addSourceMAC()
        plan.source = ForwardingTable.key(key.sourceMAC, plan.switchedVLAN)
        plan.destination = ForwardingTable.key(destination, plan.switchedVLAN)
        guard learn(&observer) else { return plan.drop(.macLimit) }
        guard !destination.isGroup else {
            observer.saw(.group)
            plan.action = .flood
            return
        }
        let table = bridge.pointee.table
        plan.evidence.additions = table.additionsBeforeLook()
        let entry = table.find(plan.destination)
        let isKnown = entry != 0 && !table.isExpired(entry, nowSeconds)
        var egress = isKnown ? table.port(of: entry, plan.destination) : .max
        if !bridge.pointee.learns, !key.sourceMAC.isGroup, !key.sourceMAC.isZero {
            egress = table.lookup(
                plan.destination, asIfHeard: plan.source, on: ingress, nowSeconds: nowSeconds)
        }
        guard egress != .max else {
            observer.saw(.unknown)
            plan.evidence.destination = Evidence.absent
            plan.action = .flood
            return
        }
        observer.saw(.found(port: egress))
        plan.evidence.destination = entry
        plan.evidence.port = egress
        forward(to: egress)
    }

    /// False when the port may have no further address.
    private mutating func learn<Observer: WalkObserver>(_ observer: inout Observer) -> Bool {
        let source = key.sourceMAC
        guard !source.isGroup, !source.isZero else { return true }
        let table = bridge.pointee.table
        let (member, limit) = (port.pointee.member, port.pointee.macLimit)
        plan.evidence.source = Evidence.absent
        guard bridge.pointee.learns else {
            return limit == 0 || !table.isFull(member, limit, nowSeconds) || isKnownHere(plan.source)
        }
        let outcome = table.learn(
            plan.source, port: ingress, member: member, limit: limit, nowSeconds: nowSeconds)
        observer.saw(.learned(outcome))
        if case .limited = outcome { return false }
        let entry = table.find(plan.source)
        if entry != 0 { plan.evidence.source = entry }
        return true
    }

    @_noLocks
    private func isKnownHere(_ source: UInt64) -> Bool {
        let table = bridge.pointee.table
        let entry = table.find(source)
        guard entry != 0, !table.isExpired(entry, nowSeconds) else { return false }
        return table.port(of: entry, source) == ingress
    }

    @_noLocks
    private mutating func forward(to number: UInt32) {
        let egress = view.ports + Int(number)
        if number == ingress { return plan.drop(.hairpin) }
        if port.pointee.isTunnel, egress.pointee.isTunnel { return plan.drop(.splitHorizon) }
        if egress.pointee.isMirrorOutput { return plan.drop(.mirrorPort) }
        if !egress.pointee.vlan.carries(plan.switchedVLAN) { return plan.drop(.vlanDenied) }
        let map = bridge.pointee.vlanMap
        if !map.isEmpty, !setsVNI, egress.pointee.isTunnel,
            view.tunnels[Int(egress.pointee.tunnel)].acceptsAnyVNI, map.vni(of: plan.switchedVLAN) == nil
        {
            return plan.drop(.unmappedVNI)
        }
        plan.action = .forward
        plan.egress = number
    }
}
