// What every service answers beside its resources: version, events, health, metrics, the OpenAPI document.

public import API
internal import HTTP

public enum ServiceRoutes<Service: APIService>: Routes {
    public static var handlers: [OperationID: Handler<Service>] {
        [
            .getVersion: { _, service async throws(Problem) in .document(service.version.json) },
            .restart: { _, service async throws(Problem) in
                guard let succession = service.succession else {
                    throw Problem(.unavailable, "this process cannot restart itself")
                }
                try await succession.begin()
                return .document(service.version.json, status: 202)
            },
            .listEvents: { call, service async throws(Problem) in try await service.events.answer(call) },
            // Liveness asks only the process itself, so it answers even while the control plane is busy.
            .livez: { call, service async throws(Problem) in try service.live().answer(call) },
            .readyz: { call, service async throws(Problem) in try service.ready().answer(call) },
            .livezCheck: { call, service async throws(Problem) in try service.live().answerOne(call) },
            .readyzCheck: { call, service async throws(Problem) in try service.ready().answerOne(call) },
            .healthz: { call, service async throws(Problem) in try service.ready().answer(call) },
            .metrics: { call, service async throws(Problem) in
                await service.metrics(MetricsPage.Format(accept: call.request.header("Accept")))
            },
            .openapi: { _, service async throws(Problem) in .document(service.openAPI) },
        ]
    }
}
