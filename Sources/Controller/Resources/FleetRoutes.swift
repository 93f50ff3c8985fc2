// POST /v1/batch and GET /v1/status.

internal import API
internal import HTTP
internal import REST

enum FleetRoutes: Routes {
    static let handlers: [OperationID: Handler<ControllerAPI>] = [
        .getStatus: { _, controller async throws(Problem) in
            .document(await controller.core.status(controller.events.boot).json)
        },
        .batch: WriteHandlers.batch,
    ]
}
