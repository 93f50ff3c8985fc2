// Cutting a superframe into frames: each gets a copy of the headers with its own lengths, identification,
// sequence number, flags and checksums; payload bytes stay where they are and are gathered when sent.

public import Wire

/// How one superframe is cut. Made once per superframe, trivial to copy.
@frozen
public struct SegmentPlan: BitwiseCopyable {
    /// Ethernet to L4, bytes copied before every segment.
    public var headerByteCount: Int
    /// L4 payload bytes per segment; the last may have fewer.
    public var segmentByteCount: Int
    public var payloadByteCount: Int
    public var count: Int
    @usableFromInline let shape: FrameShape

    /// Header bytes of the longest chain cut here: Ethernet, two tags, IPv6 with extensions, TCP options.
    @inlinable public static var maximumHeaderByteCount: Int { 512 }

    /// Nil when the metadata does not fit the headers.
    @_noLocks
    @inlinable
    public init?(_ frame: Superframe, _ shape: FrameShape) {
        switch frame.offload.segmentation {
        case .none: return nil
        case .tcp4: guard shape.transport == .tcp, shape.network == .ipv4 else { return nil }
        case .tcp6: guard shape.transport == .tcp, shape.network == .ipv6 else { return nil }
        case .udp: guard shape.transport == .udp else { return nil }
        }
        self.shape = shape
        headerByteCount = Int(shape.payloadOffset)
        segmentByteCount = Int(frame.offload.segmentByteCount)
        payloadByteCount = frame.byteCount &- Int(shape.payloadOffset)
        guard segmentByteCount > 0, payloadByteCount > 0,
            headerByteCount <= SegmentPlan.maximumHeaderByteCount
        else { return nil }
        count = (payloadByteCount &+ segmentByteCount &- 1) / segmentByteCount
    }

    /// Where the IP header is, bytes from the start of the frame.
    public var networkOffset: UInt16 { @_noLocks get { shape.networkOffset } }

    /// Whether the checksum that is left to be completed is the one of the headers found here: what a kernel that is
    /// to cut the frame relies on.
    @_noLocks
    @inlinable
    public func fits(_ offload: Offload) -> Bool {
        offload.needsChecksum && offload.checksumStart == shape.transportOffset
            && Int(offload.checksumOffset) == shape.transport.checksumOffset
    }

    /// Bytes of layer 3 in a full segment: what is compared with an MTU.
    @inlinable
    public var networkByteCount: Int {
        headerByteCount &- Int(shape.networkOffset) &+ min(segmentByteCount, payloadByteCount)
    }

    /// Payload bytes of segment `index`.
    @inlinable
    public func byteCount(of index: Int) -> Int {
        min(segmentByteCount, payloadByteCount &- index &* segmentByteCount)
    }

    /// Where the payload of segment `index` is.
    @_noLocks
    @inlinable
    public func payload(of index: Int, in frame: Superframe) -> UnsafeMutableRawPointer {
        frame.isTrain
            ? frame.train.payload + index &* frame.train.strideByteCount
            : frame.base + (headerByteCount &+ index &* segmentByteCount)
    }

    /// Writes the headers of segment `index` of `frame`, `headerByteCount` bytes, checksums included.
    @_noLocks
    @inlinable
    public func emitHeader(_ index: Int, of frame: Superframe, to header: UnsafeMutableRawPointer) {
        copyBytes(from: UnsafeRawPointer(frame.base), to: header, count: headerByteCount)
        let payload = payload(of: index, in: frame)
        let payloadCount = byteCount(of: index)
        let transport = header + Int(shape.transportOffset)
        let transportCount = headerByteCount &- Int(shape.transportOffset)
        let length = transportCount &+ payloadCount
        let pseudo = emitNetwork(index, header + Int(shape.networkOffset), length)
        let checksumOffset = shape.transport.checksumOffset
        if shape.transport == .tcp {
            emitTCP(index, transport)
        } else {
            transport.store(bigEndian16: UInt16(truncatingIfNeeded: length), at: 4)
        }
        transport.store(bigEndian16: 0, at: checksumOffset)
        let sum = Checksum.sum(UnsafeRawPointer(transport), count: transportCount, adding: pseudo)
        let whole = Checksum.sum(UnsafeRawPointer(payload), count: payloadCount, adding: sum)
        Checksum.store(
            shape.transport == .udp ? Checksum.finishUDP(whole) : Checksum.finish(whole),
            to: transport + checksumOffset)
    }

    /// Length, identification and header checksum; returns the pseudo-header's sum for `length` L4 bytes.
    @inlinable
    func emitNetwork(_ index: Int, _ ip: UnsafeMutableRawPointer, _ length: Int) -> UInt64 {
        let bytes = UnsafeRawPointer(ip)
        let headerCount = Int(shape.transportOffset) &- Int(shape.networkOffset)
        if shape.network == .ipv4 {
            ip.store(bigEndian16: UInt16(truncatingIfNeeded: headerCount &+ length), at: 2)
            ip.store(bigEndian16: bytes.bigEndian16(at: 4) &+ UInt16(truncatingIfNeeded: index), at: 4)
            ip.store(bigEndian16: 0, at: 10)
            Checksum.store(Checksum.finish(Checksum.sum(bytes, count: headerCount)), to: ip + 10)
            return Checksum.pseudoHeader(
                source: IPv4Address(loading: bytes + 12), destination: IPv4Address(loading: bytes + 16),
                protocol: shape.upperProtocol, length: length)
        }
        let extensions = headerCount &- IPv6View.byteCount
        ip.store(bigEndian16: UInt16(truncatingIfNeeded: extensions &+ length), at: 4)
        return Checksum.pseudoHeader(
            source: IPv6Address(loading: bytes + 8), destination: IPv6Address(loading: bytes + 24),
            protocol: shape.upperProtocol, length: length)
    }

    /// Sequence number; FIN and PSH only on the last segment, CWR only on the first (RFC 3168 §6.1.2).
    @inlinable
    func emitTCP(_ index: Int, _ tcp: UnsafeMutableRawPointer) {
        let bytes = UnsafeRawPointer(tcp)
        let advance = UInt32(truncatingIfNeeded: index &* segmentByteCount)
        tcp.store(bigEndian32: bytes.bigEndian32(at: 4) &+ advance, at: 4)
        var flags = bytes.byte(at: 13)
        if index &+ 1 < count { flags &= ~0x09 }
        if index > 0 { flags &= ~0x80 }
        tcp.store(byte: flags, at: 13)
    }
}

/// Copies a few dozen bytes without a library call, which the compiler's no-locks proof would refuse.
@_noLocks
@inlinable
func copyBytes(from source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int) {
    var offset = 0
    while offset &+ 8 <= count {
        (target + offset).storeBytes(of: (source + offset).loadUnaligned(as: UInt64.self), as: UInt64.self)
        offset &+= 8
    }
    while offset < count {
        target.store(byte: source.byte(at: offset), at: offset)
        offset &+= 1
    }
}
