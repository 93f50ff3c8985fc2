import Testing

@testable import HTTP

/// Slow clients and slow handlers: every phase ends at its deadline, however bytes dribble.
@Suite struct DeadlineTests {
    /// Sends a byte every 20 ms until the server closes; the seconds that took, nil after 20 s. They count from before
    /// anything was sent, since the server's deadline may have begun by the time that this thread goes on.
    private func dribble(_ server: TestServer, after start: String, replies: Int = 0) async throws -> Double?
    {
        let address = server.address
        return try await blocking {
            let begin = ContinuousClock.now
            let client = try RawClient(address)
            client.send(start)
            for _ in 0..<replies { _ = try client.reply() }
            while ContinuousClock.now - begin < .seconds(20) {
                client.send("x")
                if client.closes(withinSeconds: 0.02) { return (ContinuousClock.now - begin) / .seconds(1) }
            }
            return nil
        }
    }

    @Test(
        "a head that dribbles in is cut at the header deadline", arguments: ["", "GET /a HTTP/1.1\r\nX-A: "])
    func slowHead(start: String) async throws {
        let server = try TestServer(TestServer.limits { $0.headerSeconds = 0.4 })
        let seconds = try #require(try await dribble(server, after: start))
        await server.stop()
        #expect((0.3...15).contains(seconds))
        #expect(server.record.requests.isEmpty)
    }

    @Test("the header deadline holds for later requests of a connection too")
    func slowSecondHead() async throws {
        let server = try TestServer(TestServer.limits { $0.headerSeconds = 0.4 })
        let start = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nX-A: "
        let seconds = try #require(try await dribble(server, after: start, replies: 1))
        await server.stop()
        #expect((0.3...15).contains(seconds))
        #expect(server.record.requests.count == 1)
    }

    @Test(
        "a body that dribbles in is cut at the body deadline",
        arguments: ["Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3e8\r\n"])
    func slowBody(headers: String) async throws {
        let server = try TestServer(TestServer.limits { $0.bodySeconds = 0.4 })
        let start = "PUT /a HTTP/1.1\r\nHost: x\r\n" + headers
        let seconds = try #require(try await dribble(server, after: start))
        await server.stop()
        #expect((0.3...15).contains(seconds))
        #expect(server.record.requests.isEmpty)
    }

    @Test("a request line that dribbles in on a kept connection is cut at the idle deadline")
    func slowRequestLine() async throws {
        let server = try TestServer(TestServer.limits { $0.idleSeconds = 0.4 })
        let start = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
        let seconds = try #require(try await dribble(server, after: start, replies: 1))
        await server.stop()
        #expect((0.3...15).contains(seconds))
    }

    @Test("a client that does not take its answer is cut at the response deadline")
    func slowReader() async throws {
        let server = try TestServer(TestServer.limits { $0.responseSeconds = 0.4 })
        let address = server.address
        try await blocking {
            let client = try RawClient(address, receiveBufferByteCount: 4096)
            client.send("GET /bytes/20000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            sleepMilliseconds(1200)
            #expect(throws: RawClient.Failure.self, "the body has no end") { _ = try client.reply() }
        }
        await server.stop()
    }

    @Test("a handler that takes too long is cancelled, its client told, its late answer dropped")
    func slowHandler() async throws {
        let server = try TestServer(TestServer.limits { $0.handlerSeconds = 2 })
        let text = "GET /sleep/20000 HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n"
        let start = ContinuousClock.now
        let replies = try await server.exchange(text, count: 2).replies
        #expect(ContinuousClock.now - start < .seconds(15))
        await server.stop()
        #expect(replies.map(\.status) == [503, 200])
        #expect(replies[0].json?["error"] == "no answer within 2.0 seconds; try again")
        #expect(replies[0].header("X-Request-Id") == server.record.requests[0].id)
        #expect(server.record.cancelCount == 1)
    }

    @Test("an answer and its deadline at the same moment make one reply, never two or none")
    func photoFinish() async throws {
        let server = try TestServer(TestServer.limits { $0.handlerSeconds = 0.05 })
        let address = server.address
        let statuses = try await blocking {
            let clients = try (0..<50).map { _ in try RawClient(address) }
            return try (0..<10).flatMap { round in
                for client in clients {
                    client.send("GET /sleep/\(40 + round * 2) HTTP/1.1\r\nHost: x\r\n\r\n")
                }
                return try clients.map { try $0.reply().status }
            }
        }
        await server.stop()
        #expect(statuses.count == 500)
        #expect(statuses.allSatisfy { $0 == 200 || $0 == 503 })
        #expect(server.record.requests.count == 500)
    }

    @Test("the clock gives each phase its own absolute deadline")
    func clock() {
        let second: UInt64 = 1_000_000_000
        let limits = HTTPLimits(
            headerSeconds: 1, bodySeconds: 2, idleSeconds: 3, handlerSeconds: 4, responseSeconds: 5)
        var clock = ConnectionClock(now: 100 * second, limits: limits)
        #expect(clock.phase == .head)
        #expect(!clock.isOverdue(now: 101 * second - 1))
        #expect(clock.isOverdue(now: 101 * second))
        clock.sawRequestLine(now: 100 * second + second / 2, limits: limits)
        #expect(clock.deadline == 101 * second)
        for (phase, seconds) in [(ConnectionClock.Phase.body, 2), (.handling, 4), (.sending, 5), (.idle, 3)] {
            clock.begin(phase, now: 200 * second, limits: limits)
            #expect(clock.deadline == UInt64(200 + seconds) * second)
            // A second is what a head may take.
            let (early, late): (UInt64?, UInt64?) =
                switch phase {
                case .handling: (nil, nil)
                case .sending: (nil, 201 * second)
                case .idle: (201 * second, 201 * second)
                default: (clock.deadline, clock.deadline)
                }
            #expect(clock.clientDeadline(now: 201 * second - 1) == early)
            #expect(clock.clientDeadline(now: 201 * second) == late)
        }
        clock.sawRequestLine(now: 201 * second, limits: limits)
        #expect(clock.phase == .head)
        #expect(clock.deadline == 202 * second)
    }
}
