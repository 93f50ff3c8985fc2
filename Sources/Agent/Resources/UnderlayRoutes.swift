// /v1/underlay.

internal import API
internal import REST

enum UnderlayRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .getUnderlay: WriteHandlers.get(API.Underlay.kind),
        .putUnderlay: WriteHandlers.put(API.Underlay.kind),
        .patchUnderlay: WriteHandlers.patch(API.Underlay.kind),
    ]
}
