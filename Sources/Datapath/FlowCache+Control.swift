// What the control plane asks of a flow cache, between breaths: counts, flows, a flush; and the worker's own
// upkeep. Whoever walks over all places does it in ranges, a breath for each.

/// One flow as the control plane sees it.
public struct FlowSnapshot: Sendable {
    /// Masked.
    public var key: FlowKey
    public var mask: FlowMask
    public var verdict: Verdict
    /// The low 32 bits of the egress port's identity, when forwarded.
    public var egress: UInt32
    public var packets: UInt64
    public var bytes: UInt64
    /// Since its last frame.
    public var idleMilliseconds: UInt64
    /// Since its first frame.
    public var ageMilliseconds: UInt64
    /// Set when planned.
    public var plan: Plan?

    /// What is done to the frames of a planned flow.
    public struct Plan: Sendable, Equatable {
        /// The ranks of the rules they meet, in order.
        public var ranks: [UInt32]
        /// What switching comes to, nil where the rules say everything; or, without rules, why they are dropped.
        public var switched: Verdict?
        /// The VLAN they are switched in.
        public var vlan: UInt16
        /// Whether it is of the present configuration; else their next frame is decided anew.
        public var isCurrent: Bool
    }
}

extension FlowStatistics {
    /// Two workers' counts together. Their masks are mostly the same ones: the larger number is taken.
    public static func + (left: FlowStatistics, right: FlowStatistics) -> FlowStatistics {
        var sum = left
        sum.exactHits += right.exactHits
        sum.maskedHits += right.maskedHits
        sum.misses += right.misses
        sum.redecisions += right.redecisions
        sum.evictions += right.evictions
        sum.expirations += right.expirations
        sum.probes += right.probes
        sum.flows += right.flows
        sum.masks = max(left.masks, right.masks)
        sum.capacity += right.capacity
        return sum
    }
}

extension FlowCache {
    public var capacity: Int { Int(header.pointee.capacity) }

    public var statistics: FlowStatistics {
        let it = header.pointee
        var result = FlowStatistics()
        result.exactHits = it.exactHits
        result.maskedHits = it.maskedHits
        result.misses = it.misses
        result.redecisions = it.redecisions
        result.evictions = it.evictions
        result.expirations = it.expirations
        result.probes = it.probes
        result.flows = Int(it.count)
        result.masks = Int(it.maskCount)
        result.capacity = Int(it.capacity)
        return result
    }

    /// The configuration is another: every flow is decided anew at its next frame.
    public func invalidate() { header.pointee.generation &+= 1 }

    /// One more than the highest place ever used.
    public var placeCount: Int { Int(header.pointee.highWater) }

    /// Flows in places `range` (places count from 0 up to `placeCount`), idle ones left out.
    public func flows(in range: Range<Int>, nowMilliseconds: UInt64) -> [FlowSnapshot] {
        var result: [FlowSnapshot] = []
        for number in range.clamped(to: 0..<placeCount) {
            let flow = header.pointee.flows[number + 1]
            let idle = nowMilliseconds &- flow.usedMilliseconds
            guard flow.key.ingress != 0, idle < FlowCache.idleMilliseconds else { continue }
            result.append(
                FlowSnapshot(
                    key: flow.key, mask: header.pointee.masks[Int(flow.mask)].mask, verdict: flow.verdict,
                    egress: flow.egressIdentity, packets: flow.packets, bytes: flow.bytes,
                    idleMilliseconds: idle, ageMilliseconds: nowMilliseconds &- flow.createdMilliseconds,
                    plan: planSnapshot(UInt32(number + 1))))
        }
        return result
    }

    private func planSnapshot(_ place: UInt32) -> FlowSnapshot.Plan? {
        let flow = header.pointee.flows[Int(place)]
        guard case .planned = flow.action else { return nil }
        let plan = plan(place)
        let verdict = Verdict(action: plan.action, reason: plan.reason, egress: plan.egress)
        return FlowSnapshot.Plan(
            ranks: (0..<Int(plan.trailCount)).map { rank(place, $0) },
            switched: plan.isSwitched || plan.trailCount == 0 ? verdict : nil, vlan: plan.switchedVLAN,
            isCurrent: flow.generation == header.pointee.generation)
    }

    /// Forgets the flows in places `range`.
    public func flush(in range: Range<Int>) {
        for number in range.clamped(to: 0..<placeCount) where isUsed(UInt32(number + 1)) {
            remove(UInt32(number + 1))
        }
    }

    /// Reclaims flows that have been idle for too long, looking at no more than `limit` places; the next call
    /// goes on from there.
    public func sweep(nowMilliseconds: UInt64, limit: Int) {
        // The order of the masks is to follow what passes now.
        for number in 0..<FlowCache.maskCapacity { header.pointee.masks[number].hits /= 2 }
        let end = header.pointee.highWater
        guard end > 0 else { return }
        for _ in 0..<min(limit, Int(end)) {
            header.pointee.sweepCursor = header.pointee.sweepCursor % end + 1
            let place = header.pointee.sweepCursor
            if isUsed(place) { _ = expire(place, nowMilliseconds) }
        }
    }

    private func isUsed(_ place: UInt32) -> Bool { header.pointee.flows[Int(place)].key.ingress != 0 }
}
