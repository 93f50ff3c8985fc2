// /v1/hosts, /v1/hosts/{host}, and what is pushed there.

internal import API
internal import HTTP
internal import JSON
internal import REST

enum HostRoutes: Routes {
    static let handlers: [OperationID: Handler<ControllerAPI>] = [
        .listHosts: { call, controller async throws(Problem) in
            let page = try Page(call)
            let label = try call.value(of: FleetHost.labelFilter)
            let state = try call.value(of: FleetHost.stateFilter)
            let (list, tag) = try await controller.core.hosts(page, label, state)
            // What is in a state changes without a write: such a list is tagged by its body.
            return .document(list.json, tag: state == nil ? tag : nil)
        },
        .getHost: WriteHandlers.get(FleetHost.kind),
        .putHost: WriteHandlers.put(FleetHost.kind),
        .patchHost: WriteHandlers.patch(FleetHost.kind),
        .deleteHost: WriteHandlers.delete(FleetHost.kind),
        .getDesired: { call, controller async throws(Problem) in
            let page = try Page(call)
            return .document(try await controller.core.desiredPage(of: call.name(FleetHost.kind), page).json)
        },
        .pushHost: { call, controller async throws(Problem) in
            let host = try call.name(FleetHost.kind)
            let wanted = try HostPush.schema.decode(try call.body())
            try await controller.core.push(host, allowMassDelete: wanted.allowMassDelete)
            let (document, tag) = try await controller.core.document(of: .host(host))
            return .document(document, status: 202, tag: tag)
        },
    ]
}

extension ControllerCore {
    func hosts(
        _ page: Page, _ label: LabelSelector?, _ state: HostSyncState?
    ) async throws(Problem) -> (List<FleetHost.Document>, EntityTag) {
        _ = try await leading()
        let list: List<FleetHost.Document> = try page.collect(fleet.hosts.keys.sorted(), key: \.description) {
            name throws(Problem) in
            if let label, let host = fleet.hosts[name], !label.matches(host.labels) { return nil }
            if let state, pushers[name]?.health != state { return nil }
            return try document(host: name)
        }
        return (list, fleetTag)
    }
}
