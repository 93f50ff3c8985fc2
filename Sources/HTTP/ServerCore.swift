import CMicroHTTPD
import Glibc
import Synchronization
import Trust

/// The path of a request through the server, shared by all endpoints.
///
///     head (first call)  check everything, choose the request id        → refuse and close
///     body (calls with data)  collect up to the limit, drop what is beyond
///     launch (first call without data)  suspend, run the handler in a task
///     answer (call after resume)  hand the response to libmicrohttpd
///     completed  ready for the next request
///
/// All but the handler run on libmicrohttpd's threads and never wait.
final class ServerCore: Sendable {
    typealias Handler = @Sendable (HTTPRequest) async -> HTTPResponse

    /// Between two attempts to take a connection in without a descriptor for it.
    private static let acceptPauseMicroseconds: UInt32 = 100_000

    let limits: HTTPLimits
    let log: LogGate
    /// Of TCP endpoints; nil: they speak plain HTTP.
    let tls: Kept<ServerCredentials>?
    let knows: @Sendable (HTTPRequest) -> Bool
    private let renderFailure: @Sendable (HTTPFailure) -> HTTPResponse
    private let handler: Handler

    private let connections = Mutex<[ObjectIdentifier: Connection]>([:])
    /// Requests from their head to the end of their answer.
    private let inFlightCount = Atomic<Int>(0)
    /// Connections between suspend and resume; libmicrohttpd must not be stopped while there are any.
    let suspendedCount = Atomic<Int>(0)
    /// Streams from their adoption to the end of their request.
    let streamCount = Atomic<Int>(0)
    /// Requests with a body over the ordinary limit.
    let raisedBodyCount = Atomic<Int>(0)
    /// New requests are refused, answers close their connection.
    let isDraining = Atomic<Bool>(false)
    /// No handler is started any more.
    let isCutting = Atomic<Bool>(false)

    init(
        limits: HTTPLimits, tls: Kept<ServerCredentials>?, knows: @escaping @Sendable (HTTPRequest) -> Bool,
        renderFailure: @escaping @Sendable (HTTPFailure) -> HTTPResponse,
        onLog: @escaping @Sendable (String) -> Void, handler: @escaping Handler
    ) {
        self.limits = limits
        self.tls = tls
        self.knows = knows
        self.renderFailure = renderFailure
        self.handler = handler
        log = LogGate(onLog)
    }

    /// Without streams, which end when the server stops and not the other way round.
    var requestCount: Int { inFlightCount.load(ordering: .sequentiallyConsistent) }
    var openStreamCount: Int { streamCount.load(ordering: .sequentiallyConsistent) }
    var handlerCount: Int { suspendedCount.load(ordering: .sequentiallyConsistent) }

    func startDraining() {
        isDraining.store(true, ordering: .sequentiallyConsistent)
        finishStreams()
    }

    /// What libmicrohttpd has to say.
    ///
    /// A thread of its that has no connection, whose end might give a descriptor back, tries again at once when there
    /// is none for the next ("Will try busy waiting"), and says so each time: here it is held up.
    func heard(_ line: String) {
        log.write("libmicrohttpd: \(line)")
        if line.contains("resource limit at FIRST connection") { usleep(Self.acceptPauseMicroseconds) }
    }

    // MARK: Connections

    var allConnections: [Connection] { connections.withLock { Array($0.values) } }

    /// A server that is nearly full makes room for whoever comes by ending the connection whose client has the least
    /// time left to do its part: clients that hold connections and say nothing displace each other. So it is with
    /// those of an address that has nearly as many as one may have.
    func accepted(_ connection: Connection) {
        let others = connections.withLock { connections -> [Connection] in
            defer { connections[ObjectIdentifier(connection)] = connection }
            // Who comes by a network is in nobody's way at a Unix socket.
            let peers = connections.values.filter { ($0.source == nil) == (connection.source == nil) }
            if peers.count >= limits.connectionCount - limits.spareCount { return peers }
            let most = limits.connectionsPerAddress - limits.addressSpareCount
            guard let source = connection.source, peers.count >= most else { return [] }
            let neighbors = peers.filter { $0.source == source }
            return neighbors.count < most ? [] : neighbors
        }
        let now = Monotonic.now
        let waiting = others.compactMap { other in other.clientDeadline(now: now).map { (other, $0) } }
        _ = waiting.sorted { $0.1 < $1.1 }.first { $0.0.displace(now: now) }
    }

    func closed(_ connection: Connection) {
        connection.markClosed()
        connections.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(connection)) }
    }

    /// Enforces every deadline. Called a few times a second by the sweeper.
    func sweep() {
        let now = Monotonic.now
        for connection in allConnections {
            enforceStream(connection, now: now)
            guard let serial = connection.enforceDeadline(now: now) else { continue }
            finish(connection, serial, .failure(.handlerTimeout(seconds: limits.handlerSeconds)))
        }
    }

    /// Answers every running handler's request with `unavailable` and starts no more.
    func cutHandlers() {
        isCutting.store(true, ordering: .sequentiallyConsistent)
        finishStreams()
        for connection in allConnections {
            let serial = connection.shared.withLock { $0.serial }
            finish(connection, serial, .failure(.unavailable))
        }
    }

    // MARK: Requests

    func sawRequestLine(_ connection: Connection, target: UnsafePointer<CChar>) {
        connection.target = Array(UnsafeRawBufferPointer(start: target, count: strlen(target)))
        let now = Monotonic.now
        connection.shared.withLock { $0.clock.sawRequestLine(now: now, limits: limits) }
    }

    /// First call for a request: everything but the body is here.
    func receiveHead(
        _ connection: Connection, method: String, version: String,
        headers: [(name: String, value: String)], targetByteCount: Int
    ) -> MHD_Result {
        connection.isCounted = true
        inFlightCount.add(1, ordering: .sequentiallyConsistent)
        connection.requestID = RequestID.choose(from: headers)
        do throws(HTTPFailure) {
            guard !isDraining.load(ordering: .sequentiallyConsistent) else { throw .unavailable }
            guard targetByteCount == connection.target.count else {
                throw .malformedRequest("wanted no NUL in the request line")
            }
            let head = try RequestHead(
                method: method, target: connection.target, version: version, headers: headers, limits: limits)
            connection.bodyByteCountLimit = limits.bodyByteCount(
                method: head.method, rawPath: head.target.rawPath)
            connection.stage = try stage(after: head, limit: connection.bodyByteCountLimit)
        } catch {
            return send(connection, .failure(error), isFinal: true)
        }
        begin(.body, connection)
        return .YES
    }

    /// The request is complete, or its handler has answered.
    func proceed(_ connection: Connection) -> MHD_Result {
        switch connection.stage {
        case .receivingBody(let head): return launch(connection, head)
        case .refusing(let failure): return send(connection, .failure(failure), isFinal: true)
        case .handling:
            let answer = connection.shared.withLock { $0.answer }
            // Woken without an answer cannot happen; closing is the safe answer to it.
            guard let answer else { return .NO }
            return send(connection, answer, isFinal: false)
        case .awaitingHead, .answered: return .YES
        }
    }

    func request(_ connection: Connection, _ head: RequestHead, body: [UInt8]) -> HTTPRequest {
        HTTPRequest(
            method: head.method, rawPath: head.target.rawPath, path: head.target.path,
            query: head.target.query, headers: head.headers, body: body, id: connection.requestID,
            remote: connection.remote, peer: connection.peer(accepting: tls?.current))
    }

    private func launch(_ connection: Connection, _ head: RequestHead) -> MHD_Result {
        let request = request(connection, head, body: connection.body)
        connection.body = []
        // Counted before the flag is read, as `cutHandlers` sets the flag before the count is read: one of
        // the two sees the other, so no connection is suspended after the last one was resumed.
        suspendedCount.add(1, ordering: .sequentiallyConsistent)
        guard !isCutting.load(ordering: .sequentiallyConsistent) else {
            suspendedCount.subtract(1, ordering: .sequentiallyConsistent)
            return send(connection, .failure(.unavailable), isFinal: true)
        }
        connection.stage = .handling
        MHD_suspend_connection(connection.handle)
        let now = Monotonic.now
        connection.shared.withLock { shared in
            shared.serial += 1
            shared.answer = nil
            shared.clock.begin(.handling, now: now, limits: limits)
            let serial = shared.serial
            shared.task = Task {
                let response = await self.handler(request)
                self.finish(connection, serial, .response(response))
            }
        }
        return .YES
    }

    /// Takes the first answer for a request and wakes its connection; later ones find the request gone.
    ///
    /// A suspended connection cannot be closed, not even by its client: so whoever wins here resumes a
    /// living connection, exactly once.
    private func finish(_ connection: Connection, _ serial: UInt64, _ answer: Connection.Answer) {
        let now = Monotonic.now
        let isFirst = connection.shared.withLock { shared in
            guard shared.serial == serial, shared.clock.phase == .handling else { return false }
            shared.answer = answer
            shared.clock.begin(.sending, now: now, limits: limits)
            if case .failure = answer { shared.task?.cancel() }
            shared.task = nil
            return true
        }
        guard isFirst else {
            answer.stream?.cut()
            return
        }
        MHD_resume_connection(connection.handle)
        suspendedCount.subtract(1, ordering: .sequentiallyConsistent)
    }

    /// Hands the answer to libmicrohttpd. `isFinal` closes the connection behind it.
    func send(
        _ connection: Connection, _ answer: Connection.Answer, isFinal: Bool
    ) -> MHD_Result {
        let response =
            switch answer {
            case .response(let response): response
            case .failure(let failure): renderFailure(failure)
            }
        let closes = isFinal || isDraining.load(ordering: .sequentiallyConsistent)
        connection.stage = .answered
        if let stream = response.stream {
            if response.status != 204, response.status != 304 { return send(connection, response, stream) }
            stream.cut()
        }
        begin(.sending, connection)
        return ResponseWriter.queue(
            response, on: connection.handle, requestID: connection.requestID, closes: closes, log: log)
    }

    /// The answer was sent, or the connection is lost in the middle of a request.
    func completed(_ connection: Connection) {
        uncount(connection)
        releaseStream(connection)
        releaseBody(connection)
        connection.reset()
        begin(.idle, connection)
    }

    func uncount(_ connection: Connection) {
        guard connection.isCounted else { return }
        connection.isCounted = false
        inFlightCount.subtract(1, ordering: .sequentiallyConsistent)
    }

    func begin(_ phase: ConnectionClock.Phase, _ connection: Connection) {
        let now = Monotonic.now
        connection.shared.withLock { $0.clock.begin(phase, now: now, limits: limits) }
    }
}
