import CMicroHTTPD
import Glibc
import Trust

/// One endpoint: its listening socket and the libmicrohttpd daemon that serves it.
///
/// Owns both; `stop` releases them. `@unchecked Sendable`: the daemon pointer never changes, and
/// `HTTPServer` calls `quiesce` once and then `stop` once, one after the other.
final class Listener: @unchecked Sendable {
    let socket: ListenSocket
    private let core: ServerCore
    private let daemon: OpaquePointer
    private let logger: UnsafeMutablePointer<viaduct_mhd_logger>

    /// By `former`, which listens there already, or by a socket of its own.
    init(_ endpoint: HTTPEndpoint, former: Int32?, core: ServerCore) throws(HTTPServerError) {
        if let former {
            socket = ListenSocket(adopting: former, endpoint) { core.log.write($0) }
        } else {
            socket = try ListenSocket(endpoint)
        }
        self.core = core
        let context = Unmanaged.passUnretained(core).toOpaque()
        let logger = UnsafeMutablePointer<viaduct_mhd_logger>.allocate(capacity: 1)
        logger.initialize(to: viaduct_mhd_logger(write: logLine, context: context))
        let isEncrypted = if case .tcp = endpoint { core.tls != nil } else { false }
        var options = Self.options(socket.descriptor, core.limits, context)
        let flags =
            (isEncrypted ? MHD_USE_TLS.rawValue : 0) | MHD_USE_EPOLL.rawValue
            | MHD_USE_INTERNAL_POLLING_THREAD.rawValue | MHD_USE_ITC.rawValue
            | MHD_ALLOW_SUSPEND_RESUME.rawValue | MHD_USE_ERROR_LOG.rawValue
        // Read while the daemon starts, and not afterwards.
        let daemon = ServerCredentials.priorities.withCString { priorities in
            if isEncrypted { options = Self.encrypted(priorities) + options }
            return viaduct_mhd_start(flags, answerRequest, context, logger, &options)
        }
        guard let daemon else {
            logger.deallocate()
            // libmicrohttpd closes the socket on most failures, so only the file is certain to be ours.
            socket.removeFile()
            throw HTTPServerError(
                address: "\(endpoint)", reason: "libmicrohttpd could not start; its reason is in the log",
                errorNumber: 0)
        }
        self.daemon = daemon
        self.logger = logger
    }

    /// Stops accepting. The kernel refuses new clients only when `stop` closes the socket.
    func quiesce() { _ = MHD_quiesce_daemon(daemon) }

    /// Joins the daemon's threads, so it blocks; no connection may be suspended. Needs `quiesce` before. The socket
    /// stays open where others go on with it: clients wait there meanwhile.
    func stop(keepingSocket: Bool = false) {
        MHD_stop_daemon(daemon)
        logger.deallocate()
        if !keepingSocket { socket.close() }
    }

    /// A worker waits for at most 128 events, and when it gets exactly 128 it waits *again*, up to the idle
    /// timeout, before it serves them (daemon.c, `while (MAX_EVENTS == num_events)`). So a worker gets too
    /// few connections for that; the rest is for its listening socket and its wake-ups.
    private static var connectionsPerThread: Int { 120 }

    /// At least as many as asked for, and no more than there are connections to share out.
    private static func threadCount(_ limits: HTTPLimits) -> Int {
        let least = (limits.connectionCount + connectionsPerThread - 1) / connectionsPerThread
        return max(1, least, min(limits.threadCount, limits.connectionCount))
    }

    /// Longer than any of our deadlines.
    private static func inactivitySeconds(_ limits: HTTPLimits) -> Int {
        let longest = max(
            limits.headerSeconds, limits.bodySeconds, limits.idleSeconds, limits.responseSeconds)
        return Int(longest.rounded(.up)) + 1
    }

    /// Which protocols and ciphers; the certificates are each session's own.
    private static func encrypted(_ priorities: UnsafePointer<CChar>) -> [MHD_OptionItem] {
        [
            MHD_OptionItem(
                option: .HTTPS_PRIORITIES, value: 0, ptr_value: UnsafeMutableRawPointer(mutating: priorities)),
            MHD_OptionItem(
                option: .HTTPS_CERT_CALLBACK, value: 0,
                ptr_value: unsafeBitCast(noCertificate, to: UnsafeMutableRawPointer.self)),
        ]
    }

    private static func options(
        _ descriptor: Int32, _ limits: HTTPLimits, _ context: UnsafeMutableRawPointer
    ) -> [MHD_OptionItem] {
        func number(_ option: MHD_OPTION, _ value: Int) -> MHD_OptionItem {
            MHD_OptionItem(option: option, value: value, ptr_value: nil)
        }
        func callback<Function>(_ option: MHD_OPTION, _ function: Function) -> MHD_OptionItem {
            MHD_OptionItem(option: option, value: unsafeBitCast(function, to: Int.self), ptr_value: context)
        }
        let threadCount = threadCount(limits)
        var options = [
            number(.LISTEN_SOCKET, Int(descriptor)),
            // Strict mode would answer a missing Host and a space in the target by itself (with its header
            // sent twice, and no problem document). Both come to `RequestHead` instead.
            number(.STRICT_FOR_CLIENT, 0),
            number(.CONNECTION_LIMIT, limits.connectionCount),
            number(.PER_IP_CONNECTION_LIMIT, limits.connectionsPerAddress),
            number(.CONNECTION_MEMORY_LIMIT, limits.connectionMemoryByteCount),
            // A net under our own absolute deadlines, which come first.
            number(.CONNECTION_TIMEOUT, inactivitySeconds(limits)),
            callback(.UNESCAPE_CALLBACK, keepEscapes),
            callback(.URI_LOG_CALLBACK, sawRequestLine),
            callback(.NOTIFY_CONNECTION, connectionChanged),
            callback(.NOTIFY_COMPLETED, requestCompleted),
        ]
        // A pool of one is the same as none, and libmicrohttpd complains about it.
        if threadCount > 1 { options.append(number(.THREAD_POOL_SIZE, threadCount)) }
        options.append(number(.END, 0))
        return options
    }
}
