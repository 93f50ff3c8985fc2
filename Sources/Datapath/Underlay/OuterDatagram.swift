// What comes in by an uplink's TAP: whole outer frames with the kernel's word about their checksums and
// segmentation. Everything the kernel's IP and UDP code would have checked is checked here.

public import Wire

/// An outer frame as an uplink received it.
@frozen
public struct OuterFrame: BitwiseCopyable {
    /// First byte of the outer destination MAC.
    public var base: UnsafeMutableRawPointer
    public var byteCount: Int
    /// Offsets are from `base`; segmentation is of the inner packet when `isEncapsulated`, else of the outer.
    public var offload: Offload
    /// A superframe inside VXLAN (VIRTIO_NET_HDR_GSO_UDP_TUNNEL_*).
    public var isEncapsulated: Bool
    /// The kernel or the interface has verified the outer UDP checksum (VIRTIO_NET_HDR_F_DATA_VALID).
    public var isVerified: Bool

    @inlinable
    public init(
        base: UnsafeMutableRawPointer, byteCount: Int, offload: Offload = .none, isEncapsulated: Bool = false,
        isVerified: Bool = false
    ) {
        self.base = base
        self.byteCount = byteCount
        self.offload = offload
        self.isEncapsulated = isEncapsulated
        self.isVerified = isVerified
    }
}

/// The VXLAN datagram of an outer frame, or why there is none.
@frozen
public struct OuterDatagram: BitwiseCopyable {
    public var reason: DropReason = .outerMalformed
    public var isAccepted = false
    public var destinationPort: UInt16 = 0
    public var isIPv4 = true
    public var datagram: Datagram

    @_noLocks
    @inlinable
    init(_ frame: OuterFrame) {
        datagram = Datagram(base: frame.base, byteCount: 0, source: .none)
    }

    /// Checks lengths, header checksum and UDP checksum. Zero UDP checksums are accepted on both families
    /// (RFC 768, RFC 6935).
    @_noLocks
    @inlinable
    public init(checking frame: OuterFrame) {
        self.init(frame)
        let base = UnsafeRawPointer(frame.base)
        guard let ethernet = EthernetView(checking: base, count: frame.byteCount) else { return }
        let packet = base + EthernetView.byteCount
        let count = frame.byteCount &- EthernetView.byteCount
        var transport = EthernetView.byteCount
        var length = 0
        var pseudo: UInt64 = 0
        if ethernet.etherType == .ipv4 {
            guard let ip = IPv4View(checking: packet, count: count), ip.isHeaderChecksumValid,
                !ip.isFragment, ip.protocolNumber == .udp
            else { return }
            transport &+= ip.headerByteCount
            length = ip.payloadByteCount
            datagram.typeOfService = ip.trafficClass
            datagram.source = PackedAddress(ip.source)
            datagram.destination = PackedAddress(ip.destination)
        } else {
            guard ethernet.etherType == .ipv6, let ip = IPv6View(checking: packet, count: count),
                ip.nextHeader == .udp
            else { return }
            isIPv4 = false
            transport &+= IPv6View.byteCount
            length = ip.payloadLength
            datagram.typeOfService = ip.trafficClass
            datagram.source = PackedAddress(ip.source)
            datagram.destination = PackedAddress(ip.destination)
        }
        guard let udp = UDPView(checking: base + transport, count: length) else { return }
        destinationPort = udp.destinationPort
        datagram.sourcePort = udp.sourcePort
        pseudo = pseudoHeader(length: udp.length)
        if udp.checksum != 0, !frame.isVerified, !frame.offload.needsChecksum,
            !Checksum.isValid(Checksum.sum(base + transport, count: udp.length, adding: pseudo))
        {
            reason = .outerChecksum
            return
        }
        datagram.base = frame.base + transport + UDPView.byteCount
        datagram.byteCount = udp.length &- UDPView.byteCount
        isAccepted = takeOffload(frame, transport)
    }

    @_noLocks
    @inlinable
    func pseudoHeader(length: Int) -> UInt64 {
        isIPv4
            ? Checksum.pseudoHeader(
                source: IPv4Address(rawValue: UInt32(truncatingIfNeeded: datagram.source.low)),
                destination: IPv4Address(rawValue: UInt32(truncatingIfNeeded: datagram.destination.low)),
                protocol: .udp, length: length)
            : Checksum.pseudoHeader(
                source: IPv6Address(high: datagram.source.high, low: datagram.source.low),
                destination: IPv6Address(high: datagram.destination.high, low: datagram.destination.low),
                protocol: .udp, length: length)
    }

    /// Says of the frame inside, or of the train, what the kernel said of the outer frame. False when its words
    /// fit no frame.
    @_noLocks
    @inlinable
    mutating func takeOffload(_ frame: OuterFrame, _ transport: Int) -> Bool {
        datagram.isOffloadKnown = true
        guard frame.offload.needsChecksum else { return !frame.offload.isSegmented }
        let start = Int(frame.offload.checksumStart)
        let inner = transport &+ UDPView.byteCount &+ VXLANView.byteCount
        if start == transport {
            // The outer checksum was left to hardware that never came: a frame of this machine, or a train.
            guard !frame.isEncapsulated else { return false }
            guard frame.offload.isSegmented else { return true }
            guard frame.offload.isUDPSegmented, frame.offload.segmentByteCount > 0 else { return false }
            datagram.segmentByteCount = Int(frame.offload.segmentByteCount)
            // The kernel may have put datagrams of this machine together whose inner checksums it had left open.
            datagram.isOffloadKnown = false
            return true
        }
        guard start > inner &+ EthernetView.byteCount, frame.isEncapsulated || !frame.offload.isSegmented
        else {
            return false
        }
        datagram.offload = frame.offload
        datagram.offload.checksumStart = UInt16(truncatingIfNeeded: start &- inner)
        return true
    }
}

extension ProgramView {
    /// The listener of a port and family; nil when there is none.
    @_noLocks
    @inlinable
    func listener(port: UInt16, isIPv4: Bool) -> UInt32? {
        for index in 0..<listenerCount
        where listeners[index].port == port && listeners[index].isIPv4 == isIPv4 {
            return UInt32(truncatingIfNeeded: index)
        }
        return nil
    }
}

extension Engine {
    /// Takes in one outer frame of an uplink, and forwards what is in it.
    @inlinable
    public mutating func receive<Output: EngineOutput & ~Copyable>(
        _ frame: OuterFrame, uplink: UInt32, nowMilliseconds: UInt64, to output: inout Output
    ) {
        let counters = view.uplinks[Int(uplink)].counters
        counters.received(byteCount: frame.byteCount)
        let outer = OuterDatagram(checking: frame)
        see(frame, outer, view.uplinks[Int(uplink)], &output)
        guard outer.isAccepted else {
            counters.dropReceived(outer.reason)
            return
        }
        guard let listener = view.listener(port: outer.destinationPort, isIPv4: outer.isIPv4) else {
            counters.dropReceived(.noListener)
            return
        }
        counters.add(.rxForwarded)
        counters.add(.rxCopies)
        receive(outer.datagram, listener: listener, nowMilliseconds: nowMilliseconds, to: &output)
    }
}
