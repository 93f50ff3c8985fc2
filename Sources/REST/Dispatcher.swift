// From HTTP request to answer: find the operation, check what it accepts, run its handler, turn problems into
// problem documents, count and log. Knows HTTP and the declarations of the API, and no service in particular.

public import API
public import HTTP
internal import JSON
public import Logging
internal import Wire

/// Serves one operation of a service.
public typealias Handler<Service> = @Sendable (Call, Service) async throws(Problem) -> HTTPResponse

/// The handlers of one file.
public protocol Routes<Service>: Sendable {
    associatedtype Service: Sendable
    static var handlers: [OperationID: Handler<Service>] { get }
}

/// The operations of a service with their handlers, and the counts of what was asked.
public final class Dispatcher<Service: APIService>: Sendable {
    let requests: RequestCounts
    private let operations: [API.Operation]
    private let router: Router<Route>
    private let memory = FreeMemory()
    private let log: Logger
    /// What metrics tell apart; a client may make up more.
    private let methods = Set(API.Operation.Method.allCases.map(\.rawValue) + ["HEAD", "OPTIONS"])

    private struct Route {
        let operation: API.Operation
        let handler: Handler<Service>
    }

    /// An operation without a handler is not found.
    public init(_ operations: [API.Operation], _ routes: [any Routes<Service>.Type], log: Logger) {
        self.operations = operations
        self.log = log
        requests = RequestCounts(routes: Set(operations.map(\.path)).union(["none"]))
        let handlers = routes.reduce(into: [OperationID: Handler<Service>]()) { all, routes in
            all.merge(routes.handlers) { first, _ in first }
        }
        router = Router(
            operations.compactMap { operation in
                handlers[operation.id].map {
                    (operation.method.rawValue, operation.path, Route(operation: operation, handler: $0))
                }
            })
    }

    /// A line of the HTTP server's.
    @Sendable
    func note(_ line: String) { log.notice("http", metadata: ["detail": "\(line)"]) }

    func audit(_ request: HTTPRequest, _ change: some WrittenChange) {
        func text(_ spec: JSONObject?) -> String { spec.map { JSONValue.object($0).description } ?? "none" }
        log.notice(
            "audit",
            metadata: [
                "resource": "\(change.path)", "before": "\(text(change.before))",
                "after": "\(text(change.after))", "request_id": "\(request.id)",
                "remote": "\(request.remote)",
            ])
    }

    func answer(_ request: HTTPRequest, for service: Service) async -> HTTPResponse {
        let start = ContinuousClock.now
        var template = "none"
        var response: HTTPResponse
        do throws(Problem) {
            response = try await dispatch(request, service, &template)
        } catch {
            var problem = error
            problem.instance = request.rawPath
            problem.requestID = request.id
            response = .problem(problem, headers: hints(error.code, request.method, template))
        }
        if response.status == 405 { allow(request, &response) }
        condition(request, &response)
        let method = methods.contains(request.method) ? request.method : "other"
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

    private func dispatch(
        _ request: HTTPRequest, _ service: Service, _ template: inout String
    ) async throws(Problem) -> HTTPResponse {
        try Dispatcher.checkHost(request)
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
            if !service.isServing, route.operation.path.hasPrefix("/v1/") {
                throw Problem(.unavailable, "the stored state is being restored; try again")
            }
            try call.checkQuery()
            try call.checkAccept()
            return try await route.handler(call, service)
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
    private func hints(
        _ code: ProblemCode, _ method: String, _ template: String
    ) -> [(name: String, value: String)] {
        switch code {
        case .unavailable, .notLeader: [("Retry-After", "1")]
        case .unsupportedMediaType where method == "PATCH":
            operations.filter { $0.method == .patch && $0.path == template }
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
}
