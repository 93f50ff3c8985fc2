// /v1/bridges and /v1/bridges/{bridge}.

internal import API
internal import HTTP

enum BridgeRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listBridges: { _, agent async throws(Problem) in
            .document(List(try await agent.core.documentsOfBridges()).json)
        },
        .getBridge: { call, agent async throws(Problem) in
            .document(try await agent.core.document(bridge: call.name(Bridge.kind)).json)
        },
        .putBridge: { call, agent async throws(Problem) in
            let name = try call.name(Bridge.kind)
            let spec = try call.body(Bridge.self)
            let (isNew, document) = try await agent.core.put(bridge: name, spec)
            return .document(document.json, status: isNew ? 201 : 200)
        },
        .deleteBridge: { call, agent async throws(Problem) in
            try await agent.core.delete(bridge: call.name(Bridge.kind))
            return .noContent
        },
    ]
}

extension AgentCore {
    func documentsOfBridges() throws(Problem) -> [Bridge.Document] {
        var documents: [Bridge.Document] = []
        for name in desired.bridges.keys.sorted() { documents.append(try document(bridge: name)) }
        return documents
    }

    func put(bridge name: Name, _ spec: Bridge) throws(Problem) -> (isNew: Bool, Bridge.Document) {
        let isNew = desired.bridges[name] == nil
        try transition { $0.bridges[name, default: DesiredBridge()].spec = spec }
        return (isNew, try document(bridge: name))
    }

    func delete(bridge name: Name) throws(Problem) {
        _ = try bridge(name)
        try transition { $0.bridges[name] = nil }
    }
}
