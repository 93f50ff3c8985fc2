// The currency of the datapath: one Ethernet frame, possibly larger than any MTU, with what its producer
// promised about checksums and segmentation. Nothing here owns memory; a frame is valid only until its
// batch is reused.

public import Wire

/// What a virtio-net header says about a frame (`linux/virtio_net.h`), in host terms.
@frozen
public struct Offload: BitwiseCopyable, Sendable, Equatable {
    /// The protocol a superframe is to be cut along.
    @frozen
    public enum Segmentation: BitwiseCopyable, Sendable {
        case none, tcp4, tcp6, udp
    }

    public var segmentation: Segmentation
    /// CWR is set and must stay on the first segment only (RFC 3168 §6.1.2).
    public var hasCongestionFlag: Bool
    /// The checksum field holds the folded pseudo-header sum and the rest is still to be added.
    public var needsChecksum: Bool
    /// L4 payload bytes per segment; 0 unless `segmentation` is set.
    public var segmentByteCount: UInt16
    /// Where summing starts (the L4 header), bytes from the start of the frame.
    public var checksumStart: UInt16
    /// Where the checksum field is, bytes from `checksumStart`.
    public var checksumOffset: UInt16

    @_noLocks
    @inlinable
    public init(
        segmentation: Segmentation = .none, hasCongestionFlag: Bool = false, needsChecksum: Bool = false,
        segmentByteCount: UInt16 = 0, checksumStart: UInt16 = 0, checksumOffset: UInt16 = 0
    ) {
        self.segmentation = segmentation
        self.hasCongestionFlag = hasCongestionFlag
        self.needsChecksum = needsChecksum
        self.segmentByteCount = segmentByteCount
        self.checksumStart = checksumStart
        self.checksumOffset = checksumOffset
    }

    // By switch: a derived `==` is opaque to the no-locks proof.
    /// Larger than what will be sent.
    @inlinable public var isSegmented: Bool {
        @_noLocks get {
            if case .none = segmentation { false } else { true }
        }
    }
    /// UDP datagrams of one size behind one header.
    @inlinable public var isUDPSegmented: Bool {
        @_noLocks get {
            if case .udp = segmentation { true } else { false }
        }
    }

    /// A frame that is complete as it stands.
    @inlinable public static var none: Offload { @_noLocks get { Offload() } }
}

/// The payload of a superframe put together from frames that came one behind the other: it stays where it was
/// received, at equal distances, and is gathered when written.
@frozen
public struct Train: BitwiseCopyable {
    /// Frames it is made of; 0 for a superframe whose bytes are all at its `base`.
    public var frameCount: Int
    /// Bytes of all those frames as they came, headers included.
    public var receivedByteCount: Int
    /// Payload of the first; the others follow every `strideByteCount`.
    public var payload: UnsafeMutableRawPointer
    public var strideByteCount: Int
    /// Ethernet to L4, at the superframe's `base`.
    public var headerByteCount: Int
    /// Whether the headers are no longer those that its frames came with.
    public var isChanged = false

    @_noLocks
    @inlinable
    init(
        frameCount: Int, receivedByteCount: Int, payload: UnsafeMutableRawPointer, strideByteCount: Int,
        headerByteCount: Int
    ) {
        self.frameCount = frameCount
        self.receivedByteCount = receivedByteCount
        self.payload = payload
        self.strideByteCount = strideByteCount
        self.headerByteCount = headerByteCount
    }
}

/// One frame, in a receive buffer.
@frozen
public struct Superframe: BitwiseCopyable {
    /// First byte of the destination MAC.
    public var base: UnsafeMutableRawPointer
    /// Bytes from `base` to the end of the payload; no FCS.
    public var byteCount: Int
    public var offload: Offload
    /// Frames on the wire it stands for: more than one for a superframe that came whole from a tunnel.
    public var wireFrameCount = 1
    /// Bytes of those frames, each with its headers; 0 while it stands for itself.
    public var wireByteCount = 0
    /// Where the payload is when it does not follow the headers.
    public var train: Train

    @_noLocks
    @inlinable
    public init(base: UnsafeMutableRawPointer, byteCount: Int, offload: Offload = .none) {
        self.base = base
        self.byteCount = byteCount
        self.offload = offload
        train = Train(
            frameCount: 0, receivedByteCount: 0, payload: base, strideByteCount: 0, headerByteCount: 0)
    }

    @inlinable public var isTrain: Bool { @_noLocks get { train.frameCount > 0 } }
    /// What it counts for: the frames of a train, or on the wire; else one.
    @inlinable public var frameCount: Int { @_noLocks get { isTrain ? train.frameCount : wireFrameCount } }
    /// Bytes it counts for.
    @inlinable public var accountedByteCount: Int {
        @_noLocks get {
            isTrain ? train.receivedByteCount : wireFrameCount > 1 ? wireByteCount : byteCount
        }
    }

    /// The first frame of a train, as it came; else the frame itself.
    @inlinable public var first: Superframe {
        @_noLocks get {
            guard isTrain else { return self }
            return Superframe(
                base: train.payload - train.headerByteCount,
                byteCount: train.headerByteCount &+ Int(offload.segmentByteCount))
        }
    }

    /// Writes all of it in one piece.
    @_noLocks
    func copy(to target: UnsafeMutableRawPointer) {
        guard isTrain else { return copyBytes(from: UnsafeRawPointer(base), to: target, count: byteCount) }
        copyBytes(from: UnsafeRawPointer(base), to: target, count: train.headerByteCount)
        var written = train.headerByteCount
        var payload = UnsafeRawPointer(train.payload)
        while written < byteCount {
            let count = min(Int(offload.segmentByteCount), byteCount &- written)
            copyBytes(from: payload, to: target + written, count: count)
            payload += train.strideByteCount
            written &+= count
        }
    }

    /// Largest frame any port or peer can hand over: a 64 KiB IP packet, Ethernet and two tags.
    @inlinable public static var maximumByteCount: Int { @_noLocks get { 65_536 + 22 } }

    /// Adds the missing part of a partial checksum in place. False when the metadata points outside the frame.
    /// Not for trains: they go to local ports only, which take a partial checksum.
    @_noLocks
    @inlinable
    public mutating func completeChecksum() -> Bool {
        guard offload.needsChecksum else { return true }
        let start = Int(offload.checksumStart)
        let field = start &+ Int(offload.checksumOffset)
        guard start >= EthernetView.byteCount, field &+ 2 <= byteCount else { return false }
        // The field already holds the pseudo-header sum, so summing over it folds that in.
        let sum = Checksum.sum(UnsafeRawPointer(base + start), count: byteCount &- start)
        let isUDP = Int(offload.checksumOffset) == FrameShape.Transport.udp.checksumOffset
        Checksum.store(isUDP ? Checksum.finishUDP(sum) : Checksum.finish(sum), to: base + field)
        offload.needsChecksum = false
        return true
    }
}
