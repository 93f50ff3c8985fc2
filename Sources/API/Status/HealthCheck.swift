// The named checks behind /livez and /readyz, each of which has a path of its own.

/// A closed set; what each says is the last segment of its path.
public enum HealthCheck: String, CaseIterable, Sendable {
    /// The forwarding thread runs.
    case worker
    /// The control plane runs.
    case control
    /// The stored state is in force.
    case state
    /// The agent has not been told to stop.
    case serving

    /// Of the process alone: what a restart would mend.
    public static let live: [HealthCheck] = [.worker, .control]
    /// Of forwarding.
    public static let ready: [HealthCheck] = allCases

    /// The checks of a path such as "/livez/{check}".
    static func under(_ path: String) -> [HealthCheck] { path.hasPrefix("/livez/") ? live : ready }
}
