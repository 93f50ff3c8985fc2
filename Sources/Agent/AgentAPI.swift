// The agent's side of the API: what its handlers work on. The only place that knows both HTTP and the agent.

internal import API
internal import JSON
internal import Logging
internal import REST

/// Serves one operation of the agent.
typealias Handler = REST.Handler<AgentAPI>

/// The agent as its handlers see it.
struct AgentAPI: APIService {
    /// One line per file in `Resources`, and what every service has.
    static let routes: [any Routes<AgentAPI>.Type] = [
        BridgeRoutes.self,
        PortRoutes.self,
        TunnelRoutes.self,
        MACRoutes.self,
        RuleRoutes.self,
        MirrorRoutes.self,
        UnderlayRoutes.self,
        RouteRoutes.self,
        NeighborRoutes.self,
        BatchRoutes.self,
        StateRoutes.self,
        DatapathRoutes.self,
        TraceRoutes.self,
        ListenerRoutes.self,
        LivenessRoutes.self,
        CaptureRoutes.self,
        ServiceRoutes<AgentAPI>.self,
    ]

    let core: AgentCore
    let health: HealthChecks
    let version: Version
    let succession: Succession?
    let dispatcher: Dispatcher<AgentAPI>

    init(
        core: AgentCore, health: HealthChecks, version: Version, access: AccessControl = .open,
        succession: Succession? = nil, log: Logger
    ) {
        self.succession = succession
        self.core = core
        self.health = health
        self.version = version
        dispatcher = Dispatcher(Operations.agent, AgentAPI.routes, access: access, log: log)
    }

    var events: EventLog { core.events }
    var isServing: Bool { health.isServing }
    var openAPI: JSONObject { OpenAPI.document(of: .agent, version: version.version) }
    func live() -> [HealthResult] { health.live() }
    func ready() -> [HealthResult] { health.ready() }
    func addMetrics(to page: inout MetricsPage) async { await core.addMetrics(to: &page) }
}

extension AgentAPI: WritingService {
    typealias ID = ResourceID
    typealias Change = ResourceChange

    func document(of id: ResourceID) async throws(Problem) -> (JSONObject, EntityTag) {
        try await core.document(of: id)
    }

    func write(
        _ writes: [Write], _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> WriteOutcome {
        try await core.write(writes, preconditions, dryRun: dryRun)
    }

    func patch(
        _ id: ResourceID, _ patch: JSONValue, _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> WriteOutcome {
        try await core.patch(id, patch, preconditions, dryRun: dryRun)
    }

    func batch(
        _ writes: [Write], _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> (WriteOutcome, EntityTag) {
        try await core.batch(writes, preconditions, dryRun: dryRun)
    }
}
