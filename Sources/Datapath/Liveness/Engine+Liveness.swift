// Frames of the agent itself on their way through the engine: BFD of a tunnel's other end is recognised where
// frames are decided, before anything is learned from it, and taken out; what the agent makes goes out by the tunnel
// it names, past the bridge.

public import Wire

/// Which addresses a bridge's own BFD is sent to, at a glance.
@usableFromInline
enum LivenessFilter {
    @_noLocks
    @inlinable
    static func bit(_ address: MACAddress) -> UInt64 {
        let mixed = address.rawValue &* 0x9E37_79B9_7F4A_7C15
        return 1 &<< (mixed &>> 58)
    }
}

extension FlowKey {
    /// A whole, untagged BFD packet in IPv4, by its type and port.
    @inlinable
    var isBFD: Bool {
        @_noLocks get {
            // eth_type and no tag, nw_proto, tp_dst, nw_frag.
            let other =
                (ingress & 0xffff_ffff ^ 0x0800_0000) | ((source &>> 8) & 0xff ^ 17)
                | ((transport &>> 32) & 0xffff ^ 3784) | transport & 3
            return other == 0
        }
    }
}

/// What becomes of BFD: from a tunnel that has a session it is for the agent; a local port must not send what would
/// pass for ours at a tunnel's other end. Nil for all other frames; where a frame had to be looked at closely,
/// everything is in the mask.
@_noLocks
@inlinable
func livenessVerdict(
    _ key: FlowKey, _ port: UnsafeMutablePointer<PortEntry>, _ bridge: UnsafeMutablePointer<BridgeEntry>,
    _ view: ProgramView, _ mask: inout FlowMask
) -> Verdict? {
    guard bridge.pointee.livenessFilter != 0 else { return nil }
    let destination = key.destinationMAC
    if port.pointee.isTunnel {
        guard destination.rawValue == view.tunnels[Int(port.pointee.tunnel)].livenessMAC.rawValue else {
            return nil
        }
        mask = .exact
        return key.isBFD ? Verdict(action: .punt) : nil
    }
    guard bridge.pointee.livenessFilter & LivenessFilter.bit(destination) != 0 else { return nil }
    let start = Int(bridge.pointee.floodStart) &+ Int(bridge.pointee.localCount)
    for position in start..<(start &+ Int(bridge.pointee.tunnelCount)) {
        let tunnel = view.tunnels + Int(view.ports[Int(view.flood[position])].tunnel)
        guard tunnel.pointee.livenessRemoteMAC.rawValue == destination.rawValue else { continue }
        mask = .exact
        return key.isBFD ? .drop(.controlForged) : nil
    }
    return nil
}

extension Engine {
    /// Takes a frame out for the agent itself, one by one where several were put together.
    @inlinable @inline(never)
    mutating func punt<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ port: PortEntry, _ output: inout Output
    ) {
        guard frame.isTrain || !frame.offload.isSegmented else {
            return dropReceived(frame, port, .badOffload, frame.frameCount, &output)
        }
        for index in 0..<max(1, frame.train.frameCount) {
            var one = frame.isTrain ? frame.part(index) : frame
            if !one.completeChecksum() {
                dropReceived(one, port, .badOffload, 1, &output)
            } else if output.punt(one, port) {
                port.counters.add(.punted)
            } else {
                dropReceived(one, port, .puntQueueFull, 1, &output)
            }
        }
    }

    /// Sends a frame of the agent's own by the tunnel that is port number `egress` and has this identity; one that is
    /// gone sends nothing. The memory must stay until the output has been flushed.
    public mutating func originate<Output: EngineOutput & ~Copyable>(
        _ original: Superframe, egress: UInt32, identity: UInt64, nowMilliseconds: UInt64,
        to output: inout Output
    ) {
        guard Int(egress) < view.portCount else { return }
        let port = view.ports[Int(egress)]
        guard port.identity == identity, port.isTunnel else { return }
        port.counters.add(.originated)
        var frame = original
        var delivery = Delivery(ingress: egress, vni: 0, now: nowMilliseconds)
        // Nobody here can make use of an ICMP error.
        delivery.wasAnswered = true
        deliver(&frame, FrameShape(frame), egress, &delivery, &output)
    }
}

extension Superframe {
    /// One of a train's frames, as it came.
    @inlinable
    func part(_ index: Int) -> Superframe {
        let segment = Int(offload.segmentByteCount)
        let left = byteCount &- train.headerByteCount &- index &* segment
        return Superframe(
            base: train.payload - train.headerByteCount + index &* train.strideByteCount,
            byteCount: train.headerByteCount &+ min(segment, left))
    }
}
