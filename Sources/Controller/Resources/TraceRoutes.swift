// POST /v1/trace: a frame followed through the agents of a network.

internal import API
internal import HTTP
internal import REST

enum TraceRoutes: Routes {
    static let handlers: [OperationID: Handler<ControllerAPI>] = [
        .traceFleet: { call, controller async throws(Problem) in
            let request = try FleetTraceRequest.schema.decode(try call.body())
            let document = try await controller.core.trace(request)
            return call.wantsText ? .text(document.description) : .document(document.json)
        }
    ]
}
