// /v1/state: a controller's pushes.

internal import API
internal import HTTP
internal import JSON
internal import REST

enum StateRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .getState: { call, agent async throws(Problem) in
            let withResources = try call.flag("resources")
            let (state, tag) = await agent.core.stateSnapshot()
            // What was noted when they were pushed does not say what they are now.
            var fresh = PushedState()
            fresh.hold(Array(state.pushed.ids), of: state)
            var document = HostStateDocument(agent.core, state, fresh.digest)
            if withResources { document.resources = state.pushedResources }
            return .document(document.json, tag: tag)
        },
        .putState: { call, agent async throws(Problem) in
            try await push(call, agent, HostState.self)
        },
        .patchState: { call, agent async throws(Problem) in
            try await push(call, agent, StateDelta.self)
        },
    ]

    private static func push<Body: PushBody>(
        _ call: Call, _ agent: AgentAPI, _ body: Body.Type
    ) async throws(Problem) -> HTTPResponse {
        let isDryRun = try call.isDryRun()
        var head: StateHead?
        do throws(Problem) {
            let conditions = try Preconditions(call.request)
            let limits = JSONLimits(byteCount: Batch.bodyByteCount, memberCount: Batch.memberCount)
            let body = try Body.schema.decode(try call.body(limits: limits))
            head = body.head
            let push = Push(head: body.head, content: try body.content())
            let done = try await agent.core.push(push, conditions, dryRun: isDryRun)
            if isDryRun { return .document(DryRun(done.outcome.plan).json) }
            agent.audit(call.request, done.outcome.changes)
            var document = HostStateDocument(agent.core, done.state, done.state.pushed.digest)
            document.changes = done.outcome.stateChanges
            return .document(document.json, status: done.isFirst ? 201 : 200, tag: done.tag)
        } catch {
            if !isDryRun { await agent.core.refused(error, head) }
            throw error
        }
    }
}

/// What the two kinds of push have in common.
private protocol PushBody: Record {
    var controller: String { get }
    var epoch: Int { get }
    var generation: Int { get }
    var digest: SHA256 { get }
    func content() throws(Problem) -> Push.Content
}

extension PushBody {
    var head: StateHead {
        StateHead(
            controller: controller, epoch: epoch, generation: generation, digest: digest, appliedAt: "")
    }
}

extension HostState: PushBody {
    func content() throws(Problem) -> Push.Content {
        var writes: [Write] = []
        var places: [ResourceID: Int] = [:]
        var refused = ItemProblems()
        for (number, resource) in resources.enumerated() {
            do throws(Problem) {
                let item = WriteItem(list: "resources", number: number)
                let write = try Write(item, resource.path, resource.body)
                if let other = places.updateValue(number, forKey: write.id) {
                    let pointer = item.pointer.appending("path")
                    throw Problem(
                        .invalidResource,
                        "\(pointer): wanted each path once, found \(write.id.path) at /resources/\(other) already",
                        errors: [
                            FieldError(
                                at: pointer, .invalidValue, wanted: "each path once",
                                found: "\(resource.path), as at /resources/\(other)")
                        ])
                }
                writes.append(write)
            } catch {
                refused.add(error)
            }
        }
        try refused.check()
        return .complete(writes, allowMassDelete: allowMassDelete)
    }
}

extension StateDelta: PushBody {
    func content() throws(Problem) -> Push.Content {
        var writes: [Write] = []
        var refused = ItemProblems()
        for (number, operation) in operations.enumerated() {
            do throws(Problem) {
                writes.append(try Write(WriteItem(number: number), operation.path, operation.body))
            } catch {
                refused.add(error)
            }
        }
        try refused.check()
        return .delta(writes, base: base)
    }
}

extension HostStateDocument {
    fileprivate init(_ agent: AgentCore, _ state: DesiredState, _ digest: SHA256) {
        self.init()
        agentID = agent.id
        bootID = agent.events.boot
        held = state.pushed.head
        self.digest = digest
        for id in state.pushed.ids {
            switch id {
            case .bridge: counts.bridges += 1
            case .port: counts.ports += 1
            case .tunnel: counts.tunnels += 1
            case .mac: counts.macs += 1
            case .rule: counts.rules += 1
            case .mirror: counts.mirrors += 1
            case .underlay, .route, .neighbor: break
            }
        }
    }
}

extension DesiredState {
    /// By path.
    fileprivate var pushedResources: [StateResource] {
        pushed.ids.compactMap { id in self[id].map { StateResource(path: id.path, body: $0.json) } }
            .sorted { $0.path < $1.path }
    }
}
