// /v1/networks and /v1/networks/{network}.

internal import API
internal import HTTP
internal import REST
internal import Wire

enum NetworkRoutes: Routes {
    static let handlers: [OperationID: Handler<ControllerAPI>] = [
        .listNetworks: { call, controller async throws(Problem) in
            let page = try Page(call)
            let vni = try call.value(of: Network.vniFilter)
            let host = try call.value(of: Network.hostFilter)
            let (list, tag) = try await controller.core.networks(page, vni, host)
            return .document(list.json, tag: tag)
        },
        .getNetwork: WriteHandlers.get(Network.kind),
        .putNetwork: WriteHandlers.put(Network.kind),
        .patchNetwork: WriteHandlers.patch(Network.kind),
        .deleteNetwork: WriteHandlers.delete(Network.kind),
    ]
}

extension ControllerCore {
    func networks(
        _ page: Page, _ vni: VNI?, _ host: Name?
    ) async throws(Problem) -> (List<Network.Document>, EntityTag) {
        _ = try await leading()
        let names = host.map { fleet.networks(of: $0) } ?? Array(fleet.networks.keys)
        let list: List<Network.Document> = try page.collect(names.sorted(), key: \.description) {
            name throws(Problem) in
            if let vni, fleet.networks[name]?.vni != vni { return nil }
            return try document(network: name)
        }
        return (list, fleetTag)
    }
}
