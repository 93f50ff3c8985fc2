import Glibc
import Synchronization
import Testing

@testable import HTTP

/// Streams end to end: bytes as they come, and every way a stream can end.
@Suite struct StreamTests {
    private static let get = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"

    /// What a client has been given so far.
    private final class Text: Sendable {
        private let bytes = Mutex<[UInt8]>([])
        var all: [UInt8] { bytes.withLock { $0 } }
        var text: String { String(decoding: all, as: UTF8.self) }
        var count: Int { bytes.withLock { $0.count } }
        func add(_ more: [UInt8]) { bytes.withLock { $0 += more } }
    }

    @Test("bytes arrive as they are written, and finish ends the answer cleanly", arguments: [false, true])
    func flow(isUnix: Bool) async throws {
        let path = "/tmp/viaduct-stream-\(getpid()).sock"
        let endpoint = isUnix ? HTTPEndpoint.unix(path: path) : .tcp(host: "127.0.0.1", port: 0)
        let server = try StreamServer(endpoint: endpoint, first: "hello\n")
        let (client, text) = (try server.client(), Text())
        let request = HTTPClientRequest("GET", "/v1/events", headers: [("Accept", "text/event-stream")])
        let answer = Task {
            try await client.stream(request) { bytes in
                text.add(bytes)
                return true
            }
        }
        let stream = try await server.stream()
        try await until { text.text == "hello\n" }
        for index in 0..<50 {
            #expect(stream.write(Array("\(index)\n".utf8)))
            if index % 10 == 0 { try await Task.sleep(for: .milliseconds(20)) }
        }
        try await until { text.text.hasSuffix("49\n") }
        #expect(!stream.isClosed)
        stream.finish()
        #expect(!stream.write([1]))
        let response = try await answer.value
        #expect(response.status == 200 && response.header("Content-Type") == "text/event-stream")
        #expect(response.header("Transfer-Encoding") == "chunked")
        #expect(response.header("X-Request-Id") != nil && response.body.isEmpty)
        #expect(text.text == "hello\n" + (0..<50).map { "\($0)\n" }.joined())
        try await until { server.closedCount == 1 }
        await server.stop()
    }

    @Test("the head is sent before there is a first byte")
    func head() async throws {
        let server = try StreamServer()
        let address = server.address
        let reply = try await blocking {
            let client = try RawClient(address)
            client.send(Self.get)
            return try client.reply(toHead: true)
        }
        #expect(reply.status == 200 && reply.header("Content-Length") == nil)
        try await until { server.closedCount == 1 }
        await server.stop()
    }

    @Test("a megabyte written piece by piece arrives whole")
    func large() async throws {
        let server = try StreamServer()
        let (client, text) = (try server.client(), Text())
        let answer = Task {
            try await client.stream(HTTPClientRequest("GET", "/a")) { bytes in
                text.add(bytes)
                return true
            }
        }
        let stream = try await server.stream()
        for index in 0..<100 {
            #expect(stream.write([UInt8](repeating: UInt8(index), count: 10_000)))
            try await until { text.count > (index - 10) * 10_000 }
        }
        stream.finish()
        _ = try await answer.value
        let wanted = (0..<100).flatMap { [UInt8](repeating: UInt8($0), count: 10_000) }
        #expect(text.all == wanted)
        await server.stop()
    }

    @Test("a stream that is cut is no complete answer")
    func cut() async throws {
        let server = try StreamServer(first: "hello\n")
        let client = try server.client()
        let answer = Task { try await client.stream(HTTPClientRequest("GET", "/a")) { _ in true } }
        try await server.stream().cut()
        let error = await failure { _ = try await answer.value }
        #expect(error?.kind == .interrupted)
        try await until { server.closedCount == 1 }
        await server.stop()
    }

    @Test("a client that leaves is noticed although nothing is written", arguments: [false, true])
    func leave(isUnix: Bool) async throws {
        let path = "/tmp/viaduct-leave-\(getpid()).sock"
        let endpoint = isUnix ? HTTPEndpoint.unix(path: path) : .tcp(host: "127.0.0.1", port: 0)
        let server = try StreamServer(endpoint: endpoint)
        let address = server.address
        let start = try await blocking {
            let client = try RawClient(address)
            client.send(Self.get)
            _ = try client.reply(toHead: true)
            return ContinuousClock.now
        }
        try await until { server.closedCount == 1 }
        #expect(ContinuousClock.now - start < .seconds(20))
        #expect(server.streams[0].isClosed && !server.streams[0].write([1]))
        await server.stop()
    }

    @Test("a client's stream ends when it has enough or its task is cancelled, and the server notices")
    func enough() async throws {
        let server = try StreamServer(first: "hello\n")
        let client = try server.client()
        let response = try await client.stream(HTTPClientRequest("GET", "/a")) { _ in false }
        #expect(response.status == 200)
        try await until { server.closedCount == 1 }
        let task = Task { try await client.stream(HTTPClientRequest("GET", "/a")) { _ in true } }
        _ = try await server.stream(1)
        task.cancel()
        #expect(await failure { _ = try await task.value }?.kind == .cancelled)
        try await until { server.closedCount == 2 }
        await server.stop()
    }

    @Test("a stream that says nothing for too long is given up by the client")
    func silence() async throws {
        let server = try StreamServer(first: "hello\n")
        let client = try server.client(HTTPClientLimits(silenceSeconds: 1))
        let error = await failure { try await client.stream(HTTPClientRequest("GET", "/a")) { _ in true } }
        #expect(error?.kind == .timeout)
        #expect(error?.description.hasSuffix("no word within 1 second") == true)
        await server.stop()
    }

    @Test("a handler that answers too late with a stream has its stream closed")
    func late() async throws {
        let server = try StreamServer(TestServer.limits { $0.handlerSeconds = 0.2 }, handlerMilliseconds: 600)
        let address = server.address
        let status = try await blocking {
            let client = try RawClient(address)
            client.send(Self.get)
            return try client.reply().status
        }
        #expect(status == 503)
        try await until { server.closedCount == 1 }
        await server.stop()
    }

    @Test("HEAD of a stream is a head, and HTTP/1.0 gets its bytes until the connection closes")
    func otherReaders() async throws {
        let server = try StreamServer(first: "hello\n")
        let address = server.address
        let head = try await server.client().send(HTTPClientRequest("HEAD", "/a"))
        #expect(head.status == 200 && head.body.isEmpty)
        try await until { server.closedCount == 1 }
        async let body = blocking {
            let client = try RawClient(address)
            client.send("GET /a HTTP/1.0\r\n\r\n")
            let reply = try client.reply(toHead: true)
            var bytes = [UInt8](repeating: 0, count: 100)
            var text = ""
            while true {
                let count = recv(client.descriptor, &bytes, bytes.count, 0)
                if count <= 0 { return (reply.header("Transfer-Encoding"), text) }
                text += String(decoding: bytes[..<count], as: UTF8.self)
            }
        }
        try await server.stream(1).finish()
        let (coding, text) = try await body
        #expect(coding == nil && text == "hello\n")
        await server.stop()
    }
}
