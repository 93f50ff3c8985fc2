// What a tunnel is: the identifier, source and MTU in force, and its counters.

import JSON
public import Wire

public struct TunnelStatus: Record {
    public var vni = TunnelVNI.flow
    /// Nil while no route leads to the remote.
    public var localIP: IPAddress?
    /// Of the frames inside, in bytes without their Ethernet header.
    public var mtu: Int?
    /// Of the underlay towards the remote, in bytes.
    public var pathMTU: Int?
    /// "local", or the name of the controller that pushed it.
    public var managedBy = Manager.local
    public var state = Health.ok
    public var error: String?
    /// RFC 3339; when `state` last changed.
    public var since: String?
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
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
        Field("state", \.state, doc: "ok, or degraded with an error.", example: "ok")
        Field("error", \.error, as: .prose, doc: "Why it is degraded; absent when it is not.")
        Field(
            "since", \.since, as: .prose, doc: "When state last changed, as RFC 3339 in UTC.",
            example: "2026-11-22T14:00:00.000Z")
        Field("counters", \.counters, as: .record, doc: "Of the frames inside.")
    }
}
