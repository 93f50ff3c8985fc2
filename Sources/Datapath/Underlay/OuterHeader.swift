// The headers in front of VXLAN when they are made here: Ethernet, IPv4 or IPv6, UDP.

public import Wire

/// Ethernet, IP and UDP of an encapsulated frame or of a train of them.
@frozen
public struct OuterHeader: BitwiseCopyable {
    /// What the UDP checksum field holds.
    @frozen
    public enum ChecksumField: BitwiseCopyable {
        /// Zero: none (RFC 768, RFC 6935).
        case absent
        /// The pseudo-header's sum: whoever cuts the train or sends the frame adds the rest.
        case partial
        /// The checksum of what follows, whose unfolded sum is given.
        case complete(sumOfPayload: UInt64)
    }

    public var hop: Hop
    public var destination: PackedAddress
    public var destinationPort: UInt16
    public var typeOfService: UInt8
    public var timeToLive: UInt8
    public var doNotFragment: Bool

    @_noLocks
    @inlinable
    public init(_ hop: Hop, _ envelope: Envelope, _ tunnel: TunnelEntry) {
        self.hop = hop
        destination = tunnel.remote
        destinationPort = tunnel.destinationPort
        typeOfService = envelope.typeOfService
        timeToLive = envelope.timeToLive
        doNotFragment = tunnel.doNotFragment
    }

    /// Where the IP header begins.
    @inlinable public static var networkOffset: Int { EthernetView.byteCount }
    /// Longest of all: Ethernet, IPv6, UDP.
    @inlinable public static var maximumByteCount: Int { 14 + 40 + 8 }
    /// Where the UDP header begins.
    @inlinable public var transportOffset: Int {
        @_noLocks get {
            EthernetView.byteCount &+ (destination.isIPv4 ? IPv4View.byteCount : IPv6View.byteCount)
        }
    }
    public var byteCount: Int { @_noLocks @inlinable get { transportOffset &+ UDPView.byteCount } }
    /// Most UDP payload the length fields of IP leave room for.
    @inlinable public var maximumPayloadByteCount: Int {
        @_noLocks get {
            destination.isIPv4 ? 65_535 - IPv4View.byteCount - UDPView.byteCount : 65_535 - UDPView.byteCount
        }
    }

    /// Whether both are of one flow with one treatment, so that datagrams may share a train.
    @_noLocks
    @inlinable
    public func isLike(_ other: OuterHeader) -> Bool {
        destination.low == other.destination.low && destination.high == other.destination.high
            && hop.sourcePort == other.hop.sourcePort && typeOfService == other.typeOfService
            && timeToLive == other.timeToLive && hop.uplink.identity == other.hop.uplink.identity
            && hop.linkAddress.rawValue == other.hop.linkAddress.rawValue
            && hop.source.low == other.hop.source.low && hop.source.high == other.hop.source.high
    }

    /// Writes `byteCount` bytes in front of `payloadByteCount` bytes of UDP payload. `identification` matters only
    /// to routers that fragment, and so where `doNotFragment` is false (RFC 6864).
    @_noLocks
    @inlinable
    public func emit(
        to base: UnsafeMutableRawPointer, payloadByteCount: Int, _ checksum: ChecksumField,
        identification: UInt16
    ) {
        let isIPv4 = destination.isIPv4
        EthernetHeader(
            destination: hop.linkAddress, source: hop.uplink.mac, etherType: isIPv4 ? .ipv4 : .ipv6
        ).emit(to: base)
        let length = UDPView.byteCount &+ payloadByteCount
        let pseudo: UInt64
        if isIPv4 {
            let source = IPv4Address(rawValue: UInt32(truncatingIfNeeded: hop.source.low))
            let destination = IPv4Address(rawValue: UInt32(truncatingIfNeeded: destination.low))
            IPv4Header(
                source: source, destination: destination, protocolNumber: .udp, payloadByteCount: length,
                ttl: timeToLive, trafficClass: typeOfService,
                identification: doNotFragment ? 0 : identification, doNotFragment: doNotFragment
            ).emit(to: base + OuterHeader.networkOffset)
            pseudo = Checksum.pseudoHeader(
                source: source, destination: destination, protocol: .udp, length: length)
        } else {
            let source = IPv6Address(high: hop.source.high, low: hop.source.low)
            let destination = IPv6Address(high: destination.high, low: destination.low)
            IPv6Header(
                source: source, destination: destination, nextHeader: .udp, payloadByteCount: length,
                hopLimit: timeToLive, trafficClass: typeOfService
            ).emit(to: base + OuterHeader.networkOffset)
            pseudo = Checksum.pseudoHeader(
                source: source, destination: destination, protocol: .udp, length: length)
        }
        let udp = base + transportOffset
        UDPHeader(
            sourcePort: hop.sourcePort, destinationPort: destinationPort, payloadByteCount: payloadByteCount
        ).emit(to: udp)
        switch checksum {
        case .absent: break
        case .partial: Checksum.store(Checksum.fold(pseudo), to: udp + 6)
        case .complete(let sumOfPayload):
            let header = Checksum.sum(UnsafeRawPointer(udp), count: UDPView.byteCount, adding: pseudo)
            Checksum.store(Checksum.finishUDP(header &+ sumOfPayload), to: udp + 6)
        }
    }
}

extension Superframe {
    /// The unfolded sum of the frame as `completeChecksum` will leave it, from what stands before the checksummed
    /// part alone: that part will add up, its checksum included, to the complement of what the field holds now.
    /// Nil where no checksum is to be completed. What the kernel calls local checksum offload.
    @inlinable var sumOnceCompleted: UInt64? {
        @_noLocks get {
            guard offload.needsChecksum else { return nil }
            let start = Int(offload.checksumStart)
            let field = start &+ Int(offload.checksumOffset)
            guard field &+ 2 <= byteCount, start & 1 == 0, field & 1 == 0 else { return nil }
            let rest = ~UnsafeRawPointer(base + field).loadUnaligned(as: UInt16.self)
            return Checksum.sum(UnsafeRawPointer(base), count: start, adding: UInt64(rest))
        }
    }
}
