// The way to one agent: requests to its /v1/state and what its answers mean, and other questions for an answer as it
// comes.

internal import API
internal import Foundation
internal import HTTP
internal import JSON
internal import Trust

/// A client of one host's agent. Sends what it is given; decides nothing.
struct AgentLink: Sendable {
    /// Or why no client can use the URL.
    private let client: Result<HTTPClient, HTTPClientError>
    /// File with the bearer token, read for each request: a token is renewed by replacing the file. It goes nowhere
    /// where others could hear it.
    private let tokenPath: String?

    init(
        to host: FleetHost, over pool: HTTPClientPool, identity: HTTPClientIdentity,
        credentialsDirectory: String
    ) {
        client = Result { () throws(HTTPClientError) in
            HTTPClient(
                try HTTPClientAddress("\(host.agentURL)"), pool: pool, limits: AgentLink.limits,
                identity: identity)
        }
        tokenPath = host.credentials.map { "\(credentialsDirectory)/\($0)" }
    }

    /// An answer is a state document without its resources, a trace, or a problem.
    private static let limits = HTTPClientLimits(bodyByteCount: 16 << 20)
    private static let tokenByteCount = 4096

    func send(
        _ method: String, _ body: [UInt8]?, timeout: Duration
    ) async -> Result<AgentAnswer, HTTPClientError> {
        do throws(HTTPClientError) {
            return .success(AgentLink.answer(try await ask(method, HostState.path, body, timeout: timeout)))
        } catch {
            return .failure(error)
        }
    }

    /// Any request of the agent's.
    func ask(
        _ method: String, _ path: String, _ body: [UInt8]?, timeout: Duration
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        var request = HTTPClientRequest(method, path, body: body)
        if body != nil { request.headers.append(("Content-Type", "application/json")) }
        request.totalSeconds = timeout.seconds
        return try await respond(request)
    }

    /// A JSON document the agent answers with 200 to a GET.
    func get(
        _ path: String, query: [(name: String, value: String)], timeout: Duration
    ) async throws(HTTPClientError) -> JSONValue {
        var request = HTTPClientRequest("GET", path, query: query)
        request.totalSeconds = timeout.seconds
        let response = try await respond(request)
        guard response.status == 200, let value = try? JSONValue.parse(response.body) else {
            throw HTTPClientError(.interrupted, "answered \(response.status) to GET \(path)")
        }
        return value
    }

    private func respond(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
        var request = request
        let client = try client.get()
        if let tokenPath {
            guard client.address.isPrivate else {
                throw HTTPClientError(
                    .invalidRequest,
                    "credentials: a token is sent by https, to a Unix socket or a loopback address only, not to "
                        + "\(client.address)")
            }
            request.headers.append(("Authorization", "Bearer \(try AgentLink.token(tokenPath))"))
        }
        return try await client.send(request)
    }

    private static func token(_ path: String) throws(HTTPClientError) -> String {
        do throws(TrustError) {
            let text = String(decoding: try GuardedFile.read(path, .secret), as: UTF8.self)
            let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
            guard !token.isEmpty, token.utf8.count <= tokenByteCount else {
                throw TrustError("wanted a token in \(path), found none")
            }
            return token
        } catch {
            throw HTTPClientError(.invalidRequest, "credentials: \(error)")
        }
    }

    static func answer(_ response: HTTPClientResponse) -> AgentAnswer {
        guard let value = try? JSONValue.parse(response.body) else {
            return .unintelligible(status: response.status)
        }
        if (200..<300).contains(response.status) {
            guard value["digest"] != nil, let document = try? HostStateDocument.schema.decode(value) else {
                return .unintelligible(status: response.status)
            }
            return .standing(Standing(document))
        }
        guard value["code"] != nil, let problem = try? Problem.schema.decode(value) else {
            return .unintelligible(status: response.status)
        }
        return .problem(problem)
    }
}

extension Standing {
    init(_ document: HostStateDocument) {
        self.init(
            held: document.held, isInSync: document.isInSync, bootID: document.bootID,
            agentID: document.agentID)
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
