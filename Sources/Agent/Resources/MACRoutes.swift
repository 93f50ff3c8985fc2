// /v1/bridges/{bridge}/macs and /v1/bridges/{bridge}/macs/{mac}.

internal import API
internal import HTTP
internal import Wire

enum MACRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listMACs: { call, agent async throws(Problem) in
            .document(List(try await agent.core.macEntries(of: call.name(Bridge.kind))).json)
        },
        .getMAC: { call, agent async throws(Problem) in
            .document(
                try await agent.core.macEntry(call.mac(StaticMAC.kind), of: call.name(Bridge.kind)).json)
        },
        .putMAC: { call, agent async throws(Problem) in
            let (owner, mac) = (try call.name(Bridge.kind), try call.mac(StaticMAC.kind))
            let spec = try call.body(StaticMAC.self)
            let (isNew, entry) = try await agent.core.put(mac: mac, of: owner, spec)
            return .document(entry.json, status: isNew ? 201 : 200)
        },
        .deleteMAC: { call, agent async throws(Problem) in
            try await agent.core.delete(mac: call.mac(StaticMAC.kind), of: call.name(Bridge.kind))
            return .noContent
        },
        .flushMACs: { call, agent async throws(Problem) in
            try await agent.core.flushMACs(of: call.name(Bridge.kind))
            return .noContent
        },
    ]
}

extension AgentCore {
    func put(mac: MACAddress, of owner: Name, _ spec: StaticMAC) throws(Problem) -> (isNew: Bool, MACEntry) {
        let isNew = try bridge(owner).0.macs[mac] == nil
        try transition { $0.bridges[owner]?.macs[mac] = spec }
        return (isNew, try macEntry(mac, of: owner))
    }

    func delete(mac: MACAddress, of owner: Name) throws(Problem) {
        if try bridge(owner).0.macs[mac] != nil {
            try transition { $0.bridges[owner]?.macs[mac] = nil }
        } else if try !forgetMAC(mac, of: owner) {
            throw Problem(.notFound, "bridge \(owner) does not know \(mac)")
        }
    }
}
