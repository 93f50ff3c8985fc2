// Flows of bridges that are not plain: their plans lie beside the flows, place by place, so that the others pay nothing
// for them. Such a flow's own evidence never stands, so that each of its frames comes here.

extension FlowCache {
    @_noLocks
    @inlinable
    func plan(_ place: UInt32) -> FlowPlan { header.pointee.plans[Int(place)] }

    /// The rank of the rule at a position of a flow's way.
    @_noLocks
    @inlinable
    func rank(_ place: UInt32, _ position: Int) -> UInt32 { trail(place)[position] }

    @_noLocks
    @inlinable
    func trail(_ place: UInt32) -> UnsafeMutablePointer<UInt32> {
        header.pointee.trails + Int(place) &* FlowCache.trailCapacity
    }

    /// Whether a flow's plan is still what a walk would make. If so its source is refreshed as learning would do it.
    @_noLocks
    func planStands(
        _ place: UInt32, _ ingress: UInt32, _ table: ForwardingTable, _ nowMilliseconds: UInt64
    ) -> Bool {
        let flow = header.pointee.flows + Int(place)
        guard place != 0, case .planned = flow.pointee.action,
            flow.pointee.generation == header.pointee.generation,
            nowMilliseconds &- flow.pointee.usedMilliseconds < FlowCache.idleMilliseconds
        else { return false }
        let plan = header.pointee.plans + Int(place)
        return plan.pointee.isLasting
            && plan.pointee.evidence.stands(
                plan.pointee.source, plan.pointee.destination, ingress: ingress, table,
                nowSeconds: UInt32(truncatingIfNeeded: nowMilliseconds / 1000))
    }

    /// Keeps a verdict that rests on nothing but the configuration, and that no rule is asked about.
    @_noLocks
    func keepVerdict(
        _ verdict: Verdict, _ mask: FlowMask, _ place: UInt32, _ key: FlowKey, _ hash: UInt64,
        _ nowMilliseconds: UInt64
    ) -> UInt32 {
        let kept = keep(place, key, mask, nowMilliseconds)
        let flow = header.pointee.flows + Int(kept)
        flow.pointee.evidence = Evidence()
        flow.pointee.action = verdict.action
        flow.pointee.reason = verdict.reason
        remember(kept, hash)
        return kept
    }

    /// What `settle` does where frames are more than switched.
    @_noLocks
    @usableFromInline @inline(never)
    func settlePlanned(
        _ place: UInt32, isExact: Bool, _ frame: inout Superframe, _ shape: FrameShape, _ key: FlowKey,
        _ hash: UInt64, _ ingress: UInt32, _ view: inout ProgramView, _ nowMilliseconds: UInt64
    ) -> UInt32 {
        let port = view.ports + Int(ingress)
        let bridge = view.bridges + Int(port.pointee.bridge)
        if planStands(place, ingress, bridge.pointee.table, nowMilliseconds) {
            if isExact {
                header.pointee.exactHits &+= 1
            } else {
                header.pointee.maskedHits &+= 1
                remember(place, hash)
            }
            header.pointee.flows[Int(place)].isReferenced = true
            return place
        }
        var looked = FlowMask(of: key)
        if bridge.pointee.livenessFilter != 0 {
            looked.addDestinationMAC()
            if let verdict = livenessVerdict(key, port, bridge, view, &looked) {
                return keepVerdict(verdict, looked, place, key, hash, nowMilliseconds)
            }
        }
        var walk = Walk(
            frame, shape, key, ingress: ingress, view,
            nowSeconds: UInt32(truncatingIfNeeded: nowMilliseconds / 1000))
        // No flow is at place 0: its trail is free to write to.
        walk.run(trail(0))
        walk.mask.add(looked)
        let kept = keep(place, key, walk.mask, nowMilliseconds)
        let flow = header.pointee.flows + Int(kept)
        flow.pointee.evidence = Evidence()
        flow.pointee.evidence.source = Evidence.absent
        flow.pointee.evidence.port = kept
        flow.pointee.action = .planned
        header.pointee.plans[Int(kept)] = walk.plan
        for position in 0..<Int(walk.plan.trailCount) { trail(kept)[position] = trail(0)[position] }
        if case .forward = walk.plan.action {
            let egress = view.ports + Int(walk.plan.egress)
            flow.pointee.egressIdentity = UInt32(truncatingIfNeeded: egress.pointee.identity)
        }
        remember(kept, hash)
        return kept
    }
}
