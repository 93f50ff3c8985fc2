// The service manager that started this process and wants to hear how it is: sd_notify(3) and sd_watchdog_enabled(3),
// whose protocol is a datagram of lines to the Unix socket $NOTIFY_SOCKET. Other supervisors speak it too.

internal import Glibc

/// Who is told when this process is ready, alive, and about to end.
public struct ServiceManager: Equatable, Sendable {
    /// What is said.
    public enum Notice: Equatable, Sendable {
        /// Started, or done with what `reloading` began.
        case ready
        /// Settings are being read again.
        case reloading
        case stopping
        /// Alive: to be said again within `watchdogSeconds`.
        case alive
        /// How things are, for people; one line.
        case status(String)
    }

    /// A path, or '@' and the name of an abstract socket.
    let socketName: String
    /// Longest time between two signs of life, after which the manager ends this process; nil when it does not.
    public let watchdogSeconds: Double?

    /// Nil when nobody wants to hear: no $NOTIFY_SOCKET, or one that is neither a path nor an abstract name.
    public init?(environment: [String: String]) { self.init(environment: environment, processID: getpid()) }

    init?(environment: [String: String], processID: Int32) {
        guard let name = environment["NOTIFY_SOCKET"], name.hasPrefix("/") || name.hasPrefix("@"),
            ServiceManager.address(name) != nil
        else { return nil }
        socketName = name
        // $WATCHDOG_PID says whose the watchdog is: a child inherits the variables, but not the duty.
        let isOurs = environment["WATCHDOG_PID"].map { $0 == "\(processID)" } ?? true
        let microseconds = environment["WATCHDOG_USEC"].flatMap(UInt64.init) ?? 0
        watchdogSeconds = isOurs && microseconds > 0 ? Double(microseconds) / 1e6 : nil
    }

    /// Says all of it in one datagram. What the manager does not take within a second is not said again: nothing
    /// here may hang because somebody there does.
    ///
    /// - Returns: whether it was taken.
    @discardableResult
    public func tell(_ notices: Notice...) -> Bool {
        guard let (address, byteCount) = ServiceManager.address(socketName) else { return false }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let text = Array(notices.map(ServiceManager.lines).joined(separator: "\n").utf8)
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                sendto(descriptor, text, text.count, Int32(MSG_NOSIGNAL), name, byteCount) == text.count
            }
        }
    }

    private static func lines(_ notice: Notice) -> String {
        switch notice {
        case .ready: return "READY=1"
        case .reloading:
            // Without the time (CLOCK_MONOTONIC) systemd 253 and later take it for an old one.
            var now = timespec()
            clock_gettime(CLOCK_MONOTONIC, &now)
            return "RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)"
        case .stopping: return "STOPPING=1"
        case .alive: return "WATCHDOG=1"
        case .status(let text): return "STATUS=" + String(text.map { $0.isNewline ? " " : $0 })
        }
    }

    /// An abstract name starts with a NUL and ends with the address's length (unix(7)).
    static func address(_ name: String) -> (sockaddr_un, socklen_t)? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        guard bytes.count > 1, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        let isAbstract = bytes[0] == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        return (address, socklen_t(start + bytes.count + (isAbstract ? 0 : 1)))
    }
}
