// POST /v1/batch.

internal import API
internal import HTTP
internal import JSON

enum BatchRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .batch: { call, agent async throws(Problem) in
            let limits = JSONLimits(byteCount: Batch.bodyByteCount, memberCount: Batch.memberCount)
            let batch = try Batch.schema.decode(try call.body(limits: limits))
            let writes = try batch.writes()
            let isDryRun = try call.isDryRun()
            let conditions = try Preconditions(call.request)
            let (outcome, tag) = try await agent.core.batch(writes, conditions, dryRun: isDryRun)
            if isDryRun { return .document(DryRun(outcome.plan).json) }
            agent.audit(call.request, outcome.changes)
            let results = zip(batch.operations, outcome.areNew).map { operation, isNew in
                BatchResult(
                    path: operation.path, status: operation.method == .delete ? 204 : isNew ? 201 : 200)
            }
            return .document(BatchResults(results).json, tag: tag)
        }
    ]
}

extension Batch {
    /// The operations with their bodies decoded; problems point into the batch.
    func writes() throws(Problem) -> [Write] {
        var writes: [Write] = []
        writes.reserveCapacity(operations.count)
        for (index, operation) in operations.enumerated() {
            writes.append(try Write(.init(number: index), operation.path, operation.body))
        }
        return writes
    }
}

extension Write {
    /// One of many, its body decoded; problems point at it.
    init(_ item: Item, _ path: String, _ body: JSONObject?) throws(Problem) {
        self.item = item
        id = try Write.resource(at: path, item)
        do throws(Problem) {
            spec = if let body { try id.spec(.object(body)) } else { nil }
        } catch {
            throw error.moved(below: item.pointer.appending("body"))
        }
    }

    private static func resource(at path: String, _ item: Item) throws(Problem) -> ResourceID {
        let wanted = "the path of a bridge, port, tunnel or static MAC entry"
        var detail = "wanted \(wanted), found \(path)"
        do throws(Problem) {
            if let id = try resource(at: path) { return id }
        } catch {
            detail = error.detail
        }
        let pointer = item.pointer.appending("path")
        throw Problem(
            .invalidResource, "\(pointer): \(detail)",
            errors: [FieldError(at: pointer, .invalidValue, wanted: wanted, found: path)])
    }

    /// The kinds below a bridge by their names in paths.
    private static let members = Dictionary(
        uniqueKeysWithValues: [API.Port.kind, Tunnel.kind, StaticMAC.kind].map { ($0.plural, $0) })

    /// Nil when no kind has such paths.
    private static func resource(at path: String) throws(Problem) -> ResourceID? {
        // By bytes: finding the characters of a text takes several times as long.
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { String(Substring($0)) }
        guard parts.count >= 4, parts[0].isEmpty, parts[1] == "v1", parts[2] == Bridge.kind.plural else {
            return nil
        }
        if parts.count == 4 { return try ResourceID(Bridge.kind, [parts[3]]) }
        guard parts.count == 6, let kind = members[parts[4]] else { return nil }
        return try ResourceID(kind, [parts[3], parts[5]])
    }
}
