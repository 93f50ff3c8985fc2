// What a tunnel is: the identifier, source and MTU in force, and its counters.

import JSON
public import Wire

/// Where the MTU of a path is from.
public enum PathMTUOrigin: String, CaseIterable, Sendable, FieldValue {
    /// The route's, or its interface's.
    case route
    /// A router on the way said so.
    case icmp
    /// It was probed.
    case probe
}

/// The way of a tunnel's datagrams.
public struct TunnelPath: Record {
    public var driver = DriverInUse.socket
    public var ifname: String?
    public var gateway: IPAddress?
    public var neighbor: PathNeighbor?
    public var source: IPAddress?
    /// In bytes.
    public var pathMTU: Int?
    public var pathMTUFrom: PathMTUOrigin?

    public init() {}

    public static let schema = Schema<TunnelPath>(summary: "The way of a tunnel's datagrams.", .answer) {
        Field("driver", \.driver, doc: "Who sends them.", example: "socket")
        Field(
            "ifname", \.ifname, as: .prose, doc: "Interface they leave by; absent without a route.",
            example: "eth0")
        Field(
            "gateway", \.gateway, doc: "The next hop; absent where the remote is on the link.",
            example: "192.0.2.1")
        Field("neighbor", \.neighbor, as: .record, doc: "The next hop's station, if the driver asked for it.")
        Field("source", \.source, doc: "Source address; absent without a route.", example: "192.0.2.6")
        Field(
            "path_mtu", \.pathMTU, as: .count, doc: "MTU of the underlay to the remote, in bytes.",
            example: 1500)
        Field(
            "path_mtu_from", \.pathMTUFrom,
            doc: "route: the route's or its interface's; icmp: a router said so; probe: it was probed.",
            example: "route")
    }
}

/// The station of a next hop.
public struct PathNeighbor: Record {
    public var mac: MACAddress?
    public var state = NeighborState.incomplete

    public init() {}

    public static let schema = Schema<PathNeighbor>(summary: "The station of a next hop.", .answer) {
        Field("mac", \.mac, doc: "Its MAC address; absent while unknown.", example: "02:00:00:00:00:01")
        Field("state", \.state, doc: "As ip neigh names it.", example: "reachable")
    }
}

public struct TunnelStatus: Record {
    public var vni = TunnelVNI.flow
    /// Nil while no route leads to the remote.
    public var localIP: IPAddress?
    /// Of the frames inside, in bytes without their Ethernet header.
    public var mtu: Int?
    /// Of the underlay towards the remote, in bytes.
    public var pathMTU: Int?
    public var underlay = TunnelPath()
    /// "local", or the name of the controller that pushed it.
    public var managedBy = Manager.local
    public var state = Health.ok
    public var error: String?
    /// RFC 3339; when `state` last changed.
    public var since: String?
    /// Nil without a session.
    public var bfd: BFDStatus?
    public var counters = Counters()

    public init() {}

    public static let schema = Schema<TunnelStatus>(summary: "What a tunnel is now.", .answer) {
        Field("vni", \.vni, doc: "In force: its own or the bridge's.", example: 100)
        Field(
            "local_ip", \.localIP, doc: "Source address in force; absent without a route.",
            example: "192.0.2.6")
        Field("mtu", \.mtu, as: .count, doc: "MTU of what it carries, in bytes.", example: 1450)
        Field(
            "path_mtu", \.pathMTU, as: .count, doc: "MTU of the underlay to the remote, in bytes.",
            example: 1500)
        Field("underlay", \.underlay, as: .record, doc: "The way of its datagrams.")
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
        Field("state", \.state, doc: "ok, or degraded with an error.", example: "ok")
        Field("error", \.error, as: .prose, doc: "Why it is degraded; absent when it is not.")
        Field(
            "since", \.since, as: .prose, doc: "When state last changed, as RFC 3339 in UTC.",
            example: "2026-11-22T14:00:00.000Z")
        Field(
            "bfd_status", \.bfd, as: .record, doc: "Its BFD session; absent without one. Not part of state.")
        Field("counters", \.counters, as: .record, doc: "Of the frames inside.")
    }
}
