// Which echo requests to send to whom and when, for the searches of all paths together. Pure: milliseconds of a
// monotonic clock and randomness are arguments.
//
// Limits: one probe every 20 ms in all, first due first; a path that is done costs one probe a minute. Each probe
// has a sequence number and a random cookie of its own, and an answer must match both, the size, the remote and
// the path's random identifier: whoever does not see the probes cannot answer for the remote.

public import Wire

/// All the searches there are.
public struct PathMTUProbes: Sendable {
    /// An echo request to send.
    public struct Probe: Equatable, Sendable {
        public var path: UnderlayPath
        /// Of the packet from its IP header on, in bytes.
        public var size: Int
        public var identifier: UInt16
        public var sequence: UInt16
        /// The first eight bytes of its data.
        public var cookie: UInt64
    }

    /// What a search has come to, or found confirmed.
    public struct Finding: Equatable, Sendable {
        public var path: UnderlayPath
        public var outcome: PathMTUSearch.Outcome
    }

    /// 50 probes a second.
    static let intervalMilliseconds: UInt64 = 20
    /// Probes of a path whose late answers are still known: more than may be sent within a second.
    static let rememberedCount = 16

    private struct Sent {
        var sequence: UInt16
        var size: Int
        var cookie: UInt64
        var at: UInt64
    }

    private struct Target {
        var search: PathMTUSearch
        let identifier: UInt16
        var sequence: UInt16
        var recent: [Sent] = []
        /// The time of this target's one valid entry in the queue; `.max`: none.
        var queuedAt: UInt64 = .max
    }

    /// How an answer finds its path.
    private struct Identity: Hashable {
        var remote: IPAddress
        var identifier: UInt16
    }

    private var targets: [UnderlayPath: Target] = [:]
    private var paths: [Identity: UnderlayPath] = [:]
    private var queue = DueQueue()
    private var earliest: UInt64 = 0
    private var findings: [Finding] = []

    public init() {}

    /// When `next` may have something to send; nil: never, as it is now.
    public var nextDue: UInt64? { queue.first.map { max($0, earliest) } }

    /// Probes these and no others: each path with the MTU of its route or link, in bytes.
    public mutating func setPaths(
        _ wanted: [UnderlayPath: Int], now: UInt64, using generator: inout some RandomNumberGenerator
    ) {
        for (path, target) in targets where wanted[path] == nil {
            targets[path] = nil
            paths[Identity(remote: path.remote, identifier: target.identifier)] = nil
        }
        for (path, mtu) in wanted {
            if targets[path] != nil {
                change(path) { $0.setLinkMTU(mtu, now: now) }
                continue
            }
            var identity = Identity(
                remote: path.remote, identifier: .random(in: .min ... .max, using: &generator))
            while paths[identity] != nil { identity.identifier &+= 1 }
            paths[identity] = path
            targets[path] = Target(
                search: PathMTUSearch(isIPv4: path.remote.isIPv4, linkMTU: mtu, startAt: now),
                identifier: identity.identifier, sequence: .random(in: .min ... .max, using: &generator))
            change(path) { _ in }
        }
    }

    /// The probe to send now; nil when none is due or may be sent yet.
    public mutating func next(now: UInt64, using generator: inout some RandomNumberGenerator) -> Probe? {
        guard now >= earliest else { return nil }
        while let entry = queue.popFirst(until: now) {
            guard targets[entry.path]?.queuedAt == entry.dueAt else { continue }
            targets[entry.path]?.queuedAt = .max
            var size: Int?
            change(entry.path) { size = $0.next(now: now) }
            guard let size, let probe = record(entry.path, size, now, &generator) else { continue }
            earliest = now + PathMTUProbes.intervalMilliseconds
            return probe
        }
        return nil
    }

    /// An echo reply of `size` bytes from its IP header on, its data as it was sent. What answers no probe that is
    /// remembered is passed over.
    public mutating func answered(
        by remote: IPAddress, identifier: UInt16, sequence: UInt16, cookie: UInt64, size: Int, now: UInt64
    ) {
        guard let path = paths[Identity(remote: remote, identifier: identifier)],
            let sent = targets[path]?.recent.first(where: { $0.sequence == sequence }),
            sent.cookie == cookie, sent.size == size
        else { return }
        change(path) { $0.answered(size, roundTripMilliseconds: now - sent.at, now: now) }
    }

    /// A router, or the kernel, refused a probe to `remote` of `size` bytes; `mtu` is what it said may pass.
    public mutating func refused(
        to remote: IPAddress, identifier: UInt16, sequence: UInt16, size: Int, mtu: Int?, now: UInt64
    ) {
        guard let path = paths[Identity(remote: remote, identifier: identifier)],
            let sent = targets[path]?.recent.first(where: { $0.sequence == sequence }), sent.size == size
        else { return }
        change(path) { $0.tooBig(size, mtu: mtu, now: now) }
    }

    /// What has been found since this was last asked.
    public mutating func takeFindings() -> [Finding] {
        defer { findings = [] }
        return findings
    }

    private mutating func record(
        _ path: UnderlayPath, _ size: Int, _ now: UInt64, _ generator: inout some RandomNumberGenerator
    ) -> Probe? {
        guard var target = targets[path] else { return nil }
        target.sequence &+= 1
        let sent = Sent(sequence: target.sequence, size: size, cookie: generator.next(), at: now)
        if target.recent.count == PathMTUProbes.rememberedCount { target.recent.removeFirst() }
        target.recent.append(sent)
        targets[path] = target
        return Probe(
            path: path, size: size, identifier: target.identifier, sequence: sent.sequence,
            cookie: sent.cookie)
    }

    /// Does something to a path's search, notes what it has found and queues it anew.
    private mutating func change(_ path: UnderlayPath, _ body: (inout PathMTUSearch) -> Void) {
        guard var target = targets[path] else { return }
        let before = target.search.roundCount
        body(&target.search)
        if target.search.roundCount != before, let outcome = target.search.outcome {
            findings.append(Finding(path: path, outcome: outcome))
        }
        if target.queuedAt != target.search.dueAt {
            target.queuedAt = target.search.dueAt
            queue.insert(DueQueue.Entry(dueAt: target.queuedAt, path: path))
        }
        targets[path] = target
    }
}

/// Paths by time: a binary heap. Entries that no longer count are left in and passed over by who takes them out.
private struct DueQueue {
    struct Entry {
        var dueAt: UInt64
        var path: UnderlayPath
    }

    private var heap: [Entry] = []

    var first: UInt64? { heap.first?.dueAt }

    mutating func insert(_ entry: Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0, heap[child].dueAt < heap[(child - 1) / 2].dueAt {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    /// The first of them when its time has come.
    mutating func popFirst(until now: UInt64) -> Entry? {
        guard let entry = heap.first, entry.dueAt <= now else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return entry }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && heap[child].dueAt < heap[least].dueAt {
                least = child
            }
            guard least != parent else { return entry }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
