// Every reason for a refusal that the API declares is one a client can meet: each is provoked over real HTTP.

import API
import Foundation
import HTTP
import JSON
import Logging
import REST
import Testing
import Trust

@testable import Agent

extension OnTheHost {
    @Suite struct ProblemCodeTests {
        private struct Request {
            var method: String
            var path: String
            var body: String?
            var query: [(name: String, value: String)] = []
            var headers: [(name: String, value: String)] = []
        }

        /// Asks over a Unix socket and gives the codes of the answers, in order.
        private func codes(
            _ agent: TestAgent, _ requests: [Request], handlerSeconds: Double = 60
        ) async throws -> [String] {
            let socket = "\(agent.site.directory)/api.sock"
            var limits = Agent.limits
            limits.handlerSeconds = handlerSeconds
            let server = try HTTPServer(
                endpoints: [.unix(path: socket)], limits: limits, renderFailure: HTTPResponse.failure,
                onLog: { _ in }, handler: agent.api.handle)
            let client = HTTPClient(
                try HTTPClientAddress("unix:\(socket)"), limits: HTTPClientLimits(totalSeconds: 90))
            var codes: [String] = []
            for asked in requests {
                var request = HTTPClientRequest(
                    asked.method, asked.path, query: asked.query, headers: asked.headers)
                request.body = asked.body.map { Array($0.utf8) }
                let reply = try await client.send(request)
                let problem = reply.status < 300 ? nil : try? Problem.parse(reply.body)
                #expect(
                    problem?.status == reply.status || reply.status < 300, "\(asked.method) \(asked.path)")
                codes.append(problem?.code.rawValue ?? "\(reply.status)")
            }
            await server.stop(drainSeconds: 1)
            return codes
        }

        /// What a caller meets who is nobody, or may only read, by TCP.
        private func strangers(_ agent: TestAgent) async throws -> [String] {
            let path = "\(agent.site.directory)/tokens"
            try GuardedFile.write(
                Array("ann read \(SHA256(of: Array("t1".utf8)))\n".utf8), to: path, mode: 0o600)
            var settings = AccessSettings()
            settings.tokens = path
            let access = try AccessControl(settings)
            let api = AgentAPI(
                core: agent.core, health: agent.api.health, version: agent.api.version, access: access,
                log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let server = try api.listen(on: [.tcp(host: "127.0.0.1", port: 0)], limits: HTTPLimits())
            let client = HTTPClient(try HTTPClientAddress("http://\(server.boundAddresses[0])"))
            let write = HTTPClientRequest(
                "POST", "/v1/batch", headers: [("Authorization", "Bearer t1")], body: [])
            var codes = [try Problem.parse(try await client.send(write).body).code.rawValue]
            while codes.last != "rate_limited", codes.count < 20 {
                let reply = try await client.send(HTTPClientRequest("GET", "/v1/version"))
                codes.append(try Problem.parse(reply.body).code.rawValue)
            }
            await server.stop(drainSeconds: 1)
            return codes
        }

        /// What a request alone can bring about, by the code it meets.
        private func requests(_ bridge: String, _ loop: String) -> [(String, Request)] {
            let json = [(name: "Content-Type", value: "application/json")]
            let entries = (0..<11).map {
                putting("\(bridge)/macs/02:00:00:00:01:0\(String($0, radix: 16))", #"{"port":"t"}"#)
            }
            let tunnel = putting(
                "\(bridge)/tunnels/t", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(90))}"#)
            let small = putting(bridge, #"{"mac_table_size":10}"#)
            let full = #"{"operations":[\#(([small, tunnel] + entries).joined(separator: ","))]}"#
            let name = bridge.split(separator: "/").last.map(String.init) ?? ""
            return [
                ("malformed_request", Request(method: "GET", path: "/v1/bridges", query: [("x", "1")])),
                (
                    "invalid_filter",
                    Request(method: "GET", path: "/v1/captures", query: [("filter", "tcp prot 80")])
                ),
                ("malformed_json", Request(method: "PUT", path: bridge, body: "{")),
                ("not_found", Request(method: "GET", path: "\(bridge)x")),
                ("method_not_allowed", Request(method: "POST", path: "/v1/bridges", body: "{}")),
                ("not_acceptable", Request(method: "GET", path: bridge, headers: [("Accept", "image/png")])),
                (
                    "conflict",
                    Request(method: "PUT", path: "\(bridge)/ports/\(name)", body: #"{"type":"tap"}"#)
                ),
                ("limit_exceeded", Request(method: "POST", path: "/v1/batch", body: full, headers: json)),
                (
                    "precondition_failed",
                    Request(method: "PUT", path: bridge, body: "{}", headers: [("If-None-Match", "*")])
                ),
                (
                    "body_too_large",
                    Request(method: "PUT", path: bridge, body: String(repeating: " ", count: 1 << 21))
                ),
                ("uri_too_long", Request(method: "GET", path: "/" + String(repeating: "x", count: 5000))),
                (
                    "unsupported_media_type",
                    Request(method: "PUT", path: bridge, body: "{}", headers: [("Content-Type", "text/csv")])
                ),
                ("invalid_resource", Request(method: "PUT", path: bridge, body: #"{"mtu":1}"#)),
                (
                    "kernel_refused",
                    Request(
                        method: "PUT", path: "\(bridge)/ports/p",
                        body: #"{"type":"tap","ifname":"eth0","netns":"\#(loop)"}"#)
                ),
            ] + pushes("\(bridge)p")
        }

        /// What pushes meet once bridges have been pushed, which the first does.
        private func pushes(_ prefix: String) -> [(String, Request)] {
            let bridges = (0..<11).map { (path: "\(prefix)\($0)", body: "{}") }
            func put(_ push: TestPush) -> Request {
                Request(method: "PUT", path: "/v1/state", body: push.complete)
            }
            let held = TestPush(2, 2, bridges)
            let delta = held.next().delta(on: TestPush(1, 1), [])
            return [
                ("201", put(held)), ("stale_state", put(TestPush(1, 3))),
                ("state_conflict", put(TestPush(2, 2))),
                ("mass_delete", put(TestPush(2, 3))),
                ("base_mismatch", Request(method: "PATCH", path: "/v1/state", body: delta)),
                ("digest_mismatch", put(held.next { $0.digest = String(repeating: "0", count: 64) })),
                ("managed_elsewhere", Request(method: "DELETE", path: "\(prefix)0")),
            ]
        }

        @Test("every problem code is met by a request, and no other")
        func everyCode() async throws {
            var met: Set<String> = []
            try await Site.run { site in
                // A name of a namespace that leads only to itself.
                let loop = site.name("loop")
                try FileManager.default.createSymbolicLink(
                    atPath: "/run/netns/\(loop)", withDestinationPath: loop)
                defer { try? FileManager.default.removeItem(atPath: "/run/netns/\(loop)") }
                try await TestAgent.run(on: site) { agent async throws in
                    let bridge = "/v1/bridges/\(site.name("b"))"
                    await agent.put(bridge)
                    let table = requests(bridge, loop)
                    let found = try await codes(agent, table.map(\.1))
                    #expect(found == table.map(\.0))
                    met.formUnion(found.filter { $0 != "201" })
                    // By a server that has less patience than the others need.
                    let poll = Request(method: "GET", path: "/v1/events", query: [("wait", "30")])
                    let late = try await codes(agent, [poll], handlerSeconds: 1)
                    #expect(late == ["timeout"])
                    met.formUnion(late)
                    met.formUnion(try await strangers(agent))
                    let write = Request(method: "PUT", path: bridge, body: #"{"vni":9}"#)
                    try agent.store.close()
                    met.formUnion(try await codes(agent, [write]))
                    agent.api.health.stopping()
                    met.formUnion(try await codes(agent, [Request(method: "GET", path: "/readyz")]))
                }
            }
            met.formUnion(try await fullDisk())
            let declared = Set(Operations.agent.flatMap(\.problems)).union([.methodNotAllowed])
            #expect(met == Set(declared.map(\.rawValue)))
        }

        /// The codes of writes to a disk without room; its log may have some left for the first.
        private func fullDisk() async throws -> [String] {
            var met: [String] = []
            try await Site.run { site in
                try site.mountSmallDisk()
                try await TestAgent.run(on: site) { agent async throws in
                    let path = "/v1/bridges/\(site.name("b"))"
                    await agent.put(path)
                    _ = try? site.shell("dd if=/dev/zero of=\(site.directory)/filler bs=4096 count=1000")
                    for number in 1...200 where met.isEmpty {
                        let answer = await agent.put(path, #"{"vni":\#(number)}"#)
                        if let code = answer.code { met.append(code) }
                    }
                }
            }
            return met
        }
    }
}
