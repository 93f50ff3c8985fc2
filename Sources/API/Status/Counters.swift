// What a port, a tunnel or a bridge's local port has counted since the agent started.

import JSON

public struct Counters: Record {
    public var rxPackets = 0
    public var rxBytes = 0
    public var rxDropped = 0
    public var txPackets = 0
    public var txBytes = 0
    public var txDropped = 0
    public var rxForwarded = 0
    public var rxCopies = 0
    public var icmpGenerated = 0
    public var neighAnswered = 0
    public var punted = 0
    public var originated = 0
    /// By the datapath's names of the reasons. Zeros are not written.
    public var drops: [String: Int] = [:]

    public init() {}

    public static let schema = Schema<Counters>(
        summary: "Counts since the agent started. Received is seen from the bridge: it came in by the port.",
        .answer
    ) {
        Field("rx_packets", \.rxPackets, as: .count, doc: "Packets that came in.", example: 12)
        Field(
            "rx_bytes", \.rxBytes, as: .count, doc: "Bytes that came in, from the Ethernet header on.",
            example: 1176)
        Field(
            "rx_dropped", \.rxDropped, as: .count, doc: "Packets that came in and went nowhere.", example: 1)
        Field("tx_packets", \.txPackets, as: .count, doc: "Packets that went out.", example: 11)
        Field(
            "tx_bytes", \.txBytes, as: .count, doc: "Bytes that went out, from the Ethernet header on.",
            example: 1078)
        Field(
            "tx_dropped", \.txDropped, as: .count, doc: "Copies that were due out and were not sent.",
            example: 0)
        Field(
            "rx_forwarded", \.rxForwarded, as: .count,
            doc:
                "Packets that came in and were delivered at least once; the rest are rx_dropped, neigh_answered and "
                + "punted.",
            example: 11)
        Field(
            "rx_copies", \.rxCopies, as: .count,
            doc: "What those packets became: one per port they left by, or per segment of one that was cut.",
            example: 13)
        Field(
            "icmp_generated", \.icmpGenerated, as: .count,
            doc: "ICMP errors sent back: fragmentation needed and packet too big.", example: 0)
        Field(
            "neigh_answered", \.neighAnswered, as: .count,
            doc: "ARP requests and neighbour solicitations that ended here, each in one answer.", example: 0)
        Field(
            "punted", \.punted, as: .count, doc: "Packets that came in for the agent itself: BFD.", example: 0
        )
        Field(
            "originated", \.originated, as: .count, doc: "Packets the agent itself sent, or tried to: BFD.",
            example: 0)
        Field(
            "drops", \.drops, as: .counts, doc: "Dropped packets by reason; only reasons that occurred.",
            example: ["unknown_vni": 1])
    }
}
