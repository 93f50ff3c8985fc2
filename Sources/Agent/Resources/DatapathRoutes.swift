// /v1/datapath and /v1/flows: what the forwarding threads count and what they have decided.

internal import API
internal import HTTP
internal import REST

enum DatapathRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .getDatapath: { _, agent async throws(Problem) in .document(await agent.core.datapathDocument().json)
        },
        .listFlows: { call, agent async throws(Problem) in
            let (page, filter) = (try Page(call), try FlowFilter(call))
            return .document(try await agent.core.flowDocuments(page, filter).json)
        },
        .flushFlows: { _, agent async throws(Problem) in
            await agent.core.flushFlows()
            return .noContent
        },
    ]
}
