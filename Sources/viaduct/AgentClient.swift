// What the commands ask of an agent or a controller: a call per thing the APIs offer, over anything that carries one
// request and brings one answer. Answers stay JSON values, and members this build has never heard of pass
// through, so a command line understands an agent of another age.

import API
import HTTP
import JSON

/// Carries one request to one agent.
protocol AgentTransport: Sendable {
    func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse
    /// Hands over the body as it comes, until it ends or `deliver` returns false; that of a refusal is in the answer.
    func stream(
        _ request: HTTPClientRequest, deliver: @escaping @Sendable ([UInt8]) -> Bool
    ) async throws(HTTPClientError) -> HTTPClientResponse
}

extension AgentTransport {
    /// Of a carrier that has answers whole.
    func stream(
        _ request: HTTPClientRequest, deliver: @escaping @Sendable ([UInt8]) -> Bool
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        let answer = try await send(request)
        if (200..<300).contains(answer.status) { _ = deliver(answer.body) }
        return answer
    }
}

extension HTTPClient: AgentTransport {}

struct AgentClient: Sendable {
    /// An answer is the agent's own; the limits keep a wrong address from filling the memory.
    static let limits = JSONLimits(
        byteCount: 256 << 20, depth: 32, memberCount: 20_000_000, stringByteCount: 1 << 20)
    /// A capture may be silent for as long as nobody sends.
    static let httpLimits = HTTPClientLimits(
        totalSeconds: 60, silenceSeconds: 30 * 86_400, bodyByteCount: limits.byteCount)
    /// The agent's own limits on one batch (contract: `POST /v1/batch`).
    static let batchOperationLimit = 20_000

    let transport: any AgentTransport

    // MARK: - Resources

    /// Every item of a collection. `filters` go to the server as they are.
    func list(
        _ path: String, where filters: [(name: String, value: String)] = []
    ) async throws(CommandError) -> [JSONValue] {
        try await pages(path, where: filters).flatMap { $0["items"]?.arrayValue ?? [] }
    }

    /// The answers for a collection, page after page.
    func pages(
        _ path: String, where filters: [(name: String, value: String)] = []
    ) async throws(CommandError) -> [JSONValue] {
        var pages: [JSONValue] = []
        var token: String?
        repeat {
            // The first page's size is the server's to choose: an agent without pages has no `limit`.
            let page = token.map { [("page_token", $0)] } ?? []
            let answer = try await json("GET", path, query: filters + page)
            pages.append(answer)
            let next = answer["next_page_token"]?.stringValue
            guard next == nil || next != token else { throw .strange("\(path): two pages with one token") }
            token = next
        } while token != nil
        return pages
    }

    func get(_ path: String, query: [(name: String, value: String)] = []) async throws(CommandError)
        -> JSONValue
    {
        try await json("GET", path, query: query)
    }

    /// Creates or replaces. `onlyIfAbsent` refuses to replace.
    func put(
        _ path: String, _ spec: JSONObject, onlyIfAbsent: Bool = false, dryRun: Bool = false
    ) async throws(CommandError) -> JSONValue {
        try await json(
            "PUT", path, query: AgentClient.query(dryRun: dryRun),
            headers: onlyIfAbsent ? [("If-None-Match", "*")] : [], body: .object(spec))
    }

    /// Changes the members that are given; null takes one back to its default (RFC 7396).
    func patch(_ path: String, _ changes: JSONObject, dryRun: Bool = false) async throws(CommandError)
        -> JSONValue
    {
        try await json(
            "PATCH", path, query: AgentClient.query(dryRun: dryRun),
            headers: [("Content-Type", "application/merge-patch+json")], body: .object(changes))
    }

    /// `null`, or the plan of a dry run.
    func delete(_ path: String, dryRun: Bool = false) async throws(CommandError) -> JSONValue {
        try await json("DELETE", path, query: AgentClient.query(dryRun: dryRun))
    }

    /// All of the operations or none.
    func batch(_ operations: [PlannedWrite], dryRun: Bool = false) async throws(CommandError) -> JSONValue {
        let body: JSONObject = ["operations": .array(operations.map { .object($0.json) })]
        return try await json(
            "POST", "/v1/batch", query: AgentClient.query(dryRun: dryRun), body: .object(body))
    }

    /// Has the complete state pushed to the host at `path`; the host as it is now.
    func push(_ path: String, allowMassDelete: Bool) async throws(CommandError) -> JSONValue {
        var push = HostPush()
        push.allowMassDelete = allowMassDelete
        return try await json("POST", path + "/push", body: .object(push.json))
    }

    /// Exchanges an invitation for a certificate.
    func enrol(_ enrolment: Enrolment) async throws(CommandError) -> JSONValue {
        try await json("POST", Enrolment.path, body: .object(enrolment.json))
    }

    /// Where a frame would go; `inject` sends it as well.
    func trace(_ body: JSONObject, inject: Bool) async throws(CommandError) -> JSONValue {
        try await json(
            "POST", TraceRequest.path, query: inject ? [("inject", "true")] : [], body: .object(body))
    }

    // MARK: - The service

    /// Has it become its next process; which one it is until then.
    func restart() async throws(CommandError) -> JSONValue { try await json("POST", "/v1/restart") }

    /// Events after the cursor or number `since`, or those of the next `waitSeconds`; nil asks for what comes
    /// from now on.
    func events(since: String?, waitSeconds: Int) async throws(CommandError) -> JSONValue {
        let place = since.map { [("since", $0)] } ?? []
        return try await json(
            "GET", "/v1/events", query: place + [("wait", String(waitSeconds))],
            totalSeconds: Double(waitSeconds) + 15)
    }

    /// Hands over a file as it comes.
    func stream(
        _ path: String, query: [(name: String, value: String)], deliver: @escaping @Sendable ([UInt8]) -> Bool
    ) async throws(CommandError) {
        let request = HTTPClientRequest("GET", path, query: query)
        let reply: HTTPClientResponse
        do {
            reply = try await transport.stream(request, deliver: deliver)
        } catch {
            throw CommandError(error)
        }
        guard (200..<300).contains(reply.status) else {
            let value = try? JSONValue.parse(reply.body, limits: AgentClient.limits)
            throw .refused(Refusal(status: reply.status, document: value?.objectValue ?? [:]))
        }
    }

    /// A text answer with its status, whatever that is: health paths say more in a 503 than in a 200.
    func text(_ path: String, query: [(name: String, value: String)] = []) async throws(CommandError)
        -> (status: Int, text: String)
    {
        let reply = try await send(HTTPClientRequest("GET", path, query: query))
        return (reply.status, String(decoding: reply.body, as: UTF8.self))
    }

    // MARK: - One exchange

    private func json(
        _ method: String, _ path: String, query: [(name: String, value: String)] = [],
        headers: [(name: String, value: String)] = [], body: JSONValue? = nil, totalSeconds: Double? = nil
    ) async throws(CommandError) -> JSONValue {
        var request = HTTPClientRequest(method, path, query: query, totalSeconds: totalSeconds)
        request.headers = [("Accept", "application/json, application/problem+json")] + headers
        if let body {
            request.body = body.serialized()
            if !headers.contains(where: { $0.name == "Content-Type" }) {
                request.headers.append(("Content-Type", "application/json"))
            }
        }
        let reply = try await send(request)
        let value = try? JSONValue.parse(reply.body, limits: AgentClient.limits)
        guard (200..<300).contains(reply.status) else {
            throw .refused(Refusal(status: reply.status, document: value?.objectValue ?? [:]))
        }
        guard let value = reply.body.isEmpty ? .null : value else {
            throw .strange("\(method) \(path): wanted JSON, found \(reply.body.count) bytes that are not")
        }
        return value
    }

    private static func query(dryRun: Bool) -> [(name: String, value: String)] {
        dryRun ? [("dry_run", "true")] : []
    }

    private func send(_ request: HTTPClientRequest) async throws(CommandError) -> HTTPClientResponse {
        do {
            return try await transport.send(request)
        } catch {
            throw CommandError(error)
        }
    }
}

extension CommandError {
    init(_ error: HTTPClientError) {
        switch error.kind {
        case .invalidAddress, .invalidRequest: self = .usage(error.description)
        case .tooLarge: self = .strange(error.description)
        case .unreachable, .timeout, .interrupted, .cancelled: self = .unreachable(error.description)
        }
    }
}

extension Kind {
    /// The path to ask for. Whatever was typed as a key stays one segment: the agent says what is wrong
    /// with it.
    func target(_ keys: [String]) -> String {
        path(keys.map { String(HTTPClientRequest.path([$0]).dropFirst()) })
    }
}
