import CCurl
import Dispatch
import Glibc
import Synchronization

/// Runs transfers side by side on one thread: libcurl's multi interface, driven by epoll, so that a turn costs
/// what has happened and not what is open.
///
///     start, cancel ──► inbox ──wakeup──► run:  act on sockets, timer ─► report ─► take in ─► start ─► wait ─┐
///                                          ▲                                                                │
///                                          └────────────────────────────────────────────────────────────────┘
///
/// `run` occupies a thread from the first transfer until nothing has happened for `idleSeconds`, or, after
/// `release`, until the last transfer has ended. Then it closes whatever was kept.
///
/// `@unchecked Sendable`: everything but the inbox belongs to the serial queue.
final class TransferLoop: @unchecked Sendable {
    typealias Outcome = Result<HTTPClientResponse, HTTPClientError>

    /// Handles kept for later transfers; making one costs as much as a small request.
    private static var spareHandleCount: Int { 64 }
    /// How often those that wait for their turn are looked through for overdue ones.
    private static var sweepInterval: Duration { .milliseconds(50) }

    private struct Inbox {
        var arrivals: [Transfer] = []
        var cancelled: [Transfer] = []
        var isRunning = false
        var isReleased = false
        /// Of the running loop.
        var wakeup: Int32?
        var isWoken = false

        /// Once is enough until the loop has looked.
        mutating func wake() {
            guard let wakeup, !isWoken else { return }
            isWoken = eventfd_write(wakeup, 1) == 0
        }
    }

    private let inbox = Mutex(Inbox())
    private let queue = DispatchQueue(label: "viaduct.http.client")
    private let limits: HTTPClientPoolLimits
    private var waiting: TransferQueue
    private var active: [UnsafeMutableRawPointer: Transfer] = [:]
    private var spares: [UnsafeMutableRawPointer] = []
    private var nextSweep = ContinuousClock.now

    /// Once per process, before the first handle.
    private static let library: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

    init(_ limits: HTTPClientPoolLimits) {
        self.limits = limits
        waiting = TransferQueue(limits)
    }

    deinit { for easy in spares { curl_easy_cleanup(easy) } }

    /// Calls `report` exactly once, on the loop's thread.
    func start(_ transfer: Transfer, report: @escaping @Sendable (Outcome) -> Void) {
        transfer.willReport(report)
        let mustRun = inbox.withLock { inbox in
            inbox.arrivals.append(transfer)
            inbox.wake()
            defer { inbox.isRunning = true }
            return !inbox.isRunning
        }
        if mustRun { queue.async { self.run() } }
    }

    func cancel(_ transfer: Transfer) {
        transfer.isCancelled.store(true, ordering: .sequentiallyConsistent)
        inbox.withLock { inbox in
            inbox.cancelled.append(transfer)
            inbox.wake()
        }
    }

    /// No more will come.
    func release() {
        inbox.withLock { inbox in
            inbox.isReleased = true
            inbox.wake()
        }
    }

    // MARK: The thread

    private func run() {
        guard Self.library == CURLE_OK, let watch = SocketWatch(connectionCount: limits.connectionCount)
        else {
            return failAll()
        }
        inbox.withLock { $0.wakeup = watch.wakeup }
        var lastBusy = ContinuousClock.now
        while true {
            watch.act()
            report(watch)
            // After `act` has taken the wakeup away: what comes from here on wakes anew.
            takeIn(watch)
            startReady(watch)
            let now = ContinuousClock.now
            if !waiting.isEmpty { lastBusy = now }
            sweep(now)
            let idleEnd = lastBusy + .seconds(limits.idleSeconds)
            if waiting.isEmpty, isOver(isIdle: now >= idleEnd) { return }
            let next = waiting.waitingCount > 0 ? nextSweep : idleEnd
            watch.wait(until: waiting.isEmpty || waiting.waitingCount > 0 ? next : nil, now: now)
        }
    }

    /// Whether the loop ends now; if so, the next arrival makes it run anew.
    private func isOver(isIdle: Bool) -> Bool {
        inbox.withLock { inbox in
            guard inbox.arrivals.isEmpty, isIdle || inbox.isReleased else { return false }
            inbox.isRunning = false
            inbox.wakeup = nil
            inbox.isWoken = false
            return true
        }
    }

    /// Without memory or descriptors for the loop itself there is no answer to anybody.
    private func failAll() {
        let arrivals = inbox.withLock { inbox in
            defer { inbox.arrivals = [] }
            inbox.isRunning = false
            return inbox.arrivals
        }
        for transfer in arrivals { transfer.finish(.failure(transfer.outOfMemory)) }
    }

    private func takeIn(_ watch: SocketWatch) {
        let (arrivals, cancelled) = inbox.withLock { inbox in
            defer { (inbox.arrivals, inbox.cancelled, inbox.isWoken) = ([], [], false) }
            return (inbox.arrivals, inbox.cancelled)
        }
        for transfer in arrivals {
            // A task that was cancelled before it got here has been in `cancelled` already.
            if transfer.isCancelled.load(ordering: .sequentiallyConsistent) {
                transfer.finish(.failure(transfer.cancellation))
            } else {
                waiting.come(transfer)
            }
        }
        for transfer in cancelled where !transfer.isOver {
            let cancellation = transfer.cancellation
            if let easy = transfer.easy, active[easy] === transfer { end(transfer, easy, watch) }
            transfer.finish(.failure(cancellation))
        }
    }

    private func startReady(_ watch: SocketWatch) {
        while let transfer = waiting.next() {
            guard !transfer.isOver, transfer.deadline.map({ $0 > .now }) ?? true else {
                waiting.end(transfer)
                transfer.finish(.failure(transfer.overdue))
                continue
            }
            guard let easy = spares.popLast() ?? curl_easy_init() else {
                waiting.end(transfer)
                transfer.finish(.failure(transfer.outOfMemory))
                continue
            }
            active[easy] = transfer
            if !transfer.prepare(easy, idleSeconds: limits.idleSeconds) || !watch.add(easy) {
                end(transfer, easy, watch)
                transfer.finish(.failure(transfer.outOfMemory))
            }
        }
    }

    /// Hands over what is complete.
    private func report(_ watch: SocketWatch) {
        while let (easy, code) = watch.ended() {
            guard let transfer = active[easy] else { continue }
            let outcome = transfer.outcome(code)
            end(transfer, easy, watch)
            transfer.finish(outcome)
        }
    }

    private func end(_ transfer: Transfer, _ easy: UnsafeMutableRawPointer, _ watch: SocketWatch) {
        watch.remove(easy)
        transfer.leaveHandle()
        active[easy] = nil
        waiting.end(transfer)
        if spares.count < Self.spareHandleCount {
            curl_easy_reset(easy)
            spares.append(easy)
        } else {
            curl_easy_cleanup(easy)
        }
    }

    /// Gives up those that have waited too long for their turn.
    private func sweep(_ now: ContinuousClock.Instant) {
        guard waiting.waitingCount > 0, now >= nextSweep else { return }
        nextSweep = now + Self.sweepInterval
        for transfer in waiting.remove(where: { $0.isOver || $0.deadline.map { $0 <= now } ?? false }) {
            transfer.finish(.failure(transfer.overdue))
        }
    }
}
