// The way to one agent: requests to its /v1/state, and what its answers mean.

internal import API
internal import Foundation
internal import HTTP
internal import JSON

/// A client of one host's agent. Sends what it is given; decides nothing.
struct AgentLink: Sendable {
    /// Or why no client can use the URL.
    private let client: Result<HTTPClient, HTTPClientError>
    /// File with the bearer token, read for each request: a token is renewed by replacing the file.
    private let tokenPath: String?

    init(to host: FleetHost, over pool: HTTPClientPool, credentialsDirectory: String) {
        client = Result { () throws(HTTPClientError) in
            HTTPClient(try HTTPClientAddress("\(host.agentURL)"), pool: pool, limits: AgentLink.limits)
        }
        tokenPath = host.credentials.map { "\(credentialsDirectory)/\($0)" }
    }

    /// An answer is a state document without its resources, or a problem.
    private static let limits = HTTPClientLimits(bodyByteCount: 1 << 20)
    private static let tokenByteCount = 4096

    func send(
        _ method: String, _ body: [UInt8]?, timeout: Duration
    ) async -> Result<AgentAnswer, HTTPClientError> {
        var request = HTTPClientRequest(method, HostState.path, body: body)
        if body != nil { request.headers.append(("Content-Type", "application/json")) }
        request.totalSeconds = timeout.seconds
        do throws(HTTPClientError) {
            if let tokenPath {
                request.headers.append(("Authorization", "Bearer \(try AgentLink.token(tokenPath))"))
            }
            return .success(AgentLink.answer(try await client.get().send(request)))
        } catch {
            return .failure(error)
        }
    }

    private static func token(_ path: String) throws(HTTPClientError) -> String {
        let bytes = FileManager.default.contents(atPath: path)
        let token = bytes.map {
            String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        }
        guard let token, !token.isEmpty, token.utf8.count <= tokenByteCount else {
            throw HTTPClientError(.invalidRequest, "credentials: wanted a token in \(path), found none")
        }
        return token
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
