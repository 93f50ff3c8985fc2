// Datagrams in: each is admitted, has its outer ECN applied and its offload metadata restored; frames of a
// train that continue one another go on as one.

public import Wire

extension Engine {
    /// Takes in what came to a listener, a datagram or a train of them, and forwards the frames inside.
    @inlinable
    public mutating func receive<Output: EngineOutput & ~Copyable>(
        _ datagram: Datagram, listener: UInt32, nowMilliseconds: UInt64, to output: inout Output
    ) {
        guard datagram.segmentByteCount > 0, datagram.isOffloadKnown || !datagram.isSuperframe else {
            receive(datagram, stride: 0, listener, nowMilliseconds, &output)
            return
        }
        var offset = 0
        var run: Run?
        while offset < datagram.byteCount {
            var one = datagram
            one.base = datagram.base + offset
            one.byteCount = min(datagram.segmentByteCount, datagram.byteCount &- offset)
            offset &+= one.byteCount
            if run?.accept(one.base, count: one.byteCount) ?? false { continue }
            if let run { finish(run, listener, nowMilliseconds, &output) }
            run = receive(one, stride: datagram.segmentByteCount, listener, nowMilliseconds, &output)
        }
        if let run { finish(run, listener, nowMilliseconds, &output) }
    }

    /// Takes in one datagram. It is forwarded at once, unless frames may be put behind it: then its run is
    /// returned.
    @inlinable @inline(__always)
    @discardableResult
    mutating func receive<Output: EngineOutput & ~Copyable>(
        _ datagram: Datagram, stride: Int, _ listener: UInt32, _ now: UInt64, _ output: inout Output
    ) -> Run? {
        let counters = view.listeners[Int(listener)].counters
        counters.received(byteCount: datagram.byteCount)
        let arrival = admit(datagram, listener: listener, view)
        guard arrival.isAccepted else {
            refuse(datagram, view.listeners[Int(listener)], arrival.reason, &output)
            return nil
        }
        counters.add(.rxForwarded)
        counters.add(.rxCopies)
        let port = view.ports + Int(arrival.port)
        var frame = Superframe(
            base: datagram.base + VXLANView.byteCount, byteCount: datagram.byteCount &- VXLANView.byteCount,
            offload: datagram.offload)
        port.pointee.counters.received(byteCount: frame.byteCount)
        let shape = FrameShape(frame)
        let changesECN = ECN.changes(datagram.typeOfService, shape.trafficClass)
        if changesECN, !applyOuterECN(datagram.typeOfService, to: frame, shape) {
            dropReceived(frame, port.pointee, .congestionNotECN, 1, &output)
            return nil
        }
        if !datagram.isOffloadKnown {
            recoverOffload(
                &frame, shape, mtu: Engine.room(port.pointee, shape),
                segmentByteCount: stride == 0 ? datagram.segmentByteCount : 0)
        }
        if stride > 0, !frame.offload.needsChecksum, !changesECN,
            let run = Run(
                datagram.base, count: datagram.byteCount, shape, port: arrival.port, vni: arrival.vni,
                stride: stride, coalesces)
        {
            return run
        }
        if datagram.isOffloadKnown, frame.offload.isSegmented {
            countSegments(&frame, shape, counters, port.pointee.counters)
        }
        see(frame, .tunnel, isOutgoing: false, port.pointee, &output)
        dispatch(&frame, shape, arrival.port, arrival.vni, now, &output)
        return nil
    }

    /// A superframe that an uplink's kernel vouches for counts as the frames it would have been on a wire.
    @inlinable
    func countSegments(
        _ frame: inout Superframe, _ shape: FrameShape, _ listener: Counters, _ tunnel: Counters
    ) {
        guard let plan = SegmentPlan(frame, shape), plan.count > 1 else { return }
        let more = plan.count &- 1
        let byteCount = more &* plan.headerByteCount
        listener.received(more, byteCount: byteCount &+ more &* VXLANView.byteCount)
        listener.add(.rxForwarded, more)
        listener.add(.rxCopies, more)
        tunnel.received(more, byteCount: byteCount)
        frame.wireFrameCount = plan.count
        frame.wireByteCount = frame.byteCount &+ byteCount
    }

    /// Forwards a run: a frame that stayed alone as it came, several as one superframe.
    @inlinable
    mutating func finish<Output: EngineOutput & ~Copyable>(
        _ run: Run, _ listener: UInt32, _ now: UInt64, _ output: inout Output
    ) {
        var frame = Superframe(base: run.start + VXLANView.byteCount, byteCount: run.receivedByteCount)
        let more = run.count &- 1
        if more > 0 {
            let counters = view.listeners[Int(listener)].counters
            let first = VXLANView.byteCount &+ Int(run.shape.payloadOffset) &+ run.segmentByteCount
            let byteCount = run.receivedByteCount &+ run.count &* VXLANView.byteCount &- first
            counters.received(more, byteCount: byteCount)
            counters.add(.rxForwarded, more)
            counters.add(.rxCopies, more)
            view.ports[Int(run.port)].counters.received(
                more, byteCount: byteCount &- more &* VXLANView.byteCount)
            let header = output.reserve(Superframe.headroomByteCount &+ Int(run.shape.payloadOffset))
            frame = run.superframe(header + Superframe.headroomByteCount)
        }
        see(frame, .tunnel, isOutgoing: false, view.ports[Int(run.port)], &output)
        dispatch(&frame, run.shape, run.port, run.vni, now, &output)
    }
}
