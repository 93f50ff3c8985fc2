// What becomes of the frames a rule matches: a list of steps, each an object with one member. The steps are Open
// vSwitch's (ovs-actions(7)), in words that a JSON object can have.

import JSON
public import Wire

/// VNI and VTEP of the outputs that follow.
public struct TunnelChoice: Record {
    public var vni = VNI(truncating: 0)
    /// Nil leaves it to the tunnel that is put out to.
    public var remoteIP: IPAddress?

    public init() {}

    public static let schema = Schema<TunnelChoice>(
        summary: "What outputs that follow put on the wire, by tunnels whose vni is \"flow\"."
    ) {
        Field("vni", \.vni, doc: "VXLAN network identifier.", example: 100, required: true)
        Field(
            "remote_ip", \.remoteIP, as: .endpoint,
            doc:
                "Of a tunnel of the bridge whose vni is \"flow\": that one is taken, whichever the output names.",
            example: "192.0.2.7")
    }
}

/// Header fields to be written, in the order of the fields.
public struct FieldChange: Record {
    public var etherSource: MACAddress?
    public var etherDestination: MACAddress?
    public var vlan: Int?
    public var vlanPriority: Int?
    public var networkSource: IPAddress?
    public var networkDestination: IPAddress?
    public var dscp: Int?
    public var timeToLive: Int?
    public var sourcePort: Int?
    public var destinationPort: Int?

    public init() {}

    public static let schema = Schema<FieldChange>(
        summary: "Header fields to be written; checksums follow.", memberCount: 1...10,
        example: ["eth_dst": "02:00:00:00:00:02", "ip_dst": "192.0.2.9", "tp_dst": 8080]
    ) {
        Field("eth_src", \.etherSource, doc: "Source MAC address.", example: "02:00:00:00:00:01")
        Field("eth_dst", \.etherDestination, doc: "Destination MAC address.", example: "02:00:00:00:00:02")
        Field(
            "vlan_vid", \.vlan, range: VLANMatch.ids, doc: "VLAN of the outermost tag. Wants a tagged frame.",
            example: 20)
        Field(
            "vlan_pcp", \.vlanPriority, range: 0...7, doc: "Priority of that tag. Wants a tagged frame.",
            example: 5)
        Field(
            "ip_src", \.networkSource, doc: "Source address. Wants a match of its family.",
            example: "192.0.2.9")
        Field(
            "ip_dst", \.networkDestination, doc: "Destination address. Wants a match of its family.",
            example: "192.0.2.9")
        Field("ip_dscp", \.dscp, range: 0...63, doc: "DSCP. Wants a match of IP.", example: 46)
        Field(
            "ip_ttl", \.timeToLive, range: 1...255, doc: "TTL or hop limit. Wants a match of IP.", example: 64
        )
        Field(
            "tp_src", \.sourcePort, range: 0...65535, doc: "Source port. Wants ip_proto tcp, udp or sctp.",
            example: 1024)
        Field(
            "tp_dst", \.destinationPort, range: 0...65535,
            doc: "Destination port. Wants ip_proto tcp, udp or sctp.", example: 8080)
    }
}

/// A tag put in front of those there are.
public struct NewTag: Record {
    public var vlan = 0
    public var priority = 0

    public init() {}

    public static let schema = Schema<NewTag>(summary: "An 802.1Q tag to be added as the outermost.") {
        Field("vid", \.vlan, range: VLANMatch.ids, doc: "VLAN.", example: 20, required: true)
        Field("pcp", \.priority, range: 0...7, doc: "Priority.", example: 0)
    }
}

/// A token bucket.
public struct Policer: Record {
    public var rate = 1
    public var burst = 8000

    public init() {}

    public static let schema = Schema<Policer>(
        summary: "Frames beyond a rate are dropped. All workers and all frames of the rule share it."
    ) {
        Field("rate", \.rate, range: 1...100_000_000, doc: "In kbit/s.", example: 10_000, required: true)
        Field(
            "burst", \.burst, range: 1...10_000_000, doc: "What may come at once, in kbit.", example: 1000)
    }
}

/// One step: exactly one of the members.
public struct RuleAction: Record {
    public var output: String?
    public var normal: Bool?
    public var drop: Bool?
    public var tunnel: TunnelChoice?
    public var change: FieldChange?
    public var pushTag: NewTag?
    public var popTag: Bool?
    public var decrementTimeToLive: Bool?
    public var mirror: String?
    public var police: Policer?
    public var table: Int?

    public init() {}

    public static let schema = Schema<RuleAction>(
        summary: "One step of a rule: an object with exactly one member.", memberCount: 1...1,
        example: ["output": "vxlan1"]
    ) {
        Field(
            "output", \.output, as: .text(.name),
            doc: "Send a copy by this port or tunnel; the bridge's own name is its local port.",
            example: "vxlan1")
        Field(
            "normal", \.normal, as: .onlyTrue, doc: "Switch it as without rules. Only as the last step.",
            example: true)
        Field("drop", \.drop, as: .onlyTrue, doc: "No further. Only as the last step.", example: true)
        Field(
            "set_tunnel", \.tunnel, as: .record, doc: "VNI, and maybe VTEP, of tunnel outputs that follow.")
        Field("set_field", \.change, as: .record, doc: "Write header fields.")
        Field("push_vlan", \.pushTag, as: .record, doc: "Add a tag.")
        Field(
            "pop_vlan", \.popTag, as: .onlyTrue, doc: "Take the outermost tag off. Wants a tagged frame.",
            example: true)
        Field(
            "dec_ttl", \.decrementTimeToLive, as: .onlyTrue,
            doc: "One off the TTL or hop limit; the frame is dropped at 0. Wants a match of IP.",
            example: true)
        Field(
            "mirror", \.mirror, as: .text(.name),
            doc: "Send a copy as it is here by this port or tunnel, and go on as if nothing had been sent.",
            example: "probe1")
        Field("police", \.police, as: .record, doc: "Drop what is beyond a rate.")
        Field(
            "goto_table", \.table, range: 0...Rule.lastTable,
            doc: "Go on with the rules of a later table. Only as the last step.", example: 1)
    }

    /// Ends a rule's list.
    var isLast: Bool { normal != nil || drop != nil || table != nil }

    /// The name of its member.
    var word: String { json.keys.first ?? "" }

    /// The port or tunnel it names.
    public var port: String? { output ?? mirror }
}
