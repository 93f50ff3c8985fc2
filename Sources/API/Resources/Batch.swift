// Many writes as one: all of them or none, one transaction, one step of the datapath.

public import JSON

/// The writes a batch is made of.
public enum BatchMethod: String, CaseIterable, Sendable, FieldValue {
    case put = "PUT"
    case delete = "DELETE"
}

/// One write of a batch.
public struct BatchOperation: Record {
    public var method = BatchMethod.put
    public var path = ""
    /// The resource; only with PUT.
    public var body: JSONObject?

    public init() {}

    public static let schema = Schema<BatchOperation>(summary: "One write of a batch.") {
        Field(
            "method", \.method, doc: "PUT creates or replaces, DELETE removes.", example: "PUT",
            required: true)
        Field(
            "path", \.path, as: .prose, doc: "Path of a resource.",
            example: "/v1/bridges/br0/tunnels/vxlan1", required: true)
        Field(
            "body", \.body, as: .object, doc: "The resource, as PUT of the path takes it. Not with DELETE.",
            example: ["remote_ip": "192.0.2.7"])
    }

    public func crossFieldErrors() -> [FieldError] {
        let pointer = JSONPointer().appending("body")
        switch (method, body) {
        case (.put, nil):
            return [FieldError(at: pointer, .missingField, wanted: "an object with PUT", found: "nothing")]
        case (.delete, let body?):
            let found = FieldError.excerpt(of: .object(body))
            return [FieldError(at: pointer, .notAllowed, wanted: "no body with DELETE", found: found)]
        default: return []
        }
    }
}

/// The body of `POST /v1/batch`.
public struct Batch: Record {
    /// Operations in one batch.
    public static let operationLimit = 20_000
    /// Bytes of its body, and values in it.
    public static let bodyByteCount = 16 << 20
    public static let memberCount = 500_000
    public static let path = "/v1/batch"

    public var operations: [BatchOperation] = []

    public init() {}

    public static let schema = Schema<Batch>(summary: "Writes to be done together or not at all.") {
        Field(
            "operations", \.operations, as: .sequence(of: .record, limit: operationLimit),
            doc: "In order: a resource before what is below it.", required: true)
    }
}

/// What one operation of a batch did.
public struct BatchResult: Record {
    public var path = ""
    public var status = 200

    public init() {}
    public init(path: String, status: Int) {
        self.path = path
        self.status = status
    }

    public static let schema = Schema<BatchResult>(summary: "What one operation did.", .answer) {
        Field("path", \.path, as: .prose, doc: "As in the operation.", example: "/v1/bridges/br0")
        Field(
            "status", \.status, as: .integer(200...299),
            doc: "201 created, 200 replaced or unchanged, 204 removed.", example: 201)
    }
}

/// The answer to a batch.
public struct BatchResults: Record {
    public var results: [BatchResult] = []

    public init() {}
    public init(_ results: [BatchResult]) { self.results = results }

    public static let schema = Schema<BatchResults>(summary: "One result for each operation.", .answer) {
        Field("results", \.results, as: .answerList(of: .record), doc: "In the order of the operations.")
    }
}

extension Batch {
    /// "/operations/3"
    public static func pointer(_ operation: Int) -> JSONPointer {
        JSONPointer().appending("operations").appending(operation)
    }

    static func operations(of service: Role) -> [Operation] {
        [
            Operation(
                .batch, .post, path, tag: "batch", summary: summary(service), query: [.dryRun],
                request: SchemaReference(Batch.self),
                answers: [
                    .init(200, .either(SchemaReference(BatchResults.self), SchemaReference(DryRun.self)))
                ],
                problems: Operation.writeProblems.union(
                    service == .agent ? Operation.localProblems : [.notLeader]))
        ]
    }

    private static func summary(_ service: Role) -> String {
        let step = service == .agent ? ", one step of the datapath" : ""
        let lists = service.kinds.filter { $0.ownKeys.map(\.form) == [.name] }.map(\.plural)
        let last = lists.last ?? ""
        return
            "Do many writes as one: all or nothing, one transaction\(step). If-Match and If-None-Match are about "
            + "everything written: the ETag of an unfiltered list of "
            + "\(lists.dropLast().joined(separator: ", ")) or \(last), or of the batch before. A refusal points at "
            + "the operation."
    }
}
