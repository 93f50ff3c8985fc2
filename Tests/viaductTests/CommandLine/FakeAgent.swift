// An agent, or a controller, for the command line's tests: the API of the contract over a dictionary, answered in the
// process.
// It validates with the same schemas and cuts lists into small pages.

import API
import Foundation
import HTTP
import JSON
import Synchronization

@testable import viaduct

final class FakeAgent: AgentTransport {
    struct Request: Sendable {
        var method: String
        var path: String
        var query: [String: String]
        var headers: [String: String]
        var body: JSONValue?
    }

    struct State: Sendable {
        var specs: [String: JSONObject] = [:]
        /// By path, who pushed what is not local.
        var managers: [String: String] = [:]
        var requests: [Request] = []
        var events: [JSONValue] = []
        /// What `/v1/status` says.
        var fleet = FleetStatus()
        /// What a host's status says after a push, one reading after the other; the last one stays.
        var pushes: [JSONValue] = []
        /// Of the life the events are of; nil for an agent without cursors.
        var boot: String?
        /// Numbers of the requests, from 1, that nobody answers.
        var failures: Set<Int> = []
        /// Added to every counter a status shows, so that rates are not all zero.
        var reads = 0
    }

    static let pageCount = 2

    let role: Role

    let state: Mutex<State>
    /// What `/readyz?verbose` says.
    let health: (status: Int, text: String)

    init(
        _ specs: [String: JSONObject] = [:], role: Role = .agent, events: [JSONValue] = [],
        health: (status: Int, text: String) = (200, "[+]worker ok\n[+]control ok\n")
    ) {
        state = Mutex(State(specs: specs, events: events))
        self.health = health
        self.role = role
    }

    var specs: [String: JSONObject] { state.withLock { $0.specs } }
    var requests: [Request] { state.withLock { $0.requests } }
    var writes: [Request] { requests.filter { $0.method != "GET" } }

    func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
        let asked = Request(
            method: request.method, path: request.path.replacing("%3A", with: ":"),
            query: Dictionary(request.query.map { ($0.name, $0.value) }) { $1 },
            headers: Dictionary(request.headers.map { ($0.name, $0.value) }) { $1 },
            body: request.body.flatMap { try? JSONValue.parse($0) })
        // A long poll without news, and what the client makes of a task that is over.
        if asked.query["wait"].map({ $0 != "0" }) == true { try? await Task.sleep(for: .milliseconds(5)) }
        if Task.isCancelled { throw HTTPClientError(.cancelled, "cancelled") }
        let isGone = state.withLock { state in
            state.requests.append(asked)
            return state.failures.contains(state.requests.count)
        }
        if isGone { throw HTTPClientError(.unreachable, "cannot reach http://agent") }
        return state.withLock { state in
            do throws(Problem) {
                return try answer(asked, &state)
            } catch {
                return FakeAgent.response(error.status, .object(error.json))
            }
        }
    }

    // MARK: -

    private func answer(_ asked: Request, _ state: inout State) throws(Problem) -> HTTPClientResponse {
        switch (asked.method, asked.path) {
        case ("GET", "/readyz"):
            return HTTPClientResponse(status: health.status, body: Array(health.text.utf8))
        case ("GET", "/v1/version"):
            var version = Version(version: "9.9", swift: "6", kernel: "6.18", features: ["x"]).json
            version["role"] = .string(role.rawValue)
            return FakeAgent.response(200, .object(version))
        case ("GET", "/v1/status"): return FakeAgent.response(200, .object(state.fleet.json))
        case ("POST", let path) where path.hasSuffix("/push"):
            return FakeAgent.response(202, try push(String(path.dropLast("/push".count)), &state))
        case ("GET", let path) where path.hasSuffix("/desired"):
            return FakeAgent.response(200, FakeAgent.desired(asked))
        case ("GET", "/v1/listeners"): return FakeAgent.response(200, ["items": []])
        case ("GET", "/v1/events"): return FakeAgent.response(200, events(asked, state))
        case ("GET", _): return FakeAgent.response(200, try read(asked, &state))
        case ("POST", "/v1/batch"): return FakeAgent.response(200, try batch(asked, &state))
        default: break
        }
        guard let id = ResourceID(path: asked.path) else { throw Problem(.notFound, "nothing here") }
        var next = state
        let status = try write(asked.method, id, asked.body, asked.headers, &next.specs)
        if asked.query["dry_run"] == "true" {
            let step: JSONValue = .object([
                "path": .string(asked.path), "to": next.specs[asked.path].map(JSONValue.object) ?? .null,
            ])
            return FakeAgent.response(200, ["dry_run": true, "plan": ["add": [step]]])
        }
        state = next
        return status == 204
            ? HTTPClientResponse(status: 204)
            : FakeAgent.response(status, FakeAgent.document(id, state))
    }

    private func write(
        _ method: String, _ id: ResourceID, _ body: JSONValue?, _ headers: [String: String],
        _ specs: inout [String: JSONObject]
    ) throws(Problem) -> Int {
        let path = id.path
        if !id.type.isTop, specs[id.top.path] == nil {
            throw Problem(.notFound, "there is no \(id.top.type.kind.singular) \(id.top.keys[0])")
        }
        switch method {
        case "PUT":
            let isNew = specs[path] == nil
            if headers["If-None-Match"] == "*", !isNew { throw Problem(.conflict, "it exists") }
            specs[path] = try id.type.normalized(body ?? .null)
            return isNew ? 201 : 200
        case "PATCH":
            guard var merged = specs[path] else { throw Problem(.notFound, "there is no \(path)") }
            for (name, value) in body?.objectValue?.members ?? [] {
                if value.isNull { merged[name] = nil } else { merged[name] = value }
            }
            specs[path] = try id.type.normalized(.object(merged))
            return 200
        default:
            guard specs[path] != nil else { throw Problem(.notFound, "there is no \(path)") }
            if id.type == .host, let guest = specs.first(where: { $0.value["host"] == .string(id.keys[0]) }) {
                throw Problem(.conflict, "\(path) has \(guest.key)")
            }
            specs = specs.filter { $0.key != path && !$0.key.hasPrefix(path + "/") }
            return 204
        }
    }

    private func batch(_ asked: Request, _ state: inout State) throws(Problem) -> JSONValue {
        var specs = state.specs
        var results: [JSONValue] = []
        for (index, operation) in (asked.body?["operations"]?.arrayValue ?? []).enumerated() {
            guard let method = operation["method"]?.stringValue, let path = operation["path"]?.stringValue,
                let id = ResourceID(path: path)
            else { throw Problem(.malformedRequest, "operation \(index)") }
            do throws(Problem) {
                let status = try write(method, id, operation["body"], [:], &specs)
                results.append(["path": .string(path), "status": .integer(Int64(status))])
            } catch {
                var problem = error
                problem.errors = error.errors.map { fault in
                    let base = JSONPointer().appending("operations").appending(index).appending("body")
                    var moved = fault
                    moved.pointer = fault.pointer.tokens.reduce(base) { $0.appending($1) }
                    return moved
                }
                throw problem
            }
        }
        if asked.query["dry_run"] == "true" { return ["dry_run": true, "plan": [:]] }
        state.specs = specs
        return ["results": .array(results)]
    }

    private func read(_ asked: Request, _ state: inout State) throws(Problem) -> JSONValue {
        state.reads += 1
        if let id = ResourceID(path: asked.path) {
            guard state.specs[asked.path] != nil else { throw Problem(.notFound, "no \(asked.path)") }
            if state.pushes.count > 1 { state.pushes.removeFirst() }
            return FakeAgent.document(id, state)
        }
        let ids = state.specs.keys.filter { path in
            if asked.path == "/v1/attachments" { return path.contains("/attachments/") }
            return path.hasPrefix(asked.path + "/") && !path.dropFirst(asked.path.count + 1).contains("/")
        }.compactMap(ResourceID.init(path:)).sorted()
        let start = Int(asked.query["page_token"] ?? "") ?? 0
        let page = ids.dropFirst(start).prefix(FakeAgent.pageCount)
        var answer: JSONObject = ["items": .array(page.map { FakeAgent.document($0, state) })]
        if start + page.count < ids.count { answer["next_page_token"] = .string("\(start + page.count)") }
        return .object(answer)
    }

    private static func document(_ id: ResourceID, _ state: State) -> JSONValue {
        let spec = state.specs[id.path] ?? [:]
        let name = JSONValue.string(id.keys.last ?? "")
        if id.type == .mac {
            let own: JSONObject = [
                "mac": name, "type": "static", "managed_by": .string(state.managers[id.path] ?? "local"),
            ]
            return .object(JSONObject(own.members + spec.members))
        }
        guard id.type.service == .agent else {
            return ["name": name, "spec": .object(spec), "status": fleetStatus(id, spec, state)]
        }
        let reads = Int64(state.reads)
        let counters: JSONValue = ["rx_bytes": .integer(reads * 1000), "drops": ["unknown_vni": 1]]
        var status: JSONObject = ["state": "ok", "counters": counters, "novelty": "from a newer agent"]
        status["managed_by"] = .string(state.managers[id.path] ?? "local")
        if id.type == .bridge { status["macs"] = ["static": 1, "learned": 0, "capacity": 8192] }
        return ["name": name, "spec": .object(spec), "status": .object(status)]
    }

    private static func fleetStatus(_ id: ResourceID, _ spec: JSONObject, _ state: State) -> JSONValue {
        switch id.type {
        case .host: state.pushes.first ?? ["state": "in_sync", "networks": 1, "attachments": 2]
        case .network: ["vni": spec["vni"] ?? 4096, "hosts": 2, "hosts_in_sync": 1, "attachments": 2]
        default:
            [
                "network": .string(id.keys[0]), "mac": spec["mac"] ?? "02:00:00:00:00:0a",
                "vtep_ips": ["10.0.0.1"], "state": "applied",
            ]
        }
    }

    private func push(_ path: String, _ state: inout State) throws(Problem) -> JSONValue {
        guard let id = ResourceID(path: path), state.specs[path] != nil else {
            throw Problem(.notFound, "there is no \(path)")
        }
        return FakeAgent.document(id, state)
    }

    /// Two pages of one resource each.
    private static func desired(_ asked: Request) -> JSONValue {
        let isSecond = asked.query["page_token"] == "1"
        var answer: JSONObject = [
            "wanted": ["epoch": 2, "generation": 7, "digest": "d1", "resources": 2],
            "items": isSecond
                ? [["path": "/v1/bridges/blue/ports/web1", "body": ["type": "tap", "netns": "web1"]]]
                : [["path": "/v1/bridges/blue", "body": ["vni": 4096, "mac_aging_seconds": 300]]],
        ]
        if !isSecond { answer["next_page_token"] = "1" }
        return .object(answer)
    }

    /// Two events an answer, as a ring that forgot everything before its first.
    private func events(_ asked: Request, _ state: State) -> JSONValue {
        let last = state.events.last?["id"]?.integerValue ?? 0
        func page(_ items: [JSONValue], _ next: Int64, isGap: Bool) -> JSONValue {
            var answer: JSONObject = ["items": .array(items), "next": .integer(next), "gap": .bool(isGap)]
            answer["cursor"] = state.boot.map { .string("\($0)-\(next)") }
            return .object(answer)
        }
        let asked = asked.query["since"]?.split(separator: "-")
        guard let asked, let number = asked.last.flatMap({ Int64($0) }) else {
            return page([], last, isGap: false)
        }
        let isOtherLife = asked.count == 2 && String(asked[0]) != state.boot
        let since = isOtherLife ? -1 : number
        let first = state.events.first?["id"]?.integerValue ?? 1
        let items = state.events.filter { ($0["id"]?.integerValue ?? 0) > since }.prefix(2)
        let next = items.last?["id"]?.integerValue ?? since
        return page(Array(items), next, isGap: since < first - 1)
    }

    private static func response(_ status: Int, _ value: JSONValue) -> HTTPClientResponse {
        HTTPClientResponse(status: status, body: value.serialized())
    }
}

/// Runs one command line against a fake agent; what it printed, or why it failed.
struct CommandRun {
    var output: String
    /// On standard error, beside a failure.
    var notes: String
    var failure: CommandError?
    var exitCode: Int32 { failure?.exitCode ?? 0 }

    /// - Parameter controller: answers what is asked of a controller, instead of `agent`.
    init(
        _ line: String, on agent: FakeAgent, controller: FakeAgent? = nil, arguments: [String] = [],
        colour: Bool = false
    ) async throws {
        let words = line.split(separator: " ").map(String.init) + arguments
        let command = try Self.command(words)
        let (written, noted) = (Written(), Written())
        let terminal = Terminal(
            isInteractive: false, hasColour: colour, hasProgress: false,
            write: { text in written.text.withLock { $0 += text } },
            writeError: { text in noted.text.withLock { $0 += text } })
        do throws(CommandError) {
            let options: any ServerOptions = command.options
            let session = try Session(options.role, json: options.json, terminal: terminal) {
                role throws(CommandError) in
                _ = try options.address(of: role, [:])
                let asked = role == .controller ? controller ?? agent : agent
                return Server(client: AgentClient(transport: asked), address: "http://\(asked.role.rawValue)")
            }
            try await command.run(session)
        } catch {
            failure = error
        }
        output = written.text.withLock { $0 }
        notes = noted.text.withLock { $0 }
    }

    private static func command(_ words: [String]) throws -> any ClientCommand {
        guard let command = try Viaduct.parseAsRoot(words) as? any ClientCommand else {
            throw NotAClientCommand()
        }
        return command
    }

    private struct NotAClientCommand: Error {}

    private final class Written: Sendable {
        let text = Mutex("")
    }
}
