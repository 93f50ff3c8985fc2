// A whole agent without HTTP: real store, real worker, real interfaces, driven by requests as the server
// would hand them over. Every answer is checked against what the API declares, whichever test asked.

import API
import Foundation
import HTTP
import JSON
import LinuxIO
import Logging
import REST
import Store
import Testing
import Wire

@testable import Agent

/// The tests below it run one at a time: each has an agent with interfaces on this host.
@Suite(.serialized)
enum OnTheHost {}

/// An agent between its start and its stop.
struct TestAgent: Sendable {
    /// Of the state; not stored, so that a store has what requests wrote and nothing else.
    static let seed: UInt64 = 7

    let site: Site
    let store: Store
    let core: AgentCore
    let api: AgentAPI

    /// Starts on the site's state file, as `Agent.run` does.
    init(
        _ site: Site, sourcePorts: ClosedRange<UInt16> = 49152...65535, saysRestored: Bool = true,
        workerCount: Int = 1
    ) async throws {
        self.site = site
        store = try Store(path: site.stateFile)
        let bell = Doorbell()
        let workers = try WorkerSet(
            count: workerCount,
            events: WorkerEvents(
                portTroubled: { _ in bell.ring(.port) }, pathMTUChanged: { bell.ring(.underlay) }))
        let host = Host(
            workers: workers, macSeed: TestAgent.seed, sourcePorts: sourcePorts, strictVXLAN: true)
        let heartbeat = Heartbeat()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let core = AgentCore(
            id: Agent.id(TestAgent.seed), executor: ControlExecutor(label: "test"), store: store,
            workers: workers, host: host, heartbeat: heartbeat, log: log)
        self.core = core
        try await core.restore()
        bell.answer { _ in Task { await core.portTroubled() } }
        let health = HealthChecks(workers: workers, heartbeat: heartbeat)
        if saysRestored { health.restored() }
        api = AgentAPI(core: core, health: health, version: Agent.describe(core, .off), log: log)
    }

    /// Starts an agent on a site of its own, runs `body` and takes everything down.
    static func run(workers: Int = 1, _ body: (TestAgent) async throws -> Void) async throws {
        try await Site.run { site in try await run(on: site, workers: workers, body) }
    }

    static func run(
        on site: Site, workers: Int = 1, _ body: (TestAgent) async throws -> Void
    ) async throws {
        let agent = try await TestAgent(site, workerCount: workers)
        let ticking = Task { await agent.core.keepTicking() }
        let result: Result<Void, any Error>
        do { result = .success(try await body(agent)) } catch { result = .failure(error) }
        ticking.cancel()
        await ticking.value
        await agent.core.shutDown()
        try result.get()
    }

    // MARK: Requests

    /// One request, answered and checked against the contract.
    @discardableResult
    func ask(
        _ method: String, _ path: String, _ body: String = "",
        headers: [(String, String)] = [("Content-Type", "application/json")],
        query: [(name: String, value: String)] = [], at location: SourceLocation = #_sourceLocation
    ) async -> Answer {
        let request = HTTPRequest(
            method: method, rawPath: path,
            path: path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(String.init),
            query: query, headers: headers.map { (name: $0.0, value: $0.1) }, body: Array(body.utf8),
            id: "request-1", remote: "test")
        let answer = Answer(await api.handle(request))
        Contract.check(request, answer, location)
        return answer
    }

    @discardableResult
    func get(_ path: String, at location: SourceLocation = #_sourceLocation) async -> Answer {
        await ask("GET", path, at: location)
    }

    @discardableResult
    func put(_ path: String, _ body: String = "{}", at location: SourceLocation = #_sourceLocation) async
        -> Answer
    {
        await ask("PUT", path, body, at: location)
    }

    @discardableResult
    func delete(_ path: String, at location: SourceLocation = #_sourceLocation) async -> Answer {
        await ask("DELETE", path, at: location)
    }

    // MARK: State

    /// Everything a refused request must leave alone.
    struct State: Equatable {
        var stored: [StoredDocument]
        var bridges: [String]
        var members: [String]
        var listeners: [String]
        var interfaces: [Interface]
    }

    func state() async throws -> State {
        var state = State(stored: try store.load(), bridges: [], members: [], listeners: [], interfaces: [])
        for bridge in await get("/v1/bridges").items {
            let name = bridge["name"]?.stringValue ?? ""
            state.bridges.append("\(name) \(bridge["spec"] ?? nil) \(bridge["status"]?["error"] ?? nil)")
            for kind in ["ports", "tunnels"] {
                for item in await get("/v1/bridges/\(name)/\(kind)").items {
                    // Counters change by themselves.
                    let status = ["error", "mtu", "path_mtu", "local_ip"].map { item["status"]?[$0] ?? nil }
                    state.members.append("\(item["name"] ?? nil) \(item["spec"] ?? nil) \(status)")
                }
            }
            let entries = await get("/v1/bridges/\(name)/macs").items
            state.members += entries.filter { $0["type"] == "static" }.map(\.description)
        }
        state.listeners = await get("/v1/listeners").items.map { $0["name"]?.stringValue ?? "" }
        state.interfaces = try site.interfaces()
        return state
    }
}

/// What came back.
struct Answer: Sendable {
    let status: Int
    let headers: [(name: String, value: String)]
    let text: String

    init(_ response: HTTPResponse) {
        status = response.status
        headers = response.headers
        text = String(decoding: response.body, as: UTF8.self)
    }

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// Null when the body is no JSON.
    var json: JSONValue { (try? JSONValue.parse(Array(text.utf8))) ?? .null }
    var items: [JSONValue] { json["items"]?.arrayValue ?? [] }
    var code: String? { json["code"]?.stringValue }
    var detail: String { json["detail"]?.stringValue ?? "" }
    /// Of the resource: "ok" or "degraded".
    var health: String? { json["status"]?["state"]?.stringValue }
    var error: String? { json["status"]?["error"]?.stringValue }
}

/// Polls until `condition` holds; records an issue when it does not within five seconds.
func eventually(
    _ what: Comment, at location: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    for _ in 0..<500 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record(what, sourceLocation: location)
}
