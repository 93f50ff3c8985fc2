import HTTP
import Testing

/// Ordinary requests: what reaches the handler and what comes back.
@Suite struct ExchangeTests {
    private func get(_ target: String, _ headers: String = "") -> String {
        "GET \(target) HTTP/1.1\r\nHost: x\r\n\(headers)\r\n"
    }

    @Test("path and query arrive decoded, the raw path as sent")
    func target() async throws {
        let server = try TestServer()
        let text = get("/v1/br%200/fe80::1/%c3%a9?wait=30s&cidr=10.0.0.0%2F8&plus=a+b&flag&empty=&q=a/b?c")
        let json = try await server.exchange(text).replies[0].json
        #expect(json?["path"] == ["v1", "br 0", "fe80::1", "é"])
        #expect(json?["raw"] == "/v1/br%200/fe80::1/%c3%a9")
        #expect(
            json?["query"] == [
                ["wait", "30s"], ["cidr", "10.0.0.0/8"], ["plus", "a+b"], ["flag", ""], ["empty", ""],
                ["q", "a/b?c"],
            ])
        #expect(try await server.exchange(get("/")).replies[0].json?["path"] == [])
        #expect(try await server.exchange(get("/?")).replies[0].json?["query"] == [])
        #expect(try await server.exchange(get("/v1/")).replies[0].json?["path"] == ["v1", ""])
        await server.stop()
    }

    @Test("headers are found whatever their case, and the peer has a name")
    func headers() async throws {
        let server = try TestServer()
        _ = try await server.exchange(get("/", "X-One: 1\r\nx-one: 2\r\nIf-Match:  \"abc\" \r\n"))
        await server.stop()
        let request = try #require(server.record.requests.first)
        #expect(request.header("x-ONE") == "1")
        #expect(request.header("if-match")?.hasPrefix("\"abc\"") == true)
        #expect(request.header("X-Two") == nil)
        #expect(request.headers.map(\.name) == ["Host", "X-One", "x-one", "If-Match"])
        #expect(request.remote.hasPrefix("127.0.0.1:"))
    }

    @Test(
        "a sane X-Request-Id is kept, any other is replaced",
        arguments: [
            ("abc-123_X.y:z", true), (String(repeating: "a", count: 64), true),
            (String(repeating: "a", count: 65), false), ("a b", false), ("<x>", false), ("", false),
        ])
    func requestID(id: String, isKept: Bool) async throws {
        let server = try TestServer()
        let reply = try await server.exchange(get("/", "X-Request-Id: \(id)\r\n")).replies[0]
        let refused = try await server.exchange(get("/%zz", "X-Request-Id: \(id)\r\n")).replies[0]
        await server.stop()
        let answered = try #require(reply.header("X-Request-Id"))
        #expect((answered == id) == isKept)
        #expect((refused.header("X-Request-Id") == id) == isKept)
        #expect(server.record.requests.first?.id == answered)
        if !isKept { #expect(answered.count == 16) }
    }

    @Test("a connection is kept for the next request")
    func keepAlive() async throws {
        let server = try TestServer()
        let address = server.address
        let statuses = try await blocking {
            let client = try RawClient(address)
            return try (0..<50).map { index in
                client.send("PUT /\(index) HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
                return try client.reply().status
            }
        }
        await server.stop()
        #expect(statuses == Array(repeating: 200, count: 50))
        #expect(Set(server.record.requests.map(\.remote)).count == 1)
        #expect(Set(server.record.requests.map(\.id)).count == 50)
    }

    @Test("pipelined requests are answered in order, bodies and all")
    func pipelining() async throws {
        let server = try TestServer()
        let text = (0..<20).map { index in
            index % 2 == 0
                ? get("/\(index)")
                : "POST /\(index) HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "3\r\na b\r\n1\r\nc\r\n0\r\n\r\n"
        }.joined()
        let replies = try await server.exchange(text, count: 20).replies
        await server.stop()
        #expect(replies.compactMap { $0.json?["path"]?[0]?.stringValue } == (0..<20).map(String.init))
        #expect(
            replies.compactMap { $0.json?["body"]?.stringValue } == (0..<20).map { $0 % 2 == 0 ? "" : "a bc" }
        )
    }

    @Test("Connection: close and HTTP/1.0 end the connection after the answer")
    func close() async throws {
        let server = try TestServer()
        #expect(try await server.exchange(get("/", "Connection: close\r\n"), closeSeconds: 2).closes)
        #expect(try await server.exchange("GET / HTTP/1.0\r\n\r\n", closeSeconds: 2).closes)
        #expect(try await !server.exchange(get("/"), closeSeconds: 0.2).closes)
        await server.stop()
    }

    @Test("HEAD gets the length of the body and no body")
    func head() async throws {
        let server = try TestServer()
        let address = server.address
        let (first, second) = try await blocking {
            let client = try RawClient(address)
            client.send("HEAD /bytes/1234 HTTP/1.1\r\nHost: x\r\n\r\n")
            let first = try client.reply(toHead: true)
            client.send("GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\n")
            return (first, try client.reply())
        }
        await server.stop()
        #expect(first.header("Content-Length") == "1234")
        #expect(second.text == "xxx")
    }

    @Test("204 has neither body nor length, and the connection goes on")
    func noContent() async throws {
        let server = try TestServer()
        let replies = try await server.exchange(get("/empty") + get("/next"), count: 2).replies
        await server.stop()
        #expect(replies.map(\.status) == [204, 200])
        #expect(replies[0].header("Content-Length") == nil)
    }

    @Test("a handler cannot break the framing of its answer")
    func responseHygiene() async throws {
        let server = try TestServer()
        let reply = try await server.exchange(get("/odd")).replies[0]
        await server.stop()
        #expect(reply.status == 500)
        #expect(reply.header("Content-Length") == "0")
        #expect(reply.header("X-Good") == "yes")
        for name in ["X-Bad", "X-Evil", "X-Nul", "Bad Name"] { #expect(reply.header(name) == nil) }
        #expect(server.record.log.contains { $0.contains("status of 200 to 599") })
        #expect(server.record.log.contains { $0.contains("left out the response header") })
    }

    @Test("a body arrives whole however it is cut", arguments: [1, 7, 4096, 100_000, 1 << 20])
    func bodies(byteCount: Int) async throws {
        let server = try TestServer()
        let address = server.address
        let reply = try await blocking {
            let client = try RawClient(address)
            client.send("PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: \(byteCount)\r\n\r\n")
            let body = (0..<byteCount).map { UInt8(0x61 + $0 % 26) }
            for start in stride(from: 0, to: byteCount, by: 30_000) {
                client.send(Array(body[start...].prefix(30_000)))
            }
            return try client.reply()
        }
        await server.stop()
        #expect(reply.json?["count"] == .integer(Int64(byteCount)))
        #expect(server.record.requests[0].body == (0..<byteCount).map { UInt8(0x61 + $0 % 26) })
    }

    @Test("an answer longer than the socket buffer arrives whole")
    func longAnswer() async throws {
        let server = try TestServer()
        let address = server.address
        let isWhole = try await blocking {
            let client = try RawClient(address)
            client.send("GET /bytes/300000 HTTP/1.1\r\nHost: x\r\n\r\n")
            return try client.reply().body == [UInt8](repeating: 0x78, count: 300_000)
        }
        await server.stop()
        #expect(isWhole)
    }
}
