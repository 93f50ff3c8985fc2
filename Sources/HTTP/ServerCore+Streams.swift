import CMicroHTTPD
import Glibc

/// Streams on their connections: adopted when the handler answers with one, pulled by libmicrohttpd's
/// threads, suspended while there is nothing to send, and watched by the sweep.
///
/// A suspended connection notices nothing, not even that its client has closed; so the sweep looks.
extension ServerCore {
    /// Hands a response with a stream to libmicrohttpd.
    func send(_ connection: Connection, _ response: HTTPResponse, _ stream: HTTPStream) -> MHD_Result {
        guard streamCount.add(1, ordering: .sequentiallyConsistent).newValue <= limits.streamCount else {
            streamCount.subtract(1, ordering: .sequentiallyConsistent)
            stream.cut()
            return send(connection, .failure(.tooManyStreams(limit: limits.streamCount)), isFinal: false)
        }
        let reader = StreamReader(core: self, connection: connection, stream: stream)
        guard stream.attach(reader, now: Monotonic.now) else {
            streamCount.subtract(1, ordering: .sequentiallyConsistent)
            log.write("request \(connection.requestID): wanted a stream of its own, found one in use")
            return .NO
        }
        // The others wait for requests to end when they stop; a stream ends because they stop.
        uncount(connection)
        connection.carry(stream, stallSeconds: limits.responseSeconds)
        begin(.streaming, connection)
        let result = ResponseWriter.queue(
            response, reader, on: connection.handle, requestID: connection.requestID, log: log)
        // `startDraining` sets the flag before it looks for streams, so one of the two sees the other.
        if isDraining.load(ordering: .sequentiallyConsistent) { stream.finish() }
        return result
    }

    /// The request is over: neither its stream nor one in an answer that was never sent has a reader.
    func releaseStream(_ connection: Connection) {
        let (stream, answer) = connection.shared.withLock { shared in
            defer { (shared.stream, shared.answer) = (nil, nil) }
            return (shared.stream, shared.answer)
        }
        if let stream {
            streamCount.subtract(1, ordering: .sequentiallyConsistent)
            stream.detach()
        }
        answer?.stream?.detach()
    }

    /// Ends every stream behind what is queued.
    func finishStreams() {
        for connection in allConnections { connection.shared.withLock { $0.stream }?.finish() }
    }

    /// Cuts a client that has left, takes nothing, or is not accepted any more.
    func enforceStream(_ connection: Connection, now: ConnectionClock.Instant) {
        guard let stream = connection.shared.withLock({ $0.stream }) else { return }
        let isOver =
            connection.hasHungUp || stream.isStalled(now: now, seconds: limits.responseSeconds)
            || connection.isRefused(by: tls?.current, while: stream)
        if isOver { stream.cut() }
    }
}

/// What libmicrohttpd's response holds: the way from a stream to its connection and back.
///
/// `@unchecked Sendable`: all constants; `handle` is used in `suspend` only on the thread that serves the
/// connection, and `MHD_resume_connection` may be called from any.
final class StreamReader: StreamCarrier, @unchecked Sendable {
    private let core: ServerCore
    private let connection: Connection
    private let stream: HTTPStream

    init(core: ServerCore, connection: Connection, stream: HTTPStream) {
        self.core = core
        self.connection = connection
        self.stream = stream
    }

    /// - Returns: what libmicrohttpd's content reader returns: a count, or how it ends.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        switch stream.pull(into: buffer, now: Monotonic.now, suspend: suspend) {
        case .bytes(let count): count
        case .nothing: 0
        case .end: Self.endOfStream
        case .cut: Self.endWithError
        }
    }

    /// Counted before the flag is read, as in `ServerCore.launch`.
    private func suspend() -> Bool {
        core.suspendedCount.add(1, ordering: .sequentiallyConsistent)
        guard !core.isCutting.load(ordering: .sequentiallyConsistent) else {
            core.suspendedCount.subtract(1, ordering: .sequentiallyConsistent)
            return false
        }
        MHD_suspend_connection(connection.handle)
        return true
    }

    func resume() {
        MHD_resume_connection(connection.handle)
        core.suspendedCount.subtract(1, ordering: .sequentiallyConsistent)
    }

    func cut() { connection.cut() }

    /// `MHD_CONTENT_READER_END_OF_STREAM` and `…_END_WITH_ERROR`, macros that Swift does not import.
    private static var endOfStream: Int { -1 }
    private static var endWithError: Int { -2 }
}

let readStream: MHD_ContentReaderCallback = { context, _, buffer, byteCount in
    guard let context, let buffer else { return -2 }
    let reader = Unmanaged<StreamReader>.fromOpaque(context).takeUnretainedValue()
    return reader.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: byteCount))
}

let releaseStreamReader: MHD_ContentReaderFreeCallback = { context in
    if let context { Unmanaged<StreamReader>.fromOpaque(context).release() }
}

extension Connection {
    /// What the kernel may hold for a reader that does not read; it would grow to 4 MiB by itself. The
    /// kernel doubles it for its own needs.
    static var streamSendBufferByteCount: Int32 { 64 << 10 }

    /// Notes the stream, and bounds what it can hold in the kernel and for how long.
    func carry(_ stream: HTTPStream, stallSeconds: Double) {
        shared.withLock { shared in
            shared.stream = stream
            guard !shared.isClosed else { return }
            set(SOL_SOCKET, SO_SNDBUF, Self.streamSendBufferByteCount)
            // Finds a client that has vanished without a word; no such thing on a Unix socket.
            set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(min(max(stallSeconds, 0.001) * 1000, 1e9)))
        }
    }

    /// `POLLRDHUP`, which glibc shows only to those who define `_GNU_SOURCE`.
    private static var pollReadHangUp: Int16 { 0x2000 }

    /// Whether the client has closed its side, or the connection is broken. A client that still wants to
    /// listen has no reason to do so.
    var hasHungUp: Bool {
        shared.withLock { shared in
            guard !shared.isClosed else { return false }
            var query = pollfd(fd: descriptor, events: Self.pollReadHangUp, revents: 0)
            return poll(&query, 1, 0) > 0
        }
    }

    /// Ends the connection now. A reset, so that the kernel drops what it holds for the client too.
    func cut() {
        shared.withLock { shared in
            guard !shared.isClosed else { return }
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
            _ = shutdown(descriptor, Int32(SHUT_RDWR))
        }
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}
