// What the service manager hears of a running service: signs of life while there is life, and what is wrong when
// something is. A process whose threads hang says nothing, and is ended and started again.

public import Proc

extension ServiceManager {
    /// Between two looks where no watchdog wants them more often.
    static let lookSeconds = 5.0

    /// Says that the service is alive for as long as `live` finds nothing wrong, and what is wrong when `ready`
    /// finds something. Until cancelled.
    ///
    /// - Parameter usual: the status while nothing is wrong.
    public func keepInformed(
        usual: String, live: @Sendable () -> [HealthResult], ready: @Sendable () -> [HealthResult]
    ) async {
        // Four times as often as it must be, so that one that is late harms nobody.
        let seconds = min(
            watchdogSeconds.map { $0 / 4 } ?? ServiceManager.lookSeconds, ServiceManager.lookSeconds)
        var said = usual
        while !Task.isCancelled {
            if watchdogSeconds != nil, live().allSatisfy({ $0.failure == nil }) { tell(.alive) }
            let failures = ready().compactMap { result in result.failure.map { "\(result.check): \($0)" } }
            let status = failures.isEmpty ? usual : failures.joined(separator: "; ")
            if status != said, tell(.status(status)) { said = status }
            try? await Task.sleep(for: .seconds(seconds))
        }
    }
}
