// What a rule has done, and of whom it and a mirror are.

import JSON

public struct RuleStatus: Record {
    public var packets = 0
    public var bytes = 0
    /// Nil while no frame has matched.
    public var usedSeconds: Double?
    /// "local", or the name of the controller that pushed it.
    public var managedBy = Manager.local
    public var state = Health.ok
    public var error: String?

    public init() {}

    public static let schema = Schema<RuleStatus>(summary: "What a rule has done.", .answer) {
        Field(
            "n_packets", \.packets, as: .count,
            doc: "Frames that followed it since it was written or the agent started; a superframe is one.",
            example: 12)
        Field("n_bytes", \.bytes, as: .count, doc: "Of those, from the Ethernet header on.", example: 1176)
        Field(
            "used", \.usedSeconds, as: .number,
            doc: "Seconds since the last of them; absent before it.",
            example: 0.25)
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
        Field("state", \.state, doc: "ok, or degraded with an error.", example: "ok")
        Field(
            "error", \.error, as: .prose,
            doc: "What it names that is not there any more; absent when nothing is. Frames that match are "
                + "dropped meanwhile.")
    }
}

public struct MirrorStatus: Record {
    /// "local", or the name of the controller that pushed it.
    public var managedBy = Manager.local

    public init() {}

    public static let schema = Schema<MirrorStatus>(summary: "Of whom a mirror is.", .answer) {
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
    }
}
