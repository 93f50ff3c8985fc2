import Dispatch

/// The timer that enforces the absolute deadlines of all connections.
///
/// `@unchecked Sendable`: the timer is a constant, and Dispatch lets any thread cancel one; its Swift type
/// does not say so.
final class Sweep: @unchecked Sendable {
    private let timer: any DispatchSourceTimer

    /// Starts at once. Keeps `core` alive until `stop`.
    init(_ core: ServerCore) {
        let interval = Self.interval(core.limits)
        timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "viaduct.http.sweep"))
        timer.schedule(deadline: .now() + interval, repeating: interval, leeway: .milliseconds(5))
        timer.setEventHandler { core.sweep() }
        timer.resume()
    }

    func stop() { timer.cancel() }

    /// A tenth of the shortest deadline, but 10 to 200 ms: how late a cut may be.
    private static func interval(_ limits: HTTPLimits) -> DispatchTimeInterval {
        let shortest = min(
            limits.headerSeconds, limits.bodySeconds, limits.idleSeconds, limits.handlerSeconds,
            limits.responseSeconds)
        return .milliseconds(Int(min(max(shortest * 100, 10), 200)))
    }
}
