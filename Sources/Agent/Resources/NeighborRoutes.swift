// /v1/neighbors and /v1/neighbors/{ifname}/{ip}. The collection shows what was learned beside what was written; only
// the latter can be put.

internal import API
internal import HTTP
internal import JSON
internal import REST
internal import Wire

enum NeighborRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listNeighbors: { call, agent async throws(Problem) in
            let page = try Page(call)
            let ifname = try call.value(of: API.Neighbor.ifnameFilter)
            let type = try call.value(of: API.Neighbor.typeFilter)
            let state = try call.value(of: API.Neighbor.stateFilter)
            let entries = await agent.core.neighborEntries().filter { entry in
                [nil, entry.ifname].contains(ifname) && [nil, entry.type].contains(type)
                    && [nil, entry.state].contains(state)
            }
            let byKey = Dictionary(entries.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
            let list = try page.collect(byKey.keys.sorted()) { key throws(Problem) in byKey[key] }
            return .document(list.json, tag: EntityTag(collection: byKey.map { ($0, $1.standing) }))
        },
        .getNeighbor: WriteHandlers.get(API.Neighbor.kind),
        .putNeighbor: WriteHandlers.put(API.Neighbor.kind),
        .deleteNeighbor: { call, agent async throws(Problem) in
            guard case .neighbor(let id) = try call.resource(API.Neighbor.kind) as ResourceID,
                let entry = await agent.core.learnedNeighbor(id)
            else { return try await WriteHandlers.delete(API.Neighbor.kind)(call, agent) }
            // Nobody wrote it, but it has a tag, and a DELETE of it holds to its preconditions all the same.
            let isDryRun = try call.isDryRun()
            try Preconditions(call.request).check(EntityTag(entry.spec.json), call.request.rawPath)
            if isDryRun { return .document(DryRun(PlanDocument()).json) }
            await agent.core.forgetNeighbor(id)
            return .noContent
        },
    ]
}

extension NeighborEntry {
    fileprivate var key: String { "\(ifname)/\(ip)" }

    /// What was written of it, or would have to be written for it.
    var spec: API.Neighbor { API.Neighbor(mac: mac ?? .zero) }

    /// What it is, without how long and how often.
    fileprivate var standing: JSONObject {
        var standing = spec.json
        standing["type"] = .string(type.rawValue)
        standing["state"] = .string(state.rawValue)
        return standing
    }
}

extension AgentCore {
    /// The written ones, and what was learned besides.
    func neighborEntries() -> [NeighborEntry] {
        desired.neighbors.map { host.underlay.entry($0, $1) }
            + host.underlay.learned().filter {
                desired.neighbors[NeighborID(ifname: $0.ifname, ip: $0.ip)] == nil
            }
    }

    func neighborEntry(_ id: NeighborID) throws(Problem) -> NeighborEntry {
        if let written = desired.neighbors[id] { return host.underlay.entry(id, written) }
        guard let entry = learnedNeighbor(id) else {
            throw Problem(.notFound, "there is no \(ResourceID.neighbor(id).title)")
        }
        return entry
    }

    /// Nil for one that was written, and for one nobody knows.
    func learnedNeighbor(_ id: NeighborID) -> NeighborEntry? {
        guard desired.neighbors[id] == nil else { return nil }
        return host.underlay.learned().first { $0.ifname == id.ifname && $0.ip == id.ip }
    }

    func forgetNeighbor(_ id: NeighborID) { host.underlay.forget(id) }
}
