// What has become of pushes, for metrics.

internal import API
internal import REST

/// Requests to agents by kind and result, and how long things took.
struct FleetPushRecord: Sendable {
    struct Key: Hashable, Comparable {
        /// "probe", "complete" or "delta".
        var kind: String
        /// What came of it.
        var result: String

        static func < (left: Key, right: Key) -> Bool {
            (left.kind, left.result) < (right.kind, right.result)
        }
    }

    private(set) var counts: [Key: UInt64] = [:]
    /// Of bodies.
    private(set) var bytesSent: UInt64 = 0
    /// From sending a request to its answer.
    let durations = Histogram()
    /// From the oldest change in a push to its acknowledgement.
    let lags = Histogram()
    /// From a change to the last acknowledgement of it, if every host that got it was well all the time.
    let convergence = Histogram()

    mutating func sent(_ body: [UInt8]?) { bytesSent += UInt64(body?.count ?? 0) }

    mutating func note(
        _ content: Transmission<StatePath>.Content, _ outcome: PushOutcome, _ duration: Duration
    ) {
        counts[Key(kind: content.kind, result: outcome.name), default: 0] += 1
        durations.observe(duration)
        if case .acknowledged(let lag) = outcome { lags.observe(lag) }
    }
}

extension Transmission.Content {
    var method: String {
        switch self {
        case .probe: "GET"
        case .complete: "PUT"
        case .delta: "PATCH"
        }
    }

    /// In metrics.
    var kind: String {
        switch self {
        case .probe: "probe"
        case .complete: "complete"
        case .delta: "delta"
        }
    }
}

extension PushOutcome {
    /// In metrics.
    var name: String {
        if case .acknowledged = self { "acknowledged" } else { "\(self)" }
    }
}
