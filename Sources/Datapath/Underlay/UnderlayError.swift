// What the underlay says about a datagram of ours: ICMP "fragmentation needed", ICMPv6 "packet too big", and
// destination unreachable of both, quoting an outer VXLAN datagram. Pure parsing; who believes it is for the
// caller (`PathMTU`).
//
//   outer IP │ ICMP │ quoted IP │ quoted UDP │ quoted VXLAN, when the quote goes that far …
//
// Attack model: anybody who can send to this host can send such a message. It must be in good order in every
// length and checksum, go to whom it quotes, and name a size that the quoted datagram really exceeds. The
// checksum of the quoted header is not looked at: routers count its TTL down before they quote it.

public import Wire

/// An ICMP error that quotes one of our outer datagrams.
public struct UnderlayError: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// The next link takes packets of `mtu` bytes from the IP header on. IPv4: 68 or more, IPv6: 1280 or more.
        case tooBig(mtu: Int)
        case unreachable(UnreachableReason)
    }

    public var kind: Kind
    /// Who says so: a router, or the destination itself.
    public var reporter: IPAddress
    /// The quoted datagram's addresses and ports; the source is ours.
    public var source, destination: IPAddress
    public var sourcePort, destinationPort: UInt16
    /// Nil when the quote ends before it: routers need not quote more than the UDP header (RFC 792).
    public var vni: VNI?

    /// From an Ethernet frame without a tag and for one station. Nil for everything that is no such error.
    public init?(frame: UnsafeRawBufferPointer) {
        guard let base = frame.baseAddress, let ethernet = EthernetView(checking: base, count: frame.count),
            !ethernet.destination.isGroup, ethernet.etherType == .ipv4 || ethernet.etherType == .ipv6
        else { return nil }
        let packet = UnsafeRawBufferPointer(rebasing: frame.dropFirst(EthernetView.byteCount))
        guard packet.first.map({ $0 >> 4 == 4 }) == (ethernet.etherType == .ipv4) else { return nil }
        self.init(packet: packet)
    }

    /// From an IP packet; bytes after its length are padding. Nil for everything that is no such error.
    public init?(packet: UnsafeRawBufferPointer) {
        guard let base = packet.baseAddress else { return nil }
        if let ip = IPv4View(checking: base, count: packet.count) {
            self.init(ip)
        } else if let ip = IPv6View(checking: base, count: packet.count) {
            self.init(ip)
        } else {
            return nil
        }
    }

    private init?(_ ip: IPv4View) {
        guard ip.isHeaderChecksumValid, !ip.isFragment, ip.protocolNumber == .icmp, ip.source.isHost,
            let message = ICMPv4View(checking: ip.payload, count: ip.payloadByteCount),
            message.isChecksumValid,
            let quote = Quote(ipv4: message.body, count: message.bodyByteCount),
            quote.source == .v4(ip.destination)
        else { return nil }
        if case .fragmentationNeeded(let told) = ICMPv4Message.parse(message) {
            let mtu = told == 0 ? Self.plateau(below: quote.totalLength) : Int(told)
            guard mtu >= Self.leastIPv4MTU, mtu < quote.totalLength else { return nil }
            self.init(.tooBig(mtu: mtu), .v4(ip.source), quote)
        } else if let reason = message.unreachable {
            self.init(.unreachable(reason), .v4(ip.source), quote)
        } else {
            return nil
        }
    }

    private init?(_ ip: IPv6View) {
        guard let upper = ip.upperLayer(), upper.protocolNumber == .icmpv6, !upper.isFragment,
            !ip.source.isMulticast, !ip.source.isUnspecified, !ip.source.isLoopback,
            let message = ICMPv6View(checking: ip.base + upper.offset, count: upper.byteCount),
            message.isChecksumValid(source: ip.source, destination: ip.destination),
            let quote = Quote(ipv6: message.body, count: message.bodyByteCount),
            quote.source == .v6(ip.destination)
        else { return nil }
        // Any code of "packet too big" is taken (RFC 4443 §3.2).
        if message.type == 2 {
            let mtu = Int(message.rest)
            guard mtu >= TooBig.minimumIPv6MTU, mtu < quote.totalLength else { return nil }
            self.init(.tooBig(mtu: mtu), .v6(ip.source), quote)
        } else if let reason = message.unreachable {
            self.init(.unreachable(reason), .v6(ip.source), quote)
        } else {
            return nil
        }
    }

    private init(_ kind: Kind, _ reporter: IPAddress, _ quote: Quote) {
        self.kind = kind
        self.reporter = reporter
        source = quote.source
        destination = quote.destination
        sourcePort = quote.sourcePort
        destinationPort = quote.destinationPort
        vni = quote.vni
    }

    /// No link is smaller (RFC 791 §3.1).
    static let leastIPv4MTU = TooBig.minimumIPv4MTU

    /// RFC 1191 §7.1: the sizes of links there are. For routers older than that RFC, which do not tell theirs.
    static let plateaus = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68]

    /// The largest of them that is smaller than a packet of `byteCount` bytes; 0 when none is.
    static func plateau(below byteCount: Int) -> Int { plateaus.first { $0 < byteCount } ?? 0 }
}

/// A quoted datagram as far as it is quoted.
private struct Quote {
    var source, destination: IPAddress
    var sourcePort: UInt16 = 0
    var destinationPort: UInt16 = 0
    var vni: VNI?
    /// Of the whole packet when it was sent, in bytes.
    let totalLength: Int

    init?(ipv4 base: UnsafeRawPointer, count: Int) {
        guard count >= IPv4View.byteCount else { return nil }
        let headerByteCount = Int(base.byte(at: 0) & 0xf) * 4
        guard base.byte(at: 0) >> 4 == 4, headerByteCount >= IPv4View.byteCount,
            base.byte(at: 9) == IPProtocol.udp.rawValue, base.bigEndian16(at: 6) & 0x1fff == 0
        else { return nil }
        totalLength = Int(base.bigEndian16(at: 2))
        source = .v4(IPv4Address(loading: base + 12))
        destination = .v4(IPv4Address(loading: base + 16))
        guard readDatagram(base, at: headerByteCount, count) else { return nil }
    }

    /// We send no extension headers.
    init?(ipv6 base: UnsafeRawPointer, count: Int) {
        guard count >= IPv6View.byteCount, base.byte(at: 0) >> 4 == 6,
            base.byte(at: 6) == IPProtocol.udp.rawValue
        else { return nil }
        totalLength = IPv6View.byteCount + Int(base.bigEndian16(at: 4))
        source = .v6(IPv6Address(loading: base + 8))
        destination = .v6(IPv6Address(loading: base + 24))
        guard readDatagram(base, at: IPv6View.byteCount, count) else { return nil }
    }

    /// The ports, and the VNI when it is there. False when this is no VXLAN datagram.
    private mutating func readDatagram(_ base: UnsafeRawPointer, at offset: Int, _ count: Int) -> Bool {
        let leastByteCount = UDPView.byteCount + VXLANView.byteCount
        guard offset + UDPView.byteCount <= count, offset + leastByteCount <= totalLength,
            Int(base.bigEndian16(at: offset + 4)) == totalLength - offset
        else { return false }
        sourcePort = base.bigEndian16(at: offset)
        destinationPort = base.bigEndian16(at: offset + 2)
        let vxlan = offset + UDPView.byteCount
        guard let view = VXLANView(checking: base + vxlan, count: count - vxlan) else { return true }
        guard let header = VXLANHeader.parse(view) else { return false }
        vni = header.vni
        return true
    }
}

extension IPv4Address {
    /// An address that a host may speak from.
    fileprivate var isHost: Bool { !isMulticast && !isBroadcast && !isUnspecified && !isLoopback }
}
