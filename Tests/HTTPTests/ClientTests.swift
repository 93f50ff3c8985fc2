import Glibc
import JSON
import Synchronization
import Testing

@testable import HTTP

/// The client against the real server, over TCP and over a Unix socket.
@Suite struct ClientTests {
    private static func socketPath(_ name: String) -> String {
        "/tmp/viaduct-client-\(name)-\(getpid()).sock"
    }

    /// Runs `body` with a server and a client for it.
    private func with(
        _ limits: HTTPClientLimits = HTTPClientLimits(), unix: String? = nil, server: HTTPLimits? = nil,
        _ body: (TestServer, HTTPClient) async throws -> Void
    ) async throws {
        let endpoint = unix.map { HTTPEndpoint.unix(path: Self.socketPath($0)) } ?? .tcp(host: "::1", port: 0)
        let server = try TestServer(server ?? TestServer.limits(), endpoints: [endpoint])
        let text = unix == nil ? "http://\(server.address)" : server.address
        let result: Result<Void, any Error>
        do {
            result = .success(
                try await body(server, HTTPClient(try HTTPClientAddress(text), limits: limits)))
        } catch { result = .failure(error) }
        await server.stop()
        try result.get()
    }

    @Test("method, path, query, headers and body arrive as they were given", arguments: [nil, "echo"])
    func echo(unix: String?) async throws {
        try await with(unix: unix) { server, client in
            let request = HTTPClientRequest(
                "PUT", HTTPClientRequest.path(["v1", "br 0", "é"]), query: [("a", "1&2"), ("empty", "")],
                headers: [("Content-Type", "application/json"), ("X-Note", "x y"), ("X-Empty", "")],
                body: Array("{}".utf8))
            let response = try await client.send(request)
            #expect(response.status == 200)
            #expect(response.header("content-type") == "application/json")
            let json = try JSONValue.parse(response.body)
            #expect(json["method"] == "PUT")
            #expect(json["path"] == ["v1", "br 0", "é"])
            #expect(json["query"] == [["a", "1&2"], ["empty", ""]])
            #expect(json["body"] == "{}")
            let seen = server.record.requests[0]
            #expect(seen.header("Content-Type") == "application/json")
            #expect(seen.header("X-Note") == "x y")
            #expect(seen.header("X-Empty") == "")
            #expect(seen.header("User-Agent") == "viaduct")
        }
    }

    @Test("a request without a body has no length and no type, an empty body has a length of 0")
    func bodies() async throws {
        try await with { server, client in
            _ = try await client.send(HTTPClientRequest("DELETE", "/a"))
            _ = try await client.send(HTTPClientRequest("POST", "/a", body: []))
            let seen = server.record.requests
            #expect(seen[0].header("Content-Length") == nil && seen[0].header("Content-Type") == nil)
            #expect(seen[1].header("Content-Length") == "0" && seen[1].header("Content-Type") == nil)
            #expect(seen.map(\.method) == ["DELETE", "POST"])
        }
    }

    @Test("a body of a mebibyte goes and comes whole")
    func large() async throws {
        try await with { _, client in
            let body = [UInt8](repeating: 0x78, count: 1 << 20)
            let sent = try await client.send(HTTPClientRequest("PUT", "/a", body: body))
            #expect(try JSONValue.parse(sent.body)["count"] == 1_048_576)
            #expect(try await client.send(HTTPClientRequest("GET", "/bytes/1048576")).body == body)
        }
    }

    @Test("HEAD, 204 and a bad status are answers without a body or with one")
    func statuses() async throws {
        try await with { _, client in
            let head = try await client.send(HTTPClientRequest("HEAD", "/bytes/10"))
            #expect(head.status == 200 && head.header("Content-Length") == "10" && head.body.isEmpty)
            let empty = try await client.send(HTTPClientRequest("GET", "/empty"))
            #expect(empty.status == 204 && empty.body.isEmpty)
            let bad = try await client.send(HTTPClientRequest("GET", "/a/%zz"))
            #expect(bad.status == 400)
            #expect(try JSONValue.parse(bad.body)["error"] != nil)
        }
    }

    @Test("requests one after the other share a connection, side by side they do not wait")
    func connections() async throws {
        try await with { server, client in
            for _ in 0..<5 { _ = try await client.send(HTTPClientRequest("GET", "/a")) }
            #expect(Set(server.record.requests.map(\.remote)).count == 1)
            let start = ContinuousClock.now
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        let answer = try await client.send(HTTPClientRequest("GET", "/sleep/1000"))
                        #expect(answer.status == 200)
                    }
                }
                try await group.waitForAll()
            }
            // One after the other they would take twenty seconds.
            #expect(ContinuousClock.now - start < .seconds(15))
        }
    }

    @Test("a kept connection that the server has closed meanwhile is replaced")
    func stale() async throws {
        try await with(server: TestServer.limits { $0.idleSeconds = 0.1 }) { server, client in
            var remotes: Set<String> = []
            // As often as it takes the server to close, which it does when its threads come to it.
            for _ in 0..<60 where remotes.count < 3 {
                #expect(try await client.send(HTTPClientRequest("GET", "/a")).status == 200)
                remotes = Set(server.record.requests.map(\.remote))
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(remotes.count == 3)
        }
    }

    @Test("a cancelled task gets its error at once")
    func cancellation() async throws {
        try await with { _, client in
            let start = ContinuousClock.now
            let task = Task { try await client.send(HTTPClientRequest("GET", "/sleep/25000")) }
            try await Task.sleep(for: .milliseconds(200))
            task.cancel()
            let error = try #require(await failure { _ = try await task.value })
            #expect(error.kind == .cancelled)
            #expect(ContinuousClock.now - start < .seconds(15))
            #expect(try await client.send(HTTPClientRequest("GET", "/a")).status == 200)
        }
    }

    @Test("a slow answer is a timeout that says how long it was waited for")
    func slowAnswer() async throws {
        try await with(HTTPClientLimits(totalSeconds: 0.5)) { _, client in
            let error = try #require(
                await failure { _ = try await client.send(HTTPClientRequest("GET", "/sleep/3000")) })
            #expect(error.kind == .timeout)
            #expect(error.description == "GET /sleep/3000 at \(client.address): no answer within 0.5 seconds")
            let patient = HTTPClientRequest("GET", "/sleep/800", totalSeconds: 5)
            #expect(try await client.send(patient).status == 200)
        }
    }

    @Test("an answer over the limit is refused, and no more of it is read")
    func tooLarge() async throws {
        try await with(HTTPClientLimits(bodyByteCount: 1000)) { _, client in
            #expect(try await client.send(HTTPClientRequest("GET", "/bytes/1000")).body.count == 1000)
            let error = try #require(
                await failure { _ = try await client.send(HTTPClientRequest("GET", "/bytes/1001")) })
            #expect(error.kind == .tooLarge)
            #expect(error.description.hasSuffix("wanted a body of at most 1000 bytes, found a longer one"))
        }
    }
}

/// The client's error that `body` throws.
func failure(_ body: () async throws -> Void) async -> HTTPClientError? {
    do { try await body() } catch { return error as? HTTPClientError }
    return nil
}
