// What the API can be asked: one `Operation` per method and path. The server's route table, the OpenAPI
// document and the tests all walk `Operations.all`; a route that is not here does not exist.

import JSON

public enum OperationID: String, CaseIterable, Sendable {
    case listBridges = "list_bridges"
    case getBridge = "get_bridge"
    case putBridge = "put_bridge"
    case deleteBridge = "delete_bridge"
    case listPorts = "list_ports"
    case getPort = "get_port"
    case putPort = "put_port"
    case deletePort = "delete_port"
    case listTunnels = "list_tunnels"
    case getTunnel = "get_tunnel"
    case putTunnel = "put_tunnel"
    case deleteTunnel = "delete_tunnel"
    case listMACs = "list_macs"
    case getMAC = "get_mac"
    case putMAC = "put_mac"
    case deleteMAC = "delete_mac"
    case flushMACs = "flush_macs"
    case listListeners = "list_listeners"
    case getVersion = "get_version"
    case livez
    case readyz
    case healthz
    case metrics
    case openapi
}

/// A method on a path, what it takes and everything it can answer.
public struct Operation: Sendable, Hashable {
    /// The methods the API uses; HEAD and OPTIONS follow from them and are the server's.
    public enum Method: String, CaseIterable, Sendable {
        case get = "GET"
        case put = "PUT"
        case delete = "DELETE"
    }

    /// A query parameter. One that an operation does not declare is refused, never ignored.
    public struct Query: Sendable, Hashable {
        public let name: String
        public let doc: String

        /// Name each check of a health path; needs no value.
        static let verbose = Query(name: "verbose", doc: "Name each check on a line of its own.")
    }

    /// What a success looks like.
    public struct Answer: Sendable, Hashable {
        public enum Body: Sendable, Hashable {
            case empty
            /// `application/json` of a declared shape.
            case json(SchemaReference)
            /// `application/json` of no shape of ours.
            case anyJSON
            /// Text of a media type.
            case text(String)

            public static func json<R: Record>(_ record: R.Type) -> Body { .json(SchemaReference(R.self)) }
        }

        public let status: Int
        public let body: Body

        public init(_ status: Int, _ body: Body) {
            self.status = status
            self.body = body
        }

        /// For the OpenAPI description.
        var doc: String {
            switch status {
            case 201: "Created: durable and in the datapath."
            case 204: "Done; there is nothing to show."
            default: "As it is now."
            }
        }
    }

    public let id: OperationID
    public let method: Method
    /// With parameters in braces: "/v1/bridges/{bridge}".
    public let path: String
    public let tag: String
    public let summary: String
    public let query: [Query]
    public let request: SchemaReference?
    public let answers: [Answer]
    /// Every reason it can be refused for, in the order of `ProblemCode`.
    public let problems: [ProblemCode]

    public var successStatuses: [Int] { answers.map(\.status) }

    init(
        _ id: OperationID, _ method: Method, _ path: String, tag: String, summary: String,
        query: [Query] = [], request: SchemaReference? = nil, answers: [Answer], problems: Set<ProblemCode>
    ) {
        self.id = id
        self.method = method
        self.path = path
        self.tag = tag
        self.summary = summary
        self.query = query
        self.request = request
        self.answers = answers
        self.problems = ProblemCode.allCases.filter(problems.contains)
    }

    // MARK: - What can go wrong where

    static let serviceTag = "service"
    /// The server's own, whatever the operation. `method_not_allowed` belongs to paths, not operations.
    static let serviceProblems: Set<ProblemCode> = [
        .malformedRequest, .notAcceptable, .uriTooLong, .internal, .unavailable,
    ]
    static let readProblems = serviceProblems.union([.notFound])
    static let deleteProblems = readProblems.union([.timeout, .storageFailed, .storageFull])
    static let writeProblems = deleteProblems.union([
        .malformedJSON, .conflict, .limitExceeded, .bodyTooLarge, .unsupportedMediaType, .invalidResource,
    ])

    /// List, get, put and delete of a resource that is answered as a document with a status.
    static func standard<R: Resource, Status: Record>(
        _ resource: R.Type, _ status: Status.Type, _ list: OperationID, _ get: OperationID,
        _ put: OperationID, _ delete: OperationID
    ) -> [Operation] {
        let kind = R.kind
        let document = Answer.Body.json(Document<R, Status>.self)
        return [
            Operation(
                list, .get, kind.collectionPath, tag: kind.plural, summary: "List the \(kind.plural).",
                answers: [Answer(200, .json(List<Document<R, Status>>.self))],
                problems: kind.parent == nil ? readProblems.subtracting([.notFound]) : readProblems),
            Operation(
                get, .get, kind.itemPath, tag: kind.plural, summary: "Read one \(kind.singular).",
                answers: [Answer(200, document)], problems: readProblems),
            Operation(
                put, .put, kind.itemPath, tag: kind.plural,
                summary: "Create or replace a \(kind.singular). Writing what is already there does nothing.",
                request: SchemaReference(R.self), answers: [Answer(201, document), Answer(200, document)],
                problems: (kind.parent == nil ? writeProblems.subtracting([.notFound]) : writeProblems)
                    .union([.kernelRefused])),
            Operation(
                delete, .delete, kind.itemPath, tag: kind.plural,
                summary: "Remove a \(kind.singular)"
                    + (kind.parent == nil ? " and everything below it." : "."),
                answers: [Answer(204, .empty)], problems: deleteProblems.union([.kernelRefused])),
        ]
    }
}
