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
    public var inPort = ""
    public var etherSource: MACAddress?
    public var etherDestination = MACAddress.zero
    /// "0x0800"
    public var etherType = ""
    public var fragment: FlowFragment?

    public init() {}

    public static let schema = Schema<FlowMatch>(
        summary: "The fields a flow matches, under Open vSwitch's names; others may be anything.", .answer
    ) {
        Field(
            "in_port", \.inPort, as: .prose, doc: "Port or tunnel; the bridge's own name is its local port.",
            example: "web1")
        Field("eth_src", \.etherSource, doc: "Source MAC address.", example: "02:00:00:00:00:01")
        Field("eth_dst", \.etherDestination, doc: "Destination MAC address.", example: "02:00:00:00:00:02")
        Field(
            "eth_type", \.etherType, as: .prose,
            doc: "EtherType behind VLAN tags; 0x05ff for a frame with a length in its place.",
            example: "0x0800")
        Field("ip_frag", \.fragment, doc: "Of IP: no, the first or a later fragment.", example: "no")
    }

    /// An EtherType as text: hexadecimal behind 0x, else decimal.
    static func number(_ text: String) -> UInt16? {
        text.lowercased().hasPrefix("0x") ? UInt16(text.dropFirst(2), radix: 16) : UInt16(text)
    }

    /// "in_port(web1),eth(src=…,dst=…),eth_type(0x0800),ipv4(frag=no)"
    public var text: String {
        let source = etherSource.map { "src=\($0)," } ?? ""
        var text = "in_port(\(inPort)),eth(\(source)dst=\(etherDestination)),eth_type(\(etherType))"
        if let fragment {
            text += ",\(etherType == "0x86dd" ? "ipv6" : "ipv4")(frag=\(fragment.rawValue))"
        }
        return text
    }
}

public struct FlowDocument: Record {
    public var bridge = ""
    public var match = FlowMatch()
    public var packets = 0
    public var bytes = 0
    public var usedSeconds = 0.0
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
            "actions", \.actions, as: .answerList(of: .prose),
            doc: "output(…) by one port, flood(…) to all of these, or drop(reason). \"decide\": the port it "
                + "left by is gone, and its next frame is decided anew.",
            example: ["output(vxlan1 vni=7 remote_ip=10.0.0.2)"])
        Field(
            "actions_text", computed: \.actionsText, as: .prose, doc: "The same as one line.",
            example: "output(vxlan1 vni=7 remote_ip=10.0.0.2)")
    }

    public var actionsText: String { actions.joined(separator: ",") }
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

    static let operations: [Operation] = [
        Operation(
            .listFlows, .get, path, tag: "datapath", summary: "List the cached decisions, by port.",
            query: [
                .limit, .pageToken, bridgeFilter.query, inPortFilter.query, sourceFilter.query,
                destinationFilter.query, etherTypeFilter.query,
            ],
            answers: [.init(200, .json(List<FlowDocument>.self))], problems: Operation.serviceProblems),
        Operation(
            .flushFlows, .delete, path, tag: "datapath",
            summary: "Forget every cached decision and its counters; the next frames are decided anew.",
            answers: [.init(204, .empty)], problems: Operation.serviceProblems.union([.timeout])),
    ]
}
