// What a port is: the interface behind it and its counters.

import JSON
public import Wire

public struct PortStatus: Record {
    public var ifname = ""
    /// Nil in the agent's own namespace.
    public var netns: String?
    /// Nil while the interface does not exist.
    public var ifindex: Int?
    public var mac: MACAddress?
    /// In force, in bytes.
    public var mtu: Int?
    public var link = LinkState.down
    /// The other end is there.
    public var carrier = false
    /// "local", or the name of the controller that pushed it.
    public var managedBy = Manager.local
    public var state = Health.ok
    public var error: String?
    /// RFC 3339; when `state` last changed.
    public var since: String?
    public var counters = Counters()

    public init() {}

    public static let schema = Schema<PortStatus>(summary: "What a port is now.", .answer) {
        Field("ifname", \.ifname, as: .prose, doc: "Name of the kernel's interface.", example: "eth0")
        Field(
            "netns", \.netns, as: .prose, doc: "Its namespace; absent for the agent's own.", example: "web1")
        Field("ifindex", \.ifindex, as: .count, doc: "Kernel's index, within that namespace.", example: 3)
        Field("mac", \.mac, doc: "MAC address of the interface.", example: "02:00:00:00:00:02")
        Field("mtu", \.mtu, as: .count, doc: "MTU in force, in bytes.", example: 1450)
        Field("link", \.link, doc: "Of the interface.", example: "up")
        Field("carrier", \.carrier, doc: "Whether the interface has a carrier.", example: true)
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
        Field("state", \.state, doc: "ok, or degraded with an error.", example: "ok")
        Field("error", \.error, as: .prose, doc: "Why it is degraded; absent when it is not.")
        Field(
            "since", \.since, as: .prose, doc: "When state last changed, as RFC 3339 in UTC.",
            example: "2026-11-22T14:00:00.000Z")
        Field("counters", \.counters, as: .record, doc: "Of the port.")
    }
}
