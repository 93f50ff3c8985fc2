// From a UDP datagram to a frame of a tunnel: header checks, sender checks, ECN, and what a peer on the same
// kernel left undone.

public import Wire

/// One received datagram, or a train of them: equal in source, destination and TOS (Linux UDP_GRO).
@frozen
public struct Datagram: BitwiseCopyable {
    /// The UDP payload, or the payloads of a train one behind the other.
    public var base: UnsafeMutableRawPointer
    public var byteCount: Int
    /// Bytes of each datagram of a train, the last may have fewer; 0 when it came alone.
    public var segmentByteCount: Int
    public var isTruncated: Bool
    public var typeOfService: UInt8
    public var source: PackedAddress
    public var sourcePort: UInt16 = 0
    /// `.none` when the kernel did not say.
    public var destination: PackedAddress
    /// What is still to be done to the frame inside; offsets are from its first byte.
    public var offload = Offload.none
    /// Whether `offload` is all of it. A UDP socket does not say: then it is found out (`recoverOffload`).
    public var isOffloadKnown = false

    @_noLocks
    @inlinable
    public init(
        base: UnsafeMutableRawPointer, byteCount: Int, segmentByteCount: Int = 0, isTruncated: Bool = false,
        typeOfService: UInt8 = 0, source: PackedAddress, sourcePort: UInt16 = 0,
        destination: PackedAddress = .none
    ) {
        self.base = base
        self.byteCount = byteCount
        self.segmentByteCount = segmentByteCount
        self.isTruncated = isTruncated
        self.typeOfService = typeOfService
        self.source = source
        self.sourcePort = sourcePort
        self.destination = destination
    }

    /// Whether what looks like a train is one datagram around a UDP superframe. A kernel vxlan device on the
    /// same machine hands it over whole, and the kernel calls the inner segments a train (Linux 6.18,
    /// udp_cmsg_recv): then the inner packet is as long as all of it, where a train's first would end.
    @inlinable
    var isSuperframe: Bool {
        @_noLocks get {
            let count = byteCount &- VXLANView.byteCount
            guard byteCount > segmentByteCount, count >= EthernetView.byteCount else { return false }
            let frame = Superframe(base: base + VXLANView.byteCount, byteCount: count)
            let shape = FrameShape(frame)
            return shape.transport == .udp
                && Int(shape.networkOffset) &+ shape.networkByteCount(UnsafeRawPointer(frame.base)) == count
        }
    }
}

/// A datagram's tunnel and frame, or why it has none.
@frozen
public struct Arrival: BitwiseCopyable {
    public var isAccepted: Bool
    public var reason: DropReason
    /// The tunnel's port number.
    public var port: UInt32
    /// What the datagram says.
    public var vni: UInt32

    @inlinable
    init(refused reason: DropReason) {
        isAccepted = false
        self.reason = reason
        port = 0
        vni = 0
    }

    @inlinable
    init(port: UInt32, vni: UInt32) {
        isAccepted = true
        reason = .runt
        self.port = port
        self.vni = vni
    }
}

/// Finds the tunnel a datagram belongs to.
@_noLocks
@inlinable @inline(__always)
public func admit(_ datagram: Datagram, listener: UInt32, _ view: ProgramView) -> Arrival {
    if datagram.isTruncated { return Arrival(refused: .datagramTruncated) }
    guard let header = VXLANView(checking: UnsafeRawPointer(datagram.base), count: datagram.byteCount) else {
        return Arrival(refused: .vxlanTruncated)
    }
    guard header.isVNIValid else { return Arrival(refused: .vxlanFlags) }
    if view.dropsReservedBits, header.hasReservedBits { return Arrival(refused: .vxlanReservedBits) }
    guard datagram.byteCount >= VXLANView.byteCount &+ EthernetView.byteCount else {
        return Arrival(refused: .innerRunt)
    }
    guard
        let port = view.senders.tunnel(
            listener, from: datagram.source, to: datagram.destination, header.vni.rawValue)
    else {
        return Arrival(refused: view.senders.refusal(listener, from: datagram.source))
    }
    return Arrival(port: port, vni: header.vni.rawValue)
}

/// Gives a frame from a tunnel the metadata its sender's kernel never put on the wire.
///
/// A kernel vxlan device on the same machine hands our UDP socket whole TCP and UDP superframes, and any TCP or
/// UDP frame with its checksum still partial: the field holds the folded pseudo-header sum. A checksum that
/// happens to equal that sum is told apart by verifying it. `mtu` is the tunnel's, bytes: TCP superframes are
/// cut to it. UDP ones are cut to `segmentByteCount`, which the kernel says; 0 for any other frame.
@_noLocks
@inlinable
public func recoverOffload(
    _ frame: inout Superframe, _ shape: FrameShape, mtu: Int, segmentByteCount: Int = 0
) {
    guard shape.transport == .tcp || shape.transport == .udp else { return }
    let base = UnsafeRawPointer(frame.base)
    let start = Int(shape.transportOffset)
    let offset = shape.transport.checksumOffset
    let length = shape.networkByteCount(base) &- (start &- Int(shape.networkOffset))
    let pseudo = shape.pseudoHeaderSum(base, length: length)
    guard start &+ length <= frame.byteCount, offset &+ 2 <= length else { return }
    let field = UInt16(bigEndian: (base + start + offset).loadUnaligned(as: UInt16.self))
    guard field != 0 || shape.transport == .tcp, field == Checksum.fold(pseudo) else { return }
    if Checksum.finish(Checksum.sum(base + start, count: length, adding: pseudo)) == 0 { return }
    // Padding behind the packet would be summed too: cut it off.
    frame.byteCount = start &+ length
    frame.offload.needsChecksum = true
    frame.offload.checksumStart = shape.transportOffset
    frame.offload.checksumOffset = UInt16(truncatingIfNeeded: offset)
    if segmentByteCount > 0, shape.transport == .udp {
        frame.offload.segmentation = .udp
        frame.offload.segmentByteCount = UInt16(truncatingIfNeeded: segmentByteCount)
        return
    }
    let headers = Int(shape.payloadOffset) &- Int(shape.networkOffset)
    let size = frame.byteCount &- Int(shape.networkOffset)
    guard shape.transport == .tcp, size > mtu, mtu > headers else { return }
    frame.offload.segmentation = shape.network == .ipv4 ? .tcp4 : .tcp6
    frame.offload.segmentByteCount = UInt16(truncatingIfNeeded: mtu &- headers)
}
