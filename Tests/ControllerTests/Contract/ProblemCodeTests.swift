// Every reason for a refusal that the API declares for a controller is one a client can meet, over real HTTP.

import API
import HTTP
import JSON
import Logging
import REST
import Store
import Testing
import Trust

@testable import Controller

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
        _ controller: TestController, _ requests: [Request], handlerSeconds: Double = 60
    ) async throws -> [String] {
        let socket = "\(controller.directory)/api.sock"
        var limits = Controller.limits
        limits.handlerSeconds = handlerSeconds
        let server = try controller.api.listen(on: [.unix(path: socket)], limits: limits)
        let client = HTTPClient(
            try HTTPClientAddress("unix:\(socket)"), limits: HTTPClientLimits(totalSeconds: 90))
        var codes: [String] = []
        for asked in requests {
            var request = HTTPClientRequest(
                asked.method, asked.path, query: asked.query, headers: asked.headers)
            request.body = asked.body.map { Array($0.utf8) }
            let reply = try await client.send(request)
            let problem = reply.status < 300 ? nil : try? Problem.parse(reply.body)
            #expect(problem?.status == reply.status || reply.status < 300, "\(asked.method) \(asked.path)")
            codes.append(problem?.code.rawValue ?? "\(reply.status)")
        }
        await server.stop(drainSeconds: 1)
        return codes
    }

    /// What a caller meets who is nobody, or may only read, by TCP.
    private func strangers(_ controller: TestController) async throws -> [String] {
        let path = "\(controller.directory)/tokens"
        try GuardedFile.write(
            Array("ann read \(SHA256(of: Array("t1".utf8)))\n".utf8), to: path, mode: 0o600)
        var settings = AccessSettings()
        settings.tokens = path
        let access = try AccessControl(settings)
        let api = ControllerAPI(
            core: controller.core, health: controller.health, version: controller.api.version, access: access,
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
    private func requests(_ controller: TestController) -> [(String, Request)] {
        let (blue, red) = ("/v1/networks/blue", "/v1/networks/red")
        return [
            ("malformed_request", Request(method: "GET", path: "/v1/hosts", query: [("x", "1")])),
            ("malformed_json", Request(method: "PUT", path: blue, body: "{")),
            ("not_found", Request(method: "GET", path: red)),
            ("method_not_allowed", Request(method: "POST", path: "/v1/hosts", body: "{}")),
            ("not_acceptable", Request(method: "GET", path: blue, headers: [("Accept", "image/png")])),
            ("conflict", Request(method: "PUT", path: "/v1/hosts/c", body: controller.hostBody("c", 1))),
            ("limit_exceeded", Request(method: "PUT", path: red, body: "{}")),
            (
                "precondition_failed",
                Request(method: "PUT", path: blue, body: "{}", headers: [("If-None-Match", "*")])
            ),
            (
                "body_too_large",
                Request(method: "PUT", path: blue, body: String(repeating: " ", count: 1 << 21))
            ),
            ("uri_too_long", Request(method: "GET", path: "/" + String(repeating: "x", count: 5000))),
            (
                "unsupported_media_type",
                Request(method: "PUT", path: blue, body: "{}", headers: [("Content-Type", "text/csv")])
            ),
            ("invalid_resource", Request(method: "PUT", path: blue, body: #"{"mtu":1}"#)),
        ]
    }

    @Test("every problem code of a controller is met by a request, and no other")
    func everyCode() async throws {
        var met: Set<String> = []
        // One VNI, and one network that has it.
        try await TestController.run(vniRange: "5-5") { controller async throws in
            await controller.furnish()
            let table = requests(controller)
            let found = try await codes(controller, table.map(\.1))
            #expect(found == table.map(\.0))
            met.formUnion(found)
            // By a server that has less patience than the others need.
            let poll = Request(method: "GET", path: "/v1/events", query: [("wait", "30")])
            let late = try await codes(controller, [poll], handlerSeconds: 1)
            #expect(late == ["timeout"])
            met.formUnion(late)
            met.formUnion(try await strangers(controller))
            let write = Request(method: "PUT", path: "/v1/networks/blue", body: #"{"mtu":1400}"#)
            for kind in [StoreError.Kind.failed, .full, .notLeader] {
                controller.store.failure = kind
                met.formUnion(try await codes(controller, [write]))
            }
            controller.health.stopping()
            met.formUnion(try await codes(controller, [Request(method: "GET", path: "/readyz")]))
        }
        let declared = Set(Operations.controller.flatMap(\.problems)).union([.methodNotAllowed])
        #expect(met == Set(declared.map(\.rawValue)))
    }
}
