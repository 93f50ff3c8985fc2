// A frame described by its header fields, under the names rules and flows have for them.

import JSON
public import Wire

public struct TraceFields: Record {
    /// Bytes of payload: what a packet of 64 KiB has room for behind the longest headers.
    public static let payloadLimit = 65_000

    public var etherSource = MACAddress.zero
    public var etherDestination = MACAddress.zero
    /// Nil: what the other fields imply.
    public var etherType: EtherType?
    public var vlanVID: Int?
    public var vlanPCP = 0
    public var source: IPAddress?
    public var destination: IPAddress?
    public var ipProtocol: IPProtocol?
    public var dscp = 0
    public var ecn = 0
    public var ttl = 64
    public var doNotFragment = true
    public var sourcePort: Int?
    public var destinationPort: Int?
    public var tcpFlags: TCPFlags?
    public var icmpType: Int?
    public var icmpCode: Int?
    public var arpOperation: Int?
    public var arpSenderIP: IPAddress?
    public var arpTargetIP: IPAddress?
    public var arpSenderMAC: MACAddress?
    public var arpTargetMAC: MACAddress?
    public var payloadByteCount = 0
    /// Nil for a frame that is complete.
    public var segmentByteCount: Int?

    public init() {}

    public static let schema = Schema<TraceFields>(
        summary: "A frame by its fields. Lengths and checksums follow; what is not given is 0 or implied."
    ) {
        Field("eth_src", \.etherSource, doc: "Source MAC address.", example: "02:00:00:00:00:01")
        Field("eth_dst", \.etherDestination, doc: "Destination MAC address.", example: "02:00:00:00:00:02")
        Field(
            "eth_type", \.etherType,
            doc: "Default: implied by the other fields, else 0x88b5 (for experiments).", example: "0x0800")
        Field("vlan_vid", \.vlanVID, range: 0...4095, doc: "Puts on an 802.1Q tag.", example: 10)
        Field("vlan_pcp", \.vlanPCP, range: 0...7, doc: "Priority in the tag. Wants vlan_vid.", example: 0)
        Field("ip_src", \.source, doc: "Source address, either family.", example: "198.51.100.1")
        Field(
            "ip_dst", \.destination, doc: "Destination address, of the same family.", example: "198.51.100.2")
        Field(
            "ip_proto", \.ipProtocol,
            doc: "A name or a number. Default: implied by tcp_flags; else 0.", example: "icmp")
        Field("ip_dscp", \.dscp, range: 0...63, doc: "Differentiated services.", example: 0)
        Field("ip_ecn", \.ecn, range: 0...3, doc: "Explicit congestion notification.", example: 0)
        Field("ip_ttl", \.ttl, range: 0...255, doc: "Hops it may still go.", example: 64)
        Field("ip_df", \.doNotFragment, doc: "IPv4's don't fragment.", example: true)
        Field("tp_src", \.sourcePort, range: 0...65535, doc: "Port of TCP, UDP or SCTP.", example: 40000)
        Field("tp_dst", \.destinationPort, range: 0...65535, doc: "Port of TCP, UDP or SCTP.", example: 443)
        Field("tcp_flags", \.tcpFlags, as: .tcpFlags, doc: "Flags that are set.", example: "syn")
        Field("icmp_type", \.icmpType, range: 0...255, doc: "Of ICMP or ICMPv6.", example: 8)
        Field("icmp_code", \.icmpCode, range: 0...255, doc: "Of ICMP or ICMPv6.", example: 0)
        Field("arp_op", \.arpOperation, range: 0...65535, doc: "1 asks, 2 answers.", example: 1)
        Field("arp_spa", \.arpSenderIP, as: .ipv4, doc: "ARP sender's IPv4 address.", example: "198.51.100.1")
        Field("arp_tpa", \.arpTargetIP, as: .ipv4, doc: "ARP target's IPv4 address.", example: "198.51.100.2")
        Field(
            "arp_sha", \.arpSenderMAC, doc: "ARP sender's MAC address. Default: eth_src.",
            example: "02:00:00:00:00:01")
        Field("arp_tha", \.arpTargetMAC, doc: "ARP target's MAC address.", example: "00:00:00:00:00:00")
        Field(
            "payload_length", \.payloadByteCount, range: 0...payloadLimit,
            doc: "Bytes behind the last header, all zero.", example: 56)
        Field(
            "gso_size", \.segmentByteCount, range: 1...65535,
            doc:
                "TCP or UDP payload per segment: the frame is a superframe, its checksum still open, as guests "
                + "hand it over.",
            example: 1400)
    }
}

// MARK: - What fields imply, and what does not go together

extension TraceFields {
    private var isARP: Bool {
        arpOperation != nil || arpSenderIP != nil || arpTargetIP != nil || arpSenderMAC != nil
            || arpTargetMAC != nil
    }

    private var hasTransport: Bool {
        sourcePort != nil || destinationPort != nil || icmpType != nil || icmpCode != nil
    }

    /// What stands in the frame.
    public var impliedEtherType: EtherType {
        if let etherType { return etherType }
        if isARP { return .arp }
        if let address = source ?? destination { return address.isIPv4 ? .ipv4 : .ipv6 }
        if impliedProtocol == .icmpv6 { return .ipv6 }
        return ipProtocol != nil || tcpFlags != nil ? .ipv4 : EtherType(rawValue: 0x88b5)
    }

    /// Nil where nothing says.
    public var impliedProtocol: IPProtocol? {
        ipProtocol ?? (tcpFlags == nil ? nil : .tcp)
    }

    public func crossFieldErrors() -> [FieldError] {
        var errors: [FieldError] = []
        func refuse(_ name: String, _ wanted: String, found: String) {
            errors.append(
                FieldError(at: JSONPointer().appending(name), .notAllowed, wanted: wanted, found: found))
        }
        if let source, let destination, source.isIPv4 != destination.isIPv4 {
            refuse("ip_dst", "an address of ip_src's family", found: "\(destination)")
        }
        if vlanPCP != 0, vlanVID == nil { refuse("vlan_pcp", "vlan_vid with it", found: "\(vlanPCP)") }
        let type = impliedEtherType
        if let address = source ?? destination, type != (address.isIPv4 ? .ipv4 : .ipv6) {
            refuse("eth_type", "that of \(address.isIPv4 ? "IPv4" : "IPv6"), or none", found: "\(type)")
        }
        if isARP, type != .arp { refuse("eth_type", "0x0806 with arp fields, or none", found: "\(type)") }
        if isARP, source != nil || destination != nil || impliedProtocol != nil {
            refuse("arp_op", "no IP fields with ARP's", found: "both")
        }
        let wanted = impliedProtocol
        if sourcePort != nil || destinationPort != nil || segmentByteCount != nil,
            wanted != .tcp && wanted != .udp && (wanted != .sctp || segmentByteCount != nil)
        {
            refuse(
                "ip_proto", "tcp or udp (or sctp) with ports or gso_size",
                found: wanted.map { "\($0)" } ?? "nothing")
        }
        if tcpFlags != nil, wanted != .tcp {
            refuse("tcp_flags", "ip_proto tcp with it", found: "\(wanted.map { "\($0)" } ?? "nothing")")
        }
        if icmpType != nil || icmpCode != nil, wanted != .icmp && wanted != .icmpv6 {
            refuse("icmp_type", "ip_proto icmp or icmpv6 with it", found: wanted.map { "\($0)" } ?? "nothing")
        }
        return errors
    }
}

extension Codec where Value == TCPFlags {
    private static var names: [(String, TCPFlags)] {
        [
            ("fin", .fin), ("syn", .syn), ("rst", .rst), ("psh", .psh), ("ack", .ack), ("urg", .urg),
            ("ece", .ece),
            ("cwr", .cwr),
        ]
    }

    /// "syn", "+syn+ack" or "syn|ack".
    static var tcpFlags: Codec {
        .text(
            wanted: "flags such as \"syn\" or \"+syn+ack\": fin, syn, rst, psh, ack, urg, ece, cwr",
            jsonSchema: ["type": "string", "pattern": "^[+|]?[a-z]+([+|][a-z]+)*$"], example: "syn",
            parse: { text in
                var flags = TCPFlags()
                for word in text.split(whereSeparator: { "+|".contains($0) }) {
                    guard let flag = names.first(where: { $0.0 == word })?.1 else { return nil }
                    flags = flags.union(flag)
                }
                return flags
            },
            print: { flags in names.filter { flags.contains($0.1) }.map { "+\($0.0)" }.joined() })
    }
}

extension Codec where Value == IPAddress {
    static var ipv4: Codec {
        .text(
            wanted: "an IPv4 address", jsonSchema: ["type": "string", "format": "ipv4"], example: "192.0.2.7",
            parse: { text in IPAddress(text).flatMap { $0.isIPv4 ? $0 : nil } }, print: \.description)
    }
}
