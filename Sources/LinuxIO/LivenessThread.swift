// The thread that keeps BFD sessions: sleeps until a timer or a worker's call, takes in what was punted, and hands
// everything that is due to a worker as one batch. It exists while there are sessions to keep.
//
//   workers ── PuntBox ──▶ LivenessTable ── OriginatedBatch ──▶ worker 0 ──▶ tunnels
//              eventfd            ▲ set, report: the control plane

internal import CLinux
public import Datapath
internal import Glibc
internal import Proc
internal import Synchronization

/// Sessions and the thread that keeps them. May be called from any thread.
public final class LivenessThread: Sendable {
    private struct State {
        var table = LivenessTable()
        /// Where the last packet with P of a tunnel is.
        var polls: [UInt64: (batch: OriginatedBatch, index: Int)] = [:]
        var workers: WorkerSet?
        var isRunning = false
        var isStopping = false
    }

    private let state = Mutex(State())
    private let wakeup: Int32
    private let onTurn: @Sendable () -> Void
    private let isConfined: Bool

    /// `isConfined`: the thread gives up all that it does not need.
    /// `onTurn` is called on the thread when sessions have come up or gone down (`takeTurns`).
    public init(isConfined: Bool = false, onTurn: @escaping @Sendable () -> Void) throws(LinuxError) {
        self.isConfined = isConfined
        wakeup = try check(clx_eventfd_create(), "create an eventfd")
        self.onTurn = onTurn
    }

    deinit { close(wakeup) }

    /// Has the thread look into the workers' boxes.
    public func wake() { clx_eventfd_signal(wakeup) }

    // MARK: The control plane

    /// Says good-bye for sessions whose tunnels are not in `remaining`, while the workers still have these.
    public func bidFarewell(keeping remaining: Set<UInt64>) {
        state.withLock { state in
            guard state.table.count > 0 else { return }
            send(state.table.farewells(keeping: remaining, now: clx_monotonic_ns()), &state)
        }
    }

    /// Keeps sessions for these tunnels and no others, now that the workers have them. `remaining`: all tunnels there
    /// are, with sessions or without.
    public func set(_ targets: [LivenessTarget], remaining: Set<UInt64>, workers: WorkerSet) {
        let isNew = state.withLock { state in
            guard !state.isStopping, state.table.count > 0 || !targets.isEmpty else { return false }
            state.workers = workers
            state.table.set(targets, remaining: remaining, now: clx_monotonic_ns())
            state.polls = state.polls.filter { remaining.contains($0.key) }
            guard !state.isRunning else { return false }
            state.isRunning = true
            return true
        }
        if isNew {
            let code = OwnThread.start("viaduct-bfd") { [self] in
                run()
            }
            // Without a thread now, the next change tries again.
            if code != 0 { state.withLock { $0.isRunning = false } }
        }
        wake()
    }

    public var hasSessions: Bool { state.withLock { $0.table.count > 0 } }

    /// Sessions that came up or went down since the last call.
    public func takeTurns() -> [LivenessTurn] { state.withLock { $0.table.takeTurns() } }

    /// Nil for a tunnel without a session.
    public func report(of identity: UInt64) -> LivenessReport? {
        state.withLock { $0.table.report(of: identity, now: clx_monotonic_ns()) }
    }

    /// Ends the thread without waiting for it; nothing is sent any more.
    public func stop() {
        state.withLock { state in
            state.isStopping = true
            state.workers = nil
        }
        wake()
    }

    // MARK: The thread

    private func run() {
        guard let epoll = try? check(clx_epoll_create(), "create an epoll instance") else { return }
        defer { close(epoll) }
        clx_epoll_add(epoll, wakeup, 0)
        if isConfined { try? EngineThread.confine() }
        var event = clx_event()
        while let milliseconds = breathe() {
            if clx_epoll_wait(epoll, &event, 1, milliseconds) > 0 { clx_eventfd_drain(wakeup) }
        }
    }

    /// Does what is due. Returns how long it may sleep, -1 for ever; nil to end.
    private func breathe() -> Int32? {
        let (milliseconds, hasTurned): (Int32?, Bool) = state.withLock { state in
            guard !state.isStopping, let workers = state.workers else {
                state.isRunning = false
                return (nil, false)
            }
            for worker in workers.workers {
                worker.punts.drain { identity, time, frame in
                    let poll = state.polls[identity]
                    state.table.receive(
                        frame, by: identity, at: time, pollSentAt: poll.flatMap { $0.batch.sentAt($0.index) })
                }
            }
            let now = clx_monotonic_ns()
            send(state.table.advance(now: now), &state)
            guard state.table.count > 0 else {
                state.isRunning = false
                state.polls.removeAll()
                return (nil, state.table.hasTurns)
            }
            return (LivenessThread.sleep(until: state.table.nextWakeup, now), state.table.hasTurns)
        }
        if hasTurned { onTurn() }
        return milliseconds
    }

    /// Milliseconds for epoll, rounded up.
    private static func sleep(until wakeup: UInt64?, _ now: UInt64) -> Int32 {
        guard let wakeup else { return -1 }
        return wakeup <= now ? 0 : Int32(clamping: (wakeup - now + 999_999) / 1_000_000)
    }

    private func send(_ departures: [LivenessTable.Departure], _ state: inout State) {
        guard !departures.isEmpty, let worker = state.workers?.workers.first else { return }
        let batch = OriginatedBatch(departures)
        for index in batch.pollStart..<departures.count {
            state.polls[batch.departures[index].identity] = (batch, index)
        }
        worker.post { $0.send(batch) }
    }
}
