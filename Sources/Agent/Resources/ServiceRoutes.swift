// What is not a resource: listeners, version, health, metrics, the OpenAPI document.

internal import API
internal import HTTP
internal import JSON

enum ServiceRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listListeners: { _, agent async throws(Problem) in
            .document(List(await agent.core.listenerDocuments()).json)
        },
        .getVersion: { _, agent async throws(Problem) in .document(agent.version.json) },
        // Liveness asks only the process itself, so it answers even while the control plane is busy.
        .livez: { call, agent async throws(Problem) in try agent.health.answer(agent.health.live(), call) },
        .readyz: { call, agent async throws(Problem) in try agent.health.answer(agent.health.ready(), call) },
        .healthz: { call, agent async throws(Problem) in try agent.health.answer(agent.health.ready(), call)
        },
        .metrics: { _, agent async throws(Problem) in
            HTTPResponse(
                headers: [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")],
                body: Array(await agent.metrics().utf8))
        },
        .openapi: { _, agent async throws(Problem) in
            .document(OpenAPI.document(version: agent.version.version))
        },
    ]
}
