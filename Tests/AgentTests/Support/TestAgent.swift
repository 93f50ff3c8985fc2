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
struct TestAgent: TestService {
    /// Of the state; not stored, so that a store has what requests wrote and nothing else.
    static let seed: UInt64 = 7
    static let operations = Operations.agent

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
        let bell = try Doorbell()
        let liveness = try LivenessThread { bell.ring(.liveness) }
        let workers = try WorkerSet(
            count: workerCount,
            events: WorkerEvents(
                portTroubled: { _ in bell.ring(.port) }, pathMTUChanged: { bell.ring(.pathMTU) },
                punted: { liveness.wake() }))
        let host = Host(
            workers: workers, macSeed: TestAgent.seed, sourcePorts: sourcePorts, strictVXLAN: true,
            underlay: try Underlay(standard: .auto, features: .off, workers: workerCount) {
                bell.ring(.underlay)
            }, liveness: liveness)
        let heartbeat = Heartbeat()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let core = AgentCore(
            id: Agent.id(TestAgent.seed), executor: ControlExecutor(label: "test"), store: store,
            workers: workers, host: host, heartbeat: heartbeat, log: log)
        self.core = core
        try await core.restore()
        bell.answer { event in
            Task {
                switch event {
                case .port: await core.portTroubled()
                case .underlay: await core.underlayChanged()
                case .pathMTU: await core.pathMTUChanged()
                case .liveness: await core.livenessChanged()
                }
            }
        }
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

    // MARK: State

    /// Commits of the store since the agent started.
    var commits: UInt64 {
        get async { await core.storeDurations.snapshot.counts.reduce(0, +) }
    }

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

    /// Whether all is as it was: at once, or as soon as programs that other tests start run, which until then have the
    /// descriptors of this process, and keep interfaces that were taken back.
    func isAgain(_ wanted: State) async throws -> Bool {
        var found = try await state()
        for _ in 0..<1000 where found != wanted {
            try await Task.sleep(for: .milliseconds(20))
            found = try await state()
        }
        if found != wanted { Issue.record("found \(found), wanted \(wanted)") }
        return found == wanted
    }
}
