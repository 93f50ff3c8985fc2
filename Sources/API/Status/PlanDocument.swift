// What a write would do: the answer to any write with `?dry_run=true`.

public import JSON

/// One resource a write touches.
public struct PlanItem: Record {
    public var path = ""
    /// As it is; nil for one to be created.
    public var from: JSONObject?
    /// As it would be; nil for one to be removed.
    public var to: JSONObject?

    public init() {}

    public static let schema = Schema<PlanItem>(summary: "One resource that would be touched.", .answer) {
        Field("path", \.path, as: .prose, doc: "Its path.", example: "/v1/bridges/br0")
        Field(
            "from", \.from, as: .object, doc: "What is written now; absent for one to be added.",
            example: ["vni": 7])
        Field(
            "to", \.to, as: .object, doc: "What would be written; absent for one to be removed.",
            example: ["vni": 8])
    }
}

/// Resources by what would happen to them, each list by path.
public struct PlanDocument: Record {
    public var add: [PlanItem] = []
    public var change: [PlanItem] = []
    public var remove: [PlanItem] = []

    public init() {}

    public static let schema = Schema<PlanDocument>(
        summary: "What a write would do. All lists empty: it is so already.", .answer
    ) {
        Field("add", \.add, as: .answerList(of: .record), doc: "Resources to be created.")
        Field("change", \.change, as: .answerList(of: .record), doc: "Resources to be changed.")
        Field("remove", \.remove, as: .answerList(of: .record), doc: "Resources to be removed.")
    }
}

/// `{"dry_run":true,"plan":{…}}`
public struct DryRun: Record {
    public var dryRun = true
    public var plan = PlanDocument()

    public init() {}
    public init(_ plan: PlanDocument) { self.plan = plan }

    public static let schema = Schema<DryRun>(summary: "Nothing was done; this is what would be.", .answer) {
        Field("dry_run", \.dryRun, doc: "Always true.", example: true)
        Field("plan", \.plan, as: .record, doc: "What the same request without dry_run does.")
    }
}
