// The engine's way out for a frame that is only tried: what would have left is written down, with every byte, and
// counted as the kernel's taking it would be.

internal import Wire

/// Something a frame became on its way out of one port.
public struct TracedOutput: Equatable, Sendable {
    /// By what it leaves.
    public enum Way: Equatable, Sendable {
        /// A TAP or packet socket.
        case port
        /// A UDP socket, and the kernel's IP below it.
        case socket(Envelope)
        /// An uplink, by its identity, behind outer headers of our own.
        case uplink(UInt64)
        /// The control plane, which watches the tunnel it came by.
        case control
    }

    /// The port's identity.
    public var port: UInt64
    public var way: Way
    /// From the frame's own Ethernet header on.
    public var frame: [UInt8]
    /// What whoever takes it has still to do.
    public var offload: Offload
    /// Frames on the wire it stands for.
    public var frameCount: Int
    /// In front of the frame: VXLAN, and by an uplink Ethernet, IP and UDP before it.
    public var outer: [UInt8]
}

/// Used for one frame, on the worker's thread.
struct TraceOutput: EngineOutput, ~Copyable {
    private(set) var outputs: [TracedOutput] = []
    private(set) var wantsNeighbor = false
    private var scratch: [UnsafeMutableRawPointer] = []
    private let closed: [UInt64: DropReason]

    /// `closed`: what the kernel would refuse copies for, by their port's identity.
    init(closed: [UInt64: DropReason] = [:]) { self.closed = closed }

    deinit { for memory in scratch { memory.deallocate() } }

    mutating func write(_ frame: Superframe, to port: PortEntry) {
        guard admits(port, frame.frameCount) else { return }
        note(port, .port, frame.gathered, frame.offload, frameCount: frame.frameCount, outer: [])
        port.counters.transmitted(frame.frameCount, byteCount: frame.accountedByteCount)
    }

    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, byteCount), alignment: 16)
        scratch.append(memory)
        return memory
    }

    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        guard admits(port, 1) else { return }
        let vxlan = VXLANView.byteCount
        note(
            port, .socket(envelope), header[vxlan...] + Array(payload), .none, frameCount: 1,
            outer: Array(header[..<vxlan]))
        port.counters.transmitted(byteCount: header.count + payload.count - vxlan)
    }

    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        let whole = Array(header) + Array(payload)
        guard whole.count <= outer.maximumPayloadByteCount else {
            port.counters.dropTransmit(.underlayMTUExceeded)
            return
        }
        let sum = whole.withUnsafeBytes { bytes in
            bytes.baseAddress.map { Checksum.sum($0, count: bytes.count) } ?? 0
        }
        let vxlan = VXLANView.byteCount
        note(
            port, .uplink(outer.hop.uplink.identity), Array(whole[vxlan...]), .none, frameCount: 1,
            outer: TraceOutput.bytes(
                outer, payloadByteCount: whole.count,
                tunnel.checksum ? .complete(sumOfPayload: sum) : .absent) + whole[..<vxlan])
        port.counters.transmitted(byteCount: whole.count - vxlan)
        outer.hop.uplink.counters.transmitted(byteCount: whole.count + outer.byteCount)
    }

    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool {
        let count = VXLANView.byteCount + frame.byteCount
        guard count <= outer.maximumPayloadByteCount else { return false }
        let header = reserve(VXLANView.byteCount)
        VXLANHeader(vni: tunnel.vni).emit(to: header)
        let vxlan = UnsafeRawBufferPointer(start: header, count: VXLANView.byteCount)
        note(
            port, .uplink(outer.hop.uplink.identity), frame.gathered, frame.offload, frameCount: plan.count,
            outer: TraceOutput.bytes(
                outer, payloadByteCount: count, tunnel.checksum ? .partial : .absent) + vxlan)
        let byteCount = frame.byteCount + (plan.count - 1) * plan.headerByteCount
        port.counters.transmitted(plan.count, byteCount: byteCount)
        outer.hop.uplink.counters.transmitted(
            plan.count, byteCount: byteCount + plan.count * (outer.byteCount + VXLANView.byteCount))
        return true
    }

    private func admits(_ port: PortEntry, _ count: Int) -> Bool {
        guard let reason = closed[port.identity] else { return true }
        port.counters.dropTransmit(reason, count)
        return false
    }

    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool {
        note(port, .control, frame.gathered, frame.offload, frameCount: 1, outer: [])
        return true
    }

    mutating func noteWanted() { wantsNeighbor = true }
    mutating func flush() {}

    private mutating func note(
        _ port: PortEntry, _ way: TracedOutput.Way, _ frame: [UInt8], _ offload: Offload, frameCount: Int,
        outer: [UInt8]
    ) {
        outputs.append(
            TracedOutput(
                port: port.identity, way: way, frame: frame, offload: offload,
                frameCount: frameCount, outer: outer))
    }

    /// The identification is chosen when it is sent, where it is not 0.
    private static func bytes(
        _ outer: OuterHeader, payloadByteCount: Int, _ checksum: OuterHeader.ChecksumField
    ) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: outer.byteCount) { buffer, count in
            guard let base = buffer.baseAddress else { return }
            outer.emit(
                to: UnsafeMutableRawPointer(base), payloadByteCount: payloadByteCount, checksum,
                identification: 0)
            count = outer.byteCount
        }
    }
}

extension Superframe {
    /// All of it in one piece.
    fileprivate var gathered: [UInt8] {
        guard isTrain else { return [UInt8](UnsafeRawBufferPointer(start: base, count: byteCount)) }
        var result = [UInt8](UnsafeRawBufferPointer(start: base, count: train.headerByteCount))
        var payload = train.payload
        while result.count < byteCount {
            let count = min(Int(offload.segmentByteCount), byteCount - result.count)
            result += UnsafeRawBufferPointer(start: payload, count: count)
            payload += train.strideByteCount
        }
        return result
    }
}
