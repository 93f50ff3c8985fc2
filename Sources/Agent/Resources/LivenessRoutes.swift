// /v1/liveness.

internal import API
internal import HTTP
internal import REST

enum LivenessRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listLiveness: { call, agent async throws(Problem) in
            let page = try Page(call)
            let bridge = try call.value(of: LivenessDocument.bridgeFilter)
            let state = try call.value(of: LivenessDocument.stateFilter)
            return .document(
                try await agent.core.livenessDocuments(page, bridge: bridge, state: state).json)
        }
    ]
}
