// /v1/bridges/{bridge}/macs and /v1/bridges/{bridge}/macs/{mac}. The collection shows what was learned beside
// what was written; only the latter can be put.

internal import API
internal import HTTP
internal import JSON
internal import REST
internal import Wire

enum MACRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listMACs: { call, agent async throws(Problem) in
            let page = try Page(call)
            let port = try call.value(of: StaticMAC.portFilter)
            let type = try call.value(of: StaticMAC.typeFilter)
            let entries = try await agent.core.macEntries(of: call.name(Bridge.kind)).filter { entry in
                [nil, entry.port].contains(port) && [nil, entry.type].contains(type)
            }
            let byKey = Dictionary(uniqueKeysWithValues: entries.map { ("\($0.key)", $0) })
            let list = try page.collect(byKey.keys.sorted()) { key throws(Problem) in byKey[key] }
            return .document(list.json, tag: EntityTag(collection: entries.map { ("\($0.key)", $0.place) }))
        },
        .getMAC: WriteHandlers.get(StaticMAC.kind),
        .putMAC: WriteHandlers.put(StaticMAC.kind),
        .deleteMAC: { call, agent async throws(Problem) in
            guard case .mac(let owner, let mac) = try call.resource(StaticMAC.kind) as ResourceID,
                try await agent.core.isLearned(mac, of: owner)
            else { return try await WriteHandlers.delete(StaticMAC.kind)(call, agent) }
            // Nobody wrote it, but it has a tag, and a DELETE of it holds to its preconditions all the same.
            let isDryRun = try call.isDryRun()
            let entry = try await agent.core.macEntry(mac, of: owner)
            try Preconditions(call.request).check(
                EntityTag(entry.spec.json), call.request.rawPath)
            if isDryRun { return .document(DryRun(PlanDocument()).json) }
            _ = try await agent.core.forgetMAC(mac, of: owner)
            return .noContent
        },
        .flushMACs: { call, agent async throws(Problem) in
            for name in ["If-Match", "If-None-Match"] where call.request.header(name) != nil {
                throw Problem(
                    .malformedRequest,
                    "\(name): wanted none, since what was learned changes with every frame, found one")
            }
            try await agent.core.flushMACs(of: call.name(Bridge.kind))
            return .noContent
        },
    ]
}

extension MACEntry {
    /// Where it is, without how long ago.
    fileprivate var place: JSONObject {
        var place = spec.json
        place["type"] = .string(type.rawValue)
        return place
    }
}

extension AgentCore {
    /// Whether the table holds an address that nobody wrote.
    func isLearned(_ mac: StationKey, of owner: Name) throws(Problem) -> Bool {
        guard try bridge(owner).0.macs[mac] == nil else { return false }
        return try macEntry(mac, of: owner).type == .learned
    }
}
