// The neighbours of the native underlay: which MAC address a next hop has. A state machine without socket or clock:
// told what is wanted, used, heard and set, it says what to ask. `LinuxIO`'s resolver gives it both.
//
//               wanted                answered                       nobody used it
//   (none) ────────────▶ incomplete ────────────▶ reachable ──────────────────────────────▶ stale
//              ▲            │                        ▲  │ used, and not confirmed lately      │
//   wanted, at │            │ 3 questions            │  ▼                                    │ used
//   most every │            ▼                answered└─ probe ◀───────────────────────────────┘
//   second     └───────── failed ◀────────────────────┘   3 questions to it, 3 to everybody
//
// - Reachability is confirmed by answers to us, and by a known peer's question for one of our addresses (RFC 826,
//   RFC 4861 §7.2.3–5). An announcement changes a known address, which is then stale; it never makes an entry.
// - A worker that uses a next hop has it confirmed before that ages out: a peer that is gone, or has another
//   address and did not say so, is noticed. While it is probed its old address stays in use.
// - `permanent` entries are the operator's and never change by what is heard.
// - Entries that programs refer to (`pin`) are never evicted; the others leave a minute after their confirmation
//   has run out, or when there is no room.
// - Questions are bounded, all together by a rate, each neighbour's by a second between them.
//
// Belongs to one thread. All times are monotonic milliseconds and do not go back.

public import Wire

/// The table. Each call may leave something to be done, which `takeOutput()` fetches.
public final class NeighborTable {
    /// Entries, learned and set, of all interfaces.
    public static let defaultCapacity = 16_384

    final class Entry {
        let key: NeighborKey
        var state = NeighborState.failed
        /// While `state` has an address.
        var mac: MACAddress?
        /// While `pins` is not 0.
        var cell: NeighborCell?
        var pins = 0
        /// The address packets to it have as their source.
        var source: IPAddress?
        /// When `state` was entered.
        var since: UInt64
        var confirmedAt: UInt64?
        var changedAt: UInt64 = 0
        /// Questions of this round.
        var tries = 0
        /// Rounds in a row without an answer.
        var failures = 0
        var retryAt: UInt64 = 0
        var askedAt: UInt64?
        var questionCount: UInt64 = 0
        /// When there is something to do; `.max` for not before something happens.
        var dueAt = UInt64.max
        /// When `deadlines` says so; earlier than `dueAt`, or the same.
        var listedAt = UInt64.max
        /// Waits for its turn to ask.
        var isQueued = false
        var isGone = false

        init(_ key: NeighborKey, now: UInt64) {
            self.key = key
            since = now
        }
    }

    let timing: NeighborTiming
    let capacity: Int
    private let random: (ClosedRange<UInt64>) -> UInt64
    private(set) var entries: [NeighborKey: Entry] = [:]
    private var cells: NeighborCells
    public private(set) var devices: [Int32: UnderlayDevice] = [:]
    private(set) var ownAddresses: Set<IPAddress> = []
    private(set) var ownMACs: Set<MACAddress> = []
    private var deadlines = Deadlines<Entry>()
    private var questions: QuestionQueue
    private var output = NeighborOutput()
    public internal(set) var counters = NeighborCounters()

    /// `cells` has a place for every entry: as many are the table's capacity. `random` chooses within a range.
    public init(
        cells: NeighborCells, timing: NeighborTiming = NeighborTiming(),
        random: @escaping (ClosedRange<UInt64>) -> UInt64
    ) {
        self.cells = cells
        capacity = cells.capacity
        self.timing = timing
        self.random = random
        questions = QuestionQueue(timing)
    }

    // MARK: Told by the control plane

    /// Replaces the interfaces. What was learned by one that is gone or down is forgotten; what is pinned there is
    /// asked for when it comes back. After a change of its own MAC address all peers are probed, which tells them.
    public func setDevices(_ list: [UnderlayDevice], now: UInt64) {
        let former = devices
        devices = Dictionary(list.map { ($0.index, $0) }) { $1 }
        ownAddresses = Set(list.flatMap { $0.addresses.map(\.address) })
        ownMACs = Set(list.map(\.mac))
        for entry in entries.values where entry.state != .permanent {
            guard canAsk(entry) else {
                if entry.pins == 0 { remove(entry) } else { lose(entry, now) }
                continue
            }
            let before = former[entry.key.index]
            let isBack = before?.isUp != true && entry.state == .failed
            if isBack || entry.mac.map(ownMACs.contains) == true {
                begin(entry, now)
            } else if before?.mac != devices[entry.key.index]?.mac, entry.state.hasAddress {
                probe(entry, now)
            }
        }
    }

    /// The cell of a next hop that a program refers to from now on, which is asked for at once unless it is known.
    /// `source`: of the packets that will go there. Nil when all places are taken by entries that cannot go.
    /// To be undone by as many `unpin(_:now:)`.
    public func pin(_ key: NeighborKey, source: IPAddress?, now: UInt64) -> NeighborCell? {
        guard let entry = entries[key] ?? make(key, now) else { return nil }
        if let source { entry.source = source }
        if let cell = entry.cell {
            entry.pins += 1
            return cell
        }
        guard let cell = cells.take() else { return nil }
        entry.cell = cell
        entry.pins = 1
        if let mac = entry.mac { cell.publish(mac) } else { cell.withdraw(isFailed: entry.state == .failed) }
        if entry.state == .stale { schedule(entry, at: now + timing.delay) }
        want(entry, now)
        return cell
    }

    /// No program refers to the next hop for this pin any more; with the last one the cell is taken back.
    public func unpin(_ key: NeighborKey, now: UInt64) {
        guard let entry = entries[key], entry.pins > 0 else { return }
        entry.pins -= 1
        guard entry.pins == 0, let cell = entry.cell else { return }
        entry.cell = nil
        cells.giveBack(cell)
        switch entry.state {
        case .failed, .stale: schedule(entry, at: now + timing.collect)
        case .incomplete, .reachable, .probe, .permanent: break
        }
    }

    /// Asks for a next hop ahead of traffic.
    public func resolve(_ key: NeighborKey, now: UInt64) {
        guard let entry = entries[key] ?? make(key, now) else { return }
        want(entry, now)
    }

    /// Begins with what was known of a next hop before, as stale, where nothing is known yet.
    public func recall(_ key: NeighborKey, _ mac: MACAddress, now: UInt64) {
        guard entries[key] == nil, !ownMACs.contains(mac), let entry = make(key, now) else { return }
        guard canAsk(entry) else { return remove(entry) }
        learn(entry, mac, isConfirmed: false, now)
    }

    /// Replaces what the operator has set. Returns what there was no room for.
    public func setStatic(_ wanted: [NeighborKey: MACAddress], now: UInt64) -> [NeighborKey] {
        for entry in entries.values where entry.state == .permanent && wanted[entry.key] == nil {
            restart(entry, now)
        }
        return wanted.sorted { $0.key < $1.key }.compactMap { key, mac in
            guard let entry = entries[key] ?? make(key, now) else { return key }
            let isNew = entry.mac == nil
            if entry.mac != mac { entry.cell?.publish(mac) }
            entry.mac = mac
            entry.failures = 0
            enter(entry, .permanent, now)
            if isNew, let cell = entry.cell { output.settled.append(cell) }
            return nil
        }
    }

    /// Forgets what was learned; what is pinned is asked for anew. False when nothing was.
    public func forget(_ key: NeighborKey, now: UInt64) -> Bool {
        guard let entry = entries[key], entry.state != .permanent else { return false }
        restart(entry, now)
        return true
    }

    // MARK: Told by time and workers

    /// Looks for failed next hops that workers want.
    public func scan(now: UInt64) {
        for entry in entries.values where entry.state == .failed {
            if let cell = entry.cell, cell.lastWanted > entry.since { want(entry, now) }
        }
    }

    /// Does what is due.
    public func tick(now: UInt64) {
        while let (time, entry) = deadlines.take(dueAt: now) {
            guard !entry.isGone, entry.listedAt == time else { continue }
            entry.listedAt = .max
            if entry.dueAt > now {
                schedule(entry, at: entry.dueAt)
            } else {
                entry.dueAt = .max
                expire(entry, now)
            }
        }
        while let entry = questions.next(now: now) {
            entry.tries += 1
            entry.askedAt = now
            entry.questionCount += 1
            counters.questions += 1
            let isToAll = entry.state == .incomplete || entry.tries > timing.unicastTries
            output.questions.append(
                NeighborQuestion(
                    key: entry.key, source: entry.source, destination: isToAll ? nil : entry.mac))
            schedule(entry, at: now + timing.retransmit)
        }
    }

    /// When `tick(now:)` has something to do next; nil when only something that happens can change that.
    public func nextTick(now: UInt64) -> UInt64? {
        [deadlines.first, questions.readyAt(now: now)].compactMap { $0 }.min()
    }

    /// What is to be done since the last call.
    public func takeOutput() -> NeighborOutput {
        defer { output = NeighborOutput() }
        return output
    }

    /// All entries, in order.
    public func snapshot(now: UInt64) -> [NeighborEntry] {
        entries.values.sorted { $0.key < $1.key }.map { describe($0, now) }
    }

    /// One of them; nil when there is none.
    public func entry(_ key: NeighborKey, now: UInt64) -> NeighborEntry? {
        entries[key].map { describe($0, now) }
    }

    private func describe(_ entry: Entry, _ now: UInt64) -> NeighborEntry {
        let used = entry.cell?.lastUsed ?? 0
        return NeighborEntry(
            key: entry.key, state: entry.state, mac: entry.mac, pins: entry.pins,
            confirmedMilliseconds: entry.confirmedAt.map { now - min(now, $0) },
            usedMilliseconds: used == 0 ? nil : now - min(now, used), questionCount: entry.questionCount)
    }
}

// MARK: Transitions

extension NeighborTable {
    /// Its address, known or new. Confirmed: it has answered us.
    func learn(_ entry: Entry, _ mac: MACAddress, isConfirmed: Bool, _ now: UInt64) {
        let former = entry.mac
        entry.mac = mac
        entry.failures = 0
        if former != mac {
            entry.changedAt = now
            entry.cell?.publish(mac)
        }
        if let former, former != mac {
            output.notices.append(.changed(entry.key, from: former, to: mac))
        } else if former == nil {
            output.notices.append(.resolved(entry.key, mac))
            if let cell = entry.cell { output.settled.append(cell) }
        }
        guard isConfirmed else { return age(entry, now) }
        entry.confirmedAt = now
        enter(entry, .reachable, now)
        schedule(entry, at: now + random(timing.reachable))
    }

    /// Keeps its address and does not rely on it.
    func age(_ entry: Entry, _ now: UInt64) {
        enter(entry, .stale, now)
        schedule(entry, at: now + (entry.pins > 0 ? timing.delay : timing.collect))
    }

    private func enter(_ entry: Entry, _ state: NeighborState, _ now: UInt64) {
        entry.state = state
        entry.since = now
        entry.tries = 0
        entry.isQueued = false
        entry.dueAt = .max
    }

    /// There is an interface to ask by, and it is not we who have the address.
    private func canAsk(_ entry: Entry) -> Bool {
        devices[entry.key.index]?.isUp == true && !ownAddresses.contains(entry.key.address)
    }

    private func want(_ entry: Entry, _ now: UInt64) {
        if entry.state == .failed, now >= entry.retryAt, canAsk(entry) { begin(entry, now) }
    }

    private func begin(_ entry: Entry, _ now: UInt64) {
        entry.mac = nil
        entry.cell?.withdraw(isFailed: false)
        enter(entry, .incomplete, now)
        ask(entry, now)
    }

    private func probe(_ entry: Entry, _ now: UInt64) {
        enter(entry, .probe, now)
        ask(entry, now)
    }

    /// As if nothing had been known.
    private func restart(_ entry: Entry, _ now: UInt64) {
        guard entry.pins > 0 else { return remove(entry) }
        if canAsk(entry) { begin(entry, now) } else { lose(entry, now) }
    }

    /// Nobody answers. The pause before the next round grows with each.
    private func fail(_ entry: Entry, _ now: UInt64) {
        let pause = timing.retransmit << UInt64(min(entry.failures, 16))
        let failures = entry.failures + 1
        lose(entry, now)
        entry.failures = failures
        entry.retryAt = now + min(pause, timing.longestPause)
        if entry.pins == 0 { schedule(entry, at: now + timing.collect) }
    }

    /// There is nobody to ask, for now.
    private func lose(_ entry: Entry, _ now: UInt64) {
        guard entry.state != .failed else { return }
        if entry.failures == 0 { output.notices.append(.failed(entry.key)) }
        entry.mac = nil
        entry.cell?.withdraw(isFailed: true)
        if let cell = entry.cell { output.settled.append(cell) }
        enter(entry, .failed, now)
        entry.failures = 0
        entry.retryAt = now
    }

    /// Asks once more, or as soon as that is decent.
    private func ask(_ entry: Entry, _ now: UInt64) {
        let earliest = entry.askedAt.map { $0 + timing.retransmit } ?? now
        if earliest > now {
            schedule(entry, at: earliest)
        } else {
            questions.add(entry)
        }
    }

    private func schedule(_ entry: Entry, at time: UInt64) {
        entry.dueAt = time
        guard time < entry.listedAt else { return }
        entry.listedAt = time
        deadlines.add(entry, at: time)
    }

    private func expire(_ entry: Entry, _ now: UInt64) {
        let isUsed = (entry.cell?.lastUsed ?? 0) > entry.since
        switch entry.state {
        case .incomplete:
            if entry.tries < timing.multicastTries { ask(entry, now) } else { fail(entry, now) }
        case .probe:
            let tries = timing.unicastTries + timing.multicastTries
            if entry.tries < tries { ask(entry, now) } else { fail(entry, now) }
        case .reachable:
            if isUsed { probe(entry, now) } else { age(entry, now) }
        case .stale where entry.pins > 0:
            if isUsed { probe(entry, now) } else { schedule(entry, at: now + timing.delay) }
        case .stale, .failed:
            if entry.pins == 0 { remove(entry) }
        case .permanent: break
        }
    }

    // MARK: Room

    private func make(_ key: NeighborKey, _ now: UInt64) -> Entry? {
        if entries.count >= capacity {
            guard let least = leastWorthy() else { return nil }
            remove(least)
        }
        let entry = Entry(key, now: now)
        entries[key] = entry
        schedule(entry, at: now + timing.collect)
        return entry
    }

    /// What can go: failed ones first, then those that are longest as they are.
    private func leastWorthy() -> Entry? {
        let candidates = entries.values.lazy.filter { $0.pins == 0 && $0.state != .permanent }
        return candidates.min {
            ($0.state.hasAddress ? 1 : 0, $0.since, $0.key) < ($1.state.hasAddress ? 1 : 0, $1.since, $1.key)
        }
    }

    private func remove(_ entry: Entry) {
        entry.isGone = true
        entry.isQueued = false
        entries[entry.key] = nil
    }
}
