// What has happened lately, for those who watch. Any thread may append, read, wait and listen; nothing
// blocks, and nobody who reads slowly is waited for.
//
//   append ──▶ ring (4,096) ──▶ waiters   woken once, then read a page
//                          └──▶ listeners: a cursor each ──pump──▶ HTTPStream ──▶ socket
//                                              ▲ passed by the ring: a gap event      │
//                                              └──────────── drained ────────────────┘

public import API
internal import HTTP
public import JSON
internal import Synchronization

/// The ring of events with its waiters and listeners.
public final class EventLog: Sendable {
    /// Events kept: a minute of the busiest hour, or the last day of a quiet one; about 1 MiB.
    public static let capacity = 4096
    /// Waiters and listeners together; each costs a connection, a listener up to 256 KiB beside.
    public static let listenerCount = 64
    /// Items of one page.
    public static let pageCount = 1000
    /// Seconds between signs of life; proxies cut after 60 seconds of silence, some after 30.
    public static let keepAliveSeconds = 15.0
    /// Longest wait of a long poll; `HTTPLimits.handlerSeconds` must be longer.
    public static let waitSeconds = 60

    public struct Page: Equatable, Sendable {
        public var items: [Event]
        /// The number to go on from.
        public var next: Int
        /// Events after the number asked for are gone.
        public var gap: Bool
    }

    struct State {
        var ring = EventRing()
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        /// Waiters that have a place, known yet or about to be.
        var waiting: Set<Int> = []
        /// Those of them who were woken before they were known.
        var woken: Set<Int> = []
        var listeners: [ObjectIdentifier: EventListener] = [:]
        var waiterSerial = 0
        var isClosed = false

        var hasPlace: Bool { waiting.count + listeners.count < EventLog.listenerCount }
    }

    let state = Mutex(State())
    /// Tells this life of the service, in which ids are counted from 1, from all others.
    public let boot: String
    let clock: @Sendable () -> Int64

    /// - Parameter clock: milliseconds since 1970, for gap events; the others bring their time.
    public init(
        boot: String = String(UInt64.random(in: .min ... .max), radix: 16),
        clock: @escaping @Sendable () -> Int64 = { RFC3339.wallMilliseconds }
    ) {
        self.boot = boot
        self.clock = clock
    }

    /// The id in a cursor or a plain number; nil when it is neither. One of another life is beyond every id of
    /// this, which makes it a gap.
    func id(in text: String) -> Int? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard let digits = parts.last, parts.count <= 2, !digits.isEmpty,
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let id = Int(digits)
        else { return nil }
        guard parts.count == 2 else { return id }
        let isBoot = !parts[0].isEmpty && parts[0].utf8.allSatisfy { Character(UnicodeScalar($0)).isHexDigit }
        return isBoot ? parts[0] == boot ? id : .max : nil
    }

    /// Number of the newest event, 0 before the first.
    public var lastID: Int { state.withLock { $0.ring.lastID } }

    // MARK: Writing

    /// Numbers and keeps events that belong together, then tells everybody once.
    ///
    /// - Parameter milliseconds: when they happened, since 1970.
    public func append(_ drafts: [EventDraft], at milliseconds: Int64) {
        guard !drafts.isEmpty else { return }
        let (waiters, listeners) = state.withLock { state in
            state.ring.append(drafts, at: milliseconds)
            defer { state.waiters = [:] }
            return (Array(state.waiters.values), Array(state.listeners.values))
        }
        for waiter in waiters { waiter.resume() }
        for listener in listeners { pump(listener) }
    }

    public func append(
        _ type: EventType, _ resource: String, _ data: JSONObject = [:], at milliseconds: Int64
    ) {
        append([EventDraft(type: type, resource: resource, data: data)], at: milliseconds)
    }

    // MARK: Reading

    /// The events after `since`, oldest first.
    public func events(since: Int, limit: Int = EventLog.pageCount) -> Page {
        state.withLock { $0.page(since: since, limit: limit) }
    }

    /// The same, but waits for the first event; less long when the task is cancelled or the log is closed.
    ///
    /// - Returns: nil when every place is taken.
    public func wait(since: Int, limit: Int = EventLog.pageCount, seconds: Double) async -> Page? {
        let page = events(since: since, limit: limit)
        guard page.items.isEmpty, !page.gap, seconds > 0 else { return page }
        let serial = state.withLock { state -> Int? in
            guard state.hasPlace else { return nil }
            state.waiterSerial += 1
            state.waiting.insert(state.waiterSerial)
            return state.waiterSerial
        }
        guard let serial else { return nil }
        let alarm = Task {
            try? await Task.sleep(for: .seconds(seconds))
            wake(serial)
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { register($0, serial, since) }
        } onCancel: {
            wake(serial)
        }
        alarm.cancel()
        return state.withLock { state in
            state.waiting.remove(serial)
            state.woken.remove(serial)
            return state.page(since: since, limit: limit)
        }
    }

    private func register(_ waiter: CheckedContinuation<Void, Never>, _ serial: Int, _ since: Int) {
        let isOver = state.withLock { state in
            if state.isClosed || state.ring.lastID > since || state.woken.contains(serial) { return true }
            state.waiters[serial] = waiter
            return false
        }
        if isOver { waiter.resume() }
    }

    private func wake(_ serial: Int) {
        let waiter = state.withLock { state in
            if state.waiting.contains(serial) { state.woken.insert(serial) }
            return state.waiters.removeValue(forKey: serial)
        }
        waiter?.resume()
    }

    // MARK: End

    /// Wakes every waiter: nobody is to be waited for.
    public func rouse() {
        let waiters = state.withLock { state in
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Wakes every waiter and finishes every stream: the service is stopping.
    public func close() {
        let (waiters, listeners) = state.withLock { state in
            state.isClosed = true
            defer { (state.waiters, state.listeners) = ([:], [:]) }
            return (Array(state.waiters.values), Array(state.listeners.values))
        }
        for waiter in waiters { waiter.resume() }
        for listener in listeners { listener.stream.finish() }
    }
}

extension EventLog.State {
    fileprivate func page(since: Int, limit: Int) -> EventLog.Page {
        let (first, gap) = first(after: since)
        let last = min(ring.lastID, first - 1 + limit)
        guard first <= last else { return EventLog.Page(items: [], next: first - 1, gap: gap) }
        return EventLog.Page(items: (first...last).map { ring[$0] }, next: last, gap: gap)
    }

    /// The event to go on with, and whether some before it are gone. A number that is not given out yet is
    /// of an earlier life of the service: its reader has missed everything.
    func first(after since: Int) -> (id: Int, gap: Bool) {
        if since > ring.lastID { return (ring.oldestID, true) }
        return (max(since + 1, ring.oldestID), since + 1 < ring.oldestID)
    }
}
