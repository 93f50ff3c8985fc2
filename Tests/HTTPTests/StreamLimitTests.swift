import Glibc
import Synchronization
import Testing

@testable import HTTP

/// What a stream's reader cannot do: hold memory, hold a place for ever, hold up a stop.
@Suite struct StreamLimitTests {
    private static let get = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"

    @Test("a reader that takes nothing is cut when its queue would overflow, others go on")
    func overflow() async throws {
        // The response deadline would cut it too.
        let server = try StreamServer(TestServer.limits { $0.responseSeconds = 200 })
        let address = server.address
        let slow = try await blocking {
            let client = try RawClient(address, receiveBufferByteCount: 4096)
            client.send(Self.get)
            return client
        }
        let stream = try await server.stream()
        let received = Mutex(0)
        let client = try server.client()
        let reader = Task {
            try await client.stream(HTTPClientRequest("GET", "/a")) { bytes in
                received.withLock { $0 += bytes.count }
                return true
            }
        }
        let other = try await server.stream(1)
        let piece = [UInt8](repeating: 0x78, count: 4096)
        var count = 0
        let begin = ContinuousClock.now
        while stream.write(piece) {
            count += piece.count
            #expect(other.write(piece))
            try await until { received.withLock { $0 } == count }
        }
        // The queue, libmicrohttpd's buffer and the kernel's on both sides.
        #expect((HTTPStream.queueByteCountLimit...1 << 20).contains(count))
        #expect(ContinuousClock.now - begin < .seconds(100))
        try await until { server.closedCount == 1 }
        #expect(!other.isClosed)
        #expect(try await blocking { slow.closes(withinSeconds: 20) })
        other.finish()
        _ = try await reader.value
        #expect(received.withLock { $0 } == count)
        await server.stop()
    }

    @Test("a write larger than the queue is refused and cuts, also before anybody reads")
    func before() async throws {
        let stream = HTTPStream(queueByteCount: 10)
        let closed = Mutex(0)
        stream.onClose { closed.withLock { $0 += 1 } }
        #expect(stream.write([1, 2, 3]) && stream.write([UInt8](repeating: 0, count: 7)) && stream.write([]))
        #expect(!stream.write([1]))
        #expect(stream.isClosed && closed.withLock { $0 } == 1)
        stream.cut()
        stream.detach()
        #expect(closed.withLock { $0 } == 1)
        stream.onClose { closed.withLock { $0 += 10 } }
        #expect(closed.withLock { $0 } == 11)
    }

    @Test("a writer with more than fits is told when there is room")
    func drain() async throws {
        let server = try StreamServer(queueByteCount: 1000)
        let received = Mutex(0)
        let client = try server.client()
        let answer = Task {
            try await client.stream(HTTPClientRequest("GET", "/a")) { bytes in
                received.withLock { $0 += bytes.count }
                return true
            }
        }
        let stream = try await server.stream()
        let left = Mutex(500)
        stream.onDrain { [weak stream] in
            let isOver = left.withLock { left in
                left -= 1
                return left < 0
            }
            if isOver { stream?.finish() } else { stream?.write([UInt8](repeating: 0x78, count: 1000)) }
        }
        stream.write([0x79])
        _ = try await answer.value
        #expect(received.withLock { $0 } == 500_001)
        await server.stop()
    }

    // The kernel's own timeout would do over TCP; a Unix socket has none.
    @Test(
        "a reader that stalls is cut at the response deadline, an idle stream is not",
        arguments: [false, true])
    func stall(isUnix: Bool) async throws {
        let path = "/tmp/viaduct-stall-\(getpid()).sock"
        let server = try StreamServer(
            TestServer.limits { $0.responseSeconds = 3 },
            endpoint: isUnix ? .unix(path: path) : .tcp(host: "127.0.0.1", port: 0))
        let address = server.address
        let (stalled, idle) = try await blocking {
            let clients = (
                try RawClient(address, receiveBufferByteCount: 4096),
                try RawClient(address)
            )
            clients.0.send(Self.get)
            sleepMilliseconds(100)
            clients.1.send(Self.get)
            return clients
        }
        let (stream, other) = (try await server.stream(), try await server.stream(1))
        let piece = [UInt8](repeating: 0x78, count: 4096)
        // Fills the kernel's buffers and stops short of the queue's end.
        for _ in 0..<60 {
            #expect(stream.write(piece))
            try await Task.sleep(for: .milliseconds(1))
        }
        try await until { stream.isClosed }
        try await Task.sleep(for: .seconds(1))
        #expect(!other.isClosed && other.write([1]))
        withExtendedLifetime((stalled, idle)) {}
        await server.stop()
    }

    @Test("a stream outlives the handler's, the idle and the head deadlines")
    func exempt() async throws {
        let server = try StreamServer(
            TestServer.limits {
                ($0.handlerSeconds, $0.idleSeconds, $0.responseSeconds) = (3, 3, 6)
                ($0.headerSeconds, $0.bodySeconds) = (3, 3)
            })
        let client = try server.client()
        let answer = Task { try await client.stream(HTTPClientRequest("GET", "/a")) { _ in true } }
        let stream = try await server.stream()
        // Longer than those three between two words, and than that of the response together.
        for _ in 0..<3 {
            try await Task.sleep(for: .milliseconds(3500))
            #expect(stream.write(Array(": keep-alive\n\n".utf8)))
        }
        stream.finish()
        #expect(try await answer.value.status == 200)
        await server.stop()
    }

    @Test("one stream too many is refused, and its place is free again when one has left")
    func count() async throws {
        let server = try StreamServer(TestServer.limits { $0.streamCount = 3 })
        let address = server.address
        let clients = try await blocking {
            try (0..<3).map { _ in
                let client = try RawClient(address)
                client.send(Self.get)
                _ = try client.reply(toHead: true)
                return client
            }
        }
        let refused = try await server.client().send(HTTPClientRequest("GET", "/a"))
        #expect(refused.status == 503)
        #expect(
            String(decoding: refused.body, as: UTF8.self)
                == "wanted at most 3 listeners at the same time, found more")
        try await until { server.closedCount == 1 }
        server.streams[0].finish()
        try await until { server.closedCount == 2 }
        let client = try server.client()
        let answer = Task { try await client.stream(HTTPClientRequest("GET", "/a")) { _ in false } }
        try await server.stream(4).write([1])
        #expect(try await answer.value.status == 200)
        withExtendedLifetime(clients) {}
        await server.stop()
    }

    @Test("stop ends streams at once and cleanly, even one whose reader is stalled")
    func stop() async throws {
        let server = try StreamServer(first: "hello\n")
        let address = server.address
        let client = try server.client()
        let answer = Task { try await client.stream(HTTPClientRequest("GET", "/a")) { _ in true } }
        _ = try await server.stream()
        let stalled = try await blocking {
            let client = try RawClient(address, receiveBufferByteCount: 4096)
            client.send(Self.get)
            return client
        }
        let full = try await server.stream(1)
        for _ in 0..<60 { full.write([UInt8](repeating: 0x78, count: 4096)) }
        let start = ContinuousClock.now
        await server.server.stop(drainSeconds: 60)
        #expect(ContinuousClock.now - start < .seconds(20))
        #expect(try await answer.value.status == 200)
        #expect(server.closedCount == 2 && server.streams.allSatisfy(\.isClosed))
        withExtendedLifetime(stalled) {}
    }

    @Test(
        "writers, leaving clients, finishes, cuts and a stop at the same time hurt nobody", arguments: 0..<4)
    func storm(round: Int) async throws {
        let server = try StreamServer(TestServer.limits { $0.streamCount = 32 }, first: "hello\n")
        let address = server.address
        let isOver = Flag()
        let load = Task {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await blocking {
                            while !isOver.isSet {
                                guard let client = try? RawClient(address) else { continue }
                                client.send(Self.get)
                                if Bool.random() { _ = try? client.reply(toHead: true) }
                                if Bool.random() { sleepMilliseconds(UInt32.random(in: 0...3)) }
                            }
                        }
                    }
                }
                group.addTask {
                    while !isOver.isSet {
                        for stream in server.streams.suffix(50) {
                            switch Int.random(in: 0..<20) {
                            case 0: stream.finish()
                            case 1: stream.cut()
                            default: stream.write([UInt8](repeating: 0x78, count: .random(in: 0...2000)))
                            }
                        }
                        await Task.yield()
                    }
                }
                try await group.waitForAll()
            }
        }
        try await Task.sleep(for: .milliseconds(600))
        try await until { server.streams.count > 10 }
        await server.server.stop(drainSeconds: Double(round) * 0.02)
        isOver.set()
        try await load.value
        try await until { server.closedCount == server.streams.count }
    }
}
