// How a host stands to what the controller wants of it: the answer to "which is behind, by how much, and why".

import JSON

/// A closed set; every host is in exactly one.
public enum HostSyncState: String, CaseIterable, Sendable, FieldValue {
    /// The agent has acknowledged what is wanted.
    case inSync = "in_sync"
    /// A push is on its way, and the ones before it were taken.
    case pushing
    /// Something else is wanted than the agent has acknowledged, and the next push waits for its turn.
    case behind
    /// The agent cannot be reached, or does not answer in time.
    case unreachable
    /// The agent answers, and refuses what is pushed.
    case refusing
    /// The agent holds a push of a higher epoch: another instance leads, and this one stops pushing to it.
    case superseded
    /// The agent's answers are not those to what it was asked.
    case lying
    /// Not asked yet since this instance began to lead.
    case unknown

    var doc: String {
        switch self {
        case .inSync: "the agent has acknowledged what is wanted"
        case .pushing: "a push is on its way"
        case .behind: "something else is wanted, and the next push waits for its turn"
        case .unreachable: "the agent cannot be reached or does not answer in time"
        case .refusing: "the agent answers and refuses what is pushed"
        case .superseded: "the agent holds a push of a higher epoch: another instance leads"
        case .lying: "the agent's answers are not those to what it was asked"
        case .unknown: "not asked yet since this instance began to lead"
        }
    }

    /// Something is wrong, and will be until somebody or something mends it.
    public var isTrouble: Bool {
        switch self {
        case .unreachable, .refusing, .superseded, .lying: true
        case .inSync, .pushing, .behind, .unknown: false
        }
    }

    static var doc: String {
        allCases.map { "\($0.rawValue): \($0.doc)" }.joined(separator: "; ") + "."
    }
}

/// What the controller wants on a host.
public struct WantedState: Record {
    public var epoch = 1
    public var generation = 1
    public var digest = SHA256(of: [])
    /// Bridges, ports, tunnels and static MAC entries.
    public var resources = 0

    public init() {}

    public init(epoch: Int, generation: Int, digest: SHA256, resources: Int) {
        self.epoch = epoch
        self.generation = generation
        self.digest = digest
        self.resources = resources
    }

    public static let schema = Schema<WantedState>(
        summary: "What is or would be pushed: the numbers it has, and what it comes to.", .answer
    ) {
        Field("epoch", \.epoch, as: .count, doc: "Of this instance's lead.", example: 3)
        Field(
            "generation", \.generation, as: .count,
            doc: "Grows with every different state that is pushed to the host within an epoch.", example: 17)
        Field("digest", \.digest, doc: "Of the resources. " + StateDigest.definition)
        Field(
            "resources", \.resources, as: .count, doc: "Bridges, ports, tunnels and MAC entries.", example: 4)
    }
}

/// Why the last push or probe came to nothing.
public struct PushFailure: Record {
    public var code = ""
    public var detail = ""
    /// Of the agent's refusal; the first few.
    public var errors: [FieldError] = []
    /// RFC 3339, UTC, milliseconds.
    public var at = ""

    public init() {}

    public init(code: String, detail: String, errors: [FieldError] = [], at: String) {
        self.code = code
        self.detail = detail
        self.errors = errors
        self.at = at
    }

    public static let schema = Schema<PushFailure>(summary: "Why a push or a probe failed.", .answer) {
        Field(
            "code", \.code, as: .prose,
            doc:
                "The code of the agent's problem; where it gave none, the state: unreachable, superseded, lying.",
            example: "mass_delete")
        Field(
            "detail", \.detail, as: .prose, doc: "In words, with the agent's own where it answered.",
            example: "would remove 40 of 52 pushed resources")
        Field(
            "errors", \.errors, as: .answerList(of: .record),
            doc: "The first of the agent's errors, pointing into the push; may be empty.")
        Field(
            "at", \.at, as: .prose, doc: "When, as RFC 3339 in UTC.", example: "2026-11-22T14:00:00.000Z")
    }
}

public struct HostStatus: Record {
    public var state = HostSyncState.unknown
    public var reachable = false
    /// Nil until it was reached once.
    public var agentID: String?
    public var bootID: String?
    /// Nil until it was reached once, or when nobody has pushed to it.
    public var held: StateHead?
    /// Nil while this instance does not lead.
    public var wanted: WantedState?
    public var lagSeconds = 0.0
    public var attempts = 0
    public var nextAttemptAt: String?
    public var lastError: PushFailure?
    /// RFC 3339; when `state` last changed.
    public var since: String?
    public var networks = 0
    public var attachments = 0

    public init() {}

    public static let schema = Schema<HostStatus>(summary: "How a host stands to what is wanted.", .answer) {
        Field("state", \.state, doc: HostSyncState.doc, example: "in_sync")
        Field(
            "reachable", \.reachable, doc: "Whether its agent answered when it was last asked.", example: true
        )
        Field(
            "agent_id", \.agentID, as: .prose,
            doc: "Of the agent's state database; another one means a host that was made anew.",
            example: "7c1f0e52b6a94d83")
        Field(
            "boot_id", \.bootID, as: .prose, doc: "Of the agent's process; another one after each start.",
            example: "9f3c61d0")
        Field(
            "held", \.held, as: .record,
            doc: "The push the agent held when it last answered; absent when there was none.")
        Field("wanted", \.wanted, as: .record, doc: "What it should hold.")
        Field(
            "lag_seconds", \.lagSeconds, as: .number,
            doc: "Age of the oldest change it has not acknowledged; 0 when there is none.", example: 0.0)
        Field(
            "attempts", \.attempts, as: .count, doc: "Pushes and probes that failed since the last success.",
            example: 0)
        Field(
            "next_attempt_at", \.nextAttemptAt, as: .prose,
            doc: "When it is tried again after a failure, as RFC 3339 in UTC.",
            example: "2026-11-22T14:00:02.500Z")
        Field(
            "last_error", \.lastError, as: .record,
            doc: "Why the last push or probe failed; absent after a success.")
        Field(
            "since", \.since, as: .prose, doc: "When state last changed, as RFC 3339 in UTC.",
            example: "2026-11-22T14:00:00.000Z")
        Field("networks", \.networks, as: .count, doc: "Networks it has attachments of.", example: 2)
        Field("attachments", \.attachments, as: .count, doc: "Attachments on it.", example: 5)
    }
}
