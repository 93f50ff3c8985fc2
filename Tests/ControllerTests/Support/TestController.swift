// A whole controller without HTTP of its own: real store, real pushes over real sockets.

import API
import Foundation
import HTTP
import JSON
import Logging
import REST
import Store
import Testing

@testable import Controller

/// A controller between its start and its stop.
struct TestController: TestService {
    static let operations = Operations.controller

    /// Of its files and of its agents' sockets.
    let directory: String
    let store: FaultyStore
    let core: ControllerCore
    let health: ControllerHealth
    let api: ControllerAPI

    init(_ directory: String, _ store: any FleetStore, vniRange: String = "4096-16777215") {
        self.directory = directory
        self.store = FaultyStore(store)
        var settings = ControllerSettings()
        settings.vniRange = VNIRange(vniRange)!
        settings.credentialsDirectory = directory
        let heartbeat = Heartbeat()
        health = ControllerHealth(heartbeat: heartbeat)
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        core = ControllerCore(
            settings: settings, store: self.store, executor: ControlExecutor(label: "test"),
            events: EventLog(), heartbeat: heartbeat, log: log)
        let version = Version(version: "0", swift: "", kernel: "", features: [])
        api = ControllerAPI(core: core, health: health, version: version, log: log)
    }

    /// Begins a term.
    func lead() async throws { try await core.lead(try await store.campaign()) }

    func stop() async {
        await core.stopLeading()
        await store.close()
    }

    /// A controller with a database of its own that leads, unless it `waits`.
    static func run(
        vniRange: String = "4096-16777215", waits: Bool = false, _ body: (TestController) async throws -> Void
    ) async throws {
        try await inDirectory { directory in
            let member = LeaderInfo(name: "test", url: "http://127.0.0.1:8650")
            let store = try SQLiteFleetStore(path: "\(directory)/c.db", as: member)
            let controller = TestController(directory, store, vniRange: vniRange)
            if !waits { try await controller.lead() }
            let result: Result<Void, any Error>
            do { result = .success(try await body(controller)) } catch { result = .failure(error) }
            await controller.stop()
            try result.get()
        }
    }

    /// A new directory that goes at the end.
    static func inDirectory(_ body: (String) async throws -> Void) async throws {
        let directory = "/tmp/viaduct-c-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try await body(directory)
    }

    // MARK: Fleets

    /// Commits of the store since the controller started.
    var commits: UInt64 {
        get async { await core.storeDurations.snapshot.counts.reduce(0, +) }
    }

    /// The body of a host whose agent is at a socket, which nobody need have.
    func hostBody(_ name: String, _ number: Int) -> String {
        #"{"agent_url":"unix:\#(directory)/\#(name).sock","vtep_ips":["192.0.2.\#(number)"]}"#
    }

    /// Hosts a and b, network blue, web1 on a and web2 on b; nobody listens at their agents' sockets.
    func furnish() async {
        let attachments = "/v1/networks/blue/attachments"
        let answer = await batch([
            putting("/v1/hosts/a", hostBody("a", 1)), putting("/v1/hosts/b", hostBody("b", 2)),
            putting("/v1/networks/blue", #"{"subnets":["198.51.100.0/24"]}"#),
            putting("\(attachments)/web1", #"{"host":"a","ips":["198.51.100.11"]}"#),
            putting("\(attachments)/web2", #"{"host":"b","ips":["198.51.100.12"]}"#),
        ])
        #expect(answer.status == 200, "\(answer.text)")
    }

    /// The same with an agent at each socket, once all is in sync.
    func furnishWithAgents(_ body: (_ a: SocketAgent, _ b: SocketAgent) async throws -> Void) async throws {
        let agents = (SocketAgent(), SocketAgent())
        let servers = [
            try SocketServer("\(directory)/a.sock", agents.0.handle),
            try SocketServer("\(directory)/b.sock", agents.1.handle),
        ]
        await furnish()
        try await converged()
        let result: Result<Void, any Error>
        do { result = .success(try await body(agents.0, agents.1)) } catch { result = .failure(error) }
        for server in servers { await server.stop() }
        try result.get()
    }

    func converged(at location: SourceLocation = #_sourceLocation) async throws {
        try await eventually("all hosts are in sync", at: location) {
            await get("/v1/status").json["converged"] == true
        }
    }

    /// Samples of the metrics page: "name{labels}" and its value.
    var samples: [String: Double] {
        get async {
            let lines = await get("/metrics").text.split(separator: "\n").filter { !$0.hasPrefix("#") }
            return Dictionary(
                uniqueKeysWithValues: lines.compactMap { line in
                    line.lastIndex(of: " ").map {
                        (String(line[..<$0]), Double(line[line.index(after: $0)...]) ?? .nan)
                    }
                })
        }
    }
}
