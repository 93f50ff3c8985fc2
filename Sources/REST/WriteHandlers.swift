// GET, PUT, PATCH and DELETE of one resource of every kind, and batches of them: the same steps, written once.

public import API
public import HTTP
public import JSON

/// A service whose resources can be written.
public protocol WritingService: APIService {
    associatedtype ID: ResourceAddress
    associatedtype Change: WrittenChange

    /// A resource as it is answered, and the tag of what was written of it.
    func document(of id: ID) async throws(Problem) -> (JSONObject, EntityTag)
    /// Carries out all writes, or none; with `dryRun` checks them as strictly and does nothing. The preconditions
    /// are about each resource.
    func write(
        _ writes: [ResourceWrite<ID>], _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> Outcome<Change>
    /// Reads, changes and writes one resource in one step: RFC 7396's merge patch.
    func patch(
        _ id: ID, _ patch: JSONValue, _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> Outcome<Change>
    /// Like `write`, but the preconditions, and the tag that comes back, are about all that is written.
    func batch(
        _ writes: [ResourceWrite<ID>], _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> (Outcome<Change>, EntityTag)
}

extension WritingService {
    /// Says who changed what, from what to what: one line per resource.
    public func audit(_ request: HTTPRequest, _ changes: [Change]) {
        for change in changes { dispatcher.audit(request, change) }
    }
}

/// Handlers shared by the kinds.
public enum WriteHandlers<Service: WritingService> {
    /// Answers once a resource was written.
    private typealias Show = @Sendable (Service.ID, Service) async throws(Problem) -> HTTPResponse
    private typealias Write =
        @Sendable (Service.ID, Preconditions, Bool) async throws(Problem) -> Outcome<Service.Change>

    public static func get(_ kind: Kind) -> Handler<Service> {
        { call, service async throws(Problem) in try await show(call.resource(kind), service) }
    }

    @Sendable
    private static func show(_ id: Service.ID, _ service: Service) async throws(Problem) -> HTTPResponse {
        let (document, tag) = try await service.document(of: id)
        return .document(document, tag: tag)
    }

    public static func put(_ kind: Kind) -> Handler<Service> {
        { call, service async throws(Problem) in
            let id: Service.ID = try call.resource(kind)
            let write = ResourceWrite(id: id, spec: try id.spec(try call.body()))
            return try await finish(call, service, show, id) { _, conditions, dryRun async throws(Problem) in
                try await service.write([write], conditions, dryRun: dryRun)
            }
        }
    }

    public static func patch(_ kind: Kind) -> Handler<Service> {
        { call, service async throws(Problem) in
            let id: Service.ID = try call.resource(kind)
            let patch = try call.body()
            return try await finish(call, service, show, id) { id, conditions, dryRun async throws(Problem) in
                try await service.patch(id, patch, conditions, dryRun: dryRun)
            }
        }
    }

    public static func delete(_ kind: Kind) -> Handler<Service> {
        { call, service async throws(Problem) in
            let id: Service.ID = try call.resource(kind)
            let done: Show = { _, _ async throws(Problem) in .noContent }
            return try await finish(call, service, done, id) { id, conditions, dryRun async throws(Problem) in
                try await service.write([ResourceWrite(id: id)], conditions, dryRun: dryRun)
            }
        }
    }

    private static func finish(
        _ call: Call, _ service: Service, _ show: Show, _ id: Service.ID, _ write: Write
    ) async throws(Problem) -> HTTPResponse {
        let isDryRun = try call.isDryRun()
        let outcome = try await write(id, Preconditions(call.request), isDryRun)
        if isDryRun { return .document(DryRun(outcome.plan).json) }
        service.audit(call.request, outcome.changes)
        var response = try await show(id, service)
        if response.status == 200, outcome.areNew.first == true { response.status = 201 }
        return response
    }

    /// `POST /v1/batch`.
    @Sendable
    public static func batch(_ call: Call, _ service: Service) async throws(Problem) -> HTTPResponse {
        let limits = JSONLimits(byteCount: Batch.bodyByteCount, memberCount: Batch.memberCount)
        let batch = try Batch.schema.decode(try call.body(limits: limits))
        let writes = try ResourceWrite<Service.ID>.all(of: batch)
        let isDryRun = try call.isDryRun()
        let conditions = try Preconditions(call.request)
        let (outcome, tag) = try await service.batch(writes, conditions, dryRun: isDryRun)
        if isDryRun { return .document(DryRun(outcome.plan).json) }
        service.audit(call.request, outcome.changes)
        let results = zip(batch.operations, outcome.areNew).map { operation, isNew in
            BatchResult(
                path: operation.path, status: operation.method == .delete ? 204 : isNew ? 201 : 200)
        }
        return .document(BatchResults(results).json, tag: tag)
    }
}

extension Call {
    /// The resource of the path.
    public func resource<ID: ResourceAddress>(_ kind: Kind) throws(Problem) -> ID {
        try ID(kind, kind.keys.map { parameters[$0.parameter] ?? "" })
    }
}
