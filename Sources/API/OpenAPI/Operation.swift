// What an API can be asked: one `Operation` per method and path. A server's route table, its OpenAPI document
// and the tests all walk the lists in `Operations`; a route that is not there does not exist.

import JSON

/// Of both services; what both have has one id.
public enum OperationID: String, CaseIterable, Sendable {
    case listBridges = "list_bridges"
    case getBridge = "get_bridge"
    case putBridge = "put_bridge"
    case patchBridge = "patch_bridge"
    case deleteBridge = "delete_bridge"
    case listPorts = "list_ports"
    case getPort = "get_port"
    case putPort = "put_port"
    case patchPort = "patch_port"
    case deletePort = "delete_port"
    case listTunnels = "list_tunnels"
    case getTunnel = "get_tunnel"
    case putTunnel = "put_tunnel"
    case patchTunnel = "patch_tunnel"
    case deleteTunnel = "delete_tunnel"
    case listMACs = "list_macs"
    case getMAC = "get_mac"
    case putMAC = "put_mac"
    case deleteMAC = "delete_mac"
    case flushMACs = "flush_macs"
    case listRules = "list_rules"
    case getRule = "get_rule"
    case putRule = "put_rule"
    case patchRule = "patch_rule"
    case deleteRule = "delete_rule"
    case listMirrors = "list_mirrors"
    case getMirror = "get_mirror"
    case putMirror = "put_mirror"
    case patchMirror = "patch_mirror"
    case deleteMirror = "delete_mirror"
    case getUnderlay = "get_underlay"
    case putUnderlay = "put_underlay"
    case patchUnderlay = "patch_underlay"
    case listRoutes = "list_routes"
    case getRoute = "get_route"
    case putRoute = "put_route"
    case patchRoute = "patch_route"
    case deleteRoute = "delete_route"
    case lookupRoute = "lookup_route"
    case listNeighbors = "list_neighbors"
    case getNeighbor = "get_neighbor"
    case putNeighbor = "put_neighbor"
    case deleteNeighbor = "delete_neighbor"
    case listHosts = "list_hosts"
    case getHost = "get_host"
    case putHost = "put_host"
    case patchHost = "patch_host"
    case deleteHost = "delete_host"
    case getDesired = "get_desired"
    case pushHost = "push_host"
    case listNetworks = "list_networks"
    case getNetwork = "get_network"
    case putNetwork = "put_network"
    case patchNetwork = "patch_network"
    case deleteNetwork = "delete_network"
    case listAttachments = "list_attachments"
    case getAttachment = "get_attachment"
    case putAttachment = "put_attachment"
    case patchAttachment = "patch_attachment"
    case deleteAttachment = "delete_attachment"
    case findAttachments = "find_attachments"
    case getStatus = "get_status"
    case enrol
    case batch
    case getState = "get_state"
    case putState = "put_state"
    case patchState = "patch_state"
    case listEvents = "list_events"
    case listListeners = "list_listeners"
    case getDatapath = "get_datapath"
    case listFlows = "list_flows"
    case flushFlows = "flush_flows"
    case listLiveness = "list_liveness"
    case capture
    case trace
    case traceFleet = "trace_fleet"
    case getVersion = "get_version"
    case restart
    case livez
    case livezCheck = "livez_check"
    case readyz
    case readyzCheck = "readyz_check"
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
        case patch = "PATCH"
        case post = "POST"
        case delete = "DELETE"
    }

    /// A query parameter. One that an operation does not declare is refused, never ignored.
    public struct Query: Sendable, Hashable {
        public let name: String
        public let doc: String
        let schema: JSONObject
        /// What it takes to have it true, besides what the operation takes.
        public let role: AccessRole?

        init(
            name: String, doc: String, schema: JSONObject = ["type": "string"], role: AccessRole? = nil
        ) {
            self.name = name
            self.doc = role.map { "\(doc) Takes the role \($0)." } ?? doc
            self.schema = schema
            self.role = role
        }

        public static func == (left: Query, right: Query) -> Bool { left.name == right.name }
        public func hash(into hasher: inout Hasher) { hasher.combine(name) }

        /// Name each check of a health path; needs no value.
        static let verbose = Query(name: "verbose", doc: "Name each check on a line of its own.")
        /// Check as strictly, do nothing, answer what would be done.
        public static let dryRun = Query(
            name: "dry_run", doc: "true: check the request as strictly, do nothing and answer with the plan.",
            schema: ["type": "boolean"])
        public static let limit = Query(
            name: "limit",
            doc: "Most items in one answer, \(pageLimit.lowerBound) to \(pageLimit.upperBound).",
            schema: [
                "type": "integer", "minimum": .integer(Int64(pageLimit.lowerBound)),
                "maximum": .integer(Int64(pageLimit.upperBound)),
            ])
        public static let pageToken = Query(
            name: "page_token", doc: "next_page_token of the answer before, with the same filters.")
        /// Items in one answer.
        public static let pageLimit = 1...1000
    }

    /// What a success looks like.
    public struct Answer: Sendable, Hashable {
        public enum Body: Sendable, Hashable {
            case empty
            /// `application/json` of a declared shape.
            case json(SchemaReference)
            /// `application/json` of one of two shapes.
            case either(SchemaReference, SchemaReference)
            /// `application/json` of no shape of ours.
            case anyJSON
            /// Text of a media type.
            case text(String)
            /// A file of a media type.
            case bytes(String)
            /// Either, as the Accept header says.
            case jsonOrText(SchemaReference, String)

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
            case 201: "Created, as it is now."
            case 202: "Begun; as it is now."
            case 204: "Done; there is nothing to show."
            case 200 where body == .json(DryRun.self): "With dry_run: what would be done."
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
    public let access: Access
    /// Every reason it can be refused for, in the order of `ProblemCode`.
    public let problems: [ProblemCode]

    /// Media type of the body: a resource is patched by RFC 7396, a state by operations.
    public var bodyMediaType: String {
        method == .patch && id != .patchState ? Operation.mergePatchMediaType : "application/json"
    }
    static let mergePatchMediaType = "application/merge-patch+json"

    public var successStatuses: [Int] { answers.map(\.status) }

    init(
        _ id: OperationID, _ method: Method, _ path: String, tag: String, summary: String,
        query: [Query] = [], request: SchemaReference? = nil, answers: [Answer], access: Access? = nil,
        problems: Set<ProblemCode>
    ) {
        self.id = id
        self.method = method
        self.path = path
        self.tag = tag
        self.summary = summary
        self.query = query
        self.request = request
        self.answers = answers
        self.access = access ?? Access(usualOf: method)
        let isForAnyone = self.access == .anyone
        self.problems = ProblemCode.allCases.filter {
            problems.contains($0) && !(isForAnyone && $0 == .unauthenticated)
        }
    }

    // MARK: - What can go wrong where

    static let serviceTag = "service"
    /// The server's own, whatever the operation. `method_not_allowed` belongs to paths, and to
    /// operations only where a key may be another path.
    static let serviceProblems: Set<ProblemCode> = [
        .malformedRequest, .unauthenticated, .forbidden, .notAcceptable, .uriTooLong, .rateLimited,
        .unavailable,
    ]
    static let readProblems = serviceProblems.union([.notFound])
    static let deleteProblems = readProblems.union([
        .timeout, .storageFailed, .storageFull, .preconditionFailed,
    ])
    static let writeProblems = deleteProblems.union([
        .malformedJSON, .conflict, .limitExceeded, .bodyTooLarge, .unsupportedMediaType, .invalidResource,
    ])
    /// An agent's: a write may be about what was pushed, and reaches the kernel.
    static let localProblems: Set<ProblemCode> = [.managedElsewhere, .kernelRefused]

    /// List, get, put and delete of a resource that is answered as a document with a status.
    ///
    /// - Parameters:
    ///   - removes: Ends the summary of DELETE.
    ///   - reading: What else every one of them can be refused for.
    ///   - writing: What else a write can be refused for.
    static func standard<R: Resource, Status: Record>(
        _ resource: R.Type, _ status: Status.Type, filters: [Query], removes: String = "",
        reading: Set<ProblemCode> = [], writing: Set<ProblemCode> = [], _ list: OperationID,
        _ get: OperationID, _ put: OperationID, _ patch: OperationID, _ delete: OperationID
    ) -> [Operation] {
        let kind = R.kind
        let shape = SchemaReference(Document<R, Status>.self)
        let document = Answer.Body.json(shape)
        let written = Answer.Body.either(shape, SchemaReference(DryRun.self))
        let readProblems = readProblems.union(reading)
        // A name that is another path has that path's methods.
        let writing = writing.union(reading).union(kind.hasReservedKeys ? [.methodNotAllowed] : [])
        let isTop = kind.parent == nil
        return [
            Operation(
                list, .get, kind.collectionPath, tag: kind.plural, summary: "List the \(kind.plural).",
                query: [.limit, .pageToken] + filters,
                answers: [Answer(200, .json(List<Document<R, Status>>.self))],
                problems: isTop ? readProblems.subtracting([.notFound]) : readProblems),
            Operation(
                get, .get, kind.itemPath, tag: kind.plural, summary: "Read one \(kind.singular).",
                answers: [Answer(200, document)], problems: readProblems),
            Operation(
                put, .put, kind.itemPath, tag: kind.plural,
                summary: "Create or replace a \(kind.singular). Writing what is already there does nothing.",
                query: [.dryRun], request: SchemaReference(R.self),
                answers: [Answer(201, document), Answer(200, written)],
                problems: (isTop ? writeProblems.subtracting([.notFound]) : writeProblems).union(writing)),
            Operation(
                patch, .patch, kind.itemPath, tag: kind.plural,
                summary:
                    "Change some fields of a \(kind.singular): a JSON merge patch, null for the default.",
                query: [.dryRun], request: SchemaReference(MergePatch<R>.self),
                answers: [Answer(200, written)], problems: writeProblems.union(writing)),
            Operation(
                delete, .delete, kind.itemPath, tag: kind.plural,
                summary: "Remove a \(kind.singular)\(removes).",
                query: [.dryRun], answers: [Answer(204, .empty), Answer(200, .json(DryRun.self))],
                problems: deleteProblems.union(writing)),
        ]
    }
}
