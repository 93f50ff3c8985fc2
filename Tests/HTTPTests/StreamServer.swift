import Synchronization

@testable import HTTP

/// A server whose every answer is a stream that the test holds the other end of.
final class StreamServer: Sendable {
    private struct State {
        var streams: [HTTPStream] = []
        var closedCount = 0
        var log: [String] = []
    }

    private final class Record: Sendable {
        let state = Mutex(State())
    }

    let server: HTTPServer
    private let record = Record()

    var address: String { server.boundAddresses[0] }
    var streams: [HTTPStream] { record.state.withLock { $0.streams } }
    var closedCount: Int { record.state.withLock { $0.closedCount } }
    var log: [String] { record.state.withLock { $0.log } }

    /// - Parameter first: written before the handler answers.
    init(
        _ limits: HTTPLimits = TestServer.limits(),
        endpoint: HTTPEndpoint = .tcp(host: "127.0.0.1", port: 0), first: String = "",
        queueByteCount: Int = HTTPStream.queueByteCountLimit, handlerMilliseconds: Int = 0
    ) throws {
        let record = record
        server = try HTTPServer(
            endpoints: [endpoint], limits: limits,
            renderFailure: { .text($0.message, status: $0.status) },
            onLog: { line in record.state.withLock { $0.log.append(line) } },
            handler: { _ in
                let stream = HTTPStream(queueByteCount: queueByteCount)
                stream.write(Array(first.utf8))
                stream.onClose { record.state.withLock { $0.closedCount += 1 } }
                record.state.withLock { $0.streams.append(stream) }
                if handlerMilliseconds > 0 { try? await Task.sleep(for: .milliseconds(handlerMilliseconds)) }
                return HTTPResponse(headers: [("Content-Type", "text/event-stream")], stream: stream)
            })
    }

    func stop() async { await server.stop(drainSeconds: 2) }

    /// The stream of the request number `index`, when it has come.
    func stream(_ index: Int = 0) async throws -> HTTPStream {
        try await until { self.streams.count > index }
        return streams[index]
    }

    func client(_ limits: HTTPClientLimits = HTTPClientLimits()) throws -> HTTPClient {
        HTTPClient(
            try HTTPClientAddress(address.hasPrefix("unix:") ? address : "http://\(address)"), limits: limits)
    }
}

struct Overdue: Error {}

/// Waits until `condition` holds.
func until(seconds: Double = 50, _ condition: () -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(seconds)
    while !condition() {
        guard ContinuousClock.now < end else { throw Overdue() }
        try await Task.sleep(for: .milliseconds(2))
    }
}
