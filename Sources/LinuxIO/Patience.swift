// How a worker waits: it keeps looking for a while when the last pause was a short one, and sleeps otherwise. A
// sleeping thread costs a few microseconds to wake, an eager one a processor; so what is spent is bounded, is
// offered to every other thread at each look (sched_yield), and is nothing on a link that is quiet, or one that
// carries bulk in many pieces: there the guests need the processor, and who waits a little gets more at once.

internal import CLinux
internal import Glibc

/// Used by the worker's thread alone.
struct Patience {
    /// Longest look before sleeping, nanoseconds; 0 sleeps at once.
    let limitNanoseconds: UInt64
    /// Whether it looks on while it carries bulk as well: where superframes go through whole, a worker is done with
    /// one before the next is there, and each sleep would cost more than the work.
    var looksOnInBulk = false
    /// How long the last pause was.
    private var lastPause: UInt64 = .max
    /// When the last breath that carried bulk ended.
    private var lastBulk: UInt64 = 0
    /// How often it has looked on.
    private(set) var lookCount = 0

    /// Bytes in one breath that no request and no answer has.
    static let bulkByteCount = 16 << 10
    /// How long after bulk the worker does not look on, nanoseconds.
    static let bulkNanoseconds: UInt64 = 2_000_000

    init(limitNanoseconds: UInt64) { self.limitNanoseconds = limitNanoseconds }

    /// Waits up to `sleepMilliseconds` for something on `epoll`; returns how many events there are, as
    /// epoll_wait(2). `takenByteCount`: what the last breath took in.
    mutating func wait(
        _ epoll: Int32, _ ready: UnsafeMutablePointer<clx_event>, _ capacity: Int32, sleepMilliseconds: Int32,
        takenByteCount: Int
    ) -> Int32 {
        if limitNanoseconds == 0 { return clx_epoll_wait(epoll, ready, capacity, sleepMilliseconds) }
        var count = clx_epoll_wait(epoll, ready, capacity, 0)
        if count != 0 { return count }
        let start = clx_monotonic_ns()
        if takenByteCount >= Patience.bulkByteCount { lastBulk = start }
        if lastPause < limitNanoseconds, looksOnInBulk || start &- lastBulk >= Patience.bulkNanoseconds {
            lookCount &+= 1
            repeat {
                sched_yield()
                count = clx_epoll_wait(epoll, ready, capacity, 0)
            } while count == 0 && clx_monotonic_ns() &- start < limitNanoseconds
        }
        if count == 0 { count = clx_epoll_wait(epoll, ready, capacity, sleepMilliseconds) }
        lastPause = clx_monotonic_ns() &- start
        return count
    }
}
