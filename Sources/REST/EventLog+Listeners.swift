// The listeners of the event log: streams that are fed from the ring as fast as their readers take it.
//
// A listener holds a number, not a queue of events: what waits for it stays in the ring, and only
// `pumpByteCount` at a time are moved to its stream. A reader that the ring passes gets a gap event; one
// that takes nothing at all is cut by the HTTP server (`HTTPLimits.responseSeconds`).

internal import HTTP

/// `@unchecked Sendable`: everything that changes is touched only with the log's lock held.
final class EventListener: @unchecked Sendable {
    let stream: HTTPStream
    /// The last event given to the stream.
    fileprivate var lastID: Int
    /// One thread at a time moves events, so that they stay in order; another one that comes meanwhile
    /// leaves word in `isPumpDue`.
    fileprivate var isPumping = false
    fileprivate var isPumpDue = false

    init(_ stream: HTTPStream, since: Int) {
        self.stream = stream
        lastID = since
    }
}

extension EventLog {
    /// Moved to a stream at a time, some hundred events; a quarter of what the stream holds.
    static let pumpByteCount = 64 << 10

    /// Feeds a stream from the event after `since` on (from now, when nil) until it closes.
    ///
    /// - Returns: false when every place is taken, or the log is closed.
    func listen(_ stream: HTTPStream, since: Int?) -> Bool {
        let listener = state.withLock { state -> EventListener? in
            guard !state.isClosed, state.hasPlace else { return nil }
            let listener = EventListener(stream, since: since ?? state.ring.lastID)
            state.listeners[ObjectIdentifier(listener)] = listener
            return listener
        }
        guard let listener else { return false }
        stream.write(Event.keepAlive)
        stream.onDrain { [weak self, weak listener] in
            if let self, let listener { pump(listener) }
        }
        stream.onClose { [weak self, weak listener] in
            if let self, let listener { remove(listener) }
        }
        pump(listener)
        return true
    }

    var currentListenerCount: Int { state.withLock { $0.listeners.count } }

    /// Writes a sign of life to everybody. A reader that does not even take these is stalled, and cut.
    func keepAlive() {
        for listener in state.withLock({ Array($0.listeners.values) })
        where listener.stream.queuedByteCount == 0 {
            if !listener.stream.write(Event.keepAlive) { remove(listener) }
        }
    }

    /// Does so every 15 seconds until the task is cancelled.
    public func keepListenersAlive() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(Self.keepAliveSeconds))
            keepAlive()
        }
    }

    private func remove(_ listener: EventListener) {
        state.withLock { _ = $0.listeners.removeValue(forKey: ObjectIdentifier(listener)) }
    }

    /// Moves events until the listener has all, or its stream has enough for now.
    ///
    /// The stream is written without the log's lock: its `onClose` takes it.
    func pump(_ listener: EventListener) {
        let isMine = state.withLock { _ in
            listener.isPumpDue = true
            defer { listener.isPumping = true }
            return !listener.isPumping
        }
        guard isMine else { return }
        while let bytes = next(for: listener) {
            if listener.stream.write(bytes) { continue }
            remove(listener)
            // Nobody reads any more; `isPumping` stays set, so nobody moves events either.
            return
        }
    }

    /// The next bytes for the listener, or nil when there is no more to do; then another may pump.
    private func next(for listener: EventListener) -> [UInt8]? {
        while true {
            // In this order: who drains the stream after it was asked for its queue leaves word again.
            state.withLock { _ in listener.isPumpDue = false }
            let isFull = listener.stream.queuedByteCount >= Self.pumpByteCount
            let step = state.withLock { state -> (bytes: [UInt8]?, isOver: Bool) in
                if !isFull, let bytes = state.frames(for: listener, boot, milliseconds: clock()) {
                    return (bytes, false)
                }
                if listener.isPumpDue { return (nil, false) }
                listener.isPumping = false
                return (nil, true)
            }
            if let bytes = step.bytes { return bytes }
            if step.isOver { return nil }
        }
    }
}

extension EventLog.State {
    /// Frames of the next events, about `pumpByteCount`; nil when there are none.
    fileprivate func frames(
        for listener: EventListener, _ boot: String, milliseconds: Int64
    ) -> [UInt8]? {
        let (first, isGap) = first(after: listener.lastID)
        var bytes: [UInt8] = []
        if isGap {
            let since = listener.lastID > ring.lastID ? nil : listener.lastID
            let gap = Event.gap(since: since, next: first, milliseconds: milliseconds)
            Event.frame(gap.id, gap.type, gap.encoded, boot: boot, to: &bytes)
            listener.lastID = first - 1
        }
        var id = first
        while id <= ring.lastID, bytes.count < EventLog.pumpByteCount {
            ring.frame(id, boot: boot, to: &bytes)
            listener.lastID = id
            id += 1
        }
        return bytes.isEmpty ? nil : bytes
    }
}
