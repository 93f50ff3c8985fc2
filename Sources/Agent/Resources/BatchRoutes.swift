// POST /v1/batch.

internal import API
internal import REST

enum BatchRoutes: Routes {
    static let handlers: [OperationID: Handler] = [.batch: WriteHandlers.batch]
}
