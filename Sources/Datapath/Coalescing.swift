// Putting frames together: frames of one flow that came in one train and continue one another become one
// superframe, so that they cost one decision and one write. The receiving kernel sees what its own receive
// offload would have made of them.
//
// A frame joins only when nothing would be lost by it: every header byte equals the first one's but lengths,
// checksums, IP identification (in sequence, or DF set) and the TCP sequence (contiguous); TCP flags are ACK
// and equal ECE, PSH ends the run; payloads are of one size, the last may be shorter; both checksums of each
// frame are right. A frame that joins nothing is passed on as it came, to the last bit.

public import Wire

/// What may be put together.
@frozen
public struct Coalescing: BitwiseCopyable, Sendable, Equatable {
    public var tcp: Bool
    public var udp: Bool

    @inlinable
    public init(tcp: Bool, udp: Bool) {
        self.tcp = tcp
        self.udp = udp
    }

    public static var all: Coalescing { Coalescing(tcp: true, udp: true) }
    public static var none: Coalescing { Coalescing(tcp: false, udp: false) }
}

/// Frames from one tunnel that continue one another, from the first to the last seen.
@frozen
@usableFromInline
struct Run: BitwiseCopyable {
    /// The first datagram: its VXLAN header, the frame behind it.
    @usableFromInline let start: UnsafeMutableRawPointer
    @usableFromInline let shape: FrameShape
    /// The tunnel's port number.
    @usableFromInline let port: UInt32
    @usableFromInline let vni: UInt32
    @usableFromInline let strideByteCount: Int
    /// Payload of the first frame.
    @usableFromInline let segmentByteCount: Int
    @usableFromInline var count = 1
    @usableFromInline var payloadByteCount: Int
    /// Frames as they came, without VXLAN headers.
    @usableFromInline var receivedByteCount: Int
    /// Nothing can follow a frame with PSH set or one that was shorter.
    @usableFromInline var isOpen = true
    /// Whether the first frame's checksums have been looked at: only when a second one comes.
    @usableFromInline var isVerified = false
    @usableFromInline var isPushed = false

    /// As many as the kernel puts in a train (UDP_GRO_CNT_MAX).
    @inlinable static var maximumCount: Int { 64 }
    /// An IP packet's length has 16 bits.
    @inlinable static var maximumNetworkByteCount: Int { 65_535 }

    /// Nil when nothing may be put behind this frame. `count` is the datagram's length.
    @_noLocks
    @inlinable
    init?(
        _ start: UnsafeMutableRawPointer, count: Int, _ shape: FrameShape, port: UInt32, vni: UInt32,
        stride: Int,
        _ coalescing: Coalescing
    ) {
        let frame = UnsafeRawPointer(start) + VXLANView.byteCount
        let headers = Int(shape.payloadOffset)
        let payload = count &- VXLANView.byteCount &- headers
        guard shape.hasPlainNetworkHeader, payload > 0,
            shape.networkByteCount(frame) == count &- VXLANView.byteCount &- Int(shape.networkOffset)
        else { return nil }
        let transport = frame + Int(shape.transportOffset)
        if shape.transport == .tcp {
            // ACK, perhaps ECE; with PSH set it is a run of its own.
            guard coalescing.tcp, transport.byte(at: 13) & ~0x40 == 0x10 else { return nil }
        } else {
            guard coalescing.udp, shape.transport == .udp, transport.bigEndian16(at: 6) != 0,
                Int(transport.bigEndian16(at: 4)) == payload &+ UDPView.byteCount
            else { return nil }
        }
        self.start = start
        self.shape = shape
        self.port = port
        self.vni = vni
        strideByteCount = stride
        segmentByteCount = payload
        payloadByteCount = payload
        receivedByteCount = count &- VXLANView.byteCount
    }

    /// Takes in the datagram that follows, `count` bytes, when its frame continues the run.
    @_noLocks
    @inlinable
    mutating func accept(_ datagram: UnsafeMutableRawPointer, count: Int) -> Bool {
        let headers = Int(shape.payloadOffset)
        let payload = count &- VXLANView.byteCount &- headers
        guard isOpen, self.count < Run.maximumCount, payload > 0, payload <= segmentByteCount,
            headers &- Int(shape.networkOffset) &+ payloadByteCount &+ payload
                <= Run.maximumNetworkByteCount
        else { return false }
        let next = UnsafeRawPointer(datagram)
        let first = UnsafeRawPointer(start)
        let linkByteCount = VXLANView.byteCount &+ Int(shape.networkOffset)
        guard equalBytes(next, first, count: linkByteCount), continues(next, first, count &- linkByteCount)
        else { return false }
        if !isVerified {
            isVerified = isIntact(first, VXLANView.byteCount &+ headers &+ segmentByteCount)
            isOpen = isVerified
        }
        guard isOpen, isIntact(next, count) else { return false }
        self.count &+= 1
        payloadByteCount &+= payload
        receivedByteCount &+= count &- VXLANView.byteCount
        isPushed =
            shape.transport == .tcp
            && next.byte(at: VXLANView.byteCount &+ Int(shape.transportOffset) &+ 13) & 0x08 != 0
        if payload < segmentByteCount || isPushed { isOpen = false }
        return true
    }

    /// Whether a packet of `networkByteCount` bytes has the first one's headers, continued.
    @inlinable
    func continues(_ next: UnsafeRawPointer, _ first: UnsafeRawPointer, _ networkByteCount: Int) -> Bool {
        let network = VXLANView.byteCount &+ Int(shape.networkOffset)
        let (ip, firstIP) = (next + network, first + network)
        guard shape.networkByteCount(next + VXLANView.byteCount) == networkByteCount else { return false }
        if shape.network == .ipv4 {
            // Version, length, TOS; flags, offset, TTL, protocol; addresses.
            guard ip.bigEndian16(at: 0) == firstIP.bigEndian16(at: 0),
                ip.bigEndian32(at: 6) == firstIP.bigEndian32(at: 6),
                ip.bigEndian64(at: 12) == firstIP.bigEndian64(at: 12)
            else { return false }
            let identification = firstIP.bigEndian16(at: 4) &+ UInt16(truncatingIfNeeded: count)
            guard shape.doNotFragment || ip.bigEndian16(at: 4) == identification else { return false }
        } else {
            // Version, class, flow label; next header, hop limit; addresses.
            guard ip.bigEndian32(at: 0) == firstIP.bigEndian32(at: 0),
                ip.bigEndian16(at: 6) == firstIP.bigEndian16(at: 6),
                equalBytes(ip + 8, firstIP + 8, count: 32)
            else { return false }
        }
        let transport = VXLANView.byteCount &+ Int(shape.transportOffset)
        let (l4, firstL4) = (next + transport, first + transport)
        guard l4.bigEndian32(at: 0) == firstL4.bigEndian32(at: 0) else { return false }
        if shape.transport == .udp {
            let length = networkByteCount &- (Int(shape.transportOffset) &- Int(shape.networkOffset))
            return Int(l4.bigEndian16(at: 4)) == length && l4.bigEndian16(at: 6) != 0
        }
        let sequence = firstL4.bigEndian32(at: 4) &+ UInt32(truncatingIfNeeded: payloadByteCount)
        // Acknowledgement, header length, flags but PSH, window; urgent pointer and options.
        return l4.bigEndian32(at: 4) == sequence
            && (l4.bigEndian64(at: 8) ^ firstL4.bigEndian64(at: 8)) & ~0x08_0000 == 0
            && equalBytes(
                l4 + 18, firstL4 + 18, count: Int(shape.payloadOffset) &- Int(shape.transportOffset) &- 18)
    }

    /// Whether the checksums of a datagram's packet are right, `count` bytes in all.
    @inlinable
    func isIntact(_ datagram: UnsafeRawPointer, _ count: Int) -> Bool {
        let frame = datagram + VXLANView.byteCount
        if shape.network == .ipv4 {
            let header = Checksum.sum(frame + Int(shape.networkOffset), count: IPv4View.byteCount)
            guard Checksum.isValid(header) else { return false }
        }
        let length = count &- VXLANView.byteCount &- Int(shape.transportOffset)
        let pseudo = shape.pseudoHeaderSum(frame, length: length)
        return Checksum.isValid(
            Checksum.sum(frame + Int(shape.transportOffset), count: length, adding: pseudo))
    }

    /// The run as one superframe, its headers written to `header` (`shape.payloadOffset` bytes), the payload
    /// where it is.
    @_noLocks
    @inlinable
    func superframe(_ header: UnsafeMutableRawPointer) -> Superframe {
        let first = start + VXLANView.byteCount
        let headers = Int(shape.payloadOffset)
        copyBytes(from: UnsafeRawPointer(first), to: header, count: headers)
        let length = headers &- Int(shape.transportOffset) &+ payloadByteCount
        let ip = header + Int(shape.networkOffset)
        if shape.network == .ipv4 {
            ip.store(bigEndian16: UInt16(truncatingIfNeeded: IPv4View.byteCount &+ length), at: 2)
            ip.store(bigEndian16: 0, at: 10)
            Checksum.store(
                Checksum.finish(Checksum.sum(UnsafeRawPointer(ip), count: IPv4View.byteCount)), to: ip + 10)
        } else {
            ip.store(bigEndian16: UInt16(truncatingIfNeeded: length), at: 4)
        }
        let transport = header + Int(shape.transportOffset)
        if shape.transport == .tcp {
            if isPushed { transport.store(byte: UnsafeRawPointer(transport).byte(at: 13) | 0x08, at: 13) }
        } else {
            transport.store(bigEndian16: UInt16(truncatingIfNeeded: length), at: 4)
        }
        let pseudo = shape.pseudoHeaderSum(UnsafeRawPointer(header), length: length)
        Checksum.store(Checksum.fold(pseudo), to: transport + shape.transport.checksumOffset)
        var frame = Superframe(base: header, byteCount: headers &+ payloadByteCount)
        frame.offload = Offload(
            segmentation: shape.transport == .udp ? .udp : shape.network == .ipv4 ? .tcp4 : .tcp6,
            needsChecksum: true, segmentByteCount: UInt16(truncatingIfNeeded: segmentByteCount),
            checksumStart: shape.transportOffset,
            checksumOffset: UInt16(truncatingIfNeeded: shape.transport.checksumOffset))
        frame.train = Train(
            frameCount: count, receivedByteCount: receivedByteCount, payload: first + headers,
            strideByteCount: strideByteCount, headerByteCount: headers)
        return frame
    }
}

/// Whether two stretches of a few dozen bytes are equal, without a library call.
@_noLocks
@inlinable
func equalBytes(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer, count: Int) -> Bool {
    var difference: UInt64 = 0
    var offset = 0
    while offset &+ 8 <= count {
        difference |=
            (left + offset).loadUnaligned(as: UInt64.self) ^ (right + offset).loadUnaligned(as: UInt64.self)
        offset &+= 8
    }
    while offset < count {
        difference |= UInt64(left.byte(at: offset) ^ right.byte(at: offset))
        offset &+= 1
    }
    return difference == 0
}
