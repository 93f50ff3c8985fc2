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
    /// Sends one datagram: `header` (VXLAN first) followed by `payload`.
    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry)
}

/// Forwarding state of one worker.
public struct Engine: ~Copyable {
    public private(set) var program: Program
    @usableFromInline var view: ProgramView
    @usableFromInline var errors: ErrorBudget
    /// What may be put together before it is handed to a local port.
    @usableFromInline let coalesces: Coalescing
    public let flows: FlowCache

    /// `flows` is this engine's alone; its memory is the caller's.
    public init(_ program: Program = .empty, flows: FlowCache, coalescing: Coalescing = .all) {
        self.program = program
        self.flows = flows
        view = program.view
        errors = ErrorBudget()
        coalesces = coalescing
    }

    /// Takes over a new configuration. Called between breaths; the caller has brought the tables along.
    public mutating func adopt(_ program: Program) {
        self.program = program
        view = program.view
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
        dispatch(frame, nil, ingress, nowMilliseconds, &output)
    }

    @inlinable
    mutating func dispatch<Output: EngineOutput & ~Copyable>(
        _ original: Superframe, _ parsed: FrameShape?, _ ingress: UInt32, _ now: UInt64,
        _ output: inout Output
    ) {
        var frame = original
        let port = view.ports[Int(ingress)]
        let shape = parsed ?? FrameShape(frame)
        let verdict = flows.verdict(frame, shape, ingress: ingress, view, nowMilliseconds: now)
        if verdict.action == .drop {
            port.counters.dropReceived(verdict.reason, frame.frameCount)
            return
        }
        var delivery = Delivery(ingress: ingress, now: now)
        if verdict.action == .forward {
            deliver(&frame, shape, verdict.egress, &delivery, &output)
        } else {
            let bridge = view.bridges[Int(port.bridge)]
            if !bridge.bindings.isEmpty, !port.isTunnel, shape.transport == .other {
                switch inquire(frame, shape, bridge, delivery, &output) {
                case .answered: return
                case .heard: return port.counters.dropReceived(.hairpin)
                case .other: break
                }
            }
            let start = Int(bridge.floodStart)
            let reachesTunnels = !port.isTunnel && bridge.floodsTunnels
            // Locals first: they take a partial checksum as it is. Split horizon: no tunnel after a tunnel.
            let members = Int(bridge.localCount) &+ (reachesTunnels ? Int(bridge.tunnelCount) : 0)
            for position in start..<(start &+ members) where view.flood[position] != ingress {
                deliver(&frame, shape, view.flood[position], &delivery, &output)
            }
            if delivery.copies == 0 {
                let isHeldBack = !port.isTunnel && !bridge.floodsTunnels
                port.counters.dropReceived(isHeldBack ? .floodingDisabled : .noDestination, frame.frameCount)
                return
            }
        }
        port.counters.add(.rxForwarded, frame.frameCount)
        port.counters.add(.rxCopies, delivery.copies)
    }

    /// What happened to one frame so far.
    @frozen @usableFromInline
    struct Delivery: BitwiseCopyable {
        @usableFromInline let ingress: UInt32
        @usableFromInline let now: UInt64
        @usableFromInline var copies = 0
        @usableFromInline var wasAnswered = false

        @inlinable
        init(ingress: UInt32, now: UInt64) {
            self.ingress = ingress
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

    /// Sends one copy (or its segments) to port `egress`.
    @inlinable
    mutating func deliver<Output: EngineOutput & ~Copyable>(
        _ frame: inout Superframe, _ shape: FrameShape, _ egress: UInt32, _ delivery: inout Delivery,
        _ output: inout Output
    ) {
        let port = view.ports[Int(egress)]
        let plan = SegmentPlan(frame, shape)
        if frame.offload.segmentation != .none, plan == nil {
            delivery.copies &+= 1
            port.counters.dropTransmit(.badOffload)
            return
        }
        let size = plan?.networkByteCount ?? frame.byteCount &- Int(shape.networkOffset)
        let room = Engine.room(port, shape)
        if size > room {
            delivery.copies &+= frame.frameCount
            port.counters.dropTransmit(.mtuExceeded, frame.frameCount)
            answerTooBig(frame, shape, room, &delivery, &output)
            return
        }
        if !port.isTunnel {
            delivery.copies &+= frame.frameCount
            output.write(frame, to: port)
            return
        }
        let tunnel = view.tunnels[Int(port.tunnel)]
        let envelope = Envelope(shape, tunnel)
        if let plan {
            delivery.copies &+= plan.count
            sendSegments(frame, plan, envelope, tunnel, port, &output)
            return
        }
        delivery.copies &+= 1
        guard frame.completeChecksum() else {
            port.counters.dropTransmit(.badOffload)
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
            let payload = frame.base + (plan.headerByteCount &+ index &* plan.segmentByteCount)
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
        let count = TooBig.answer(to: frame.first, shape, mtu: mtu, into: memory)
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
        var ignored = Delivery(ingress: delivery.ingress, now: delivery.now)
        ignored.wasAnswered = true
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
