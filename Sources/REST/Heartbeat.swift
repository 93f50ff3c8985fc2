// Whether a control plane goes round, told without asking it: a busy one is not taken for a dead one.

internal import Glibc
internal import Synchronization

/// When the control plane last went round. Any thread may beat and look.
public final class Heartbeat: Sendable {
    private let last = Atomic<UInt64>(Heartbeat.now)
    private let awaited = Mutex<String?>(nil)

    public init() {}

    public func beat() { last.store(Heartbeat.now, ordering: .relaxed) }
    /// Milliseconds since the last beat, or since the start.
    public var ageMilliseconds: UInt64 { Heartbeat.now &- last.load(ordering: .relaxed) }

    /// What the control plane waits for at this moment, if it said so before.
    public var awaits: String? { awaited.withLock { $0 } }

    /// Waits for something that only the kernel can end, a disk that does not answer or interfaces to be gone, and
    /// that another process would wait for as well: whoever does not beat meanwhile is not hung.
    public func wait<R, E>(for what: String, _ body: () throws(E) -> R) throws(E) -> R {
        awaited.withLock { $0 = what }
        defer {
            beat()
            awaited.withLock { $0 = nil }
        }
        return try body()
    }

    private static var now: UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1000 + UInt64(now.tv_nsec) / 1_000_000
    }
}
