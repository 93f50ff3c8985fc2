// What an agent holds of a controller's: the answer to /v1/state, and the acknowledgement of a push.

import JSON

/// A push that was accepted. Stored as it is answered.
public struct StateHead: Record {
    public var controller: String
    public var epoch: Int
    public var generation: Int
    public var digest: SHA256
    /// RFC 3339, UTC, milliseconds.
    public var appliedAt: String

    public init(controller: String, epoch: Int, generation: Int, digest: SHA256, appliedAt: String) {
        self.controller = controller
        self.epoch = epoch
        self.generation = generation
        self.digest = digest
        self.appliedAt = appliedAt
    }

    public init() {
        self.init(controller: "", epoch: 1, generation: 1, digest: SHA256(of: []), appliedAt: "")
    }

    public static let schema = Schema<StateHead>(summary: "A push as it was accepted.", .answer) {
        Field("controller", \.controller, as: .prose, doc: "Who pushed.", example: "fleet1")
        Field("epoch", \.epoch, as: .count, doc: "Its epoch.", example: 3)
        Field("generation", \.generation, as: .count, doc: "Its generation.", example: 17)
        Field("digest", \.digest, doc: "As it was pushed.")
        Field(
            "applied_at", \.appliedAt, as: .prose, doc: "When it was accepted, as RFC 3339 in UTC.",
            example: "2026-11-22T14:00:00.000Z")
    }
}

/// Pushed resources by kind.
public struct StateCounts: Record {
    public var bridges = 0
    public var ports = 0
    public var tunnels = 0
    public var macs = 0
    public var rules = 0
    public var mirrors = 0

    public init() {}

    public static let schema = Schema<StateCounts>(summary: "Pushed resources by kind.", .answer) {
        Field("bridges", \.bridges, as: .count, doc: "Bridges.", example: 1)
        Field("ports", \.ports, as: .count, doc: "Ports.", example: 1)
        Field("tunnels", \.tunnels, as: .count, doc: "Tunnels.", example: 1)
        Field("macs", \.macs, as: .count, doc: "Static MAC entries.", example: 1)
        Field("rules", \.rules, as: .count, doc: "Rules.", example: 0)
        Field("mirrors", \.mirrors, as: .count, doc: "Mirrors.", example: 0)
    }
}

/// What a push did.
public struct StateChanges: Record {
    public var added = 0
    public var changed = 0
    public var removed = 0
    public var removedLocal: [String] = []

    public init() {}

    public static let schema = Schema<StateChanges>(summary: "Resources a push touched.", .answer) {
        Field("added", \.added, as: .count, doc: "Made.", example: 1)
        Field("changed", \.changed, as: .count, doc: "Made different.", example: 0)
        Field("removed", \.removed, as: .count, doc: "Removed, local ones included.", example: 0)
        Field(
            "removed_local", \.removedLocal, as: .answerList(of: .prose),
            doc: "Local resources that went with the pushed bridge, port or tunnel they belonged to.",
            example: [])
    }
}

public struct HostStateDocument: Record {
    public var agentID = ""
    public var bootID = ""
    /// Nil until something was pushed.
    public var held: StateHead?
    public var digest = SHA256(of: [])
    public var counts = StateCounts()
    public var changes: StateChanges?
    public var resources: [StateResource]?

    public init() {}

    public var isInSync: Bool { held.map { $0.digest == digest } ?? true }

    public static let schema = Schema<HostStateDocument>(
        summary: "What the agent holds of a controller's.", .answer
    ) {
        Field(
            "agent_id", \.agentID, as: .prose, doc: Version.agentIDDoc,
            example: .string(Version.agentIDExample))
        Field(
            "boot_id", \.bootID, as: .prose, doc: Version.bootIDDoc, example: .string(Version.bootIDExample))
        Field(
            "held", \.held, as: .record, doc: "The last push that was accepted; absent when there was none.")
        Field("digest", \.digest, doc: "Of the pushed resources as they are now, computed for this answer.")
        Field(
            "in_sync", computed: \.isInSync, as: Bool.codec,
            doc: "Whether that is the digest that was pushed. If not, push the complete state again.",
            example: true)
        Field("counts", \.counts, as: .record, doc: "Pushed resources.")
        Field("changes", \.changes, as: .record, doc: "What this push did; only in the answer to a push.")
        Field(
            "resources", \.resources, as: .answerList(of: .record),
            doc: "Pushed resources by path, only with ?resources=true. Defaults are written out.")
    }
}

extension HostState {
    static let resourcesQuery = Operation.Query(
        name: "resources", doc: "true: with the resources themselves.", schema: ["type": "boolean"])

    private static let pushProblems = Operation.writeProblems.union(Operation.localProblems).union([
        .staleState, .stateConflict, .digestMismatch,
    ])
    private static let written = Operation.Answer.Body.either(
        SchemaReference(HostStateDocument.self), SchemaReference(DryRun.self))

    static let operations: [Operation] = [
        Operation(
            .getState, .get, path, tag: "state",
            summary: "Read what a controller has pushed: which push, and the digest of what is there now.",
            query: [resourcesQuery], answers: [.init(200, .json(HostStateDocument.self))],
            problems: Operation.serviceProblems),
        Operation(
            .putState, .put, path, tag: "state",
            summary:
                "Push everything a controller wants here: all or nothing, one transaction, one step of the "
                + "datapath. Local resources stay. The answer is the acknowledgement; the same push again does "
                + "nothing.",
            query: [.dryRun], request: SchemaReference(HostState.self),
            answers: [.init(201, .json(HostStateDocument.self)), .init(200, written)],
            access: .role(.controller), problems: pushProblems.union([.massDelete])),
        Operation(
            .patchState, .patch, path, tag: "state",
            summary:
                "Push what differs from the state that is held. When the base is another one, send the complete "
                + "state with PUT.",
            query: [.dryRun], request: SchemaReference(StateDelta.self),
            answers: [.init(200, written)], access: .role(.controller),
            problems: pushProblems.union([.baseMismatch])),
    ]
}
