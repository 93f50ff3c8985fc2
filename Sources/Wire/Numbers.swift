// Owns: the assigned numbers that select the next header: EtherType and IP protocol.

/// The two bytes after an Ethernet or 802.1Q header. Below 0x0600 they are an 802.3 length instead.
@frozen
public struct EtherType: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt16

    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    @inlinable public static var ipv4: EtherType { EtherType(rawValue: 0x0800) }
    @inlinable public static var arp: EtherType { EtherType(rawValue: 0x0806) }
    /// IEEE 802.1Q customer tag.
    @inlinable public static var vlan: EtherType { EtherType(rawValue: 0x8100) }
    /// IEEE 802.1ad service tag.
    @inlinable public static var serviceVLAN: EtherType { EtherType(rawValue: 0x88a8) }
    @inlinable public static var ipv6: EtherType { EtherType(rawValue: 0x86dd) }

    /// An 802.3 frame length, not a type (IEEE 802.3 §3.2.6).
    @inlinable public var isLength: Bool { rawValue < 0x0600 }
    /// Followed by a tag: `vlan` or `serviceVLAN`.
    @inlinable public var isVLAN: Bool { rawValue == 0x8100 || rawValue == 0x88a8 }

    @inlinable public static func == (left: EtherType, right: EtherType) -> Bool {
        left.rawValue == right.rawValue
    }

    public var description: String {
        switch self {
        case .ipv4: "IPv4"
        case .arp: "ARP"
        case .vlan: "802.1Q"
        case .serviceVLAN: "802.1ad"
        case .ipv6: "IPv6"
        default: "0x" + Hexadecimal.text(UInt64(rawValue), digits: 4)
        }
    }
}

/// The IPv4 protocol and IPv6 next-header number space (IANA "Protocol Numbers").
@frozen
public struct IPProtocol: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt8

    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// IPv6 hop-by-hop options (RFC 8200 §4.3).
    @inlinable public static var hopByHopOptions: IPProtocol { IPProtocol(rawValue: 0) }
    @inlinable public static var icmp: IPProtocol { IPProtocol(rawValue: 1) }
    @inlinable public static var igmp: IPProtocol { IPProtocol(rawValue: 2) }
    @inlinable public static var tcp: IPProtocol { IPProtocol(rawValue: 6) }
    @inlinable public static var udp: IPProtocol { IPProtocol(rawValue: 17) }
    /// IPv6 routing header (RFC 8200 §4.4).
    @inlinable public static var routing: IPProtocol { IPProtocol(rawValue: 43) }
    /// IPv6 fragment header (RFC 8200 §4.5).
    @inlinable public static var fragment: IPProtocol { IPProtocol(rawValue: 44) }
    /// Encapsulating security payload: what follows is not readable (RFC 4303).
    @inlinable public static var encapsulatingSecurity: IPProtocol { IPProtocol(rawValue: 50) }
    /// Authentication header (RFC 4302).
    @inlinable public static var authentication: IPProtocol { IPProtocol(rawValue: 51) }
    @inlinable public static var icmpv6: IPProtocol { IPProtocol(rawValue: 58) }
    /// IPv6: nothing follows (RFC 8200 §4.7).
    @inlinable public static var noNextHeader: IPProtocol { IPProtocol(rawValue: 59) }
    /// IPv6 destination options (RFC 8200 §4.6).
    @inlinable public static var destinationOptions: IPProtocol { IPProtocol(rawValue: 60) }
    @inlinable public static var sctp: IPProtocol { IPProtocol(rawValue: 132) }

    @inlinable public static func == (left: IPProtocol, right: IPProtocol) -> Bool {
        left.rawValue == right.rawValue
    }

    public var description: String {
        switch self {
        case .icmp: "ICMP"
        case .igmp: "IGMP"
        case .tcp: "TCP"
        case .udp: "UDP"
        case .encapsulatingSecurity: "ESP"
        case .icmpv6: "ICMPv6"
        case .noNextHeader: "none"
        case .sctp: "SCTP"
        default: "protocol \(rawValue)"
        }
    }
}
