// The engine: takes what ports received, decides, and hands copies to an output. One per worker, used by
// that worker's thread alone. It owns the adopted program and the ICMP budget; everything else is passed in,
// time included. The output is the seam to the kernel; tests put an in-memory one there.
//
//   local port ─ forward ─┐                       ┌─ write ─ local port
//                         ├─ decide ─ deliver ────┤
//   UDP socket ─ receive ─┘   (FlowCache)         └─ send ── tunnel

public import Wire

/// Where copies go. Implementations account for every copy: `transmitted` or `dropTransmit` on the port's
/// counters, at once or when the batch is flushed. Memory passed in stays valid until then.
public protocol EngineOutput: ~Copyable {
    /// Writes a frame, with its metadata and its train's payload, to a TAP or packet socket.
    mutating func write(_ frame: Superframe, to port: PortEntry)
    /// Scratch memory for headers, valid until the batch is flushed.
    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer
    /// Sends one datagram by a UDP socket: `header` (VXLAN first) followed by `payload`.
    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry)
    /// Sends one datagram by an uplink, behind `outer`. `sumOfFrame`: the unfolded sum of the frame inside where
    /// it is known without looking at the payload.
    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry)
    /// Sends a whole superframe by an uplink's TAP; false when the kernel does not take it, and nothing was done.
    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool
    /// A next hop is to be resolved.
    mutating func noteWanted()
    /// Hands a complete frame that came in by `port` to the agent itself; false when there is no room.
    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool
    /// Hands over everything that was queued.
    mutating func flush()
    /// A frame is where a capture may want it. Asked only while the engine `isObserved`; by default nothing is done.
    mutating func observe(_ frame: Superframe, _ observation: Observation)
    /// The same for what came to a UDP socket, whose outer headers the kernel has kept.
    mutating func observe(_ datagram: Datagram, _ listener: ListenerEntry, _ observation: Observation)
    /// The same for an outer frame.
    mutating func observe(_ frame: OuterFrame, _ observation: Observation)
}

/// Forwarding state of one worker.
public struct Engine: ~Copyable {
    public private(set) var program: Program
    @usableFromInline var view: ProgramView
    @usableFromInline var errors: ErrorBudget
    /// What may be put together before it is handed to a local port.
    @usableFromInline let coalesces: Coalescing
    public let flows: FlowCache
    @usableFromInline var held: HoldQueue
    /// The headers of the frame that rules are changing, as they came.
    @usableFromInline let originals: OriginalHeaders

    /// `flows` is this engine's alone, and so is `holdMemory` (`HoldQueue.byteCount`); both are the caller's.
    public init(
        _ program: Program = .empty, flows: FlowCache, coalescing: Coalescing = .all,
        holdMemory: UnsafeMutableRawPointer? = nil
    ) {
        self.program = program
        held = HoldQueue(memory: holdMemory)
        originals = OriginalHeaders()
        self.flows = flows
        view = program.view
        errors = ErrorBudget()
        coalesces = coalescing
    }

    /// Takes over a new configuration. Called between breaths; the caller has brought the tables along.
    public mutating func adopt(_ program: Program) {
        forsakeHeld(for: program)
        let isObserved = view.isObserved
        self.program = program
        view = program.view
        view.isObserved = isObserved
        readdressHeld()
        flows.invalidate()
    }

    /// Places of each MAC table, and of the flow cache, looked at per call of `sweep`.
    public static var sweepLimit: Int { 4096 }
    public static var flowSweepLimit: Int { 8192 }

    /// Reclaims expired MAC entries and idle flows, a bounded step of the work. Called about once a second.
    public func sweep(nowMilliseconds: UInt64) {
        let seconds = UInt32(truncatingIfNeeded: nowMilliseconds / 1000)
        for bridge in 0..<view.bridgeCount {
            view.bridges[bridge].table.sweep(nowSeconds: seconds, limit: Engine.sweepLimit)
        }
        flows.sweep(nowMilliseconds: nowMilliseconds, limit: Engine.flowSweepLimit)
    }

    /// Forwards one frame that came in by local port `ingress`. `nowMilliseconds` is monotonic.
    @inlinable
    public mutating func forward<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, ingress: UInt32, nowMilliseconds: UInt64, to output: inout Output
    ) {
        view.ports[Int(ingress)].counters.received(byteCount: frame.byteCount)
        see(frame, .port, isOutgoing: false, view.ports[Int(ingress)], &output)
        var frame = frame
        dispatch(&frame, FrameShape(frame), ingress, 0, nowMilliseconds, &output)
    }

    @inlinable
    mutating func dispatch<Output: EngineOutput & ~Copyable>(
        _ frame: inout Superframe, _ shape: FrameShape, _ ingress: UInt32, _ vni: UInt32, _ now: UInt64,
        _ output: inout Output
    ) {
        let port = view.ports + Int(ingress)
        let verdict = flows.verdict(&frame, shape, ingress: ingress, vni: vni, &view, nowMilliseconds: now)
        if verdict.action == .drop {
            dropReceived(frame, port.pointee, verdict.reason, frame.frameCount, &output)
            return
        }
        if verdict.action == .planned {
            carryOut(verdict.egress, frame, shape, ingress, vni, now, &output)
            return
        }
        var delivery = Delivery(ingress: ingress, vni: vni, now: now)
        if verdict.action == .forward {
            deliver(&frame, shape, verdict.egress, &delivery, &output)
        } else if verdict.action == .punt {
            return punt(frame, port.pointee, &output)
        } else {
            let bridge = view.bridges[Int(port.pointee.bridge)]
            if !bridge.bindings.isEmpty, !port.pointee.isTunnel, shape.transport == .other {
                let vlan = frame.tagControl(shape) & 0x0fff
                switch inquire(frame, shape, bridge, vlan: vlan, delivery, &output) {
                case .answered: return
                case .heard: return dropReceived(frame, port.pointee, .hairpin, 1, &output)
                case .other: break
                }
            }
            let start = Int(bridge.floodStart)
            let reachesTunnels = !port.pointee.isTunnel && bridge.floodsTunnels
            // Locals first: they take a partial checksum as it is. Split horizon: no tunnel after a tunnel.
            let members = Int(bridge.localCount) &+ (reachesTunnels ? Int(bridge.tunnelCount) : 0)
            for position in start..<(start &+ members) where view.flood[position] != ingress {
                deliver(&frame, shape, view.flood[position], &delivery, &output)
            }
            if delivery.copies == 0 {
                let isHeldBack = !port.pointee.isTunnel && !bridge.floodsTunnels
                let reason: DropReason = isHeldBack ? .floodingDisabled : .noDestination
                dropReceived(frame, port.pointee, reason, frame.frameCount, &output)
                return
            }
        }
        port.pointee.counters.add(.rxForwarded, frame.frameCount)
        port.pointee.counters.add(.rxCopies, delivery.copies)
    }

    /// What happened to one frame so far.
    @frozen @usableFromInline
    struct Delivery: BitwiseCopyable {
        @usableFromInline let ingress: UInt32
        /// What it came with, and what an answer goes back with.
        @usableFromInline let ingressVNI: UInt32
        @usableFromInline let now: UInt64
        @usableFromInline var copies = 0
        @usableFromInline var wasAnswered = false
        /// What tunnels send that have the VNI of the flow; `ownVNI`: as they are configured.
        @usableFromInline var vni = Delivery.ownVNI
        /// Whether the frame is no longer as it came (`originals`).
        @usableFromInline var isEdited = false

        @inlinable static var ownVNI: UInt32 { .max }

        @inlinable
        init(ingress: UInt32, vni: UInt32, now: UInt64) {
            self.ingress = ingress
            ingressVNI = vni
            self.now = now
        }
    }

    /// Bytes of layer 3 a frame may have at a port. An interface allows for VLAN tags beside its MTU; a
    /// tunnel's MTU has room for 14 bytes of Ethernet, so that tags take theirs from the packet.
    @inlinable
    static func room(_ port: PortEntry, _ shape: FrameShape) -> Int {
        let tags = Int(shape.networkOffset) &- EthernetView.byteCount
        return port.isTunnel ? Int(port.mtu) &- tags : Int(port.mtu)
    }

    /// Bytes of layer 3 that count against an MTU.
    @inlinable
    static func networkByteCount(_ frame: Superframe, _ shape: FrameShape, _ plan: SegmentPlan?) -> Int {
        plan?.networkByteCount ?? frame.byteCount &- Int(shape.networkOffset)
    }

    /// Sends one copy (or its segments) to port `egress`.
    @inlinable
    mutating func deliver<Output: EngineOutput & ~Copyable>(
        _ frame: inout Superframe, _ shape: FrameShape, _ egress: UInt32, _ delivery: inout Delivery,
        _ output: inout Output
    ) {
        let port = view.ports[Int(egress)]
        let plan = frame.offload.isSegmented ? SegmentPlan(frame, shape) : nil
        if frame.offload.isSegmented, plan == nil {
            delivery.copies &+= 1
            dropTransmit(frame, port, .badOffload, 1, &output)
            return
        }
        let size = Engine.networkByteCount(frame, shape, plan)
        let room = Engine.room(port, shape)
        if size > room {
            delivery.copies &+= frame.frameCount
            dropTransmit(frame, port, .mtuExceeded, frame.frameCount, &output)
            answerTooBig(frame, shape, room, &delivery, &output)
            return
        }
        if !port.isTunnel {
            delivery.copies &+= frame.frameCount
            output.write(frame, to: port)
            return
        }
        delivery.copies &+= plan?.count ?? 1
        transmit(&frame, shape, plan, egress, delivery.vni, delivery.now, &output)
    }

    /// Sends a frame that fits, or its segments, by tunnel `egress`.
    @inlinable
    mutating func transmit<Output: EngineOutput & ~Copyable>(
        _ frame: inout Superframe, _ shape: FrameShape, _ plan: SegmentPlan?, _ egress: UInt32,
        _ vni: UInt32, _ now: UInt64, _ output: inout Output
    ) {
        let port = view.ports[Int(egress)]
        var tunnel = view.tunnels[Int(port.tunnel)]
        if vni != Delivery.ownVNI, tunnel.acceptsAnyVNI { tunnel.vni = VNI(truncating: vni) }
        guard tunnel.isUsable else {
            dropTransmit(frame, port, tunnel.refusal, plan?.count ?? 1, &output)
            return
        }
        see(frame, .tunnel, isOutgoing: true, port, &output)
        if tunnel.pathCount > 0 {
            encapsulate(&frame, shape, plan, tunnel, egress, now, &output)
            return
        }
        let envelope = Envelope(shape, tunnel)
        if let plan {
            sendSegments(frame, plan, envelope, tunnel, port, &output)
            return
        }
        guard !frame.offload.needsChecksum || frame.completeChecksum() else {
            dropTransmit(frame, port, .badOffload, 1, &output)
            return
        }
        let header = output.reserve(VXLANView.byteCount)
        VXLANHeader(vni: tunnel.vni).emit(to: header)
        output.send(
            header: UnsafeMutableRawBufferPointer(start: header, count: VXLANView.byteCount),
            payload: UnsafeMutableRawBufferPointer(start: frame.base, count: frame.byteCount), envelope,
            tunnel, port
        )
    }

    @inlinable
    func sendSegments<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ plan: SegmentPlan, _ envelope: Envelope, _ tunnel: TunnelEntry,
        _ port: PortEntry,
        _ output: inout Output
    ) {
        let headerCount = VXLANView.byteCount &+ plan.headerByteCount
        for index in 0..<plan.count {
            let header = output.reserve(headerCount)
            VXLANHeader(vni: tunnel.vni).emit(to: header)
            plan.emitHeader(index, of: frame, to: header + VXLANView.byteCount)
            let payload = plan.payload(of: index, in: frame)
            output.send(
                header: UnsafeMutableRawBufferPointer(start: header, count: headerCount),
                payload: UnsafeMutableRawBufferPointer(start: payload, count: plan.byteCount(of: index)),
                envelope, tunnel, port)
        }
    }

    /// Answers the sender of a frame that did not fit, once per frame and within the budget.
    @inlinable
    mutating func answerTooBig<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ shape: FrameShape, _ mtu: Int, _ delivery: inout Delivery,
        _ output: inout Output
    ) {
        guard !delivery.wasAnswered else { return }
        let memory = output.reserve(TooBig.maximumByteCount)
        let count =
            delivery.isEdited
            ? answerTooBigToOriginal(frame, mtu, into: memory, &output)
            : TooBig.answer(to: frame.first, shape, mtu: mtu, into: memory)
        guard count > 0, errors.take(nowMilliseconds: delivery.now) else { return }
        delivery.wasAnswered = true
        view.ports[Int(delivery.ingress)].counters.add(.icmpGenerated)
        giveBack(memory, count, delivery, &output)
    }

    /// Sends a frame made here to where the one it answers came from; a tunnel leads to the sender, too.
    @inlinable
    mutating func giveBack<Output: EngineOutput & ~Copyable>(
        _ memory: UnsafeMutableRawPointer, _ count: Int, _ delivery: Delivery, _ output: inout Output
    ) {
        var answer = Superframe(base: memory, byteCount: count)
        var ignored = Delivery(ingress: delivery.ingress, vni: delivery.ingressVNI, now: delivery.now)
        ignored.wasAnswered = true
        ignored.vni = delivery.ingressVNI
        deliver(&answer, FrameShape(answer), delivery.ingress, &ignored, &output)
    }
}

/// A token bucket for ICMP errors (RFC 1812 §4.3.2.8: a router must limit their rate).
@frozen
public struct ErrorBudget: BitwiseCopyable {
    /// Errors per second in the long run, and at once after a quiet second.
    @inlinable public static var perSecond: UInt64 { 1000 }

    @usableFromInline var milliTokens: UInt64 = ErrorBudget.perSecond &* 1000
    @usableFromInline var lastMilliseconds: UInt64 = 0

    @inlinable public init() {}

    /// Takes one token; false when there is none.
    @inlinable
    public mutating func take(nowMilliseconds: UInt64) -> Bool {
        if nowMilliseconds > lastMilliseconds {
            let earned = min(nowMilliseconds &- lastMilliseconds, 1000) &* ErrorBudget.perSecond
            milliTokens = min(milliTokens &+ earned, ErrorBudget.perSecond &* 1000)
            lastMilliseconds = nowMilliseconds
        }
        guard milliTokens >= 1000 else { return false }
        milliTokens &-= 1000
        return true
    }
}
