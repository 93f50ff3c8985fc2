// /v1/bridges/{bridge}/ports and /v1/bridges/{bridge}/ports/{port}.

internal import API
internal import HTTP
internal import REST

enum PortRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listPorts: { call, agent async throws(Problem) in
            let (owner, page) = (try call.name(Bridge.kind), try Page(call))
            let (type, state) = (try call.value(of: API.Port.typeFilter), try call.value(of: .state))
            let (list, tag) = try await agent.core.ports(of: owner, page, type: type, state: state)
            // What is in a state changes without a write: such a list is tagged by its body.
            return .document(list.json, tag: state == nil ? tag : nil)
        },
        .getPort: WriteHandlers.get(API.Port.kind),
        .putPort: WriteHandlers.put(API.Port.kind),
        .patchPort: WriteHandlers.patch(API.Port.kind),
        .deletePort: WriteHandlers.delete(API.Port.kind),
    ]
}

extension AgentCore {
    func ports(
        of owner: Name, _ page: Page, type: PortType?, state: Health?
    ) throws(Problem) -> (List<API.Port.Document>, EntityTag) {
        let specs = try bridge(owner).0.ports
        let list: List<API.Port.Document> = try page.collect(specs.keys.map(\.description).sorted()) {
            key throws(Problem) in
            let name = try API.Port.kind.name(in: key)
            if let type, specs[name]?.type != type { return nil }
            let document = try document(port: name, of: owner)
            return [nil, document.status.state].contains(state) ? document : nil
        }
        return (list, collectionTag)
    }
}
