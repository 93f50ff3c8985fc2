// /v1/trace: where a packet would go.

internal import API
internal import HTTP
internal import REST

enum TraceRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .trace: { call, agent async throws(Problem) in
            let injects = try call.flag(TraceDocument.injectQuery.name)
            let request = try TraceRequest.schema.decode(try call.body())
            let document = try await agent.core.trace(request, injects: injects)
            return call.wantsText ? .text(document.description) : .document(document.json)
        }
    ]
}
