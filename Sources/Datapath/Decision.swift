// Where a frame goes: the bridge's whole mind, in one function without I/O, allocation or reference counts.

public import Wire

/// What is to become of a frame.
@frozen
public struct Verdict: BitwiseCopyable, Equatable, Sendable {
    @frozen
    public enum Action: BitwiseCopyable, Sendable {
        case drop, forward, flood
        /// To the agent itself.
        case punt
        /// More is to be done than switching: as the flow's plan says.
        case planned
    }

    public var action: Action
    /// Set when dropped.
    public var reason: DropReason
    /// The egress port's number, set when forwarded; the flow's place, when planned.
    public var egress: UInt32

    @_noLocks
    @inlinable
    init(action: Action, reason: DropReason = .runt, egress: UInt32 = 0) {
        self.action = action
        self.reason = reason
        self.egress = egress
    }

    @_noLocks
    @inlinable static func drop(_ reason: DropReason) -> Verdict { Verdict(action: .drop, reason: reason) }
}

/// A verdict and what it rests on, so that a flow can keep it for as long as that stands.
@frozen
public struct Decision: BitwiseCopyable {
    public var verdict: Verdict
    /// The fields that were looked at.
    public var mask: FlowMask
    /// What it rests on in the MAC table.
    @usableFromInline var evidence = Evidence()

    @inlinable
    init(_ verdict: Verdict, _ mask: FlowMask, _ evidence: Evidence) {
        self.verdict = verdict
        self.mask = mask
        self.evidence = evidence
    }
}

/// Entries of the MAC table a verdict rests on, by their places.
@frozen @usableFromInline
struct Evidence: BitwiseCopyable {
    /// Nothing to look at: a group address, or a verdict that rests on the configuration alone.
    @inlinable static var none: UInt32 { @_noLocks get { 0 } }
    /// The table has no entry of the address.
    @inlinable static var absent: UInt32 { @_noLocks get { .max } }

    /// Where the source is; `absent` when it could not be learned.
    @usableFromInline var source = Evidence.none
    /// Where the destination is; `absent` when it is unknown.
    @usableFromInline var destination = Evidence.none
    /// The number of the port the destination is behind.
    @usableFromInline var port: UInt32 = 0
    /// The table's additions when an unknown destination was looked for.
    @usableFromInline var additions: UInt32 = 0

    @_noLocks @inlinable init() {}

    /// Whether another decision would be the same, for a source and destination with these keys. If so the source is
    /// refreshed as learning would do it. The configuration must be the one the verdict was made with.
    @_noLocks
    @inlinable
    func stands(
        _ source: UInt64, _ destination: UInt64, ingress: UInt32, _ table: ForwardingTable,
        nowSeconds: UInt32
    ) -> Bool {
        if self.source != Evidence.none {
            guard
                self.source != Evidence.absent,
                table.refresh(self.source, source, port: ingress, nowSeconds: nowSeconds)
            else { return false }
        }
        if self.destination == Evidence.none { return true }
        if self.destination == Evidence.absent { return additions == table.additions }
        return table.holds(self.destination, destination, port: port, nowSeconds: nowSeconds)
    }
}

/// Learns the source of a frame that came in by port number `ingress` and decides by its destination.
/// `nowSeconds` is the worker's clock in whole seconds.
@_noLocks
@inlinable
public func decide(_ frame: Superframe, ingress: UInt32, _ view: ProgramView, nowSeconds: UInt32) -> Verdict {
    guard frame.byteCount >= EthernetView.byteCount else { return .drop(.runt) }
    let key = FlowKey(frame, FrameShape(frame), port: view.ports[Int(ingress)].identity)
    return decide(key, ingress: ingress, view, nowSeconds: nowSeconds).verdict
}

/// The same, from a frame's fields, with what the verdict rests on.
@_noLocks
@inlinable
public func decide(_ key: FlowKey, ingress: UInt32, _ view: ProgramView, nowSeconds: UInt32) -> Decision {
    let port = view.ports + Int(ingress)
    let bridge = view.bridges + Int(port.pointee.bridge)
    let table = bridge.pointee.table
    let destination = key.destinationMAC
    var mask = FlowMask(of: key)
    var evidence = Evidence()
    mask.addDestinationMAC()
    if destination.isReservedGroup, !bridge.pointee.forwardsReserved {
        return Decision(.drop(.reservedMulticast), mask, evidence)
    }

    if let verdict = livenessVerdict(key, port, bridge, view, &mask) {
        return Decision(verdict, mask, evidence)
    }

    let source = key.sourceMAC
    mask.addVLAN()
    mask.addSourceMAC()
    if !source.isGroup, !source.isZero {
        let sourceKey = ForwardingTable.key(source, key.vlan)
        let entry =
            bridge.pointee.learns
            ? table.note(sourceKey, port: ingress, member: port.pointee.member, nowSeconds: nowSeconds) : 0
        evidence.source = entry == 0 ? Evidence.absent : entry
    }
    if destination.isGroup { return Decision(Verdict(action: .flood), mask, evidence) }

    evidence.additions = table.additionsBeforeLook()
    let destinationKey = ForwardingTable.key(destination, key.vlan)
    let entry = table.find(destinationKey)
    let isKnown = entry != 0 && !table.isExpired(entry, nowSeconds)
    var egress = isKnown ? table.port(of: entry, destinationKey) : .max
    if !bridge.pointee.learns, !source.isGroup, !source.isZero {
        egress = table.lookup(
            destinationKey, asIfHeard: ForwardingTable.key(source, key.vlan), on: ingress,
            nowSeconds: nowSeconds)
    }
    guard egress != .max else {
        evidence.destination = Evidence.absent
        return Decision(Verdict(action: .flood), mask, evidence)
    }
    evidence.destination = entry
    evidence.port = egress
    if egress == ingress { return Decision(.drop(.hairpin), mask, evidence) }
    if port.pointee.isTunnel, view.ports[Int(egress)].isTunnel {
        return Decision(.drop(.splitHorizon), mask, evidence)
    }
    return Decision(Verdict(action: .forward, egress: egress), mask, evidence)
}
