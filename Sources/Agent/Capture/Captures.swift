// The captures that run: who has them, how many there may be, and what all there ever were have counted.

internal import API
internal import HTTP
internal import LinuxIO
internal import REST
internal import Synchronization

/// Any thread may ask; attaching waits for the workers' next breath.
final class Captures: Sendable {
    private struct State {
        var sessions: [CaptureSession] = []
        var isClosed = false
        /// Of captures that have ended.
        var frames: UInt64 = 0
        var bytes: UInt64 = 0
        var lost: UInt64 = 0
        var started: UInt64 = 0
    }

    private let workers: WorkerSet
    private let state = Mutex(State())

    init(workers: WorkerSet) { self.workers = workers }

    var isIdle: Bool { state.withLock { $0.sessions.isEmpty } }

    /// Begins a capture; its file comes by the stream.
    func start(
        _ target: CaptureTarget, _ settings: CaptureSettings, _ members: CaptureMembers
    ) throws(Problem) -> HTTPStream {
        let session: CaptureSession
        do throws(LinuxError) {
            session = try CaptureSession(target, settings, workers: workers.count, members: members)
        } catch {
            throw Problem(.unavailable, error.description)
        }
        let refusal = state.withLock { state -> Problem? in
            if state.isClosed { return Problem(.unavailable, "the agent is stopping") }
            guard state.sessions.count < CaptureAttachment.limit else {
                return Problem(
                    .limitExceeded,
                    "wanted at most \(CaptureAttachment.limit) captures at the same time, found more")
            }
            state.sessions.append(session)
            state.started += 1
            workers.capture(state.sessions.map(\.attachment))
            return nil
        }
        if let refusal { throw refusal }
        session.run { [weak self] session in self?.remove(session) }
        return session.stream
    }

    /// On the session's thread: when it returns, no worker writes to its rings.
    private func remove(_ session: CaptureSession) {
        state.withLock { state in
            state.sessions.removeAll { $0 === session }
            workers.capture(state.sessions.map(\.attachment))
            state.frames += session.frames
            state.bytes += session.bytes
            state.lost += session.lost
        }
    }

    /// Ports or tunnels have come, gone or changed their names.
    func follow(_ host: Host) {
        guard !isIdle else { return }
        let members = CaptureMembers(host)
        state.withLock { state in
            // The attachments before are held until no worker has them.
            let before = state.sessions.map(\.attachment)
            let changed = state.sessions.reduce(false) { $1.follow(members) || $0 }
            if changed { workers.capture(state.sessions.map(\.attachment)) }
            withExtendedLifetime(before) {}
        }
    }

    /// Ends all of them, with their statistics written, and admits no more.
    func close() {
        let sessions = state.withLock { state in
            state.isClosed = true
            return state.sessions
        }
        for session in sessions { session.end() }
        for session in sessions { session.awaitEnd() }
    }

    func addMetrics(to page: inout MetricsPage) {
        let (running, frames, bytes, lost, started) = state.withLock { state in
            (
                UInt64(state.sessions.count), state.sessions.reduce(state.frames) { $0 + $1.frames },
                state.sessions.reduce(state.bytes) { $0 + $1.bytes },
                state.sessions.reduce(state.lost) { $0 + $1.lost }, state.started
            )
        }
        page.family("viaduct_captures", .gauge, "Captures that run.")
        page.sample([], running)
        page.family("viaduct_captures_started_total", .counter, "Captures there were.")
        page.sample([], started)
        page.family("viaduct_capture_packets_total", .counter, "Frames written to captures.")
        page.sample([], frames)
        page.family("viaduct_capture_bytes_total", .counter, "Bytes of capture files given to their readers.")
        page.sample([], bytes)
        page.family(
            "viaduct_capture_dropped_packets_total", .counter,
            "Frames a capture has lost because its reader was slower than they came.")
        page.sample([], lost)
    }
}
