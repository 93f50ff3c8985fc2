// The fleet at a glance: the answer to `GET /v1/status`, of which the command line makes its report.

import JSON

/// Which of a controller's instances this is.
public enum ControllerRole: String, CaseIterable, Sendable, FieldValue {
    /// The one that takes writes and pushes. With a store of its own, a controller always leads.
    case leader
    case standby
}

/// Hosts by state; one field for each `HostSyncState`.
public struct HostCounts: Record {
    public var total = 0
    public var inSync = 0
    public var pushing = 0
    public var behind = 0
    public var unreachable = 0
    public var refusing = 0
    public var superseded = 0
    public var lying = 0
    public var unknown = 0

    public init() {}

    public subscript(state: HostSyncState) -> Int {
        get { self[keyPath: HostCounts.path(state)] }
        set { self[keyPath: HostCounts.path(state)] = newValue }
    }

    private static func path(_ state: HostSyncState) -> WritableKeyPath<HostCounts, Int> {
        switch state {
        case .inSync: \.inSync
        case .pushing: \.pushing
        case .behind: \.behind
        case .unreachable: \.unreachable
        case .refusing: \.refusing
        case .superseded: \.superseded
        case .lying: \.lying
        case .unknown: \.unknown
        }
    }

    public static let schema = Schema<HostCounts>(summary: "Hosts by state.", .answer) {
        Field("total", \.total, as: .count, doc: "All of them.", example: 3)
        Field("in_sync", \.inSync, as: .count, doc: "As wanted.", example: 2)
        Field("pushing", \.pushing, as: .count, doc: "With a push on its way.", example: 0)
        Field("behind", \.behind, as: .count, doc: "Waiting for a push.", example: 0)
        Field("unreachable", \.unreachable, as: .count, doc: "Not to be reached.", example: 1)
        Field("refusing", \.refusing, as: .count, doc: "Refusing what is pushed.", example: 0)
        Field("superseded", \.superseded, as: .count, doc: "Led by another instance.", example: 0)
        Field("lying", \.lying, as: .count, doc: "Answering something else.", example: 0)
        Field("unknown", \.unknown, as: .count, doc: "Not asked yet.", example: 0)
    }
}

/// A host that is not in sync.
public struct LaggingHost: Record {
    public var name = Name.prototype
    public var state = HostSyncState.unknown
    public var lagSeconds = 0.0
    public var lastError: PushFailure?

    public init() {}

    public static let schema = Schema<LaggingHost>(summary: "A host that is not in sync, and why.", .answer) {
        Field("name", \.name, doc: "Which.", example: "host-c")
        Field("state", \.state, doc: HostSyncState.doc, example: "unreachable")
        Field(
            "lag_seconds", \.lagSeconds, as: .number,
            doc: "Age of the oldest change it has not acknowledged.", example: 12.5)
        Field(
            "last_error", \.lastError, as: .record, doc: "Why, if something failed; absent while it waits.")
    }
}

public struct FleetStatus: Record {
    /// Hosts in `behind`.
    public static let behindLimit = 100
    public static let path = "/v1/status"

    public var name = ""
    public var instance = ""
    public var role = ControllerRole.leader
    /// Nil while none leads, or when it has not said where it is.
    public var leader: String?
    /// Nil while none leads.
    public var epoch: Int?
    public var store = ""
    public var converged = false
    public var hosts = HostCounts()
    public var behind: [LaggingHost] = []
    public var networks = 0
    public var attachments = 0
    public var queue = 0
    public var inFlight = 0
    public var lastChangeAt: String?

    public init() {}

    public static let schema = Schema<FleetStatus>(summary: "The fleet at a glance.", .answer) {
        Field(
            "name", \.name, as: .prose, doc: "Of the controller, and of all its instances.",
            example: "viaduct")
        Field(
            "instance", \.instance, as: .prose, doc: "Of this process; another one after each start.",
            example: "4b7de01c")
        Field(
            "role", \.role,
            doc:
                "leader: takes writes and pushes. standby: waits to take over; what it says of hosts is nothing new.",
            example: "leader")
        Field(
            "leader", \.leader, as: .prose, doc: "URL of the leader; absent while there is none.",
            example: "http://127.0.0.1:8650")
        Field(
            "epoch", \.epoch, as: .count, doc: "Of the leader; absent while there is none.", example: 3)
        Field(
            "store", \.store, as: .prose, doc: "Where the fleet is kept.",
            example: "sqlite:/var/lib/viaduct/controller.db")
        Field(
            "converged", \.converged, doc: "Whether every host is in sync: all that was written is in force.",
            example: false)
        Field("hosts", \.hosts, as: .record, doc: "Hosts by state.")
        Field(
            "behind", \.behind, as: .answerList(of: .record),
            doc: "Hosts that are not in sync, the one that lags most first; at most \(behindLimit).")
        Field("networks", \.networks, as: .count, doc: "Networks.", example: 2)
        Field("attachments", \.attachments, as: .count, doc: "Attachments of all networks.", example: 5)
        Field("queue", \.queue, as: .count, doc: "Hosts whose push waits for its turn.", example: 0)
        Field("in_flight", \.inFlight, as: .count, doc: "Pushes that are under way.", example: 0)
        Field(
            "last_change_at", \.lastChangeAt, as: .prose,
            doc: "When the fleet was last written, as RFC 3339 in UTC; absent when not since the start.",
            example: "2026-11-22T14:00:00.000Z")
    }
}

extension FleetStatus {
    static let operations: [Operation] = [
        Operation(
            .getStatus, .get, path, tag: "status",
            summary: "Read the fleet at a glance: who leads, and which host is behind, by how much, and why.",
            answers: [.init(200, .json(FleetStatus.self))], problems: Operation.serviceProblems)
    ]
}
