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
        .livezCheck: { call, agent async throws(Problem) in
            try agent.health.answerOne(of: agent.health.live(), call)
        },
        .readyzCheck: { call, agent async throws(Problem) in
            try agent.health.answerOne(of: agent.health.ready(), call)
        },
        .healthz: { call, agent async throws(Problem) in try agent.health.answer(agent.health.ready(), call)
        },
        .metrics: { call, agent async throws(Problem) in
            await agent.metrics(MetricsPage.Format(accept: call.request.header("Accept")))
        },
        .openapi: { _, agent async throws(Problem) in
            .document(OpenAPI.document(of: .agent, version: agent.version.version))
        },
    ]
}
