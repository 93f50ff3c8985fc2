import Testing

@testable import HTTP

/// A path whose bodies may be larger than those of the others.
@Suite struct BodyLimitTests {
    private static func server() throws -> TestServer {
        try TestServer(
            TestServer.limits {
                $0.bodyByteCount = 1000
                $0.raisedBodyByteCounts = ["POST /v1/batch": 200_000]
                $0.raisedBodyCount = 2
            })
    }

    private static func post(_ target: String, _ count: Int, method: String = "POST", chunked: Bool = false)
        -> String
    {
        let body = String(repeating: "x", count: count)
        let head = "\(method) \(target) HTTP/1.1\r\nHost: x\r\n"
        if chunked {
            return head
                + "Transfer-Encoding: chunked\r\n\r\n\(String(count, radix: 16))\r\n\(body)\r\n0\r\n\r\n"
        }
        return head + "Content-Length: \(count)\r\n\r\n\(body)"
    }

    @Test("the raised limit holds for its method and path only", arguments: [false, true])
    func raised(chunked: Bool) async throws {
        let server = try Self.server()
        for (target, method, count, status) in [
            ("/v1/batch", "POST", 200_000, 200), ("/v1/batch?dry_run=true", "POST", 200_000, 200),
            ("/v1/batch", "POST", 200_001, 413), ("/v1/batch", "PUT", 1001, 413),
            ("/v1/batch/", "POST", 1001, 413), ("/v1/b%61tch", "POST", 1001, 413),
            ("/v1/bridges", "POST", 1000, 200), ("/v1/bridges", "POST", 1001, 413),
        ] {
            let text = Self.post(target, count, method: method, chunked: chunked)
            let reply = try await server.exchange(text).replies[0]
            #expect(reply.status == status, "\(method) \(target) \(count)")
            if status == 413 {
                let limit = target.hasPrefix("/v1/batch") && count > 200_000 ? 200_000 : 1000
                #expect(
                    reply.json?["error"]
                        == .string("wanted a body of at most \(limit) bytes, found a longer one"))
            }
        }
        await server.stop()
        #expect(server.record.requests.map(\.body.count) == [200_000, 200_000, 1000])
    }

    @Test("of a stranger's large body nothing is kept, and it takes no place of those who are known")
    func strangers() async throws {
        let limits = TestServer.limits {
            $0.bodyByteCount = 1000
            $0.raisedBodyByteCounts = ["POST /v1/batch": 200_000]
            $0.raisedBodyCount = 1
            $0.strangerByteCount = 500
        }
        let server = try TestServer(limits) { $0.header("X-Known") != nil && $0.body.isEmpty }
        let address = server.address
        let known = Self.post("/v1/batch", 200_000).replacing("Host: x", with: "Host: x\r\nX-Known: yes")
        try await blocking {
            let strangers = try (0..<4).map { _ in try RawClient(address) }
            for client in strangers { client.send(Array(Self.post("/v1/batch", 200_000).utf8.dropLast(10))) }
            sleepMilliseconds(200)
            let client = try RawClient(address)
            client.send(known)
            #expect(try client.reply().json?["count"] == 200_000)
            for client in strangers {
                client.send("xxxxxxxxxx")
                #expect(try client.reply().json?["count"] == 0)
                client.send(Self.post("/v1/batch", 500))
                #expect(try client.reply().json?["count"] == 500)
            }
        }
        await server.stop()
    }

    @Test("only so many large bodies are read at the same time, small ones always")
    func places() async throws {
        let server = try Self.server()
        let address = server.address
        try await blocking {
            let whole = Array(Self.post("/v1/batch", 2000).utf8)
            let clients = try (0..<2).map { _ in try RawClient(address) }
            for client in clients { client.send(Array(whole.dropLast(10))) }
            sleepMilliseconds(200)
            let third = try RawClient(address)
            third.send(whole)
            let refusal = try third.reply()
            #expect(refusal.status == 503)
            #expect(refusal.text.contains("at most 2 large bodies"))
            third.send(Self.post("/v1/batch", 1000))
            #expect(throws: RawClient.Failure.self) { _ = try third.reply() }
            let small = try RawClient(address)
            small.send(Self.post("/v1/batch", 1000))
            #expect(try small.reply().status == 200)
            for client in clients {
                client.send(Array(whole.suffix(10)))
                #expect(try client.reply().status == 200)
            }
            small.send(whole)
            #expect(try small.reply().status == 200)
        }
        await server.stop()
    }
}
