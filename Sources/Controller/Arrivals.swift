// Which hosts a change has still to arrive at: what other hosts wait for, and what convergence is measured by. Pure.

internal import API

/// Waits that are over once some hosts have acknowledged some of their changes. A host nobody can wait for, since
/// it does not answer, is taken out of them all.
struct Arrivals: Sendable {
    enum Purpose: Equatable, Sendable {
        /// Pushes to these hosts are held back meanwhile.
        case wave(holding: [Name])
        /// A change that was made at this time.
        case convergence(since: Duration)
    }

    struct Over: Equatable, Sendable {
        var id: Int
        var purpose: Purpose
        /// Whether every host has acknowledged; some were given up if not.
        var isComplete: Bool
    }

    private struct Wait {
        var purpose: Purpose
        var missing: Int
        var isComplete = true
    }

    private struct Ticket {
        var change: Int
        var wait: Int
        var isOfWave: Bool
    }

    private var waits: [Int: Wait] = [:]
    /// By host, in the order of their changes.
    private var tickets: [Name: [Ticket]] = [:]
    private var lastID = 0

    var count: Int { waits.count }

    /// Waits until each host has acknowledged a change of it.
    ///
    /// - Parameter places: hosts, each once, with the change to arrive there; not empty.
    /// - Returns: the number the wait is known by when it is over.
    mutating func add(_ purpose: Purpose, at places: [(host: Name, change: Int)]) -> Int {
        lastID += 1
        waits[lastID] = Wait(purpose: purpose, missing: places.count)
        let isOfWave = if case .wave = purpose { true } else { false }
        for place in places {
            let ticket = Ticket(change: place.change, wait: lastID, isOfWave: isOfWave)
            tickets[place.host, default: []].append(ticket)
        }
        return lastID
    }

    /// Whether a wave waits for a host. Who is waited for does not wait itself, or two that gain something one
    /// after the other would wait for each other.
    func isAwaited(_ host: Name) -> Bool { tickets[host]?.contains(where: \.isOfWave) == true }

    /// Takes note that a host has acknowledged all changes up to one.
    mutating func arrived(at host: Name, upTo change: Int) -> [Over] {
        guard let waiting = tickets[host] else { return [] }
        let there = waiting.prefix { $0.change <= change }
        guard !there.isEmpty else { return [] }
        let rest = waiting.dropFirst(there.count)
        tickets[host] = rest.isEmpty ? nil : Array(rest)
        return there.compactMap { settle($0.wait, isThere: true) }
    }

    /// Nobody waits for this host any more.
    mutating func giveUp(on host: Name) -> [Over] {
        (tickets.removeValue(forKey: host) ?? []).compactMap { settle($0.wait, isThere: false) }
    }

    private mutating func settle(_ id: Int, isThere: Bool) -> Over? {
        guard var wait = waits[id] else { return nil }
        wait.missing -= 1
        wait.isComplete = wait.isComplete && isThere
        waits[id] = wait.missing > 0 ? wait : nil
        guard wait.missing == 0 else { return nil }
        return Over(id: id, purpose: wait.purpose, isComplete: wait.isComplete)
    }
}
