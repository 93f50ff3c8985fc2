// GET, PUT, PATCH and DELETE of one resource of every kind: the same steps, written once.

internal import API
internal import HTTP
internal import JSON
internal import REST

/// Handlers shared by the kinds.
enum WriteHandlers {
    /// Answers once a resource was written.
    private typealias Show = @Sendable (ResourceID, AgentAPI) async throws(Problem) -> HTTPResponse

    static func get(_ kind: Kind) -> Handler {
        { call, agent async throws(Problem) in try await show(call.resource(kind), agent) }
    }

    @Sendable
    private static func show(_ id: ResourceID, _ agent: AgentAPI) async throws(Problem) -> HTTPResponse {
        let (document, tag) = try await agent.core.document(of: id)
        return .document(document, tag: tag)
    }

    static func put(_ kind: Kind) -> Handler {
        { call, agent async throws(Problem) in
            let id = try call.resource(kind)
            let spec = try id.spec(try call.body())
            let write = Write(id: id, spec: spec)
            return try await finish(call, agent, show, id) { core, conditions, dryRun async throws(Problem) in
                try await core.write([write], conditions, dryRun: dryRun)
            }
        }
    }

    static func patch(_ kind: Kind) -> Handler {
        { call, agent async throws(Problem) in
            let id = try call.resource(kind)
            let patch = try call.body()
            return try await finish(call, agent, show, id) { core, conditions, dryRun async throws(Problem) in
                try await core.patch(id, patch, conditions, dryRun: dryRun)
            }
        }
    }

    static func delete(_ kind: Kind) -> Handler {
        { call, agent async throws(Problem) in
            let id = try call.resource(kind)
            let write = Write(id: id, spec: nil)
            let done: Show = { _, _ async throws(Problem) in .noContent }
            return try await finish(call, agent, done, id) { core, conditions, dryRun async throws(Problem) in
                try await core.write([write], conditions, dryRun: dryRun)
            }
        }
    }

    private static func finish(
        _ call: Call, _ agent: AgentAPI, _ show: Show, _ id: ResourceID,
        _ write: (AgentCore, Preconditions, Bool) async throws(Problem) -> WriteOutcome
    ) async throws(Problem) -> HTTPResponse {
        let isDryRun = try call.isDryRun()
        let outcome = try await write(agent.core, Preconditions(call.request), isDryRun)
        if isDryRun { return .document(DryRun(outcome.plan).json) }
        agent.audit(call.request, outcome.changes)
        var response = try await show(id, agent)
        if response.status == 200, outcome.areNew.first == true { response.status = 201 }
        return response
    }
}

extension Call {
    /// The resource of the path.
    func resource(_ kind: Kind) throws(Problem) -> ResourceID {
        var keys: [String] = []
        for part in kind.lineage {
            // Each segment is named when it is wrong, the outermost first.
            if part.key == .name { keys.append("\(try name(part))") } else { keys.append("\(try mac(part))") }
        }
        return try ResourceID(kind, keys)
    }
}
