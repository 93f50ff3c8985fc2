// A tunnel's BFD session as it is, under Open vSwitch's names (Interface.bfd_status) with what they lack: how good the
// tunnel is. GET /v1/liveness lists all of them.

import JSON
public import Wire

public enum BFDSessionState: String, CaseIterable, Sendable, FieldValue {
    case adminDown = "admin_down"
    case down
    case `init`
    case up
}

/// Of the last polls, in microseconds.
public struct RoundTrip: Record {
    public var last = 0
    public var least = 0
    public var median = 0
    public var most = 0

    public init() {}

    public static let schema = Schema<RoundTrip>(
        summary:
            "Round trips of the last 32 polls, in microseconds, with what the other end takes to answer.",
        .answer
    ) {
        Field("last", \.last, as: .count, doc: "The last.", example: 180)
        Field("min", \.least, as: .count, doc: "The shortest.", example: 120)
        Field("median", \.median, as: .count, doc: "The median.", example: 170)
        Field("max", \.most, as: .count, doc: "The longest.", example: 900)
    }
}

public struct BFDStatus: Record {
    public var state = BFDSessionState.down
    public var forwarding = false
    public var diagnostic = ""
    public var remoteState = BFDSessionState.down
    public var remoteDiagnostic = ""
    public var flapCount = 0
    /// RFC 3339.
    public var since: String?
    /// In milliseconds.
    public var detectionTime = 0.0
    public var roundTrip: RoundTrip?
    /// 0…1.
    public var loss: Double?
    public var received = 0
    public var sent = 0
    public var refused: [String: Int] = [:]

    public init() {}

    public static let schema = Schema<BFDStatus>(summary: "A tunnel's BFD session now.", .answer) {
        Field("state", \.state, doc: "Of this end.", example: "up")
        Field(
            "forwarding", \.forwarding,
            doc: "Whether frames may be expected to arrive: it is up, and the other end sees no path down.",
            example: true)
        Field(
            "diagnostic", \.diagnostic, as: .prose, doc: "Why this end last went down.",
            example: "No Diagnostic")
        Field("remote_state", \.remoteState, doc: "Of the other end, by its last packet.", example: "up")
        Field(
            "remote_diagnostic", \.remoteDiagnostic, as: .prose, doc: "Why the other end last went down.",
            example: "No Diagnostic")
        Field("flap_count", \.flapCount, as: .count, doc: "Times forwarding has changed.", example: 1)
        Field(
            "since", \.since, as: .prose,
            doc: "When it last came up or went down, as RFC 3339 in UTC; absent before that.",
            example: "2026-11-22T14:00:00.000Z")
        Field(
            "detection_time_ms", \.detectionTime, as: .number,
            doc: "Silence after which it is down, in milliseconds; 0 before anything was heard.",
            example: 3000.0)
        Field(
            "rtt_us", \.roundTrip, as: .record,
            doc: "Round trips; absent until the other end has answered a poll.")
        Field(
            "loss", \.loss, as: .number,
            doc:
                "Share of the other end's packets of the last minute that did not come, 0 to 1: one way, to here. "
                + "Absent until it has sent one.", example: 0.0)
        Field("rx_packets", \.received, as: .count, doc: "Packets taken.", example: 120)
        Field("tx_packets", \.sent, as: .count, doc: "Packets made.", example: 121)
        Field(
            "refused", \.refused, as: .counts,
            doc: "Packets not taken, by reason: "
                + BFDRefusal.allCases.map(\.rawValue).joined(separator: ", ")
                + ".", example: ["ttl": 1])
    }
}

/// One tunnel's.
public struct LivenessDocument: Record {
    public var bridge = ""
    public var tunnel = ""
    public var remoteIP = IPAddress.prototype
    public var managedBy = Manager.local
    public var status = BFDStatus()

    public init() {}

    public static let schema = Schema<LivenessDocument>(summary: "A tunnel's liveness.", .answer) {
        Field("bridge", \.bridge, as: .prose, doc: "The tunnel's bridge.", example: "br0")
        Field("tunnel", \.tunnel, as: .prose, doc: "The tunnel.", example: "vxlan1")
        Field("remote_ip", \.remoteIP, doc: "Address of the remote VTEP.", example: "192.0.2.7")
        Field("managed_by", \.managedBy, as: .prose, doc: Manager.doc, example: "local")
        Field("status", \.status, as: .record, doc: "Its session.")
    }
}

extension LivenessDocument {
    public static let path = "/v1/liveness"

    public static let bridgeFilter = Filter("bridge", as: .text(.name), "Name of a bridge.")
    public static let stateFilter = Filter<BFDSessionState>("state", "Of this end of the session.")

    static let operations: [Operation] = [
        Operation(
            .listLiveness, .get, path, tag: "liveness",
            summary: "List the tunnels' BFD sessions.",
            query: [.limit, .pageToken, bridgeFilter.query, stateFilter.query],
            answers: [.init(200, .json(List<LivenessDocument>.self))], problems: Operation.serviceProblems)
    ]
}
