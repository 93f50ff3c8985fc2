// Which frames a rule is about. Field names and prerequisites are Open vSwitch's (ovs-fields(7)): a field of a header
// wants those fields beside it that say a frame has that header.

import JSON
public import Wire

public struct RuleMatch: Record {
    /// A port or tunnel of the bridge, or the bridge's own name.
    public var inPort: String?
    public var etherSource: MACMask?
    public var etherDestination: MACMask?
    public var etherType: EtherType?
    public var vlan: VLANMatch?
    public var vlanPriority: Int?
    public var networkSource: IPPrefix?
    public var networkDestination: IPPrefix?
    public var ipProtocol: IPProtocol?
    public var dscp: Int?
    public var fragment: FragmentMatch?
    public var sourcePorts: TransportPorts?
    public var destinationPorts: TransportPorts?
    public var tcpFlags: TCPFlagsMatch?
    public var icmpType: Int?
    public var icmpCode: Int?
    public var arpOperation: Int?
    public var arpSender: IPPrefix?
    public var arpTarget: IPPrefix?
    public var arpSenderMAC: MACAddress?
    public var arpTargetMAC: MACAddress?
    public var tunnelVNI: VNI?
    public var tunnelSource: IPAddress?

    public init() {}

    public static let schema = Schema<RuleMatch>(
        summary: "The fields a frame must have, under Open vSwitch's names; others may be anything.",
        example: ["in_port": "web1", "ip_dst": "10.0.0.0/8", "ip_proto": "tcp", "tp_dst": "80-443"]
    ) {
        Field(
            "in_port", \.inPort, as: .text(.name),
            doc: "Port or tunnel it came in by; the bridge's own name is its local port.", example: "web1")
        Field("eth_src", \.etherSource, doc: "Source MAC address.", example: "02:00:00:00:00:01")
        Field(
            "eth_dst", \.etherDestination, doc: "Destination MAC address.",
            example: "01:00:00:00:00:00/01:00:00:00:00:00")
        Field(
            "eth_type", \.etherType,
            doc: "EtherType behind VLAN tags. Addresses (ip_src, ip_dst, arp_…) and icmp say it too.",
            example: "0x0800")
        Field(
            "vlan_vid", \.vlan,
            doc: "VLAN of the outermost tag as the frame came in, \"none\" for untagged, \"any\" for tagged.",
            example: 10)
        Field(
            "vlan_pcp", \.vlanPriority, range: 0...7, doc: "Priority of that tag; says that there is one.",
            example: 5)
        Field("ip_src", \.networkSource, as: .matched, doc: "Source address.", example: "10.0.0.0/8")
        Field(
            "ip_dst", \.networkDestination, as: .matched, doc: "Destination address.", example: "2001:db8::7")
        Field(
            "ip_proto", \.ipProtocol,
            doc: "Of IPv4 or IPv6, by name or number. Wants eth_type or an address beside it.", example: "tcp"
        )
        Field("ip_dscp", \.dscp, range: 0...63, doc: "DSCP. Wants eth_type or an address.", example: 46)
        Field(
            "ip_frag", \.fragment,
            doc:
                "no: the whole packet. yes: a fragment. not_later: what has a transport header. Wants eth_type "
                + "or an address.", example: "no")
        Field(
            "tp_src", \.sourcePorts, doc: "Source port. Wants ip_proto tcp, udp or sctp.",
            example: "1024-65535")
        Field(
            "tp_dst", \.destinationPorts, doc: "Destination port. Wants ip_proto tcp, udp or sctp.",
            example: 80)
        Field(
            "tcp_flags", \.tcpFlags, doc: "Flags that are set (+) or not (-). Says ip_proto tcp.",
            example: "+syn-ack")
        Field(
            "icmp_type", \.icmpType, range: 0...255, doc: "Wants ip_proto icmp or icmpv6.", example: 8)
        Field(
            "icmp_code", \.icmpCode, range: 0...255, doc: "Wants ip_proto icmp or icmpv6.", example: 0)
        Field(
            "arp_op", \.arpOperation, range: 1...255, doc: "1 for a request, 2 for a reply.", example: 1)
        Field(
            "arp_spa", \.arpSender, as: .matchedIPv4, doc: "ARP sender's IPv4 address.", example: "10.0.0.1")
        Field(
            "arp_tpa", \.arpTarget, as: .matchedIPv4, doc: "ARP target's IPv4 address.", example: "10.0.0.0/8"
        )
        Field("arp_sha", \.arpSenderMAC, doc: "ARP sender's MAC address.", example: "02:00:00:00:00:01")
        Field("arp_tha", \.arpTargetMAC, doc: "ARP target's MAC address.", example: "00:00:00:00:00:00")
        Field("tun_id", \.tunnelVNI, doc: "VNI it came in with; 0 from a local port.", example: 100)
        Field(
            "tun_src", \.tunnelSource, as: .endpoint,
            doc: "VTEP it came from: any tunnel with this remote_ip.",
            example: "192.0.2.7")
    }

    // MARK: - What the fields say together

    /// The EtherType all frames that match have, as written or as other fields say it; nil: they may differ.
    public var impliedEtherType: EtherType? { etherType ?? etherTypeClaims.first?.type }

    /// The same of the protocol of IP.
    public var impliedProtocol: IPProtocol? { ipProtocol ?? (tcpFlags == nil ? nil : .tcp) }

    /// Whether all frames that match have a tag, or none has; nil: they may differ.
    public var isTagged: Bool? {
        switch vlan {
        case .some(.none): false
        case .any, .id: true
        case nil: vlanPriority == nil ? nil : true
        }
    }

    var isIP: Bool { impliedEtherType == .ipv4 || impliedEtherType == .ipv6 }
    var hasPorts: Bool { impliedProtocol.map { [.tcp, .udp, .sctp].contains($0) } ?? false }

    /// The fields that can only be of one EtherType.
    private var etherTypeClaims: [(field: String, type: EtherType)] {
        var claims: [(field: String, type: EtherType)] = []
        func claim(_ field: String, _ isGiven: Bool, _ type: EtherType) {
            if isGiven { claims.append((field, type)) }
        }
        for (field, prefix) in [("ip_src", networkSource), ("ip_dst", networkDestination)] {
            claim(field, prefix != nil, prefix?.address.isIPv4 == true ? .ipv4 : .ipv6)
        }
        claim("ip_proto", ipProtocol == .icmp, .ipv4)
        claim("ip_proto", ipProtocol == .icmpv6, .ipv6)
        claim("arp_op", arpOperation != nil, .arp)
        claim("arp_spa", arpSender != nil, .arp)
        claim("arp_tpa", arpTarget != nil, .arp)
        claim("arp_sha", arpSenderMAC != nil, .arp)
        claim("arp_tha", arpTargetMAC != nil, .arp)
        return claims
    }

    public func crossFieldErrors() -> [FieldError] {
        var errors: [FieldError] = []
        func refuse(_ field: String, wanted: String, found: String) {
            errors.append(
                FieldError(at: JSONPointer().appending(field), .notAllowed, wanted: wanted, found: found))
        }
        let type = impliedEtherType
        let typeFound = type.map { "eth_type \(EtherType.codec.encode($0))" } ?? "no eth_type"
        for claim in etherTypeClaims where claim.type != type {
            let wanted = EtherType.codec.encode(claim.type)
            refuse(claim.field, wanted: "eth_type \(wanted) beside it, as it says itself", found: typeFound)
        }
        let ofIP = [
            ("ip_proto", ipProtocol != nil), ("ip_dscp", dscp != nil), ("ip_frag", fragment != nil),
            ("tcp_flags", tcpFlags != nil),
        ]
        // What clashes has been said.
        if errors.isEmpty, !isIP, let field = ofIP.first(where: \.1)?.0 {
            refuse(
                field, wanted: "eth_type \"0x0800\" or \"0x86dd\", or ip_src or ip_dst, beside it",
                found: typeFound)
        }
        let protocolFound = impliedProtocol.map { "ip_proto \(IPProtocol.codec.encode($0))" } ?? "no ip_proto"
        for (field, isGiven) in [("tp_src", sourcePorts != nil), ("tp_dst", destinationPorts != nil)]
        where isGiven {
            if !hasPorts {
                refuse(field, wanted: "ip_proto tcp, udp or sctp beside it", found: protocolFound)
            }
        }
        if tcpFlags != nil, impliedProtocol != .tcp {
            refuse("tcp_flags", wanted: "ip_proto tcp, or none, beside it", found: protocolFound)
        }
        for (field, isGiven) in [("icmp_type", icmpType != nil), ("icmp_code", icmpCode != nil)]
        where isGiven && impliedProtocol != .icmp && impliedProtocol != .icmpv6 {
            refuse(field, wanted: "ip_proto icmp or icmpv6 beside it", found: protocolFound)
        }
        // As the flow table has it, a fragment has neither, not even the first.
        let ofTransport = [
            ("tp_src", sourcePorts != nil), ("tp_dst", destinationPorts != nil),
            ("tcp_flags", tcpFlags != nil),
            ("icmp_type", icmpType != nil), ("icmp_code", icmpCode != nil),
        ]
        if let fragment, [.yes, .first, .later].contains(fragment) {
            for (field, isGiven) in ofTransport where isGiven {
                refuse(
                    field, wanted: "ip_frag no or not_later, or none, beside it",
                    found: "\"\(fragment.rawValue)\"")
            }
        }
        if vlanPriority != nil, vlan == .some(.none) {
            refuse("vlan_pcp", wanted: "no vlan_vid none beside it", found: "\"none\"")
        }
        return errors
    }
}
