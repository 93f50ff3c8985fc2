// What has happened: the items of /v1/events, and the two forms that path answers in.

public import JSON

/// A closed set, of both services. `gap` is the server's word that events between the last one seen and the next
/// are lost.
public enum EventType: String, CaseIterable, Sendable, FieldValue {
    case bridgeCreated = "bridge.created"
    case bridgeChanged = "bridge.changed"
    case bridgeDeleted = "bridge.deleted"
    case portCreated = "port.created"
    case portChanged = "port.changed"
    case portDeleted = "port.deleted"
    case portDegraded = "port.degraded"
    case portOK = "port.ok"
    case tunnelCreated = "tunnel.created"
    case tunnelChanged = "tunnel.changed"
    case tunnelDeleted = "tunnel.deleted"
    case tunnelDegraded = "tunnel.degraded"
    case tunnelOK = "tunnel.ok"
    case tunnelUp = "tunnel.up"
    case tunnelDown = "tunnel.down"
    case macCreated = "mac.created"
    case macChanged = "mac.changed"
    case macDeleted = "mac.deleted"
    case macMoved = "mac.moved"
    case ruleCreated = "rule.created"
    case ruleChanged = "rule.changed"
    case ruleDeleted = "rule.deleted"
    case mirrorCreated = "mirror.created"
    case mirrorChanged = "mirror.changed"
    case mirrorDeleted = "mirror.deleted"
    case tunnelPathChanged = "tunnel.path_changed"
    case underlayChanged = "underlay.changed"
    case routeCreated = "route.created"
    case routeChanged = "route.changed"
    case routeDeleted = "route.deleted"
    case neighborCreated = "neighbor.created"
    case neighborChanged = "neighbor.changed"
    case neighborDeleted = "neighbor.deleted"
    case neighborResolved = "neighbor.resolved"
    case neighborMoved = "neighbor.moved"
    case neighborFailed = "neighbor.failed"
    case stateApplied = "state.applied"
    case stateRefused = "state.refused"
    case dropsStorm = "drops.storm"
    case hostCreated = "host.created"
    case hostChanged = "host.changed"
    case hostDeleted = "host.deleted"
    case hostInSync = "host.in_sync"
    case hostUnreachable = "host.unreachable"
    case hostRefusing = "host.refusing"
    case hostSuperseded = "host.superseded"
    case hostLying = "host.lying"
    case networkCreated = "network.created"
    case networkChanged = "network.changed"
    case networkDeleted = "network.deleted"
    case attachmentCreated = "attachment.created"
    case attachmentChanged = "attachment.changed"
    case attachmentDeleted = "attachment.deleted"
    case attachmentMoved = "attachment.moved"
    case leaderElected = "leader.elected"
    case leaderLost = "leader.lost"
    case gap
}

public struct EventDocument: Record {
    /// From 1, counted anew by each start of the server.
    public var id: Int
    /// RFC 3339, UTC, milliseconds.
    public var time: String
    public var type: EventType
    /// Path of what it happened to.
    public var resource: String
    public var data: JSONObject

    public init(id: Int, time: String, type: EventType, resource: String, data: JSONObject) {
        self.id = id
        self.time = time
        self.type = type
        self.resource = resource
        self.data = data
    }

    public init() { self.init(id: 0, time: "", type: .gap, resource: "", data: [:]) }

    public static let schema = Schema<EventDocument>(
        summary: "Something that happened. Ids grow by one; a restarted server counts from 1.", .answer
    ) {
        Field("id", \.id, as: .count, doc: "Resume with ?since= this, or boot, \"-\" and this.", example: 17)
        Field(
            "time", \.time, as: .prose, doc: "When, as RFC 3339 in UTC.", example: "2026-11-22T14:00:00.000Z")
        Field(
            "type", \.type, doc: "What. gap: events were lost, read what you watch again.",
            example: "port.created")
        Field(
            "resource", \.resource, as: .prose, doc: "Path of what it happened to.",
            example: "/v1/bridges/br0/ports/web1")
        Field("data", \.data, as: .object, doc: "More about it, by type.", example: [:])
    }
}

/// What the long poll answers.
public struct EventPage: Record {
    public var items: [EventDocument]
    /// What to give as `since` next time.
    public var next: Int
    /// Events after `since` were lost before the first item.
    public var gap: Bool
    /// Of the server's life these ids are of.
    public var boot: String

    public init(_ items: [EventDocument], next: Int, gap: Bool, boot: String) {
        self.items = items
        self.next = next
        self.gap = gap
        self.boot = boot
    }

    public init() { self.init([], next: 0, gap: false, boot: "") }

    /// `next` with the life it is of, as the stream writes its ids: what to give as `since` next time.
    public var cursor: String { EventPage.cursor(boot, next) }
    public static func cursor(_ boot: String, _ id: Int) -> String { "\(boot)-\(id)" }

    public static let schema = Schema<EventPage>(summary: "Events in the order of their ids.", .answer) {
        Field("items", \.items, as: .answerList(of: .record), doc: "At most 1,000; may be empty.")
        Field("next", \.next, as: .count, doc: "Id of the last event looked at.", example: 17)
        Field(
            "gap", \.gap, doc: "Whether events between since and the first item are lost.", example: false)
        Field(
            "boot", \.boot, as: .prose,
            doc: "Another one after each start of the server, which counts ids anew.",
            example: "9f3c61d0")
        Field(
            "cursor", computed: \.cursor, as: .prose,
            doc:
                "Give it as since to go on; after a restart of the server that says gap instead of misreading it.",
            example: "9f3c61d0-17")
    }
}

extension EventPage {
    /// Of the stream (WHATWG HTML §9.2.5).
    public static let streamMediaType = "text/event-stream"

    static let operations: [Operation] = [
        Operation(
            .listEvents, .get, "/v1/events", tag: "events",
            summary: "Watch what happens: a stream when text/event-stream is accepted, else a long poll.",
            query: [
                Operation.Query(
                    name: "since",
                    doc:
                        "Events after this cursor or id; without it, from now. A cursor of another boot is a "
                        + "gap. The Last-Event-ID header goes first."),
                Operation.Query(
                    name: "wait", doc: "Seconds to wait for the first event, 0 to 60. Not for the stream."),
            ],
            answers: [.init(200, .jsonOrText(SchemaReference(EventPage.self), streamMediaType))],
            problems: Operation.serviceProblems)
    ]
}
