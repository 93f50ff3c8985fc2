// /v1/routes, /v1/routes/{route} and /v1/routes/lookup: the underlay's static routes, and what all its routes say
// of a destination.

internal import API
internal import HTTP
internal import REST
internal import Wire

enum RouteRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listRoutes: { call, agent async throws(Problem) in
            let (list, tag) = try await agent.core.routes(Page(call))
            return .document(list.json, tag: tag)
        },
        .getRoute: WriteHandlers.get(StaticRoute.kind),
        .putRoute: WriteHandlers.put(StaticRoute.kind),
        .patchRoute: WriteHandlers.patch(StaticRoute.kind),
        .deleteRoute: WriteHandlers.delete(StaticRoute.kind),
        .lookupRoute: { call, agent async throws(Problem) in
            let parameter = RouteLookup.destinationParameter
            guard let destination = try call.value(of: parameter) else {
                throw parameter.missing
            }
            let source = try call.value(of: RouteLookup.sourceParameter)
            if let source, source.isIPv4 != destination.isIPv4 {
                throw Problem(
                    parameter: RouteLookup.sourceParameter.name,
                    wanted: "an \(destination.isIPv4 ? "IPv4" : "IPv6") address, as destination is",
                    found: "\(source)")
            }
            return .document(await agent.core.lookUp(destination, from: source).json)
        },
    ]
}

extension AgentCore {
    func routes(_ page: Page) throws(Problem) -> (List<StaticRoute.Document>, EntityTag) {
        let list = try page.collect(desired.routes.keys.map(\.description).sorted()) { key throws(Problem) in
            try document(route: StaticRoute.kind.name(in: key))
        }
        return (list, collectionTag)
    }

    func lookUp(_ destination: IPAddress, from source: IPAddress?) -> RouteLookup {
        host.underlay.lookUp(destination, from: source)
    }
}
