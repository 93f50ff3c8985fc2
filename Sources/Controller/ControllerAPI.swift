// The controller's side of the API: what handlers get with each call.

internal import API
internal import HTTP
internal import JSON
internal import Logging
internal import REST

struct ControllerAPI: WritingService {
    /// One line per file in `Resources`.
    static let routes: [any Routes<ControllerAPI>.Type] = [
        HostRoutes.self,
        NetworkRoutes.self,
        AttachmentRoutes.self,
        FleetRoutes.self,
        EnrolmentRoutes.self,
        TraceRoutes.self,
        ServiceRoutes<ControllerAPI>.self,
    ]

    let core: ControllerCore
    let health: ControllerHealth
    let version: Version
    let succession: Succession?
    let dispatcher: Dispatcher<ControllerAPI>
    /// Nil: nobody is enrolled here.
    let pki: PKIDirectory?

    init(
        core: ControllerCore, health: ControllerHealth, version: Version, access: AccessControl = .open,
        pki: PKIDirectory? = nil, succession: Succession? = nil, log: Logger
    ) {
        self.succession = succession
        self.core = core
        self.health = health
        self.version = version
        self.pki = pki
        dispatcher = Dispatcher(Operations.controller, ControllerAPI.routes, access: access, log: log)
    }

    var events: EventLog { core.events }
    /// A standby answers too: that another one leads.
    var isServing: Bool { true }
    var openAPI: JSONObject { OpenAPI.document(of: .controller, version: version.version) }

    func live() -> [HealthResult] { health.live() }
    func ready() -> [HealthResult] { health.ready() }
    func addMetrics(to page: inout MetricsPage) async { await core.addMetrics(to: &page) }

    // MARK: Writing

    func document(of id: FleetID) async throws(Problem) -> (JSONObject, EntityTag) {
        try await core.document(of: id)
    }

    func write(
        _ writes: [ResourceWrite<FleetID>], _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> Outcome<FleetChange> {
        try await core.write(writes, preconditions, dryRun: dryRun)
    }

    func patch(
        _ id: FleetID, _ patch: JSONValue, _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> Outcome<FleetChange> {
        try await core.patch(id, patch, preconditions, dryRun: dryRun)
    }

    func batch(
        _ writes: [ResourceWrite<FleetID>], _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> (Outcome<FleetChange>, EntityTag) {
        try await core.batch(writes, preconditions, dryRun: dryRun)
    }
}

extension FleetID: ResourceAddress {
    static let kinds = [FleetHost.kind, Network.kind, Attachment.kind]
    static let wantedPath = "the path of a host, network or attachment"
}

extension FleetChange: WrittenChange {
    var path: String { id.path }
    var before: JSONObject? { from?.json }
    var after: JSONObject? { to?.json }
}
