// /v1/bridges/{bridge}/ports and /v1/bridges/{bridge}/ports/{port}.

internal import API
internal import HTTP
internal import JSON

enum PortRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listPorts: { call, agent async throws(Problem) in
            .document(List(try await agent.core.documentsOfPorts(of: call.name(Bridge.kind))).json)
        },
        .getPort: { call, agent async throws(Problem) in
            .document(
                try await agent.core.document(port: call.name(API.Port.kind), of: call.name(Bridge.kind)).json
            )
        },
        .putPort: { call, agent async throws(Problem) in
            let (owner, name) = (try call.name(Bridge.kind), try call.name(API.Port.kind))
            let spec = try call.body(API.Port.self)
            let (isNew, document) = try await agent.core.put(port: name, of: owner, spec)
            return .document(document.json, status: isNew ? 201 : 200)
        },
        .deletePort: { call, agent async throws(Problem) in
            try await agent.core.delete(port: call.name(API.Port.kind), of: call.name(Bridge.kind))
            return .noContent
        },
    ]
}

extension AgentCore {
    func documentsOfPorts(of owner: Name) throws(Problem) -> [API.Port.Document] {
        var documents: [API.Port.Document] = []
        for name in try bridge(owner).0.ports.keys.sorted() {
            documents.append(try document(port: name, of: owner))
        }
        return documents
    }

    func put(port name: Name, of owner: Name, _ spec: API.Port) throws(Problem) -> (
        isNew: Bool, API.Port.Document
    ) {
        let before = try bridge(owner).0.ports[name]
        try PortRoutes.checkChange(name, from: before, to: spec)
        try transition { $0.bridges[owner]?.ports[name] = spec }
        return (before == nil, try document(port: name, of: owner))
    }

    /// Static MAC entries that point to the port go with it.
    func delete(port name: Name, of owner: Name) throws(Problem) {
        _ = try document(port: name, of: owner)
        try transition {
            $0.bridges[owner]?.ports[name] = nil
            $0.bridges[owner]?.dropEntries(to: name)
        }
    }
}

extension PortRoutes {
    /// A port cannot turn from an interface of its own into an existing one of the same name, or back: one of
    /// the two would have to be in the way of the other.
    static func checkChange(_ name: Name, from old: API.Port?, to new: API.Port) throws(Problem) {
        guard let old, (old.type == .system) != (new.type == .system), old.netns == new.netns,
            (old.ifname ?? "\(name)") == (new.ifname ?? "\(name)")
        else { return }
        throw Problem(
            .conflict,
            "port \(name): cannot change between type system and type \(old.type == .system ? new.type : old.type) "
                + "with the same interface name; delete it first")
    }
}

extension DesiredBridge {
    mutating func dropEntries(to member: Name) {
        macs = macs.filter { $0.value.port != "\(member)" }
    }
}
