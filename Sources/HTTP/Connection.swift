import CMicroHTTPD
import Glibc
import Synchronization
import Trust

/// One client connection, from libmicrohttpd's STARTED to its CLOSED notification, over all its requests.
///
/// libmicrohttpd's connection holds one reference (its socket context), the server's table another, a
/// running handler's task a third; nothing is allocated per request that could be lost.
///
/// `@unchecked Sendable`: the first group of variables is touched only by the libmicrohttpd thread that
/// serves this connection (one thread per connection for its whole life, and none while it is suspended);
/// everything that the sweep and the handler's task also reach is behind `shared`. `handle` is only passed
/// to `MHD_resume_connection`, which may be called from any thread.
final class Connection: @unchecked Sendable {
    enum Stage {
        case awaitingHead
        case receivingBody(RequestHead)
        /// The rest of the body is read and dropped, then this is the answer.
        case refusing(HTTPFailure)
        /// A handler runs (suspended) or has answered.
        case handling
        /// The answer was given to libmicrohttpd.
        case answered
    }

    enum Answer {
        case response(HTTPResponse)
        case failure(HTTPFailure)

        var stream: HTTPStream? { if case .response(let response) = self { response.stream } else { nil } }
    }

    struct Shared {
        var clock: ConnectionClock
        /// Counts the requests, so that the late answer of a handler that timed out finds nobody.
        var serial: UInt64 = 0
        var isClosed = false
        var isDisplaced = false
        var answer: Answer?
        var task: Task<Void, Never>?
        /// While it is the body of the answer.
        var stream: HTTPStream?
        /// What was found of the client's certificate, and by which credentials.
        var verdict: (by: ServerCredentials, is: PeerVerdict)?
    }

    let handle: OpaquePointer
    let remote: String
    /// `SocketName.source`; nil for a Unix socket.
    let source: String?
    let descriptor: Int32
    /// Of TLS; libmicrohttpd's, which frees it between the end of the last request and CLOSED: other threads use it
    /// only while they keep `Shared.stream` from ending.
    private let session: OpaquePointer?
    /// What the handshake uses: GnuTLS refers to it as long as the session lives.
    private let credentials: ServerCredentials?
    /// Who is at the other end of a Unix socket; nil for TCP.
    private let process: HTTPPeer?

    // Only the libmicrohttpd thread.
    var stage = Stage.awaitingHead
    var target: [UInt8] = []
    var requestID = ""
    var body: [UInt8] = []
    var receivedByteCount = 0
    var bodyByteCountLimit = 0
    /// Whether this request, whose body is large, is of somebody unknown; nil until that was asked.
    var isStranger: Bool?
    /// Whether this request is in `ServerCore.raisedBodyCount`.
    var hasRaisedBody = false
    /// Whether this request is in `ServerCore.inFlightCount`.
    var isCounted = false

    let shared: Mutex<Shared>

    init(
        handle: OpaquePointer, descriptor: Int32, session: OpaquePointer?, credentials: ServerCredentials?,
        now: ConnectionClock.Instant, limits: HTTPLimits
    ) {
        self.handle = handle
        self.descriptor = descriptor
        self.session = session
        self.credentials = credentials
        let remote = SocketName.peer(descriptor)
        self.remote = remote
        source = SocketName.source(remote)
        process = remote == "unix" ? PeerProcess.of(descriptor) : nil
        shared = Mutex(Shared(clock: ConnectionClock(now: now, limits: limits)))
    }

    /// Chooses certificate and authorities for the handshake that is about to begin. A session that cannot have
    /// them would find no certificate at all, and fails.
    func beginHandshake() {
        if let session, credentials?.begin(session) != true { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    /// Who is at the other end, at the time of a request. A certificate is looked at once, and again when the
    /// files have changed since: what is not accepted any more ends with the next request, not with the connection.
    func peer(accepting current: ServerCredentials?) -> HTTPPeer {
        if let process { return process }
        return shared.withLock { look(&$0, current) }
    }

    /// Whether a certificate was shown that is not accepted any more: no next request will tell a stream that.
    func isRefused(by current: ServerCredentials?, while stream: HTTPStream) -> Bool {
        shared.withLock { shared in
            guard shared.stream === stream, case .refused = look(&shared, current) else { return false }
            return true
        }
    }

    private func look(_ shared: inout Shared, _ current: ServerCredentials?) -> HTTPPeer {
        guard let session, let current else { return .address }
        let known = shared.verdict.flatMap { $0.by === current ? $0.is : nil }
        let verdict = known ?? current.verdict(on: session)
        shared.verdict = (current, verdict)
        let now = time(nil)
        switch verdict {
        case .accepted(let certificate):
            if certificate.endsAt <= now { return .refused("it has expired") }
            if current.listsEndAt <= now { return .refused("a list of revoked certificates is over") }
            return .certificate(certificate)
        case .refused(let reason): return .refused(reason)
        case .none: return .address
        }
    }

    /// Ready for the next request of a kept connection.
    func reset() {
        stage = .awaitingHead
        target = []
        requestID = ""
        body = []
        receivedByteCount = 0
        isStranger = nil
    }

    /// libmicrohttpd is about to close the descriptor; after this nobody may use it.
    func markClosed() { shared.withLock { $0.isClosed = true } }

    /// By when the client is to have done its part, if it may be displaced meanwhile and is not on its way out.
    func clientDeadline(now: ConnectionClock.Instant) -> ConnectionClock.Instant? {
        shared.withLock { $0.isClosed || $0.isDisplaced ? nil : $0.clock.clientDeadline(now: now) }
    }

    /// Ends the connection for another one's sake. False when it has done its part, or made room for somebody else,
    /// meanwhile.
    func displace(now: ConnectionClock.Instant) -> Bool {
        shared.withLock { shared in
            guard shared.clock.clientDeadline(now: now) != nil, !shared.isClosed, !shared.isDisplaced else {
                return false
            }
            shared.isDisplaced = true
            _ = shutdown(descriptor, Int32(SHUT_RDWR))
            return true
        }
    }

    /// Enforces the deadline. Cuts by `shutdown`, which wakes libmicrohttpd with an end of file; safe,
    /// because CLOSED comes before the descriptor is closed and takes this lock.
    ///
    /// - Returns: the serial of a request whose handler is overdue; the caller answers it.
    func enforceDeadline(now: ConnectionClock.Instant) -> UInt64? {
        shared.withLock { shared in
            guard !shared.isClosed, shared.clock.isOverdue(now: now) else { return nil }
            if shared.clock.phase == .handling { return shared.serial }
            _ = shutdown(descriptor, Int32(SHUT_RDWR))
            return nil
        }
    }
}

/// The monotonic clock in nanoseconds.
enum Monotonic {
    static var now: ConnectionClock.Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
