// What an examination of a host says: a line per check, what was found, and what to do about it.

public import JSON

/// How a check went, from best to worst.
public enum FindingState: String, CaseIterable, Comparable, Sendable {
    case ok
    /// It works, but slower, or not for everybody, or not for ever.
    case warn
    /// It does not work.
    case fail

    public static func < (left: FindingState, right: FindingState) -> Bool {
        left.rank < right.rank
    }

    private var rank: Int { FindingState.allCases.firstIndex(of: self) ?? 0 }
}

/// What one check found.
public struct Finding: Equatable, Sendable {
    /// Short and lasting: scripts look for it.
    public let check: String
    public let state: FindingState
    public let found: String
    /// What to do; nil when nothing has to be done.
    public let advice: String?

    static func ok(_ check: String, _ found: String) -> Finding {
        Finding(check: check, state: .ok, found: found, advice: nil)
    }

    static func warn(_ check: String, _ found: String, _ advice: String) -> Finding {
        Finding(check: check, state: .warn, found: found, advice: advice)
    }

    static func fail(_ check: String, _ found: String, _ advice: String) -> Finding {
        Finding(check: check, state: .fail, found: found, advice: advice)
    }

    public var json: JSONObject {
        var object: JSONObject = [
            "check": .string(check), "state": .string(state.rawValue), "found": .string(found),
        ]
        if let advice { object["advice"] = .string(advice) }
        return object
    }
}

/// All findings about a host.
public struct Diagnosis: Equatable, Sendable {
    public let findings: [Finding]

    /// That of the worst finding.
    public var state: FindingState { findings.map(\.state).max() ?? .ok }

    public func count(_ state: FindingState) -> Int { findings.count { $0.state == state } }

    public var json: JSONObject {
        ["state": .string(state.rawValue), "checks": .array(findings.map { .object($0.json) })]
    }
}
