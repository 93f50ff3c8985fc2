// Whether a control plane goes round, told without asking it: a busy one is not taken for a dead one.

internal import Glibc
internal import Synchronization

/// When the control plane last went round. Any thread may beat and look.
public final class Heartbeat: Sendable {
    private let last = Atomic<UInt64>(Heartbeat.now)

    public init() {}

    public func beat() { last.store(Heartbeat.now, ordering: .relaxed) }
    /// Milliseconds since the last beat, or since the start.
    public var ageMilliseconds: UInt64 { Heartbeat.now &- last.load(ordering: .relaxed) }

    private static var now: UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1000 + UInt64(now.tv_nsec) / 1_000_000
    }
}
