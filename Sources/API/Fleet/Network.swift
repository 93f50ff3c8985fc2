// A network: one Ethernet across hosts, under one VNI.

import JSON
public import Wire

/// What becomes of frames to no known address: broadcast, multicast and unknown unicast.
public enum Flooding: String, CaseIterable, Sendable, FieldValue {
    /// One copy to every tunnel (RFC 8365 §5.1 calls it ingress replication).
    case headEndReplication = "head_end_replication"
    /// None to any tunnel: only addresses that are written are reached there.
    case disabled
}

public struct Network: Resource {
    public static let kind = Kind("network", plural: "networks", example: "blue")

    public static let subnetLimit = 16

    /// Nil lets the controller choose one of its range; what it chose stays.
    public var vni: VNI?
    /// Of the hosts' bridges and the guests' ports, in bytes; nil takes what the underlay leaves.
    public var mtu: Int?
    /// Networks attachments have their addresses from; empty: any.
    public var subnets: [IPPrefix] = []
    public var flooding = Flooding.headEndReplication
    /// Agents answer ARP and neighbour solicitations for known addresses.
    public var neighSuppress = true
    public var dstPort = Tunnel.standardPort
    /// Of its tunnels; nil: no liveness.
    public var bfd: BFDSettings?

    public init() {}

    public static let schema = Schema<Network>(
        summary: "One Ethernet across hosts. Its name is the name of the bridge on each of them."
    ) {
        Field(
            "vni", \.vni,
            doc: "VXLAN network identifier. Default: one of the controller's range, which stays.",
            example: 100)
        Field(
            "mtu", \.mtu, range: 68...65521,
            doc: "MTU of the network in bytes. Default: what the underlay of each host leaves.", example: 1450
        )
        Field(
            "subnets", \.subnets, as: .list(of: .subnet, limit: subnetLimit),
            doc: "Networks its attachments have their addresses from. Empty: any address.",
            example: ["198.51.100.0/24"])
        Field(
            "flooding", \.flooding,
            doc:
                "What becomes of broadcast, multicast and unknown unicast frames. head_end_replication: a copy to "
                + "every host of the network. disabled: none leaves the host; only known MAC addresses are reached.",
            example: "head_end_replication")
        Field(
            "neigh_suppress", \.neighSuppress,
            doc: "Agents answer ARP requests and neighbour solicitations for addresses of attachments.",
            example: true)
        Field(
            "dst_port", \.dstPort, range: 1...65535, doc: "UDP port of its tunnels.", example: 4789)
        Field("bfd", \.bfd, as: .record, doc: "Liveness of its tunnels, by BFD. Default: none.")
    }
}

extension Network {
    public typealias Document = API.Document<Network, NetworkStatus>

    public static let vniFilter = Filter<VNI>("vni", "In force.")
    public static let hostFilter = Filter<Name>("host", "Name of a host it has attachments on.")

    static let operations = Operation.standard(
        Network.self, NetworkStatus.self, filters: [vniFilter.query, hostFilter.query],
        removes: " and its attachments", reading: [.notLeader],
        .listNetworks, .getNetwork, .putNetwork, .patchNetwork, .deleteNetwork)
}
