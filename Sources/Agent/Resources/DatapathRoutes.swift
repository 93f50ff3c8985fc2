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
            let list = try await agent.core.flowDocuments(page, filter)
            return call.wantsText ? .text(list.flowText) : .document(list.json)
        },
        .flushFlows: { _, agent async throws(Problem) in
            await agent.core.flushFlows()
            return .noContent
        },
    ]
}

extension List<FlowDocument> {
    /// One line each; a last one says where the next page is.
    fileprivate var flowText: String {
        let lines = items.map(\.text) + (nextPageToken.map { ["# more: page_token=\($0)"] } ?? [])
        return lines.map { $0 + "\n" }.joined()
    }
}
