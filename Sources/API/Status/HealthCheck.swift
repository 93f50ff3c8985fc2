// The named checks behind /livez and /readyz, each of which has a path of its own.

/// A closed set; what each says is the last segment of its path.
public enum HealthCheck: String, CaseIterable, Sendable {
    /// The forwarding thread runs.
    case worker
    /// The control plane runs.
    case control
    /// The stored state is in force; a controller's store answers.
    case state
    /// The process has not been told to stop.
    case serving
    /// The certificate the API shows has not expired; passes without one.
    case certificate

    /// Of an agent's process alone: what a restart would mend.
    public static let live: [HealthCheck] = [.worker, .control]
    /// Of forwarding.
    public static let ready: [HealthCheck] = allCases
    /// Of a controller's process alone.
    public static let controllerLive: [HealthCheck] = [.control]
    /// Of a controller's API.
    public static let controllerReady: [HealthCheck] = [.control, .state, .serving, .certificate]

    /// The checks of a path such as "/livez/{check}".
    static func under(_ path: String, of service: Role) -> [HealthCheck] {
        switch (service, path.hasPrefix("/livez/")) {
        case (.agent, true): live
        case (.agent, false): ready
        case (.controller, true): controllerLive
        case (.controller, false): controllerReady
        }
    }
}
