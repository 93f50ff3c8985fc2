import Synchronization

/// A body that is written while it is sent: the handler's end of a response without an end.
///
///     handler ──write──► queue (bounded) ──pull──► libmicrohttpd ──► socket
///        ▲                  full: the client is cut                    │
///        └────── onClose ◄── finished, left, stalled or cut ◄──────────┘
///
/// Any thread may write, finish or cut; nothing here ever waits. A client that reads too slowly is not
/// waited for: when its queue would overflow, it is cut. One stream belongs to one response.
public final class HTTPStream: Sendable {
    /// Bytes that wait for one client: about 1,000 events. What libmicrohttpd and the kernel hold comes on top
    /// (`HTTPLimits.connectionMemoryByteCount`, `Connection.streamSendBufferByteCount`).
    public static var queueByteCountLimit: Int { 256 << 10 }

    /// What the connection's side gets when it asks for bytes.
    enum Pull: Equatable {
        case bytes(count: Int)
        /// Nothing now: the connection is suspended until it is resumed.
        case nothing
        case end
        case cut
    }

    private struct State {
        var queue: [UInt8] = []
        /// What has been pulled of `queue` already.
        var start = 0
        var isFinished = false
        var isClosed = false
        var carrier: (any StreamCarrier)?
        var isSuspended = false
        /// The connection has bytes, or the head, that it has not yet sent on.
        var isOwed = true
        /// When bytes last moved, or began to wait.
        var progress: ConnectionClock.Instant = 0
        var onClose: (@Sendable () -> Void)?
        var onDrain: (@Sendable () -> Void)?

        var byteCount: Int { queue.count - start }

        mutating func resume() {
            guard isSuspended else { return }
            isSuspended = false
            carrier?.resume()
        }
    }

    private let state = Mutex(State())
    private let queueByteCount: Int

    public init(queueByteCount: Int = HTTPStream.queueByteCountLimit) { self.queueByteCount = queueByteCount }

    // MARK: The handler's end

    /// Whether nobody reads any more.
    public var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Bytes that have been written and not yet been taken.
    public var queuedByteCount: Int { state.withLock { $0.byteCount } }

    /// Queues bytes. Never waits.
    ///
    /// - Returns: false when they go nowhere: finished, the client has left, or the queue would overflow, in
    ///   which case the client is cut now.
    @discardableResult
    public func write(_ bytes: [UInt8]) -> Bool {
        let now = Monotonic.now
        let (isTaken, isFull) = state.withLock { state -> (Bool, Bool) in
            guard !state.isFinished, !state.isClosed else { return (false, false) }
            guard state.byteCount + bytes.count <= queueByteCount else { return (false, true) }
            guard !bytes.isEmpty else { return (true, false) }
            if state.byteCount == 0, !state.isOwed { state.progress = now }
            state.queue.append(contentsOf: bytes)
            state.resume()
            return (true, false)
        }
        if isFull { cut() }
        return isTaken
    }

    /// Ends the body behind what is queued. `write` returns false from here on.
    public func finish() {
        state.withLock { state in
            state.isFinished = true
            state.resume()
        }
    }

    /// Ends the connection at once; what is queued is lost, and the client can tell that from a finish.
    public func cut() {
        let (carrier, onClose) = state.withLock { state -> ((any StreamCarrier)?, (@Sendable () -> Void)?) in
            let carrier = state.carrier
            state.resume()
            return (carrier, Self.close(&state))
        }
        carrier?.cut()
        onClose?()
    }

    /// Calls `body` once, when the stream has ended for whatever reason: at once if it already has. It is
    /// called on any thread, must not block, and replaces an earlier one.
    public func onClose(_ body: @escaping @Sendable () -> Void) {
        let isClosed = state.withLock { state in
            if !state.isClosed { state.onClose = body }
            return state.isClosed
        }
        if isClosed { body() }
    }

    /// Calls `body` each time the client has taken everything that was written: the moment to write more
    /// for who has more than fits. As with `onClose`, on any thread, without blocking.
    public func onDrain(_ body: @escaping @Sendable () -> Void) {
        state.withLock { if !$0.isClosed { $0.onDrain = body } }
    }

    // MARK: The connection's end

    /// - Returns: false when another response has the stream.
    func attach(_ carrier: any StreamCarrier, now: ConnectionClock.Instant) -> Bool {
        state.withLock { state in
            guard state.carrier == nil else { return false }
            state.carrier = carrier
            state.progress = now
            return true
        }
    }

    /// The request is over, however it ended.
    func detach() {
        let onClose = state.withLock { state -> (@Sendable () -> Void)? in
            state.carrier = nil
            return Self.close(&state)
        }
        onClose?()
    }

    /// The connection has sent everything it got and asks for more.
    ///
    /// - Parameter suspend: suspends the connection, or returns false when it must not be any more.
    func pull(
        into buffer: UnsafeMutableRawBufferPointer, now: ConnectionClock.Instant, suspend: () -> Bool
    ) -> Pull {
        let onDrain = state.withLock { $0.byteCount == 0 ? $0.onDrain : nil }
        onDrain?()
        return state.withLock { state in
            state.progress = now
            state.isOwed = false
            if state.isClosed { return .cut }
            let count = min(state.byteCount, buffer.count)
            if count > 0 {
                buffer.copyBytes(from: state.queue[state.start..<state.start + count])
                state.start += count
                state.isOwed = true
                if state.byteCount == 0 { (state.queue, state.start) = ([], 0) }
                // At most half of the array is bytes that have gone.
                if state.start > state.byteCount {
                    state.queue.removeFirst(state.start)
                    state.start = 0
                }
                return .bytes(count: count)
            }
            if state.isFinished { return .end }
            guard suspend() else { return .cut }
            state.isSuspended = true
            return .nothing
        }
    }

    /// Whether bytes have been waiting for the client for so long.
    func isStalled(now: ConnectionClock.Instant, seconds: Double) -> Bool {
        state.withLock { state in
            guard !state.isClosed, state.isOwed || state.byteCount > 0 else { return false }
            return now >= state.progress + ConnectionClock.Instant(max(seconds, 0) * 1e9)
        }
    }

    private static func close(_ state: inout State) -> (@Sendable () -> Void)? {
        (state.isClosed, state.queue, state.start) = (true, [], 0)
        defer { (state.onClose, state.onDrain) = (nil, nil) }
        return state.onClose
    }
}

/// The connection that carries a stream. `resume` is called with the stream's lock held, `cut` without.
protocol StreamCarrier: Sendable {
    func resume()
    func cut()
}
