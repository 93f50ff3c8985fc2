// Encapsulation down to the wire: a tunnel that has ways of its own (`PathEntry`) gets its outer headers here, and
// frames whose next hop is not known yet are held until it is.

public import Wire

extension Engine {
    /// Sends a frame that fits by one of the tunnel's own ways, or holds it; never before what is held already.
    @inlinable
    mutating func encapsulate<Output: EngineOutput & ~Copyable>(
        _ frame: inout Superframe, _ shape: FrameShape, _ plan: SegmentPlan?, _ tunnel: TunnelEntry,
        _ egress: UInt32, _ now: UInt64, _ output: inout Output
    ) {
        let path = view.path(of: tunnel, shape.flowHash)
        let address = path.neighbor.load()
        guard address & NeighborCell.valid != 0, !held.holds(for: path.neighbor, before: held.count) else {
            wait(for: path.neighbor, address, frame, plan?.count ?? 1, egress, tunnel.vni, now, &output)
            return
        }
        emit(&frame, shape, plan, tunnel, path, address, egress, now, &output)
    }

    /// `address`: what the next hop's cell holds, a valid one.
    @inlinable
    mutating func emit<Output: EngineOutput & ~Copyable>(
        _ frame: inout Superframe, _ shape: FrameShape, _ plan: SegmentPlan?, _ tunnel: TunnelEntry,
        _ path: PathEntry, _ address: UInt64, _ egress: UInt32, _ now: UInt64, _ output: inout Output
    ) {
        let port = view.ports[Int(egress)]
        let envelope = Envelope(shape, tunnel)
        path.neighbor.noteUse(now)
        let hop = Hop(
            uplink: view.uplinks[Int(path.uplink)], linkAddress: MACAddress(rawValue: address),
            source: path.source, sourcePort: view.sourcePort(envelope.flowHash))
        let outer = OuterHeader(hop, envelope, tunnel)
        if let plan {
            if hop.uplink.isTAP, !frame.isTrain, plan.fits(frame.offload),
                output.emitWhole(frame, plan, outer, tunnel, port)
            {
                return
            }
            emitSegments(frame, plan, outer, tunnel, port, &output)
            return
        }
        let sum = frame.sumOnceCompleted
        guard !frame.offload.needsChecksum || frame.completeChecksum() else {
            dropTransmit(frame, port, .badOffload, 1, &output)
            return
        }
        let header = output.reserve(VXLANView.byteCount)
        VXLANHeader(vni: tunnel.vni).emit(to: header)
        output.emit(
            header: UnsafeMutableRawBufferPointer(start: header, count: VXLANView.byteCount),
            payload: UnsafeMutableRawBufferPointer(start: frame.base, count: frame.byteCount),
            sumOfFrame: sum, outer, tunnel, port)
    }

    @inlinable
    func emitSegments<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry, _ output: inout Output
    ) {
        let headerCount = VXLANView.byteCount &+ plan.headerByteCount
        for index in 0..<plan.count {
            let header = output.reserve(headerCount)
            VXLANHeader(vni: tunnel.vni).emit(to: header)
            plan.emitHeader(index, of: frame, to: header + VXLANView.byteCount)
            let payload = plan.payload(of: index, in: frame)
            let count = plan.byteCount(of: index)
            output.emit(
                header: UnsafeMutableRawBufferPointer(start: header, count: headerCount),
                payload: UnsafeMutableRawBufferPointer(start: payload, count: count),
                sumOfFrame: plan.shape.sumOfSegment(
                    UnsafeRawPointer(header) + VXLANView.byteCount, payloadByteCount: count),
                outer, tunnel, port)
        }
    }

    /// Holds a frame until its next hop is known, as far as there is room.
    @inlinable
    mutating func wait<Output: EngineOutput & ~Copyable>(
        for neighbor: NeighborCell, _ address: UInt64, _ frame: Superframe, _ pieces: Int, _ egress: UInt32,
        _ vni: VNI, _ now: UInt64, _ output: inout Output
    ) {
        let port = view.ports[Int(egress)]
        if address & NeighborCell.valid == 0, neighbor.noteWanted(now) { output.noteWanted() }
        if address & NeighborCell.failed != 0 {
            dropTransmit(frame, port, .neighborUnreachable, pieces, &output)
        } else if !held.hold(
            frame, pieces: pieces, port: egress, identity: port.identity, vni: vni.rawValue, neighbor, now)
        {
            dropTransmit(frame, port, .neighborPending, pieces, &output)
        }
    }

    /// Whether frames wait for their next hops.
    public var holdsFrames: Bool { held.count > 0 }

    /// Sends the held frames whose next hop is known by now, drops those it is certain or has lasted too long for,
    /// and keeps the others. `nowMilliseconds` is monotonic.
    public mutating func releaseHeld<Output: EngineOutput & ~Copyable>(
        nowMilliseconds now: UInt64, to output: inout Output
    ) {
        var index = 0
        while index < held.count {
            let waiting = held[index]
            // An address that came under way must not let a later frame overtake.
            if let neighbor = waiting.neighbor, now &- waiting.sinceMilliseconds < HoldQueue.milliseconds,
                neighbor.load() == 0 || held.holds(for: neighbor, before: index)
            {
                index += 1
                continue
            }
            sendHeld(index, now, &output)
            // Sent at once: its memory is the next one's.
            output.flush()
            held.remove(index)
        }
    }

    private mutating func sendHeld<Output: EngineOutput & ~Copyable>(
        _ index: Int, _ now: UInt64, _ output: inout Output
    ) {
        let waiting = held[index]
        let port = view.ports[Int(waiting.port)]
        var tunnel = view.tunnels[Int(port.tunnel)]
        if tunnel.acceptsAnyVNI { tunnel.vni = VNI(truncating: waiting.vni) }
        var frame = held.superframe(index)
        let shape = FrameShape(frame)
        let plan = SegmentPlan(frame, shape)
        // It may have become smaller.
        guard Engine.networkByteCount(frame, shape, plan) <= Engine.room(port, shape) else {
            dropTransmit(frame, port, .mtuExceeded, waiting.pieces, &output)
            return
        }
        guard let neighbor = waiting.neighbor else {
            transmit(&frame, shape, plan, waiting.port, waiting.vni, now, &output)
            return
        }
        let address = neighbor.load()
        guard address & NeighborCell.valid != 0 else {
            let reason: DropReason =
                address & NeighborCell.failed != 0 ? .neighborUnreachable : .neighborPending
            dropTransmit(frame, port, reason, waiting.pieces, &output)
            return
        }
        let path = view.path(of: tunnel, shape.flowHash)
        emit(&frame, shape, plan, tunnel, path, address, waiting.port, now, &output)
    }

    /// Drops what waits for tunnels that the next program does not have; their counters end with this one.
    mutating func forsakeHeld(for next: Program) {
        var index = 0
        while index < held.count {
            let waiting = held[index]
            let number = Int(waiting.port)
            if number < next.portCount, next.port(number).identity == waiting.identity,
                next.port(number).isTunnel
            {
                index += 1
                continue
            }
            view.ports[number].counters.dropTransmit(.tunnelDown, waiting.pieces)
            held.remove(index)
        }
    }

    /// Has what is held wait for the next hops of the present program; for none where a tunnel has no ways.
    mutating func readdressHeld() {
        for index in 0..<held.count {
            let tunnel = view.tunnels[Int(view.ports[Int(held[index].port)].tunnel)]
            let hasWays = tunnel.isUsable && tunnel.pathCount > 0
            let shape = FrameShape(held.superframe(index))
            held.readdress(index, to: hasWays ? view.path(of: tunnel, shape.flowHash).neighbor : nil)
        }
    }
}

extension FrameShape {
    /// The unfolded sum of a segment whose L4 checksum is right, from its headers alone: everything from the L4
    /// header on adds up, with the pseudo-header, to the ones' complement of zero, and so to the complement of the
    /// pseudo-header's sum.
    @_noLocks
    @inlinable
    func sumOfSegment(_ header: UnsafeRawPointer, payloadByteCount: Int) -> UInt64 {
        let start = Int(transportOffset)
        let length = Int(payloadOffset) &- start &+ payloadByteCount
        // Back to the order sums are kept in.
        let rest = ~Checksum.fold(pseudoHeaderSum(header, length: length))
        return Checksum.sum(header, count: start, adding: UInt64(rest.bigEndian))
    }
}
