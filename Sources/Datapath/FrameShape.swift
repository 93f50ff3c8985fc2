// Where the layers of a frame are and what the datapath needs of them: one bounded parse per superframe.
// Total on every input: what cannot be read is reported as absent, and the frame is still a frame.

public import Wire

/// The layers of one frame, as offsets from its first byte.
@frozen
public struct FrameShape: BitwiseCopyable {
    @frozen
    public enum Network: BitwiseCopyable {
        /// Neither a well-formed IPv4 nor IPv6 packet.
        case other
        case ipv4, ipv6

        // Spelled out and marked, here and below: a derived `==` is opaque to the no-locks proof.
        @_noLocks @inlinable
        public static func == (left: Network, right: Network) -> Bool {
            switch (left, right) {
            case (.other, .other), (.ipv4, .ipv4), (.ipv6, .ipv6): true
            default: false
            }
        }
    }
    @frozen
    public enum Transport: BitwiseCopyable {
        /// No complete TCP or UDP header: another protocol, a fragment, or garbage.
        case other
        case tcp, udp

        /// Where the checksum field is, bytes from the L4 header (RFC 9293 §3.1, RFC 768).
        @inlinable public var checksumOffset: Int { @_noLocks get { self == .tcp ? 16 : 6 } }

        @_noLocks @inlinable
        public static func == (left: Transport, right: Transport) -> Bool {
            switch (left, right) {
            case (.other, .other), (.tcp, .tcp), (.udp, .udp): true
            default: false
            }
        }
    }

    public var network: Network = .other
    public var transport: Transport = .other
    public var isFragment = false
    public var doNotFragment = false
    /// Bytes of Ethernet header and VLAN tags.
    public var networkOffset: UInt16 = 14
    /// Start of the L4 header; meaningful when `network` is IP.
    public var transportOffset: UInt16 = 0
    /// First byte after the L4 header; meaningful when `transport` is known.
    public var payloadOffset: UInt16 = 0
    /// DSCP and ECN, 0 for what is not IP.
    public var trafficClass: UInt8 = 0
    /// TTL or hop limit, 0 for what is not IP.
    public var timeToLive: UInt8 = 0
    public var upperProtocol = IPProtocol(rawValue: 0)
    /// Hash of the flow: addresses, protocol and ports; MAC addresses and EtherType for what is not IP.
    public var flowHash: UInt32 = 0

    @inlinable init() {}

    @inlinable public var isIP: Bool { @_noLocks get { network == .ipv4 || network == .ipv6 } }

    /// IPv4 without options, or IPv6 without extension headers, right before the L4 header.
    @inlinable var hasPlainNetworkHeader: Bool {
        @_noLocks get {
            let headers = Int(transportOffset) &- Int(networkOffset)
            return network == .ipv4 && headers == IPv4View.byteCount
                || network == .ipv6 && headers == IPv6View.byteCount
        }
    }

    /// What the IP header says the packet's length is, bytes; for a frame of this shape.
    @_noLocks
    @inlinable
    func networkByteCount(_ frame: UnsafeRawPointer) -> Int {
        let ip = frame + Int(networkOffset)
        return network == .ipv4
            ? Int(ip.bigEndian16(at: 2)) : IPv6View.byteCount &+ Int(ip.bigEndian16(at: 4))
    }

    /// The unfolded sum of the pseudo-header of `length` bytes of L4, for a frame of this shape.
    @_noLocks
    @inlinable
    func pseudoHeaderSum(_ frame: UnsafeRawPointer, length: Int) -> UInt64 {
        let ip = frame + Int(networkOffset)
        return network == .ipv4
            ? Checksum.pseudoHeader(
                source: IPv4Address(loading: ip + 12), destination: IPv4Address(loading: ip + 16),
                protocol: upperProtocol, length: length)
            : Checksum.pseudoHeader(
                source: IPv6Address(loading: ip + 8), destination: IPv6Address(loading: ip + 24),
                protocol: upperProtocol, length: length)
    }

    /// Up to two VLAN tags are looked through.
    @inlinable static var maximumTags: Int { @_noLocks get { 2 } }

    /// Parses a frame of at least 14 bytes.
    @_noLocks
    @inlinable @inline(__always)
    public init(_ frame: Superframe) { self.init(UnsafeRawPointer(frame.base), count: frame.byteCount) }

    @_noLocks
    @inlinable
    init(_ base: UnsafeRawPointer, count: Int) {
        guard let ethernet = EthernetView(checking: base, count: count) else { return }
        var etherType = ethernet.etherType
        var offset = EthernetView.byteCount
        var tags = 0
        while tags < FrameShape.maximumTags, etherType == .vlan || etherType == .serviceVLAN,
            let tag = VLANView(checking: base + offset, count: count &- offset)
        {
            etherType = tag.etherType
            offset &+= VLANView.byteCount
            tags &+= 1
        }
        networkOffset = UInt16(truncatingIfNeeded: offset)
        if etherType == .ipv4 {
            readIPv4(base, offset, count)
        } else if etherType == .ipv6 {
            readIPv6(base, offset, count)
        }
        if !isIP {
            let words =
                ethernet.destination.rawValue &* 0x9E37_79B9_7F4A_7C15 ^ ethernet.source.rawValue
            flowHash = FrameShape.mix(words, UInt64(etherType.rawValue))
        }
    }

    /// Spreads two words over 32 bits (a multiply-xorshift finaliser; not for adversaries, only for spread).
    @inlinable
    static func mix(_ first: UInt64, _ second: UInt64) -> UInt32 {
        var value = first ^ (second &* 0x9E37_79B9_7F4A_7C15)
        value ^= value &>> 32
        value = value &* 0xD6E8_FEB8_6659_FD93
        value ^= value &>> 32
        value = value &* 0xD6E8_FEB8_6659_FD93
        return UInt32(truncatingIfNeeded: value &>> 32)
    }

    @inlinable
    mutating func readIPv4(_ base: UnsafeRawPointer, _ offset: Int, _ count: Int) {
        guard let ip = IPv4View(checking: base + offset, count: count &- offset) else { return }
        network = .ipv4
        isFragment = ip.isFragment
        doNotFragment = ip.doNotFragment
        trafficClass = (base + offset + 1).load(as: UInt8.self)
        timeToLive = ip.ttl
        upperProtocol = ip.protocolNumber
        transportOffset = UInt16(truncatingIfNeeded: offset &+ ip.headerByteCount)
        let addresses = UInt64(ip.source.rawValue) &<< 32 | UInt64(ip.destination.rawValue)
        let ports = isFragment ? 0 : readTransport(base, offset &+ ip.totalLength)
        flowHash = FrameShape.mix(addresses, UInt64(upperProtocol.rawValue) &<< 32 | UInt64(ports))
    }

    @inlinable
    mutating func readIPv6(_ base: UnsafeRawPointer, _ offset: Int, _ count: Int) {
        guard let ip = IPv6View(checking: base + offset, count: count &- offset) else { return }
        network = .ipv6
        doNotFragment = true
        trafficClass = ip.trafficClass
        timeToLive = ip.hopLimit
        upperProtocol = ip.nextHeader
        var ports: UInt32 = 0
        if let upper = ip.upperLayer() {
            upperProtocol = upper.protocolNumber
            isFragment = upper.isFragment
            transportOffset = UInt16(truncatingIfNeeded: offset &+ upper.offset)
            if !isFragment {
                ports = readTransport(base, offset &+ IPv6View.byteCount &+ ip.payloadLength)
            }
        }
        let source = ip.source
        let destination = ip.destination
        let addresses =
            source.high ^ (source.low &* 0xBF58_476D_1CE4_E5B9) ^ (destination.high &* 3)
            ^ (destination.low &* 0x94D0_49BB_1331_11EB)
        flowHash = FrameShape.mix(addresses, UInt64(upperProtocol.rawValue) &<< 32 | UInt64(ports))
    }

    /// Both ports as one word, 0 when the L4 header is not there.
    @inlinable
    mutating func readTransport(_ base: UnsafeRawPointer, _ end: Int) -> UInt32 {
        let start = Int(transportOffset)
        if upperProtocol == .tcp, let tcp = TCPView(checking: base + start, count: end &- start) {
            transport = .tcp
            payloadOffset = UInt16(truncatingIfNeeded: start &+ tcp.headerByteCount)
            return UInt32(tcp.sourcePort) &<< 16 | UInt32(tcp.destinationPort)
        }
        if upperProtocol == .udp, end &- start >= UDPView.byteCount {
            transport = .udp
            payloadOffset = UInt16(truncatingIfNeeded: start &+ UDPView.byteCount)
            return UInt32(bigEndian: (base + start).loadUnaligned(as: UInt32.self))
        }
        return 0
    }
}
