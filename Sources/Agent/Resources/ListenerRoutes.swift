// /v1/listeners.

internal import API
internal import HTTP
internal import REST

enum ListenerRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listListeners: { _, agent async throws(Problem) in
            .document(List(await agent.core.listenerDocuments()).json)
        }
    ]
}
