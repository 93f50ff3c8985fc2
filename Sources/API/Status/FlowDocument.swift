// One cached decision, in the terms of `ovs-appctl dpctl/dump-flows`: what it matches, what becomes of such
// frames, and how many there were.

import JSON
public import Wire

/// A fragment of an IP packet, or not one.
public enum FlowFragment: String, CaseIterable, Sendable, FieldValue {
    case no, first, later
}

/// The fields a flow matches; those it does not look at are absent.
public struct FlowMatch: Record {
    public var tunnelVNI: Int?
    public var inPort = ""
    public var etherSource: MACMask?
    public var etherDestination: MACMask?
    /// Of the outermost tag; nil when there is none.
    public var vlan: Int?
    public var vlanPriority: Int?
    /// "0x0800"
    public var etherType = ""
    public var networkSource: IPPrefix?
    public var networkDestination: IPPrefix?
    public var ipProtocol: IPProtocol?
    public var dscp: Int?
    public var fragment: FlowFragment?
    /// A number, or one with the bits of it that count.
    public var transportSource: String?
    public var transportDestination: String?
    public var tcpFlags: TCPFlagsMatch?

    public init() {}

    public static let schema = Schema<FlowMatch>(
        summary: "The fields a flow matches, under Open vSwitch's names; others may be anything.", .answer,
        example: [
            "in_port": "web1", "eth_src": "02:00:00:00:00:01", "eth_dst": "02:00:00:00:00:02",
            "eth_type": "0x0800", "ip_frag": "no",
        ]
    ) {
        Field("tun_id", \.tunnelVNI, as: .count, doc: "VNI it came in with.", example: 100)
        Field(
            "in_port", \.inPort, as: .prose, doc: "Port or tunnel; the bridge's own name is its local port.",
            example: "web1")
        Field("eth_src", \.etherSource, doc: "Source MAC address.", example: "02:00:00:00:00:01")
        Field("eth_dst", \.etherDestination, doc: "Destination MAC address.", example: "02:00:00:00:00:02")
        Field(
            "vlan_vid", \.vlan, as: .count,
            doc: "VLAN of the outermost tag, 0 in one of priority only; absent for untagged frames.",
            example: 7)
        Field("vlan_pcp", \.vlanPriority, as: .count, doc: "Priority of that tag.", example: 0)
        Field(
            "eth_type", \.etherType, as: .prose,
            doc: "EtherType behind VLAN tags; 0x05ff for a frame with a length in its place.",
            example: "0x0800")
        Field("ip_src", \.networkSource, as: .matched, doc: "Source, or ARP's sender.", example: "10.0.0.0/8")
        Field(
            "ip_dst", \.networkDestination, as: .matched, doc: "Destination, or ARP's target.",
            example: "10.0.0.7")
        Field("ip_proto", \.ipProtocol, doc: "Of IP; ARP's operation.", example: "tcp")
        Field("ip_dscp", \.dscp, as: .count, doc: "DSCP.", example: 0)
        Field("ip_frag", \.fragment, doc: "Of IP: no, the first or a later fragment.", example: "no")
        Field(
            "tp_src", \.transportSource, as: .prose,
            doc: "Source port, with a mask if not all bits count; ICMP type.",
            example: "80")
        Field(
            "tp_dst", \.transportDestination, as: .prose, doc: "Destination port likewise; ICMP code.",
            example: "0x0050/0xfff0")
        Field("tcp_flags", \.tcpFlags, doc: "Flags that are set (+) and not (-).", example: "+syn-ack")
    }

    /// An EtherType as text: hexadecimal behind 0x, else decimal.
    static func number(_ text: String) -> UInt16? {
        text.lowercased().hasPrefix("0x") ? UInt16(text.dropFirst(2), radix: 16) : UInt16(text)
    }

    /// "in_port(web1),eth(src=…,dst=…),eth_type(0x0800),ipv4(frag=no)"
    public var text: String {
        var parts = tunnelVNI.map { ["tunnel(tun_id=0x\(String($0, radix: 16)))"] } ?? []
        parts.append("in_port(\(inPort))")
        func add(_ name: String, _ fields: [(String, String?)]) {
            let given = fields.compactMap { field, value in value.map { "\(field)=\($0)" } }
            if !given.isEmpty { parts.append("\(name)(\(given.joined(separator: ",")))") }
        }
        add("eth", [("src", etherSource?.description), ("dst", etherDestination?.description)])
        add("vlan", [("vid", vlan.map(String.init)), ("pcp", vlanPriority.map(String.init))])
        parts.append("eth_type(\(etherType))")
        let (source, destination) = (networkSource?.matchText, networkDestination?.matchText)
        if etherType == "0x0806" {
            let operation = ipProtocol.map { "\($0.rawValue)" }
            add("arp", [("sip", source), ("tip", destination), ("op", operation)])
            return parts.joined(separator: ",")
        }
        add(
            etherType == "0x86dd" ? "ipv6" : "ipv4",
            [
                ("src", source), ("dst", destination), ("proto", ipProtocol.map { "\($0.rawValue)" }),
                ("dscp", dscp.map(String.init)), ("frag", fragment?.rawValue),
            ])
        let isICMP = ipProtocol == .icmp || ipProtocol == .icmpv6
        add(
            ipProtocol?.name ?? "tp",
            [
                (isICMP ? "type" : "src", transportSource), (isICMP ? "code" : "dst", transportDestination),
            ])
        if let tcpFlags { parts.append("tcp_flags(\(tcpFlags))") }
        return parts.joined(separator: ",")
    }
}

extension IPPrefix {
    /// As rules and flows have it: an address where every bit counts.
    var matchText: String { length == address.bitCount ? "\(address)" : "\(self)" }
}

public struct FlowDocument: Record {
    public var bridge = ""
    public var match = FlowMatch()
    public var packets = 0
    public var bytes = 0
    public var usedSeconds = 0.0
    public var rules: [String] = []
    public var actions: [String] = []

    public init() {}

    public static let schema = Schema<FlowDocument>(summary: "One cached decision.", .answer) {
        Field("bridge", \.bridge, as: .prose, doc: "The bridge of in_port.", example: "br0")
        Field("match", \.match, as: .record, doc: "What it matches.")
        Field(
            "match_text", computed: \.match.text, as: .prose, doc: "The same as one line.",
            example: .string(
                "in_port(web1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),"
                    + "eth_type(0x0800),ipv4(frag=no)"))
        Field(
            "packets", \.packets, as: .count, doc: "Frames that went this way; a superframe is one.",
            example: 12)
        Field("bytes", \.bytes, as: .count, doc: "Of those, from the Ethernet header on.", example: 1176)
        Field("used_seconds", \.usedSeconds, as: .number, doc: "Since the last of them.", example: 0.25)
        Field(
            "rules", \.rules, as: .answerList(of: .prose), doc: "The rules its frames follow, in order.",
            example: ["to-proxy"])
        Field(
            "actions", \.actions, as: .answerList(of: .prose),
            doc:
                "What rules do, in order, such as set(ipv4(dst=…)) and push_vlan(vid=…), then output(…) by one port, "
                + "flood(…) to all of these, or drop(reason). \"decide\": its next frame is decided anew, since a "
                + "port or a rule has changed.",
            example: ["output(vxlan1 vni=7 remote_ip=10.0.0.2)"])
        Field(
            "actions_text", computed: \.actionsText, as: .prose, doc: "The same as one line.",
            example: "output(vxlan1 vni=7 remote_ip=10.0.0.2)")
    }

    public var actionsText: String { actions.joined(separator: ",") }

    /// A line of `ovs-appctl dpctl/dump-flows`.
    public var text: String {
        let tenths = Int((usedSeconds * 10).rounded())
        return "\(match.text), packets:\(packets), bytes:\(bytes), used:\(tenths / 10).\(tenths % 10)s, "
            + "actions:\(actionsText)"
    }
}

extension FlowDocument {
    public static let path = "/v1/flows"

    public static let bridgeFilter = Filter("bridge", as: .text(.name), "Name of a bridge.")
    public static let inPortFilter = Filter(
        "in_port", as: .text(.name), "Port or tunnel, or the bridge's own name.")
    public static let sourceFilter = Filter<MACAddress>("eth_src", "A MAC address.")
    public static let destinationFilter = Filter<MACAddress>("eth_dst", "A MAC address.")
    public static let etherTypeFilter = Filter(
        "eth_type",
        as: Codec<UInt16>.text(
            wanted: "an EtherType such as 0x0800 or 2048",
            jsonSchema: ["type": "string", "pattern": "^(0[xX][0-9A-Fa-f]{1,4}|[0-9]{1,5})$"],
            example: "0x0800", parse: { FlowMatch.number($0) }, print: { "0x" + String($0, radix: 16) }),
        "A number, such as 0x0800.")

    public static let vlanFilter = Filter(
        "vlan_vid", as: .integer(VLANMatch.ids), "VLAN of the outermost tag.")
    public static let vniFilter = Filter<VNI>("tun_id", "VNI it came in with.")
    public static let ipSourceFilter = Filter<IPAddress>("ip_src", "An address that the flow looks at.")
    public static let ipDestinationFilter = Filter<IPAddress>("ip_dst", "An address that the flow looks at.")
    public static let protocolFilter = Filter<IPProtocol>(
        "ip_proto", "That the flow looks at, by name or number.")
    public static let transportSourceFilter = Filter(
        "tp_src", as: .integer(0...65535), "A port that the flow looks at.")
    public static let transportDestinationFilter = Filter(
        "tp_dst", as: .integer(0...65535), "A port that the flow looks at.")
    public static let ruleFilter = Filter("rule", as: .text(.name), "Name of a rule that its frames follow.")

    static let filters = [
        bridgeFilter.query, inPortFilter.query, sourceFilter.query, destinationFilter.query,
        etherTypeFilter.query, vlanFilter.query, vniFilter.query, ipSourceFilter.query,
        ipDestinationFilter.query, protocolFilter.query, transportSourceFilter.query,
        transportDestinationFilter.query, ruleFilter.query,
    ]

    static let operations: [Operation] = [
        Operation(
            .listFlows, .get, path, tag: "datapath", summary: "List the cached decisions, by port.",
            query: [.limit, .pageToken] + filters,
            answers: [
                .init(
                    200,
                    .jsonOrText(SchemaReference(List<FlowDocument>.self), Operations.plainMediaType))
            ], problems: Operation.serviceProblems),
        Operation(
            .flushFlows, .delete, path, tag: "datapath",
            summary: "Forget every cached decision and its counters; the next frames are decided anew.",
            answers: [.init(204, .empty)], problems: Operation.serviceProblems.union([.timeout])),
    ]
}
