// From HTTP request to answer: find the operation, check what it accepts, run its handler, turn problems into
// problem documents, count and log. The only place that knows both HTTP and the agent.

internal import API
internal import HTTP
internal import JSON
internal import Logging
internal import Wire

/// Serves one operation.
typealias Handler = @Sendable (Call, AgentAPI) async throws(Problem) -> HTTPResponse

/// The handlers of one file in `Resources`.
protocol Routes: Sendable {
    static var handlers: [OperationID: Handler] { get }
}

/// The agent's side of the API.
struct AgentAPI: Sendable {
    /// One line per file in `Resources`.
    static let routes: [any Routes.Type] = [
        BridgeRoutes.self,
        PortRoutes.self,
        TunnelRoutes.self,
        MACRoutes.self,
        BatchRoutes.self,
        StateRoutes.self,
        EventRoutes.self,
        DatapathRoutes.self,
        ServiceRoutes.self,
    ]

    /// What metrics tell apart; a client may make up more.
    private static let methods = Set(API.Operation.Method.allCases.map(\.rawValue) + ["HEAD", "OPTIONS"])

    let core: AgentCore
    let health: HealthChecks
    let version: Version
    let events: EventLog
    let requests = RequestCounts(routes: Set(Operations.agent.map(\.path)).union(["none"]))
    private let memory = FreeMemory()
    private let log: Logger
    private let router: Router<Route>

    private struct Route {
        let operation: API.Operation
        let handler: Handler
    }

    init(core: AgentCore, health: HealthChecks, version: Version, log: Logger) {
        self.core = core
        self.health = health
        self.version = version
        events = core.events
        self.log = log
        let handlers = AgentAPI.routes.reduce(into: [OperationID: Handler]()) { all, routes in
            all.merge(routes.handlers) { first, _ in first }
        }
        router = Router(
            Operations.agent.compactMap { operation in
                handlers[operation.id].map {
                    (operation.method.rawValue, operation.path, Route(operation: operation, handler: $0))
                }
            })
    }

    func handle(_ request: HTTPRequest) async -> HTTPResponse {
        let start = ContinuousClock.now
        var template = "none"
        var response: HTTPResponse
        do throws(Problem) {
            response = try await dispatch(request, &template)
        } catch {
            var problem = error
            problem.instance = request.rawPath
            problem.requestID = request.id
            response = .problem(problem, headers: AgentAPI.hints(error.code, request.method, template))
        }
        if response.status == 405 { allow(request, &response) }
        condition(request, &response)
        let method = AgentAPI.methods.contains(request.method) ? request.method : "other"
        requests.add(template, method, response.status, ContinuousClock.now - start)
        memory.used(request.body.count + response.body.count)
        if request.method != "GET", request.method != "HEAD" {
            log.info(
                "write",
                metadata: [
                    "method": "\(request.method)", "path": "\(request.rawPath)",
                    "status": "\(response.status)",
                    "request_id": "\(request.id)", "remote": "\(request.remote)",
                ])
        }
        return response
    }

    private func dispatch(_ request: HTTPRequest, _ template: inout String) async throws(Problem)
        -> HTTPResponse
    {
        try AgentAPI.checkHost(request)
        switch router.match(method: request.method, path: request.path) {
        case .notFound:
            throw Problem(.notFound, "there is nothing at \(request.rawPath)")
        case .methodNotAllowed(let allow):
            throw Problem(
                .methodNotAllowed,
                "\(request.rawPath): wanted \(allow.joined(separator: ", ")), found \(request.method)")
        case .found(let route, let parameters, let found):
            template = found
            let call = Call(request: request, operation: route.operation, parameters: parameters)
            if !health.isServing, route.operation.path.hasPrefix("/v1/") {
                throw Problem(.unavailable, "the stored state is being restored; try again")
            }
            try call.checkQuery()
            try call.checkAccept()
            return try await route.handler(call, self)
        }
    }

    /// A page may have its own site's name point to 127.0.0.1 (DNS rebinding) and then ask as if from here: such
    /// a request carries that name. Nobody has a name for a Unix socket.
    private static func checkHost(_ request: HTTPRequest) throws(Problem) {
        guard request.remote != "unix", let sent = request.header("Host") else { return }
        let isBracketed = sent.hasPrefix("[")
        let name = String(sent.dropFirst(isBracketed ? 1 : 0).prefix { $0 != (isBracketed ? "]" : ":") })
        guard name.lowercased() == "localhost" || IPAddress(name) != nil else {
            let found = sent.prefix(64).debugDescription
            throw Problem(.malformedRequest, "Host: wanted localhost or an IP address, found \(found)")
        }
    }

    /// What a refused client should do: when to come again, or what to send (RFC 5789 §3.1).
    private static func hints(
        _ code: ProblemCode, _ method: String, _ template: String
    ) -> [(name: String, value: String)] {
        switch code {
        case .unavailable: [("Retry-After", "1")]
        case .unsupportedMediaType where method == "PATCH":
            Operations.agent.filter { $0.method == .patch && $0.path == template }
                .map { ("Accept-Patch", $0.bodyMediaType) }
        default: []
        }
    }

    /// Gives an answer to a read its tag, and leaves the body out for a reader who has it already
    /// (RFC 9110 §13.1.2).
    private func condition(_ request: HTTPRequest, _ response: inout HTTPResponse) {
        guard request.method == "GET" || request.method == "HEAD", response.status == 200,
            response.stream == nil
        else { return }
        let tag: String
        if let known = response.headers.first(where: { $0.name == "ETag" })?.value {
            tag = known
        } else {
            tag = EntityTag(of: response.body).description
            response.headers.append((name: "ETag", value: tag))
        }
        let wanted = request.header("If-None-Match") ?? ""
        guard
            wanted.trimmed == "*"
                || wanted.split(separator: ",").contains(where: { String($0).trimmed == tag })
        else { return }
        response = HTTPResponse(status: 304, headers: [(name: "ETag", value: tag)])
    }

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

    /// Adds what the path does allow; OPTIONS asks for just that.
    private func allow(_ request: HTTPRequest, _ response: inout HTTPResponse) {
        guard case .methodNotAllowed(let methods) = router.match(method: request.method, path: request.path)
        else {
            return
        }
        let header = (name: "Allow", value: (methods + ["OPTIONS"]).joined(separator: ", "))
        if request.method == "OPTIONS" {
            response = HTTPResponse(status: 204, headers: [header])
        } else {
            response.headers.append(header)
        }
    }

    /// Problem documents for what the server refuses by itself.
    static func render(_ failure: HTTPFailure) -> HTTPResponse {
        let code: ProblemCode =
            switch failure {
            case .malformedRequest, .ambiguousLength, .unsupportedTransferEncoding, .tooManyHeaders:
                .malformedRequest
            case .uriTooLong: .uriTooLong
            case .bodyTooLarge: .bodyTooLarge
            case .handlerTimeout: .timeout
            case .unavailable, .tooManyLargeBodies, .tooManyStreams: .unavailable
            }
        let headers = code == .unavailable ? [(name: "Retry-After", value: "1")] : []
        return .problem(Problem(code, failure.message), headers: headers)
    }
}
