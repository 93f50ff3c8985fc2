// Datagrams in: each is admitted, has its outer ECN applied and its offload metadata restored; frames of a
// train that continue one another go on as one.

public import Wire

extension Engine {
    /// Takes in what came to a listener, a datagram or a train of them, and forwards the frames inside.
    @inlinable
    public mutating func receive<Output: EngineOutput & ~Copyable>(
        _ datagram: Datagram, listener: UInt32, nowMilliseconds: UInt64, to output: inout Output
    ) {
        guard datagram.segmentByteCount > 0, !datagram.isSuperframe else {
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
    @inlinable
    @discardableResult
    mutating func receive<Output: EngineOutput & ~Copyable>(
        _ datagram: Datagram, stride: Int, _ listener: UInt32, _ now: UInt64, _ output: inout Output
    ) -> Run? {
        let counters = view.listeners[Int(listener)].counters
        counters.received(byteCount: datagram.byteCount)
        let arrival = admit(datagram, listener: listener, view)
        guard arrival.isAccepted else {
            counters.dropReceived(arrival.reason)
            return nil
        }
        counters.add(.rxForwarded)
        counters.add(.rxCopies)
        let port = view.ports[Int(arrival.port)]
        var frame = Superframe(
            base: datagram.base + VXLANView.byteCount, byteCount: datagram.byteCount &- VXLANView.byteCount)
        port.counters.received(byteCount: frame.byteCount)
        let shape = FrameShape(frame)
        let trafficClass = shape.trafficClass
        guard applyOuterECN(datagram.typeOfService, to: frame, shape) else {
            port.counters.dropReceived(.congestionNotECN)
            return nil
        }
        recoverOffload(
            &frame, shape, mtu: Engine.room(port, shape),
            segmentByteCount: stride == 0 ? datagram.segmentByteCount : 0)
        if stride > 0, !frame.offload.needsChecksum, !ECN.changes(datagram.typeOfService, trafficClass),
            let run = Run(
                datagram.base, count: datagram.byteCount, shape, port: arrival.port, stride: stride, coalesces
            )
        {
            return run
        }
        dispatch(frame, shape, arrival.port, now, &output)
        return nil
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
            frame = run.superframe(output.reserve(Int(run.shape.payloadOffset)))
        }
        dispatch(frame, run.shape, run.port, now, &output)
    }
}
