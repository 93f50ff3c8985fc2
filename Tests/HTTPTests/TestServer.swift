import JSON
import Synchronization
import Trust

@testable import HTTP

/// A server on a free port whose handler tells what it got: `GET /a/b?c=d body` as JSON.
///
/// `/sleep/{milliseconds}` waits first, `/gate` until `record.gate` is set; `/bytes/{count}` answers that many bytes.
final class TestServer: Sendable {
    let server: HTTPServer
    let record = Record()

    final class Record: Sendable {
        private let seen = Mutex<[HTTPRequest]>([])
        private let lines = Mutex<[String]>([])
        private let cancelled = Mutex(0)
        let gate = Flag()

        var requests: [HTTPRequest] { seen.withLock { $0 } }
        var log: [String] { lines.withLock { $0 } }
        var cancelCount: Int { cancelled.withLock { $0 } }
        func add(_ request: HTTPRequest) { seen.withLock { $0.append(request) } }
        func add(line: String) { lines.withLock { $0.append(line) } }
        func addCancel() { cancelled.withLock { $0 += 1 } }
    }

    var address: String { server.boundAddresses[0] }

    init(
        _ limits: HTTPLimits = TestServer.limits(),
        endpoints: [HTTPEndpoint] = [.tcp(host: "127.0.0.1", port: 0)], sockets: [Int32] = [],
        tls: Kept<ServerCredentials>? = nil, knows: @escaping @Sendable (HTTPRequest) -> Bool = { _ in true }
    ) throws {
        let record = record
        server = try HTTPServer(
            endpoints: endpoints, sockets: sockets, limits: limits, tls: tls, knows: knows,
            renderFailure: { failure in
                .json(
                    ["error": .string(failure.message)], status: failure.status,
                    contentType: "application/problem+json")
            }, onLog: { record.add(line: $0) },
            handler: { request in
                record.add(request)
                return await Self.answer(request, record)
            })
    }

    /// Long deadlines and no limit per address: each test shortens what it is about.
    static func limits(_ change: (inout HTTPLimits) -> Void = { _ in }) -> HTTPLimits {
        var limits = HTTPLimits(connectionsPerAddress: 256, headerSeconds: 20, bodySeconds: 20)
        change(&limits)
        return limits
    }

    private static func answer(_ request: HTTPRequest, _ record: Record) async -> HTTPResponse {
        switch request.path.first {
        case "sleep":
            do {
                try await Task.sleep(for: .milliseconds(Int(request.path.last ?? "") ?? 0))
            } catch { record.addCancel() }
        case "gate":
            do {
                while !record.gate.isSet { try await Task.sleep(for: .milliseconds(5)) }
            } catch { record.addCancel() }
        case "bytes":
            return HTTPResponse(body: [UInt8](repeating: 0x78, count: Int(request.path.last ?? "") ?? 0))
        case "empty": return HTTPResponse(status: 204, body: [1, 2, 3])
        case "odd":
            return HTTPResponse(
                status: 99,
                headers: [
                    ("Content-Length", "7"), ("X-Bad", "a\r\nX-Evil: 1"), ("Bad Name", "x"),
                    ("X-Nul", "a\0b"),
                    ("connection", "upgrade"), ("X-Good", "yes"),
                ])
        default: break
        }
        return .json([
            "method": .string(request.method), "raw": .string(request.rawPath),
            "path": .array(request.path.map { .string($0) }),
            "query": .array(request.query.map { .array([.string($0.name), .string($0.value)]) }),
            "body": .string(String(decoding: request.body.prefix(1000), as: UTF8.self)),
            "count": .integer(Int64(request.body.count)),
            "remote": .string(request.remote),
        ])
    }

    /// Connects, sends, reads `count` replies and tells whether the server then closes.
    func exchange(
        _ text: String, count: Int = 1, closeSeconds: Double = 0
    ) async throws -> (replies: [RawClient.Reply], closes: Bool) {
        let address = address
        return try await blocking {
            let client = try RawClient(address)
            client.send(text)
            let replies = try (0..<count).map { _ in try client.reply() }
            return (replies, closeSeconds > 0 && client.closes(withinSeconds: closeSeconds))
        }
    }

    func stop() async { await server.stop(drainSeconds: 2) }
}

extension RawClient.Reply {
    var json: JSONValue? { try? JSONValue.parse(body) }
}
