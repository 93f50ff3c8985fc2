// Switching a frame as its plan says: to one port or to all, each in the form its VLAN has there.

public import Wire

extension Engine {
    /// True when the frame was a question that has been answered and counted.
    @inlinable
    mutating func switchNormally<Output: EngineOutput & ~Copyable>(
        _ plan: FlowPlan, _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) -> Bool {
        // Whatever rules did to the reason, switching has its own.
        passage.reason = plan.reason
        switch plan.action {
        case .drop, .planned, .punt: return false
        case .forward:
            var dress = Dress(passage, plan)
            sendDressed(to: plan.egress, &dress, &passage, &delivery, &output)
            return false
        case .flood: return flood(plan, &passage, &delivery, &output)
        }
    }

    /// Floods a frame, or answers it. True when that has been counted.
    @inlinable
    mutating func flood<Output: EngineOutput & ~Copyable>(
        _ plan: FlowPlan, _ passage: inout Passage, _ delivery: inout Delivery, _ output: inout Output
    ) -> Bool {
        let port = view.ports + Int(delivery.ingress)
        let bridge = view.bridges[Int(passage.bridge)]
        if !port.pointee.storm.admits(
            passage.frame.frameCount, nowMilliseconds: delivery.now, takes: bridge.learns)
        {
            passage.reason = .policed
            return false
        }
        let isFromTunnel = port.pointee.isTunnel
        if !bridge.bindings.isEmpty, !isFromTunnel, !passage.isDelivered, !delivery.isEdited,
            passage.shape.transport == .other
        {
            switch inquire(
                passage.frame, passage.shape, bridge, vlan: plan.switchedVLAN, delivery, &output)
            {
            case .answered: return true
            case .heard:
                passage.reason = .hairpin
                return false
            case .other: break
            }
        }
        var dress = Dress(passage, plan)
        let start = Int(bridge.floodStart)
        let reachesTunnels = !isFromTunnel && bridge.floodsTunnels
        // Locals first: they take a partial checksum as it is. Split horizon: no tunnel after a tunnel.
        let members = Int(bridge.localCount) &+ (reachesTunnels ? Int(bridge.tunnelCount) : 0)
        for position in start..<(start &+ members) {
            let number = view.flood[position]
            let egress = view.ports + Int(number)
            guard number != delivery.ingress, !egress.pointee.isMirrorOutput,
                egress.pointee.vlan.carries(plan.switchedVLAN)
            else { continue }
            sendDressed(to: number, &dress, &passage, &delivery, &output)
        }
        let isHeldBack = !isFromTunnel && !bridge.floodsTunnels
        passage.reason = isHeldBack ? .floodingDisabled : .noDestination
        return false
    }

    /// How a frame that is switched stands with its VLAN.
    @frozen @usableFromInline
    struct Dress: BitwiseCopyable {
        @usableFromInline let vlan: UInt16
        /// Of the tag it came to be switched with.
        @usableFromInline let priority: UInt8
        /// Whether the outermost tag is that of its VLAN.
        @usableFromInline var isTagged: Bool

        @_noLocks
        @inlinable
        init(_ passage: Passage, _ plan: FlowPlan) {
            vlan = plan.switchedVLAN
            priority = passage.frame.vlanPriority(passage.shape)
            isTagged = passage.shape.tagCount > 0
        }
    }

    /// Sends a copy as the egress has its VLAN: tagged or not, or by a VNI of its own. Without such a VNI, none.
    @inlinable
    mutating func sendDressed<Output: EngineOutput & ~Copyable>(
        to number: UInt32, _ dress: inout Dress, _ passage: inout Passage, _ delivery: inout Delivery,
        _ output: inout Output
    ) {
        let egress = view.ports + Int(number)
        var control = egress.pointee.vlan.control(dress.vlan, priority: dress.priority)
        let map = view.bridges[Int(passage.bridge)].vlanMap
        let chosen = delivery.vni
        if chosen == Delivery.ownVNI, !map.isEmpty, acceptsAnyVNI(number) {
            guard let vni = map.vni(of: dress.vlan) else { return }
            delivery.vni = vni
            control = nil
        }
        if !passage.frame.hasTag(control, dress.isTagged) {
            prepareEdit(&passage, &delivery, &output)
            guard passage.frame.setTag(control, isTagged: &dress.isTagged, &passage.shape) else {
                dropTransmit(
                    passage.frame, view.ports[Int(number)], .vlanDenied, passage.frame.frameCount, &output)
                delivery.copies &+= passage.frame.frameCount
                delivery.vni = chosen
                return
            }
        }
        send(to: number, &passage, &delivery, &output)
        delivery.vni = chosen
    }
}

extension Superframe {
    /// The outermost tag's control information, 0 without one.
    @_noLocks
    @inlinable
    func tagControl(_ shape: FrameShape) -> UInt16 {
        shape.tagCount > 0 ? UnsafeRawPointer(base).bigEndian16(at: 14) : 0
    }

    /// Whether `setTag` would have nothing to do.
    @_noLocks
    @inlinable
    func hasTag(_ control: UInt16?, _ isTagged: Bool) -> Bool {
        guard let control else { return !isTagged }
        return isTagged && UnsafeRawPointer(base).bigEndian16(at: 14) & 0xefff == control
    }
}
