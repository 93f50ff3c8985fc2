// The flow cache of one worker: what was decided for frames like this one, with counters. Owned by the worker's
// engine and used by its thread alone; the control plane reads it between breaths.
//
//   frame ─▶ key ─▶ exact: one probe by its hash ─▶ flow ──────▶ evidence stands? ─▶ its verdict
//                     │ not there                    ▲                │ no
//                     ▼                              │                ▼
//                   masked: one probe per mask ──────┘              decide (Decision.swift), keep
//
// Contract. Memory comes from outside, zeroed, and is never grown: capacity is a promise. The exact tier only
// points: what it points to is compared under the flow's own mask, so that it can be stale but never wrong. A
// flow that has had no frame for `idleMilliseconds` is gone from then on; its place is reclaimed by `sweep` or
// by the next lookup that meets it. When no place is free the clock gives one up: each flow that was hit since
// the hand last came by gets one more round, but the hand goes no further than `evictionReach`.
//
// Nothing is flushed when the network changes. A flow keeps the evidence its verdict rests on (`Evidence`) and
// the generation of the program it was decided with; where either no longer holds, its next frame decides anew
// and the flow keeps its counters. So a station that moves costs one decision per flow it has.
//
//   header | masks | exact | flows | index: flow per hash slot, of all masks together | plans | trails

public import Wire

/// Counts of one flow cache. Each lookup is one of the first four.
public struct FlowStatistics: Equatable, Sendable {
    /// Found by the exact tier.
    public var exactHits: UInt64 = 0
    /// Found under a mask.
    public var maskedHits: UInt64 = 0
    /// No flow: decided, and a flow made.
    public var misses: UInt64 = 0
    /// A flow whose verdict no longer stood: decided anew.
    public var redecisions: UInt64 = 0
    /// Flows that made room for others.
    public var evictions: UInt64 = 0
    /// Flows that had been idle for too long.
    public var expirations: UInt64 = 0
    /// Masks tried by all lookups together.
    public var probes: UInt64 = 0
    public var flows = 0
    public var masks = 0
    public var capacity = 0

    public init() {}

    public var lookups: UInt64 { exactHits + maskedHits + misses + redecisions }
}

/// A handle on the memory of one flow cache.
@frozen
public struct FlowCache: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let header: UnsafeMutablePointer<Header>

    /// Two cache lines. A free place is all zeros but for the chain of free places: no frame's key is, because
    /// its EtherType is not 0.
    @frozen @usableFromInline
    struct Flow: BitwiseCopyable {
        /// Masked.
        @usableFromInline var key = FlowKey()
        @usableFromInline var packets: UInt64 = 0
        @usableFromInline var bytes: UInt64 = 0
        @usableFromInline var usedMilliseconds: UInt64 = 0
        @usableFromInline var createdMilliseconds: UInt64 = 0
        /// Its port is the egress. In a free place its source is the next free place.
        @usableFromInline var evidence = Evidence()
        @usableFromInline var generation: UInt32 = 0
        /// Of the egress port, when forwarded.
        @usableFromInline var egressIdentity: UInt32 = 0
        @usableFromInline var action = Verdict.Action.drop
        @usableFromInline var reason = DropReason.runt
        @usableFromInline var mask: UInt8 = 0
        /// Hit since the clock's hand came by.
        @usableFromInline var isReferenced = false

        @_noLocks @inlinable init() {}

        @inlinable
        var verdict: Verdict {
            switch action {
            case .forward, .planned: return Verdict(action: action, egress: evidence.port)
            case .drop, .flood, .punt: return Verdict(action: action, reason: reason)
            }
        }
    }

    @frozen @usableFromInline
    struct Mask: BitwiseCopyable {
        @usableFromInline var mask: FlowMask
        @usableFromInline var hits: UInt64
        @usableFromInline var flowCount: UInt32
        /// The number of the mask that is tried at this position: the order is kept beside the masks.
        @usableFromInline var order: UInt32
    }

    @frozen @usableFromInline
    struct Exact: BitwiseCopyable {
        @usableFromInline var signature: UInt32
        @usableFromInline var flow: UInt32

        @inlinable
        init(signature: UInt32, flow: UInt32) {
            self.signature = signature
            self.flow = flow
        }
    }

    @frozen @usableFromInline
    struct Header: BitwiseCopyable {
        @usableFromInline var masks: UnsafeMutablePointer<Mask>
        @usableFromInline var exact: UnsafeMutablePointer<Exact>
        @usableFromInline var flows: UnsafeMutablePointer<Flow>
        @usableFromInline var index: UnsafeMutablePointer<UInt32>
        /// Beside the flows: plans, and the rules of each.
        @usableFromInline var plans: UnsafeMutablePointer<FlowPlan>
        @usableFromInline var trails: UnsafeMutablePointer<UInt32>
        @usableFromInline var indexMask: UInt64
        @usableFromInline var seed: UInt64
        @usableFromInline var capacity: UInt32
        @usableFromInline var count: UInt32 = 0
        @usableFromInline var highWater: UInt32 = 0
        @usableFromInline var firstFree: UInt32 = 0
        @usableFromInline var hand: UInt32 = 0
        @usableFromInline var sweepCursor: UInt32 = 0
        @usableFromInline var generation: UInt32 = 0
        /// Masks with flows: the positions of the order in use.
        @usableFromInline var maskCount: UInt32 = 0
        @usableFromInline var exactHits: UInt64 = 0
        @usableFromInline var maskedHits: UInt64 = 0
        @usableFromInline var misses: UInt64 = 0
        @usableFromInline var redecisions: UInt64 = 0
        @usableFromInline var evictions: UInt64 = 0
        @usableFromInline var expirations: UInt64 = 0
        @usableFromInline var probes: UInt64 = 0
    }

    /// Flows of a cache that nobody sized.
    public static var defaultCapacity: Int { 65_536 }
    /// Keys the exact tier remembers, two to a bucket: 64 KiB, so that it stays in the cache of the core.
    @inlinable static var exactCapacity: UInt64 { @_noLocks get { 8192 } }
    /// Different masks at a time. Switching makes four; a decision for whose mask there is no room is kept under
    /// the exact one, number 0, which is always there.
    @inlinable static var maskCapacity: Int { @_noLocks get { 32 } }
    /// As Open vSwitch's userspace datapath has it.
    @inlinable public static var idleMilliseconds: UInt64 { @_noLocks get { 10_000 } }
    /// Rules that a flow's frames meet: one in each table.
    @inlinable static var trailCapacity: Int { @_noLocks get { Rules.tableCount } }
    /// Places the clock's hand passes at most to find one that was not used: a bound on one frame's work.
    @inlinable static var evictionReach: Int { @_noLocks get { 16 } }

    private static func indexCount(capacity: Int) -> Int {
        // At least twice the flows, so that probe sequences stay short.
        1 << (UInt64.bitWidth - UInt64(capacity * 2 - 1).leadingZeroBitCount)
    }

    private static func aligned(_ byteCount: Int) -> Int { (byteCount + 63) & ~63 }

    /// Bytes of zeroed memory a cache of `capacity` flows needs, 8-byte aligned at least: from a page's start each
    /// flow has two cache lines to itself.
    public static func byteCount(capacity: Int) -> Int {
        aligned(MemoryLayout<Header>.stride) + aligned(maskCapacity * MemoryLayout<Mask>.stride)
            + Int(exactCapacity) * MemoryLayout<Exact>.stride + (capacity + 1) * MemoryLayout<Flow>.stride
            + aligned(indexCount(capacity: capacity) * 4)
            + aligned((capacity + 1) * MemoryLayout<FlowPlan>.stride) + (capacity + 1) * trailCapacity * 4
    }

    /// Lays an empty cache into `memory`, which must be zeroed and at least `byteCount(capacity:)` long. `seed`
    /// keeps the hash unpredictable for those who choose headers.
    public init(zeroed memory: UnsafeMutableRawPointer, capacity: Int, seed: UInt64) {
        var cursor = memory + FlowCache.aligned(MemoryLayout<Header>.stride)
        func take<T: BitwiseCopyable>(_ count: Int, _ type: T.Type) -> UnsafeMutablePointer<T> {
            defer { cursor += FlowCache.aligned(count * MemoryLayout<T>.stride) }
            return cursor.bindMemory(to: T.self, capacity: count)
        }
        let masks = take(FlowCache.maskCapacity, Mask.self)
        let exact = take(Int(FlowCache.exactCapacity), Exact.self)
        let flows = take(capacity + 1, Flow.self)
        let indexCount = FlowCache.indexCount(capacity: capacity)
        let index = take(indexCount, UInt32.self)
        header = memory.bindMemory(to: Header.self, capacity: 1)
        header.initialize(
            to: Header(
                masks: masks, exact: exact, flows: flows, index: index,
                plans: take(capacity + 1, FlowPlan.self),
                trails: take((capacity + 1) * FlowCache.trailCapacity, UInt32.self),
                indexMask: UInt64(indexCount - 1), seed: seed, capacity: UInt32(capacity)))
        masks[0].mask = .exact
    }

    // MARK: The packet path

    /// What is to become of a frame whose layers are in `shape`, and a note of it. Neither `frame` nor `view` is
    /// changed: they are handed on by reference, because copies of them would cost more than the look-up.
    @_noLocks
    @inlinable @inline(__always)
    func verdict(
        _ frame: inout Superframe, _ shape: FrameShape, ingress: UInt32, vni: UInt32,
        _ view: inout ProgramView, nowMilliseconds: UInt64
    ) -> Verdict {
        guard frame.byteCount >= EthernetView.byteCount else { return .drop(.runt) }
        let port = view.ports + Int(ingress)
        let key = FlowKey(frame, shape, port: port.pointee.identity, vni: vni)
        let hash = key.quickHash(shape, header.pointee.seed)
        let seconds = UInt32(truncatingIfNeeded: nowMilliseconds / 1000)
        let exact = findExact(key, hash)
        var place = exact == 0 ? findMasked(key) : exact
        let flow = header.pointee.flows + Int(place)
        if place != 0, nowMilliseconds &- flow.pointee.usedMilliseconds < FlowCache.idleMilliseconds,
            flow.pointee.generation == header.pointee.generation,
            flow.pointee.evidence.stands(
                ForwardingTable.key(key.sourceMAC, key.vlan),
                ForwardingTable.key(key.destinationMAC, key.vlan), ingress: ingress,
                view.bridges[Int(port.pointee.bridge)].table, nowSeconds: seconds)
        {
            if exact != 0 {
                header.pointee.exactHits &+= 1
            } else {
                header.pointee.maskedHits &+= 1
                remember(place, hash)
            }
            flow.pointee.isReferenced = true
        } else {
            place = settle(
                place, isExact: exact != 0, &frame, shape, key, hash, ingress, &view, nowMilliseconds)
        }
        return note(place, frame.frameCount, frame.accountedByteCount, nowMilliseconds)
    }

    /// Counts a frame of a flow: one packet, or those of a train.
    @inlinable @inline(__always)
    func note(_ place: UInt32, _ frameCount: Int, _ byteCount: Int, _ nowMilliseconds: UInt64) -> Verdict {
        let flow = header.pointee.flows + Int(place)
        flow.pointee.packets &+= UInt64(truncatingIfNeeded: frameCount)
        flow.pointee.bytes &+= UInt64(truncatingIfNeeded: byteCount)
        flow.pointee.usedMilliseconds = nowMilliseconds
        return flow.pointee.verdict
    }

    /// Decides and keeps the decision: in the flow at `place` while its mask is still the right one, else in
    /// another that takes over its counters. 0 is no flow.
    @_noLocks
    @inlinable @inline(never)
    func settle(
        _ place: UInt32, isExact: Bool, _ frame: inout Superframe, _ shape: FrameShape, _ key: FlowKey,
        _ hash: UInt64, _ ingress: UInt32, _ view: inout ProgramView, _ nowMilliseconds: UInt64
    ) -> UInt32 {
        guard view.bridges[Int(view.ports[Int(ingress)].bridge)].isPlain else {
            return settlePlanned(
                place, isExact: isExact, &frame, shape, key, hash, ingress, &view, nowMilliseconds)
        }
        let seconds = UInt32(truncatingIfNeeded: nowMilliseconds / 1000)
        let decision = decide(key, ingress: ingress, view, nowSeconds: seconds)
        let kept = keep(place, key, decision.mask, nowMilliseconds)
        let flow = header.pointee.flows + Int(kept)
        flow.pointee.evidence = decision.evidence
        flow.pointee.action = decision.verdict.action
        flow.pointee.reason = decision.verdict.reason
        if case .forward = decision.verdict.action {
            let egress = view.ports + Int(decision.verdict.egress)
            flow.pointee.egressIdentity = UInt32(truncatingIfNeeded: egress.pointee.identity)
        }
        remember(kept, hash)
        return kept
    }

    /// The place for what was decided anew: the flow at `place` while its mask is still the right one, else another
    /// that takes over its counters.
    @_noLocks
    @inlinable
    func keep(_ place: UInt32, _ key: FlowKey, _ wanted: FlowMask, _ nowMilliseconds: UInt64) -> UInt32 {
        let mask = maskNumber(wanted)
        let former = place == 0 || expire(place, nowMilliseconds) ? 0 : place
        if former == 0 { header.pointee.misses &+= 1 } else { header.pointee.redecisions &+= 1 }
        var kept = former
        if former == 0 || header.pointee.flows[Int(former)].mask != mask {
            kept = replace(former, key, mask, nowMilliseconds)
        }
        let flow = header.pointee.flows + Int(kept)
        flow.pointee.generation = header.pointee.generation
        flow.pointee.isReferenced = former != 0
        return kept
    }

    // MARK: The exact tier

    /// The flow a key is known to have, 0 for none. What is remembered may be out of date: the flow is asked.
    @inlinable @inline(__always)
    func findExact(_ key: FlowKey, _ hash: UInt64) -> UInt32 {
        let bucket = header.pointee.exact + FlowCache.bucket(hash)
        let signature = FlowCache.signature(hash)
        if bucket[0].signature == signature, hasKey(bucket[0].flow, key) { return bucket[0].flow }
        if bucket[1].signature == signature, hasKey(bucket[1].flow, key) { return bucket[1].flow }
        return 0
    }

    @inlinable @inline(__always)
    func hasKey(_ place: UInt32, _ key: FlowKey) -> Bool {
        let flow = header.pointee.flows + Int(place)
        let mask = header.pointee.masks + Int(flow.pointee.mask)
        return key.equals(flow.pointee.key, under: mask.pointee.mask)
    }

    /// Has the exact tier point to the flow of a key.
    @_noLocks
    @inlinable
    func remember(_ place: UInt32, _ hash: UInt64) {
        let bucket = header.pointee.exact + FlowCache.bucket(hash)
        let signature = FlowCache.signature(hash)
        var way = Int(truncatingIfNeeded: hash &>> 24 & 1)
        if bucket[0].signature == signature || bucket[0].flow == 0 {
            way = 0
        } else if bucket[1].signature == signature || bucket[1].flow == 0 {
            way = 1
        }
        bucket[way] = Exact(signature: signature, flow: place)
    }

    @inlinable
    static func bucket(_ hash: UInt64) -> Int {
        Int(truncatingIfNeeded: hash & (FlowCache.exactCapacity &- 1) & ~1)
    }

    @inlinable static func signature(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash &>> 32) }
}
