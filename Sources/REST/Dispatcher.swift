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
    public let access: AccessControl
    private let limits = SourceLimits()
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
    public init(
        _ operations: [API.Operation], _ routes: [any Routes<Service>.Type], access: AccessControl = .open,
        log: Logger
    ) {
        self.operations = operations
        self.access = access
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

    /// Says who changed what, from what to what.
    public func audit(_ request: HTTPRequest, _ change: some WrittenChange) {
        func text(_ spec: JSONObject?) -> String { spec.map { JSONValue.object($0).description } ?? "none" }
        let (before, after) = (text(change.before), text(change.after))
        memory.used(change.path.utf8.count + before.utf8.count + after.utf8.count)
        log.notice(
            "audit",
            metadata: [
                "resource": "\(change.path)", "before": "\(before)", "after": "\(after)",
                "request_id": "\(request.id)", "remote": "\(request.remote)", "who": "\(request.subject)",
            ])
    }

    func answer(_ request: HTTPRequest, for service: Service) async -> HTTPResponse {
        let start = ContinuousClock.now
        var request = request
        var found = Found()
        var response: HTTPResponse
        do throws(Problem) {
            response = try await dispatch(&request, service, &found)
        } catch {
            var problem = error
            problem.instance = request.rawPath
            problem.requestID = request.id
            response = .problem(problem, headers: hints(error.code, request.method, found))
        }
        if response.status == 405 { allow(request, &response) }
        condition(request, &response)
        let method = methods.contains(request.method) ? request.method : "other"
        requests.add(found.template, method, response.status, ContinuousClock.now - start)
        memory.used(request.body.count + response.body.count)
        // A capture is a GET too, and more than reading. What strangers try is told of elsewhere, and not each time.
        let isWrite = !["GET", "HEAD"].contains(request.method) || found.roles.contains { $0 != .read }
        let isStranger = request.subject.isEmpty || found.isForAnyone && response.status >= 400
        if isWrite, !isStranger, response.status != 429 {
            log.info(
                "write",
                metadata: [
                    "method": "\(request.method)", "path": "\(request.rawPath)",
                    "status": "\(response.status)",
                    "request_id": "\(request.id)", "remote": "\(request.remote)", "who": "\(request.subject)",
                ])
        }
        return response
    }

    /// What has become known of a request on its way.
    private struct Found {
        /// Of its path, for metrics.
        var template = "none"
        /// Its operation asks nobody who they are.
        var isForAnyone = false
        /// What the operation takes, as it is asked.
        var roles: [AccessRole] = []
        /// When it is refused for asking too often.
        var retryAfterSeconds = 1
    }

    private func dispatch(
        _ request: inout HTTPRequest, _ service: Service, _ found: inout Found
    ) async throws(Problem) -> HTTPResponse {
        do throws(Problem) {
            try checkHost(request)
            try checkOrigin(request)
        } catch {
            try countRequest(of: request, by: nil, &found)
            tell("refused", of: request, error)
            throw error
        }
        let match = router.match(method: request.method, path: request.path)
        // Before anything is said about the path: who is nobody learns nothing of what there is.
        let caller = try caller(of: request, match, &found)
        request.subject = caller.name
        switch match {
        case .notFound:
            throw Problem(.notFound, "there is nothing at \(request.rawPath)")
        case .methodNotAllowed(let allow):
            throw Problem(
                .methodNotAllowed,
                "\(request.rawPath): wanted \(allow.joined(separator: ", ")), found \(request.method)")
        case .found(let route, let parameters, let template):
            found.template = template
            if case .role(let wanted) = route.operation.access {
                found.roles.append(wanted)
                try caller.require(wanted)
            }
            let call = Call(request: request, operation: route.operation, parameters: parameters)
            for query in route.operation.query {
                guard let wanted = query.role, try call.flag(query.name) else { continue }
                try caller.require(wanted)
                found.roles.append(wanted)
            }
            if !service.isServing, route.operation.path.hasPrefix("/v1/") {
                throw Problem(.unavailable, "the stored state is being restored; try again")
            }
            try call.checkQuery()
            try call.checkAccept()
            do throws(Problem) {
                let response = try await route.handler(call, service)
                if let stream = response.stream { access.watch(stream, of: request, found.roles) }
                return response
            } catch {
                // An operation for anyone that refuses somebody has asked for a secret of its own.
                if error.code == .forbidden, route.operation.access == .anyone {
                    try countFailure(of: request, error, &found)
                }
                throw error
            }
        }
    }

    private func caller(
        of request: HTTPRequest, _ match: Router<Route>.Match, _ found: inout Found
    ) throws(Problem) -> Caller {
        if case .found(let route, _, _) = match, route.operation.access == .anyone {
            found.isForAnyone = true
            try countRequest(of: request, by: nil, &found)
            return Caller(name: "anyone", roles: [])
        }
        let caller: Caller
        do throws(Problem) {
            caller = try access.caller(of: request)
        } catch {
            try countRequest(of: request, by: nil, &found)
            try countFailure(of: request, error, &found)
            throw error
        }
        try countRequest(of: request, by: caller, &found)
        return caller
    }

    /// Strangers at a source share what it may ask, and whoever is known there has as much for itself.
    private func countRequest(
        of request: HTTPRequest, by caller: Caller?, _ found: inout Found
    ) throws(Problem) {
        guard let wait = limits.asks(request.remote, as: caller?.name, now: SourceLimits.now) else { return }
        found.retryAfterSeconds = Int(wait.rounded(.up))
        throw Problem(
            .rateLimited, "wanted at most \(Int(SourceLimits.requestsPerSecond)) requests a second")
    }

    /// Tells of it, unless there are too many of them.
    private func countFailure(
        of request: HTTPRequest, _ problem: Problem, _ found: inout Found
    ) throws(Problem) {
        if let wait = limits.fails(request.remote, now: SourceLimits.now) {
            found.retryAfterSeconds = Int(wait.rounded(.up))
            throw Problem(
                .rateLimited, "wanted at most \(Int(SourceLimits.failuresPerMinute)) failures a minute")
        }
        tell("not authenticated", of: request, problem)
    }

    private func tell(_ what: Logger.Message, of request: HTTPRequest, _ problem: Problem) {
        guard limits.isTold(request.remote, now: SourceLimits.now) else { return }
        log.notice(
            what,
            metadata: [
                "remote": "\(request.remote)", "request_id": "\(request.id)", "reason": "\(problem.detail)",
            ])
    }

    /// A page may have its own site's name point to 127.0.0.1 (DNS rebinding) and then ask as if from here: such
    /// a request carries that name. Nobody has a name for a Unix socket.
    private func checkHost(_ request: HTTPRequest) throws(Problem) {
        guard request.remote != "unix", let sent = request.header("Host") else { return }
        let isBracketed = sent.hasPrefix("[")
        let name = String(sent.dropFirst(isBracketed ? 1 : 0).prefix { $0 != (isBracketed ? "]" : ":") })
            .lowercased()
        guard name == "localhost" || IPAddress(name) != nil || access.isOwn(hostName: name) else {
            let found = sent.prefix(64).debugDescription
            let own = access.tls == nil ? "" : ", or a name of the server's certificate"
            throw Problem(.malformedRequest, "Host: wanted localhost or an IP address\(own), found \(found)")
        }
    }

    /// Browsers say which page asks. No page of another origin has business here, whatever the browser shows for it:
    /// client certificates it sends along by itself.
    private func checkOrigin(_ request: HTTPRequest) throws(Problem) {
        guard let origin = request.header("Origin") else { return }
        let scheme = access.tls == nil ? "http" : "https"
        guard let host = request.header("Host"), origin.lowercased() == "\(scheme)://\(host.lowercased())"
        else {
            throw Problem(.forbidden, "Origin: pages of other sites may not ask")
        }
    }

    /// What a refused client should do: when to come again, how to say who it is (RFC 6750 §3), or what to send
    /// (RFC 5789 §3.1).
    private func hints(
        _ code: ProblemCode, _ method: String, _ found: Found
    ) -> [(name: String, value: String)] {
        switch code {
        case .unavailable, .notLeader: [("Retry-After", "1")]
        case .rateLimited: [("Retry-After", "\(found.retryAfterSeconds)")]
        case .unauthenticated: [("WWW-Authenticate", "Bearer realm=\"viaduct\"")]
        case .unsupportedMediaType where method == "PATCH":
            operations.filter { $0.method == .patch && $0.path == found.template }
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
