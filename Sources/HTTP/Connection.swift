import CMicroHTTPD
import Glibc
import Synchronization

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
    }

    let handle: OpaquePointer
    let remote: String
    let descriptor: Int32

    // Only the libmicrohttpd thread.
    var stage = Stage.awaitingHead
    var target: [UInt8] = []
    var requestID = ""
    var body: [UInt8] = []
    var receivedByteCount = 0
    var bodyByteCountLimit = 0
    /// Whether this request is in `ServerCore.raisedBodyCount`.
    var hasRaisedBody = false
    /// Whether this request is in `ServerCore.inFlightCount`.
    var isCounted = false

    let shared: Mutex<Shared>

    init(handle: OpaquePointer, descriptor: Int32, now: ConnectionClock.Instant, limits: HTTPLimits) {
        self.handle = handle
        self.descriptor = descriptor
        remote = SocketName.peer(descriptor)
        shared = Mutex(Shared(clock: ConnectionClock(now: now, limits: limits)))
    }

    /// Ready for the next request of a kept connection.
    func reset() {
        stage = .awaitingHead
        target = []
        requestID = ""
        body = []
        receivedByteCount = 0
    }

    /// libmicrohttpd is about to close the descriptor; after this nobody may use it.
    func markClosed() { shared.withLock { $0.isClosed = true } }

    /// Until when the client may complete its request; nil once it has, or is on its way out.
    var requestDeadline: ConnectionClock.Instant? {
        shared.withLock { shared in
            guard shared.clock.awaitsRequest, !shared.isClosed, !shared.isDisplaced else { return nil }
            return shared.clock.deadline
        }
    }

    /// Ends the connection for another one's sake, unless its request has become complete meanwhile.
    func displace() {
        shared.withLock { shared in
            guard shared.clock.awaitsRequest, !shared.isClosed else { return }
            shared.isDisplaced = true
            _ = shutdown(descriptor, Int32(SHUT_RDWR))
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
