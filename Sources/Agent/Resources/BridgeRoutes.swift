// /v1/bridges and /v1/bridges/{bridge}.

internal import API
internal import HTTP
internal import REST

enum BridgeRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listBridges: { call, agent async throws(Problem) in
            let (page, state) = (try Page(call), try call.value(of: .state))
            let (list, tag) = try await agent.core.bridges(page, state: state)
            // What is in a state changes without a write: such a list is tagged by its body.
            return .document(list.json, tag: state == nil ? tag : nil)
        },
        .getBridge: WriteHandlers.get(Bridge.kind),
        .putBridge: WriteHandlers.put(Bridge.kind),
        .patchBridge: WriteHandlers.patch(Bridge.kind),
        .deleteBridge: WriteHandlers.delete(Bridge.kind),
    ]
}

extension AgentCore {
    func bridges(_ page: Page, state: Health?) throws(Problem) -> (List<Bridge.Document>, EntityTag) {
        let list = try page.collect(desired.bridges.keys.map(\.description).sorted()) { key throws(Problem) in
            let document = try document(bridge: Bridge.kind.name(in: key))
            return [nil, document.status.state].contains(state) ? document : nil
        }
        return (list, collectionTag)
    }
}
