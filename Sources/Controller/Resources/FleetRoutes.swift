// POST /v1/batch, GET /v1/status and GET /v1/liveness.

internal import API
internal import HTTP
internal import REST

enum FleetRoutes: Routes {
    static let handlers: [OperationID: Handler<ControllerAPI>] = [
        .getStatus: { _, controller async throws(Problem) in
            .document(await controller.core.status(controller.events.boot).json)
        },
        .listLiveness: { call, controller async throws(Problem) in
            let page = try Page(call)
            let host = try call.value(of: LivenessPair.hostFilter)
            let state = try call.value(of: LivenessPair.stateFilter)
            let pairs = try await controller.core.liveness(of: host)
            let list = try page.collect(pairs, key: \.key) { pair throws(Problem) in
                state == nil || pair.state == state ? pair : nil
            }
            return .document(list.json)
        },
        .batch: WriteHandlers.batch,
    ]
}
