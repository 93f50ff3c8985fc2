// What a flow of a bridge that is not plain keeps beside its verdict: the rules its frames meet, and what switching
// them comes to. It is made by a walk (Walk.swift) and carried out for each frame (Engine+Pipeline.swift).

/// The plan of one flow. The ranks of its rules are beside it (`FlowCache.trail`).
@frozen @usableFromInline
struct FlowPlan: BitwiseCopyable {
    /// What switching rests on, and the keys of the MAC table it was made for: rules may have changed the frame.
    @usableFromInline var evidence = Evidence()
    @usableFromInline var source: UInt64 = 0
    @usableFromInline var destination: UInt64 = 0
    /// Mirrors that copy the frame as it came, a bit each.
    @usableFromInline var mirrors: UInt32 = 0
    /// The egress port's number, when it is forwarded.
    @usableFromInline var egress: UInt32 = 0
    /// The VLAN it came in, and the one it is switched in.
    @usableFromInline var vlan: UInt16 = 0
    @usableFromInline var switchedVLAN: UInt16 = 0
    /// Rules on its way.
    @usableFromInline var trailCount: UInt8 = 0
    /// What becomes of the frame when it is switched, or, where it is not, why it ends if nothing was output.
    @usableFromInline var action = Verdict.Action.drop
    @usableFromInline var reason = DropReason.rule
    @usableFromInline var isSwitched = false
    /// Whether neighbour discovery inside it is to be checked, frame by frame: no key has its fields.
    @usableFromInline var checksNeighbors = false
    /// False when it rests on more than a key has: the next frame is walked anew.
    @usableFromInline var isLasting = true

    @_noLocks @inlinable init() {}

    @_noLocks
    mutating func drop(_ reason: DropReason) {
        action = .drop
        self.reason = reason
    }
}

extension ForwardingTable {
    /// Whether a port has as many living addresses as it may have, so that a new one would be refused.
    @_noLocks
    func isFull(_ member: UInt32, _ limit: UInt32, _ nowSeconds: UInt32) -> Bool {
        let it = header.pointee.members[Int(member)]
        return it.count >= limit && !isExpired(it.oldest, nowSeconds)
    }
}
