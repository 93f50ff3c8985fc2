// What has become of resources since the last look: state changes with their times, addresses that moved, drops
// that became a storm. Looked at about once a second and after every change; each finding is an event.

internal import API
internal import Datapath
internal import JSON
internal import REST
internal import Wire

/// What was true at the last look.
struct Conditions {
    /// Drops of one port, tunnel or listener within a look that make a storm; it is told once, and again only
    /// after a look with fewer than a tenth.
    static let stormDrops: UInt64 = 1000

    struct State: Equatable {
        var error: String?
        /// Since 1970.
        var sinceMilliseconds: Int64
    }

    private(set) var states: [ResourceID: State] = [:]
    private var moves: [Name: UInt64] = [:]
    private var drops: [String: UInt64] = [:]
    private var storming: Set<String> = []

    /// Notes the errors of everything there is; returns what changed, new resources that are well left out.
    mutating func note(_ errors: [ResourceID: String?], at now: Int64) -> [EventDraft] {
        var drafts: [EventDraft] = []
        for (id, error) in errors { drafts += look(id, error, now) }
        if states.count > errors.count {
            states = states.filter { errors[$0.key] != nil }
            moves = moves.filter { errors[.bridge($0.key)] != nil }
        }
        return drafts.sorted { $0.resource < $1.resource }
    }

    /// The same for one of them.
    mutating func look(_ id: ResourceID, _ error: String?, _ now: Int64) -> [EventDraft] {
        guard let before = states[id] else {
            states[id] = State(error: error, sinceMilliseconds: now)
            return error == nil ? [] : Conditions.draft(id, error)
        }
        guard before.error != error else { return [] }
        let isTurn = (before.error == nil) != (error == nil)
        states[id] = State(error: error, sinceMilliseconds: isTurn ? now : before.sinceMilliseconds)
        return isTurn ? Conditions.draft(id, error) : []
    }

    /// What comes back under the same name is another resource.
    mutating func forget(_ id: ResourceID) {
        states[id] = nil
        if case .bridge(let name) = id { moves[name] = nil }
    }

    private static func draft(_ id: ResourceID, _ error: String?) -> [EventDraft] {
        // A bridge's condition is its local port's.
        let kind = if case .tunnel = id { "tunnel" } else { "port" }
        guard let type = EventType(rawValue: "\(kind).\(error == nil ? "ok" : "degraded")") else { return [] }
        return [EventDraft(type: type, resource: id.path, data: error.map { ["error": .string($0)] } ?? [:])]
    }

    /// How many moves of a bridge have been told of. A table that was replaced goes on from its predecessor's
    /// count; a new bridge starts from zero.
    func movesTold(of bridge: Name) -> UInt64 { moves[bridge] ?? 0 }
    mutating func told(_ total: UInt64, movesOf bridge: Name) { moves[bridge] = total }

    /// Compares totals of drops with the last look's.
    mutating func noteDrops(_ totals: [String: (UInt64, JSONObject)]) -> [EventDraft] {
        var drafts: [EventDraft] = []
        for (resource, (total, reasons)) in totals.sorted(by: { $0.key < $1.key }) {
            let before = min(drops[resource] ?? 0, total)
            let count = total - before
            if count >= Conditions.stormDrops, storming.insert(resource).inserted {
                let data: JSONObject = [
                    "dropped": .integer(Int64(clamping: count)), "drops": .object(reasons),
                ]
                drafts.append(EventDraft(type: .dropsStorm, resource: resource, data: data))
            } else if count < Conditions.stormDrops / 10 {
                storming.remove(resource)
            }
        }
        drops = totals.mapValues(\.0)
        return drafts
    }
}

extension AgentCore {
    /// Looks at everything and tells the events what is new.
    func noteConditions() {
        let now = RFC3339.wallMilliseconds
        var errors: [ResourceID: String?] = [:]
        for (name, bridge) in host.bridges {
            errors[.bridge(name)] = .some(bridge.local.error)
            for (port, running) in bridge.ports { errors[.port(name, port)] = .some(running.error) }
            for (tunnel, running) in bridge.tunnels { errors[.tunnel(name, tunnel)] = .some(running.error) }
        }
        var drafts = conditions.note(errors, at: now)
        drafts += newMoves()
        drafts += host.underlay.takeNotices().compactMap { EventDraft($0, host.underlay.name(of:)) }
        drafts += conditions.noteDrops(dropTotals())
        events.append(drafts, at: now)
    }

    /// Looks at what a change has touched; the rest waits for the next tick.
    func noteConditions(of changes: [ResourceChange]) {
        let now = RFC3339.wallMilliseconds
        var drafts: [EventDraft] = []
        for change in changes {
            let bridge = change.id.bridge.flatMap { host.bridges[$0] }
            switch change.id {
            case .mac, .rule, .mirror, .underlay, .route, .neighbor: continue
            case _ where change.to == nil: conditions.forget(change.id)
            case .bridge: drafts += conditions.look(change.id, bridge?.local.error, now)
            case .port(_, let name): drafts += conditions.look(change.id, bridge?.ports[name]?.error, now)
            case .tunnel(_, let name):
                drafts += conditions.look(change.id, bridge?.tunnels[name]?.error, now)
            }
        }
        events.append(drafts, at: now)
    }

    private func newMoves() -> [EventDraft] {
        let tables = host.bridges.map { ($0.key, $0.value.table, conditions.movesTold(of: $0.key)) }
        // One stop of the workers for all tables.
        let found = workers.perform { tables.map { ($0.1.statistics.moves, $0.1.moves(since: $0.2)) } }
        var drafts: [EventDraft] = []
        for ((name, _, _), (total, moves)) in zip(tables, found) {
            conditions.told(total, movesOf: name)
            guard !moves.isEmpty, let bridge = host.bridges[name] else { continue }
            let names = memberNames(name, bridge)
            func text(_ port: UInt32) -> JSONValue { names[port].map { .string("\($0)") } ?? .null }
            drafts += moves.map { move in
                EventDraft(
                    type: .macMoved,
                    resource: ResourceID.mac(name, StationKey(move.address, vlan: Int(move.vlan))).path,
                    data: [
                        "from": text(move.from), "to": text(move.to),
                        "moves": .integer(Int64(clamping: total)),
                    ])
            }
        }
        return drafts.sorted { $0.resource < $1.resource }
    }

    private func dropTotals() -> [String: (UInt64, JSONObject)] {
        var totals: [String: (UInt64, JSONObject)] = [:]
        func add(_ resource: @autoclosure () -> String, _ row: CounterRows) {
            let total = row.dropTotal
            guard total > 0 else { return }
            totals[resource()] = (total, API.Counters(row.snapshot).json["drops"]?.objectValue ?? [:])
        }
        for (name, bridge) in host.bridges {
            add(ResourceID.bridge(name).path, bridge.local.place.counters)
            for (port, running) in bridge.ports {
                add(ResourceID.port(name, port).path, running.place.counters)
            }
            for (tunnel, running) in bridge.tunnels {
                add(ResourceID.tunnel(name, tunnel).path, running.place.counters)
            }
        }
        for (key, listener) in host.listeners { add("/v1/listeners/\(key.name)", listener.counters) }
        return totals
    }

    /// When a resource's state last changed, as RFC 3339.
    func since(_ id: ResourceID) -> String? {
        conditions.states[id].map { RFC3339.text(milliseconds: $0.sinceMilliseconds) }
    }
}
