// /v1/bridges/{bridge}/tunnels and /v1/bridges/{bridge}/tunnels/{tunnel}.

internal import API
internal import HTTP
internal import REST
internal import Wire

enum TunnelRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listTunnels: { call, agent async throws(Problem) in
            let (owner, page) = (try call.name(Bridge.kind), try Page(call))
            let filter = TunnelFilter(
                remote: try call.value(of: Tunnel.remoteFilter), vni: try call.value(of: Tunnel.vniFilter),
                state: try call.value(of: .state))
            let (list, tag) = try await agent.core.tunnels(of: owner, page, filter)
            // What is in a state changes without a write: such a list is tagged by its body.
            return .document(list.json, tag: filter.state == nil ? tag : nil)
        },
        .getTunnel: WriteHandlers.get(Tunnel.kind),
        .putTunnel: WriteHandlers.put(Tunnel.kind),
        .patchTunnel: WriteHandlers.patch(Tunnel.kind),
        .deleteTunnel: WriteHandlers.delete(Tunnel.kind),
    ]
}

/// Which tunnels are asked for; nil asks for any.
struct TunnelFilter: Sendable {
    var remote: IPAddress?
    var vni: TunnelVNI?
    var state: Health?

    func admits(_ tunnel: Tunnel, _ vni: TunnelVNI) -> Bool {
        [nil, tunnel.remoteIP].contains(remote) && [nil, vni].contains(self.vni)
    }
}

extension AgentCore {
    func tunnels(
        of owner: Name, _ page: Page, _ filter: TunnelFilter
    ) throws(Problem) -> (List<Tunnel.Document>, EntityTag) {
        let bridge = try bridge(owner).0
        let list: List<Tunnel.Document> = try page.collect(bridge.tunnels.keys.map(\.description).sorted()) {
            key throws(Problem) in
            let name = try Tunnel.kind.name(in: key)
            guard let tunnel = bridge.tunnels[name], filter.admits(tunnel, bridge.vni(of: tunnel)) else {
                return nil
            }
            let document = try document(tunnel: name, of: owner)
            return [nil, document.status.state].contains(filter.state) ? document : nil
        }
        return (list, collectionTag)
    }
}
