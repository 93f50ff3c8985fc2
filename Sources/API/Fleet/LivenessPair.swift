// What the fleet's agents say of the way from host to host, put together by the controller: the answer to its
// GET /v1/liveness.

import JSON

public enum PairState: String, CaseIterable, Sendable, FieldValue {
    /// Every session is.
    case up
    /// Some session is not.
    case down
    /// The agent that would know did not answer in time.
    case unknown
}

/// One direction of two hosts: what the first one's agent says of its tunnels to the second.
public struct LivenessPair: Record {
    public var host = ""
    public var peer = ""
    public var state = PairState.unknown
    /// With BFD.
    public var tunnels = 0
    public var tunnelsUp = 0
    /// In microseconds.
    public var roundTrip: Int?
    /// 0…1.
    public var loss: Double?
    public var error: String?

    /// The peer of a host that did not answer.
    public static let everyone = "*"

    public init() {}

    public static let schema = Schema<LivenessPair>(
        summary: "The way between two hosts, as the first one sees it.", .answer
    ) {
        Field("host", \.host, as: .prose, doc: "The host whose agent says so.", example: "node1")
        Field(
            "peer", \.peer, as: .prose,
            doc: "The host at the other end of the tunnels; \"*\" for all, of a host that did not answer.",
            example: "node2")
        Field(
            "state", \.state,
            doc: "up: every session is; down: some is not; unknown: the host did not answer.", example: "up")
        Field("tunnels", \.tunnels, as: .count, doc: "Tunnels to the peer that have a session.", example: 2)
        Field("tunnels_up", \.tunnelsUp, as: .count, doc: "Those that are up.", example: 2)
        Field(
            "rtt_us", \.roundTrip, as: .count,
            doc: "The shortest of the tunnels' median round trips, in microseconds.", example: 170)
        Field(
            "loss", \.loss, as: .number,
            doc: "Of the tunnel that loses most: share of the last minute, 0 to 1, on the way to this host.",
            example: 0)
        Field("error", \.error, as: .prose, doc: "Why it is unknown; absent when it is not.")
    }
}

extension LivenessPair {
    public static let hostFilter = Filter("host", as: .text(.name), "Name of the host whose agent is asked.")
    public static let stateFilter = Filter<PairState>("state", "As the host sees it.")

    static let operations: [Operation] = [
        Operation(
            .listLiveness, .get, LivenessDocument.path, tag: "liveness",
            summary:
                "List the ways from host to host, as their agents see them now. They are asked for this answer.",
            query: [.limit, .pageToken, hostFilter.query, stateFilter.query],
            answers: [.init(200, .json(List<LivenessPair>.self))],
            problems: Operation.readProblems.union([.notLeader]))
    ]
}
