// What a bridge is: its local port, how many things it has, its MAC table and counters.

import JSON
public import Wire

/// Whether an interface can carry frames.
public enum LinkState: String, CaseIterable, Sendable, FieldValue {
    case up
    case down
}

/// Whether a resource is as it was written.
public enum Health: String, CaseIterable, Sendable, FieldValue {
    case ok
    /// `error` says what is missing; the agent keeps trying.
    case degraded
}

public struct BridgeStatus: Record {
    /// Nil while the local port does not exist.
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
    public var ports = 0
    public var tunnels = 0
    public var rules = 0
    public var mirrors = 0
    public var macs = MACTableStatus()
    public var counters = Counters()

    public init() {}

    public static let schema = Schema<BridgeStatus>(summary: "What a bridge is now.", .answer) {
        Field("ifindex", \.ifindex, as: .count, doc: "Kernel's index of the local port.", example: 7)
        Field("mac", \.mac, doc: "MAC address of the local port.", example: "02:00:00:00:00:01")
        Field("mtu", \.mtu, as: .count, doc: "MTU in force, in bytes.", example: 1450)
        Field("link", \.link, doc: "Of the local port.", example: "up")
        Field("carrier", \.carrier, doc: "Whether the interface has a carrier.", example: true)
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
        Field("state", \.state, doc: "ok, or degraded with an error.", example: "ok")
        Field("error", \.error, as: .prose, doc: "Why it is degraded; absent when it is not.")
        Field(
            "since", \.since, as: .prose, doc: "When state last changed, as RFC 3339 in UTC.",
            example: "2026-11-22T14:00:00.000Z")
        Field("ports", \.ports, as: .count, doc: "Ports attached.", example: 1)
        Field("tunnels", \.tunnels, as: .count, doc: "Tunnels attached.", example: 1)
        Field("rules", \.rules, as: .count, doc: "Rules.", example: 0)
        Field("mirrors", \.mirrors, as: .count, doc: "Mirrors.", example: 0)
        Field("macs", \.macs, as: .record, doc: "The MAC table.")
        Field("counters", \.counters, as: .record, doc: "Of the local port.")
    }
}

public struct MACTableStatus: Record {
    public var learned = 0
    public var statics = 0
    public var capacity = 0
    public var moves = 0
    public var evictions = 0
    public var expired = 0
    public var learnRefused = 0

    public init() {}

    public static let schema = Schema<MACTableStatus>(
        summary: "Entries a MAC table has now, and what happened to it since the agent started.", .answer
    ) {
        Field("learned", \.learned, as: .count, doc: "Learned entries.", example: 2)
        Field("static", \.statics, as: .count, doc: "Written entries.", example: 0)
        Field("capacity", \.capacity, as: .count, doc: "Most entries it takes.", example: 8192)
        Field("moves", \.moves, as: .count, doc: "Addresses seen on another port than before.", example: 0)
        Field("evictions", \.evictions, as: .count, doc: "Entries dropped to make room.", example: 0)
        Field("expired", \.expired, as: .count, doc: "Entries that grew too old.", example: 0)
        Field(
            "learn_refused", \.learnRefused, as: .count,
            doc: "Sources not learned: group, zero or static addresses, or no room.", example: 0)
    }
}
