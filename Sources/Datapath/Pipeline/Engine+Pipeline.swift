// Carrying out a flow's plan for one frame: what its rules do, in order, then switching. Frames are changed where
// they lie; a copy that a tunnel's queue still refers to is sent before. Each frame is counted once: as forwarded
// when a rule or switching made a copy of it, else as dropped for one reason. Copies for mirrors count as copies.

public import Wire

/// A frame on its way through its flow's plan.
@frozen @usableFromInline
struct Passage: BitwiseCopyable {
    @usableFromInline var frame: Superframe
    @usableFromInline var shape: FrameShape
    @usableFromInline let bridge: UInt32
    /// The VLAN it came in.
    @usableFromInline let vlan: UInt16
    /// Flow tunnel that outputs take, whichever they name.
    @usableFromInline var via = Passage.anyTunnel
    /// Mirrors that have their copy, a bit each.
    @usableFromInline var mirrored: UInt32 = 0
    @usableFromInline var isDelivered = false
    /// Why it is dropped unless it is delivered.
    @usableFromInline var reason: DropReason
    /// Whether a queue refers to its bytes.
    @usableFromInline var isQueued = false

    @inlinable static var anyTunnel: UInt32 { .max }

    @_noLocks
    @inlinable
    init(_ frame: Superframe, _ shape: FrameShape, bridge: UInt32, _ plan: FlowPlan) {
        self.frame = frame
        self.shape = shape
        self.bridge = bridge
        vlan = plan.vlan
        reason = plan.reason
    }
}

extension Engine {
    /// Does what the plan of the flow at `place` says to a frame that came in by `ingress`.
    @inlinable @inline(never)
    mutating func carryOut<Output: EngineOutput & ~Copyable>(
        _ place: UInt32, _ frame: Superframe, _ shape: FrameShape, _ ingress: UInt32, _ vni: UInt32,
        _ now: UInt64, _ output: inout Output
    ) {
        let plan = flows.plan(place)
        let counters = view.ports[Int(ingress)].counters
        let frameCount = frame.frameCount
        var delivery = Delivery(ingress: ingress, vni: vni, now: now)
        var passage = Passage(frame, shape, bridge: view.ports[Int(ingress)].bridge, plan)
        copy(plan.mirrors, &passage, &delivery, &output)
        if plan.checksNeighbors, !view.ports[Int(ingress)].security.allows(frame, shape) {
            passage.reason = .portSecurity
        } else if meetRules(place, plan, &passage, &delivery, &output),
            plan.isSwitched || plan.trailCount == 0
        {
            if switchNormally(plan, &passage, &delivery, &output) {
                counters.add(.rxCopies, delivery.copies)
                return
            }
        }
        counters.add(.rxCopies, delivery.copies)
        if passage.isDelivered {
            counters.add(.rxForwarded, frameCount)
        } else {
            dropReceived(passage.frame, view.ports[Int(ingress)], passage.reason, frameCount, &output)
        }
    }

    /// False when a rule ended the frame's way.
    @inlinable
    mutating func meetRules<Output: EngineOutput & ~Copyable>(
        _ place: UInt32, _ plan: FlowPlan, _ passage: inout Passage, _ delivery: inout Delivery,
        _ output: inout Output
    ) -> Bool {
        let rules = view.bridges[Int(passage.bridge)].rules
        for position in 0..<Int(plan.trailCount) {
            let row = rules.row(flows.rank(place, position))
            row.counters.add(
                passage.frame.frameCount, byteCount: passage.frame.accountedByteCount,
                nowMilliseconds: delivery.now, worker: view.worker)
            for number in row.firstAction..<row.endAction {
                let action = rules.action(number)
                if case .normal = action { return true }
                guard perform(action, &passage, &delivery, &output) else { return false }
            }
        }
        return true
    }

    /// False when the frame goes no further.
    @inlinable
    mutating func perform<Output: EngineOutput & ~Copyable>(
        _ action: RuleAction, _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) -> Bool {
        switch action {
        case .drop: return false
        case .normal, .goToTable: break
        case .output(let port): self.output(to: port, &passage, &delivery, &output)
        case .mirror(let port): copy(to: port, &passage, &delivery, &output)
        case .setTunnel(let vni, let via):
            delivery.vni = vni.rawValue
            passage.via = via ?? Passage.anyTunnel
        case .police(let meter):
            let takes = view.bridges[Int(passage.bridge)].learns
            if meter.admits(
                passage.frame.accountedByteCount, nowMilliseconds: delivery.now, takes: takes)
            {
                break
            }
            passage.reason = .policed
            return false
        default:
            prepareEdit(&passage, &delivery, &output)
            return edit(action, &passage)
        }
        return true
    }

    /// False when the frame goes no further.
    @_noLocks
    @inlinable
    func edit(_ action: RuleAction, _ passage: inout Passage) -> Bool {
        switch action {
        case .setEtherSource(let address): passage.frame.setEtherSource(address)
        case .setEtherDestination(let address): passage.frame.setEtherDestination(address)
        case .pushVLAN(let vlan, let priority):
            return passage.frame.pushVLAN(vlan, priority: priority, &passage.shape)
        case .popVLAN: passage.frame.popVLAN(&passage.shape)
        case .setVLAN(let vlan): passage.frame.setVLAN(vlan, &passage.shape)
        case .setVLANPriority(let priority): passage.frame.setVLANPriority(priority, &passage.shape)
        case .setNetworkSource(let address): passage.frame.setNetworkSource(address, passage.shape)
        case .setNetworkDestination(let address): passage.frame.setNetworkDestination(address, passage.shape)
        case .setDSCP(let value): passage.frame.setDSCP(value, &passage.shape)
        case .setTimeToLive(let value): passage.frame.setTimeToLive(value, &passage.shape)
        case .decrementTimeToLive:
            if passage.frame.decrementTimeToLive(&passage.shape) { break }
            passage.reason = .expiredTTL
            return false
        case .setSourcePort(let port): passage.frame.setSourcePort(port, passage.shape)
        case .setDestinationPort(let port): passage.frame.setDestinationPort(port, passage.shape)
        case .normal, .output, .setTunnel, .mirror, .police, .goToTable, .drop: break
        }
        return true
    }

    /// Before the frame's bytes change: notes how it came, and sends what still refers to it. A train's headers are in
    /// memory that is given back then, and move.
    @inlinable
    mutating func prepareEdit<Output: EngineOutput & ~Copyable>(
        _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) {
        if !delivery.isEdited {
            originals.keep(passage.frame, passage.shape)
            delivery.isEdited = true
            passage.frame.train.isChanged = true
        }
        guard passage.isQueued else { return }
        passage.isQueued = false
        guard passage.frame.isTrain else { return output.flush() }
        let count = passage.frame.train.headerByteCount
        originals.park(passage.frame.base, count)
        output.flush()
        passage.frame.base =
            output.reserve(Superframe.headroomByteCount &+ count) + Superframe.headroomByteCount
        originals.unpark(passage.frame.base, count)
    }

    // MARK: Outputs

    /// Copies the frame as it is to a port a rule names.
    @inlinable
    mutating func output<Output: EngineOutput & ~Copyable>(
        to named: UInt32, _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) {
        let number = passage.via != Passage.anyTunnel && acceptsAnyVNI(named) ? passage.via : named
        guard isThere(number, passage.bridge) else {
            passage.reason = .portGone
            return
        }
        guard number != delivery.ingress else {
            passage.reason = .hairpin
            return
        }
        let map = view.bridges[Int(passage.bridge)].vlanMap
        guard delivery.vni == Delivery.ownVNI, !map.isEmpty, acceptsAnyVNI(number) else {
            send(to: number, &passage, &delivery, &output)
            return
        }
        // The VLAN becomes the VNI, and is the frame's again behind this output.
        let control = passage.frame.tagControl(passage.shape)
        let isTagged = control & 0x0fff != 0
        guard let vni = map.vni(of: isTagged ? control & 0x0fff : passage.vlan) else {
            passage.reason = .unmappedVNI
            return
        }
        delivery.vni = vni
        if isTagged {
            prepareEdit(&passage, &delivery, &output)
            passage.frame.popVLAN(&passage.shape)
        }
        send(to: number, &passage, &delivery, &output)
        delivery.vni = Delivery.ownVNI
        if isTagged {
            prepareEdit(&passage, &delivery, &output)
            _ = passage.frame.pushVLAN(
                control & 0x0fff, priority: UInt8(control &>> 13), &passage.shape)
        }
    }

    /// Sends a copy, and those of the mirrors that want what leaves there.
    @inlinable
    mutating func send<Output: EngineOutput & ~Copyable>(
        to number: UInt32, _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) {
        deliver(&passage.frame, passage.shape, number, &delivery, &output)
        passage.isDelivered = true
        let egress = view.ports + Int(number)
        if egress.pointee.isTunnel { passage.isQueued = true }
        guard egress.pointee.destinationMirrors & ~passage.mirrored != 0 else { return }
        let mirrors = view.bridges[Int(passage.bridge)].mirrors
        copy(
            mirrors.select(egress.pointee.destinationMirrors & ~passage.mirrored, passage.vlan), &passage,
            &delivery, &output)
    }

    @inlinable
    func isThere(_ number: UInt32, _ bridge: UInt32) -> Bool {
        guard Int(number) < view.portCount else { return false }
        let port = view.ports + Int(number)
        if case .absent = port.pointee.kind { return false }
        return port.pointee.bridge == bridge
    }

    @inlinable
    func acceptsAnyVNI(_ number: UInt32) -> Bool {
        guard Int(number) < view.portCount, view.ports[Int(number)].isTunnel else { return false }
        return view.tunnels[Int(view.ports[Int(number)].tunnel)].acceptsAnyVNI
    }

    // MARK: Mirrors

    /// A copy to each of the mirrors, a bit each.
    @inlinable
    mutating func copy<Output: EngineOutput & ~Copyable>(
        _ mirrors: UInt32, _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) {
        var left = mirrors
        passage.mirrored |= mirrors
        while left != 0 {
            let number = view.bridges[Int(passage.bridge)].mirrors.output(left.trailingZeroBitCount)
            left &= left &- 1
            copy(to: number, &passage, &delivery, &output)
        }
    }

    /// A copy of the frame as it is, which nobody is told about when it does not fit.
    @inlinable
    mutating func copy<Output: EngineOutput & ~Copyable>(
        to number: UInt32, _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) {
        guard isThere(number, passage.bridge), number != delivery.ingress else { return }
        var aside = Delivery(ingress: delivery.ingress, vni: delivery.ingressVNI, now: delivery.now)
        aside.wasAnswered = true
        aside.vni = delivery.vni
        deliver(&passage.frame, passage.shape, number, &aside, &output)
        delivery.copies &+= aside.copies
        if view.ports[Int(number)].isTunnel { passage.isQueued = true }
    }

    /// The answer to a frame that rules have changed, as it came.
    @inlinable @inline(never)
    func answerTooBigToOriginal<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ mtu: Int, into answer: UnsafeMutableRawPointer, _ output: inout Output
    ) -> Int {
        let scratch = output.reserve(OriginalHeaders.scratchByteCount)
        return originals.answerTooBig(frame, mtu: mtu, scratch, into: answer)
    }
}
