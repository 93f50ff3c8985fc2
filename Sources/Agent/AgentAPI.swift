// The agent's side of the API: what its handlers work on. The only place that knows both HTTP and the agent.

internal import API
internal import HTTP
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
        BatchRoutes.self,
        StateRoutes.self,
        DatapathRoutes.self,
        ListenerRoutes.self,
        ServiceRoutes<AgentAPI>.self,
    ]

    let core: AgentCore
    let health: HealthChecks
    let version: Version
    let dispatcher: Dispatcher<AgentAPI>
    private let log: Logger

    init(core: AgentCore, health: HealthChecks, version: Version, log: Logger) {
        self.core = core
        self.health = health
        self.version = version
        self.log = log
        dispatcher = Dispatcher(Operations.all, AgentAPI.routes, log: log)
    }

    var events: EventLog { core.events }
    var isServing: Bool { health.isServing }
    var openAPI: JSONObject { OpenAPI.document(version: version.version) }
    func live() -> [HealthResult] { health.live() }
    func ready() -> [HealthResult] { health.ready() }
    func addMetrics(to page: inout MetricsPage) async { await core.addMetrics(to: &page) }

    /// Says who changed what, from what to what: one line per resource.
    func audit(_ request: HTTPRequest, _ changes: [ResourceChange]) {
        for change in changes {
            func text(_ spec: Spec?) -> String {
                spec.map { JSONValue.object($0.json).description } ?? "none"
            }
            log.notice(
                "audit",
                metadata: [
                    "resource": "\(change.id.path)", "before": "\(text(change.from))",
                    "after": "\(text(change.to))", "request_id": "\(request.id)",
                    "remote": "\(request.remote)",
                ])
        }
    }
}
