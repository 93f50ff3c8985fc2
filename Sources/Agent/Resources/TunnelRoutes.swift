// /v1/bridges/{bridge}/tunnels and /v1/bridges/{bridge}/tunnels/{tunnel}.

internal import API
internal import HTTP
internal import JSON

enum TunnelRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listTunnels: { call, agent async throws(Problem) in
            .document(List(try await agent.core.documentsOfTunnels(of: call.name(Bridge.kind))).json)
        },
        .getTunnel: { call, agent async throws(Problem) in
            .document(
                try await agent.core.document(tunnel: call.name(Tunnel.kind), of: call.name(Bridge.kind)).json
            )
        },
        .putTunnel: { call, agent async throws(Problem) in
            let (owner, name) = (try call.name(Bridge.kind), try call.name(Tunnel.kind))
            let spec = try call.body(Tunnel.self)
            let (isNew, document) = try await agent.core.put(tunnel: name, of: owner, spec)
            return .document(document.json, status: isNew ? 201 : 200)
        },
        .deleteTunnel: { call, agent async throws(Problem) in
            try await agent.core.delete(tunnel: call.name(Tunnel.kind), of: call.name(Bridge.kind))
            return .noContent
        },
    ]
}

extension AgentCore {
    func documentsOfTunnels(of owner: Name) throws(Problem) -> [Tunnel.Document] {
        var documents: [Tunnel.Document] = []
        for name in try bridge(owner).0.tunnels.keys.sorted() {
            documents.append(try document(tunnel: name, of: owner))
        }
        return documents
    }

    func put(tunnel name: Name, of owner: Name, _ spec: Tunnel) throws(Problem) -> (
        isNew: Bool, Tunnel.Document
    ) {
        let before = try bridge(owner).0.tunnels[name]
        if before != spec { try checkHost(spec) }
        try transition { $0.bridges[owner]?.tunnels[name] = spec }
        return (before == nil, try document(tunnel: name, of: owner))
    }

    /// What only this host can know to be wrong with a tunnel.
    private func checkHost(_ spec: Tunnel) throws(Problem) {
        func refuse(_ field: String, wanted: String, found: String) throws(Problem) {
            throw Problem(
                .invalidResource, "/\(field): wanted \(wanted), found \(found)",
                errors: [
                    FieldError(at: JSONPointer().appending(field), .notAllowed, wanted: wanted, found: found)
                ])
        }
        if host.ownAddresses.contains(spec.remoteIP) {
            try refuse(
                "remote_ip", wanted: "an address of another host",
                found: "\"\(spec.remoteIP)\", an address of this host")
        }
        if host.sourcePorts.contains(UInt16(spec.dstPort)) {
            try refuse(
                "dst_port",
                wanted: "a port outside source_ports "
                    + "(\(host.sourcePorts.lowerBound)-\(host.sourcePorts.upperBound))",
                found: "\(spec.dstPort)")
        }
    }

    /// Static MAC entries that point to the tunnel go with it.
    func delete(tunnel name: Name, of owner: Name) throws(Problem) {
        _ = try document(tunnel: name, of: owner)
        try transition {
            $0.bridges[owner]?.tunnels[name] = nil
            $0.bridges[owner]?.dropEntries(to: name)
        }
    }
}
