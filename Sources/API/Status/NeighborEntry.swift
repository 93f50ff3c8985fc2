// One neighbour of the underlay, as the `neighbors` collection answers it: learned or static.

import JSON
public import Wire

public enum NeighborType: String, CaseIterable, Sendable, FieldValue {
    case learned
    case `static`
}

/// As `ip neigh` names them.
public enum NeighborState: String, CaseIterable, Sendable, FieldValue {
    case incomplete
    case reachable
    case stale
    case probe
    case failed
    case permanent
}

public struct NeighborEntry: Record {
    public var ifname: String
    public var ip: IPAddress
    /// Nil while it is not known.
    public var mac: MACAddress?
    public var type = NeighborType.learned
    public var state: NeighborState
    /// Since it was confirmed; nil for a static entry and one that never was.
    public var ageSeconds: Int?
    /// Since something was sent to it; nil when nothing was.
    public var usedSeconds: Int?
    public var probes = 0
    public var error: String?

    public init(ifname: String, ip: IPAddress, state: NeighborState) {
        self.ifname = ifname
        self.ip = ip
        self.state = state
    }

    public init() { self.init(ifname: "", ip: .prototype, state: .incomplete) }

    public static let schema = Schema<NeighborEntry>(
        summary: "Which station on a link has an address, as far as is known.", .answer
    ) {
        Field("ifname", \.ifname, as: .prose, doc: "Interface it is behind.", example: "eth0")
        Field("ip", \.ip, doc: "Its address.", example: "192.0.2.1")
        Field("mac", \.mac, doc: "Its MAC address; absent while unknown.", example: "02:00:00:00:00:01")
        Field("type", \.type, doc: "learned by asking, or static: written.", example: "learned")
        Field("state", \.state, doc: "As ip neigh names it.", example: "reachable")
        Field(
            "age_seconds", \.ageSeconds, as: .count,
            doc: "Since it was last confirmed; learned entries only.", example: 12)
        Field(
            "used_seconds", \.usedSeconds, as: .count,
            doc: "Since something was last sent to it; absent when nothing was.", example: 1)
        Field("probes", \.probes, as: .count, doc: "Questions that were asked for it.", example: 1)
        Field("error", \.error, as: .prose, doc: "Why a static entry is of no use now.")
    }
}
