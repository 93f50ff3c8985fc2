// How the fleet's hosts see each other: every agent is asked for its sessions, many at a time, and one that hangs costs
// its own row and nobody's time but its share.

internal import API
internal import HTTP
internal import JSON
internal import REST
internal import Wire

/// Whom to ask, and whose the addresses are.
struct FleetLiveness: Sendable {
    /// Agents asked at once.
    static let concurrency = 64
    /// For one request to one agent, and for all of it.
    static let timeout = Duration.seconds(2)
    static let totalTimeout = Duration.seconds(10)
    /// Sessions in one answer: well below what a link takes.
    static let pageLimit = 500

    var hosts: [(name: Name, link: AgentLink)]
    var owners: [IPAddress: Name]

    /// By host and peer, in the order of their keys.
    func read() async -> [LivenessPair] {
        let deadline = ContinuousClock.now + FleetLiveness.totalTimeout
        return await withTaskGroup(of: [LivenessPair].self) { group in
            var waiting = hosts.makeIterator()
            func askNext() {
                guard let (name, link) = waiting.next() else { return }
                group.addTask { await pairs(of: name, link, deadline) }
            }
            for _ in 0..<FleetLiveness.concurrency { askNext() }
            var all: [LivenessPair] = []
            for await pairs in group {
                all += pairs
                askNext()
            }
            return all.sorted { $0.key < $1.key }
        }
    }

    private func pairs(
        of host: Name, _ link: AgentLink, _ deadline: ContinuousClock.Instant
    ) async -> [LivenessPair] {
        do throws(HTTPClientError) {
            return FleetLiveness.pairs(of: host, try await sessions(link, deadline), owners)
        } catch {
            var pair = LivenessPair()
            pair.host = "\(host)"
            pair.peer = LivenessPair.everyone
            pair.error = error.description
            return [pair]
        }
    }

    private func sessions(
        _ link: AgentLink, _ deadline: ContinuousClock.Instant
    ) async throws(HTTPClientError) -> [LivenessDocument] {
        var sessions: [LivenessDocument] = []
        var token: String?
        repeat {
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { throw HTTPClientError(.timeout, "there was no time left to ask") }
            let page = token.map { [(name: "page_token", value: $0)] } ?? []
            let answer = try await link.get(
                LivenessDocument.path, query: [("limit", "\(FleetLiveness.pageLimit)")] + page,
                timeout: min(left, FleetLiveness.timeout))
            guard let list = try? List<LivenessDocument>.schema.decode(answer) else {
                throw HTTPClientError(.interrupted, "answered with something else than sessions")
            }
            sessions += list.items
            token = list.nextPageToken
        } while token != nil
        return sessions
    }

    /// One for each peer. An address that is no host's stands for itself.
    static func pairs(
        of host: Name, _ sessions: [LivenessDocument], _ owners: [IPAddress: Name]
    ) -> [LivenessPair] {
        var pairs: [String: LivenessPair] = [:]
        for session in sessions {
            let peer = owners[session.remoteIP]?.description ?? session.remoteIP.description
            var pair = pairs[peer] ?? LivenessPair()
            (pair.host, pair.peer) = ("\(host)", peer)
            pair.tunnels += 1
            if session.status.state == .up { pair.tunnelsUp += 1 }
            pair.state = pair.tunnelsUp == pair.tunnels ? .up : .down
            if let trip = session.status.roundTrip {
                pair.roundTrip = min(trip.median, pair.roundTrip ?? trip.median)
            }
            if let loss = session.status.loss { pair.loss = max(loss, pair.loss ?? 0) }
            pairs[peer] = pair
        }
        return Array(pairs.values)
    }
}

extension LivenessPair {
    /// Its place in the list; no name has a slash.
    var key: String { "\(host)/\(peer)" }
}

extension ControllerCore {
    /// As the agents see it now; of one host, nil: of all.
    func liveness(of host: String?) async throws(Problem) -> [LivenessPair] {
        _ = try await leading()
        var owners: [IPAddress: Name] = [:]
        for (name, it) in fleet.hosts {
            for address in it.vtepIPs { owners[address] = name }
        }
        let asked = links.filter { host == nil || "\($0.key)" == host }
        if let host, asked.isEmpty { throw Problem(.notFound, "there is no host \(host)") }
        // Nobody waits for the core meanwhile.
        return await FleetLiveness(hosts: asked.map { ($0.key, $0.value) }, owners: owners).read()
    }
}
