// What a service says of itself, so that all that services have in common is written once: dispatching, events,
// health, metrics, and listening.

public import API
internal import Glibc
public import HTTP
public import JSON
internal import Proc
internal import Wire

/// A service with a REST API; handlers get it with each call.
public protocol APIService: Sendable {
    var dispatcher: Dispatcher<Self> { get }
    var version: Version { get }
    var events: EventLog { get }
    /// How it restarts; nil where it cannot by itself.
    var succession: Succession? { get }
    /// The stored state is in force; until then what is under /v1 is `unavailable`.
    var isServing: Bool { get }
    /// The document of the service's own operations.
    var openAPI: JSONObject { get }
    /// What a restart would mend, found at this moment without asking the control plane.
    func live() -> [HealthResult]
    /// Whether it does its work, damped.
    func ready() -> [HealthResult]
    /// The families that are the service's own.
    func addMetrics(to page: inout MetricsPage) async
}

extension APIService {
    public var succession: Succession? { nil }

    /// Answers whatever was asked; every refusal is a problem document.
    public func handle(_ request: HTTPRequest) async -> HTTPResponse {
        await dispatcher.answer(request, for: self)
    }

    /// Listens and answers from now on, by `sockets` that listen already where there are such. A TCP port in use is
    /// refused with the name of who has it.
    public func listen(
        on endpoints: [HTTPEndpoint], by sockets: [Int32] = [], limits: HTTPLimits
    ) throws -> HTTPServer {
        do throws(HTTPServerError) {
            return try HTTPServer(
                endpoints: endpoints, sockets: sockets, limits: limits, tls: dispatcher.access.tls,
                knows: { [access = dispatcher.access] in access.knows($0) },
                renderFailure: HTTPResponse.failure,
                onLog: dispatcher.note, handler: handle)
        } catch {
            guard error.errorNumber == EADDRINUSE,
                case .tcp(_, let port) = endpoints.first(where: { "\($0)" == error.address }),
                let holder = PortHolder.tcp(port)
            else { throw error }
            throw StartError("\(error); \(holder) has it")
        }
    }
}

extension Version {
    /// The compiler of this build.
    public static var compiler: String {
        #if compiler(>=6.4)
            "6.4 or later"
        #elseif compiler(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }
}

/// Why a service cannot start, for people.
public struct StartError: Error, CustomStringConvertible, Sendable {
    public var description: String
    public init(_ description: String) { self.description = description }
}
