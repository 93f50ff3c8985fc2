// Many agents behind one HTTP server: the address in a request's Host says which one is meant.

import API
import HTTP
import JSON
import Synchronization

final class Fleet: Sendable {
    let agents: [SimulatedAgent]
    let log = PushLog()
    private let numbers: [String: Int]
    private let endpoint: HTTPEndpoint
    private let server = Mutex<HTTPServer?>(nil)

    /// An agent's, but for the number of connections, and time for agents that hang.
    private static let limits = HTTPLimits(
        raisedBodyByteCounts: [
            "PUT \(HostState.path)": Batch.bodyByteCount, "PATCH \(HostState.path)": Batch.bodyByteCount,
        ], raisedBodyCount: 64, connectionCount: 4096, connectionsPerAddress: 4096, handlerSeconds: 3600)

    init(count: Int, port: UInt16) {
        agents = (0..<count).map { SimulatedAgent(address: Fleet.address($0)) }
        numbers = Dictionary(uniqueKeysWithValues: agents.enumerated().map { ($1.address, $0) })
        endpoint = .tcp(host: "0.0.0.0", port: port)
    }

    /// 127.1.0.1, 127.1.0.2, … 127.1.0.250, 127.1.1.1, …
    static func address(_ number: Int) -> String { "127.1.\(number / 250).\(number % 250 + 1)" }

    func start() throws {
        let started = try HTTPServer(
            endpoints: [endpoint], limits: Fleet.limits,
            renderFailure: { failure in .problem(Problem(.malformedRequest, failure.message)) },
            onLog: { complain($0) }, handler: { await self.handle($0) })
        server.withLock { $0 = started }
    }

    /// Closes every connection; until the next start, new ones are refused.
    func stop() async {
        let stopped = server.withLock { server in
            defer { server = nil }
            return server
        }
        await stopped?.stop(drainSeconds: 0)
    }

    private func handle(_ request: HTTPRequest) async -> HTTPResponse {
        let arrived = PushLog.now
        let host = String((request.header("Host") ?? "").prefix { $0 != ":" })
        var response: HTTPResponse
        do throws(Problem) {
            guard let number = numbers[host] else {
                throw Problem(.notFound, "no agent has the address \(host)")
            }
            try await fail(agents[number])
            response = try answer(request, number, arrived)
        } catch {
            log.add(["\(error.status) \(error.code.rawValue)": 1])
            response = .problem(error)
        }
        let head = request.headers.reduce(request.rawPath.utf8.count + request.method.utf8.count + 14) {
            $0 + $1.name.utf8.count + $1.value.utf8.count + 4
        }
        log.add([
            "requests": 1, request.method: 1, "received_bytes": head + request.body.count,
            "sent_bytes": Fleet.headByteCount + response.body.count,
        ])
        return response
    }

    /// Status line, Content-Type, Content-Length and Date of an answer.
    private static let headByteCount = 120

    /// Holds a request up, or throws, as the agent's faults say.
    private func fail(_ agent: SimulatedAgent) async throws(Problem) {
        let faults = agent.faults
        if faults.delayMilliseconds > 0 {
            try? await Task.sleep(for: .milliseconds(faults.delayMilliseconds))
        }
        while agent.faults.hangs, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(20)) }
        if faults.refuses { throw Problem(.unavailable, "told to refuse") }
    }

    private func answer(
        _ request: HTTPRequest, _ number: Int, _ arrived: UInt64
    ) throws(Problem) -> HTTPResponse {
        let agent = agents[number]
        switch (request.method, request.rawPath) {
        case ("GET", "/livez"): return .text("ok\n")
        case ("GET", "/v1/version"): return .document(agent.version.json)
        case ("GET", HostState.path): return .document(agent.document.json)
        case ("PUT", HostState.path):
            let body = try HostState.parse(request.body, limits: Fleet.bodyLimits)
            let done = try agent.put(body, at: Fleet.time)
            return accept(done, number, arrived, paths: [])
        case ("PATCH", HostState.path):
            let body = try StateDelta.parse(request.body, limits: Fleet.bodyLimits)
            let done = try agent.patch(body, at: Fleet.time)
            return accept(done, number, arrived, paths: done.paths)
        default:
            throw Problem(.notFound, "a simulated agent has no \(request.method) \(request.rawPath)")
        }
    }

    private func accept(
        _ done: Acknowledged, _ number: Int, _ arrived: UInt64, paths: [String]
    ) -> HTTPResponse {
        if done.isUnchanged {
            log.add(["unchanged": 1])
        } else if let held = done.document.held {
            log.append(
                .init(
                    agent: number, arrived: arrived, applied: PushLog.now, epoch: held.epoch,
                    generation: held.generation, paths: paths))
        }
        return .document(done.document.json, status: done.isFirst ? 201 : 200)
    }

    private static let bodyLimits = JSONLimits(byteCount: Batch.bodyByteCount, memberCount: Batch.memberCount)
    /// Nobody looks at it.
    private static let time = "2026-01-01T00:00:00.000Z"
}

extension HTTPResponse {
    static func document(_ object: JSONObject, status: Int = 200) -> HTTPResponse {
        HTTPResponse(
            status: status, headers: [("Content-Type", "application/json")],
            body: JSONValue.object(object).serialized(pretty: true) + [UInt8(ascii: "\n")])
    }

    static func problem(_ problem: Problem) -> HTTPResponse {
        HTTPResponse(
            status: problem.status, headers: [("Content-Type", Problem.mediaType)],
            body: JSONValue.object(problem.json).serialized(pretty: true) + [UInt8(ascii: "\n")])
    }
}
