// Where a frame goes: the bridge's whole mind, in one function without I/O, allocation or reference counts.

public import Wire

/// What is to become of a frame.
@frozen
public struct Verdict: BitwiseCopyable, Equatable, Sendable {
    @frozen
    public enum Action: BitwiseCopyable, Sendable {
        case drop, forward, flood
    }

    public var action: Action
    /// Set when dropped.
    public var reason: DropReason
    /// The egress port's number, set when forwarded.
    public var egress: UInt32

    @inlinable
    init(action: Action, reason: DropReason = .runt, egress: UInt32 = 0) {
        self.action = action
        self.reason = reason
        self.egress = egress
    }

    @inlinable static func drop(_ reason: DropReason) -> Verdict { Verdict(action: .drop, reason: reason) }
}

/// Learns the source of a frame that came in by port number `ingress` and decides by its destination.
/// `nowSeconds` is the worker's clock in whole seconds.
@_noLocks
@inlinable
public func decide(_ frame: Superframe, ingress: UInt32, _ view: ProgramView, nowSeconds: UInt32) -> Verdict {
    guard let ethernet = EthernetView(checking: UnsafeRawPointer(frame.base), count: frame.byteCount) else {
        return .drop(.runt)
    }
    let port = view.ports + Int(ingress)
    let bridge = view.bridges + Int(port.pointee.bridge)
    let destination = ethernet.destination
    if destination.isReservedGroup, !bridge.pointee.forwardsReserved { return .drop(.reservedMulticast) }

    let source = ethernet.source
    if !source.isGroup, !source.isZero {
        _ = bridge.pointee.table.learn(
            source, port: ingress, member: port.pointee.member, nowSeconds: nowSeconds)
    }
    if destination.isGroup { return Verdict(action: .flood) }

    let egress = bridge.pointee.table.lookup(destination, nowSeconds: nowSeconds)
    if egress == .max { return Verdict(action: .flood) }
    if egress == ingress { return .drop(.hairpin) }
    if port.pointee.isTunnel, view.ports[Int(egress)].isTunnel { return .drop(.splitHorizon) }
    return Verdict(action: .forward, egress: egress)
}
