import CMicroHTTPD
import Glibc

/// One listening socket, made by us because libmicrohttpd's own would listen on 0.0.0.0.
///
/// Owns the descriptor until `close()`, and the file of a Unix socket, which `close()` removes only while it
/// is still the one created here. Not safe from two threads at once; `Listener` serializes.
struct ListenSocket {
    let descriptor: Int32
    /// The bound address, with the port the kernel chose.
    let address: String
    /// Device and inode of the Unix socket's file.
    private let file: (path: String, device: dev_t, inode: ino_t)?

    /// Connections the kernel completes and holds while our threads are busy.
    private static var backlog: Int32 { 511 }
    private static var streamType: Int32 { Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue) }

    init(_ endpoint: HTTPEndpoint) throws(HTTPServerError) {
        switch endpoint {
        case .tcp(let host, let port): try self.init(host: host, port: port, endpoint)
        case .unix(let path, let mode, let group):
            try self.init(path: path, mode: mode, group: group, endpoint)
        }
    }

    /// Goes on with a socket that listens there already. Who may connect to a Unix socket is as the endpoint has it, or
    /// as before where that cannot be changed, which `onLog` hears.
    init(adopting descriptor: Int32, _ endpoint: HTTPEndpoint, onLog: (String) -> Void) {
        self.descriptor = descriptor
        guard case .unix(let path, let mode, let group) = endpoint else {
            address = SocketName.own(descriptor) ?? "\(endpoint)"
            file = nil
            return
        }
        address = "unix:\(path)"
        var status = stat()
        file = lstat(path, &status) == 0 ? (path, status.st_dev, status.st_ino) : nil
        do throws(HTTPServerError) {
            try Self.open(path, to: group ?? getegid(), mode, endpoint)
        } catch {
            onLog("\(endpoint) is for whom it was: \(error.reason)")
        }
    }

    /// Has a socket that was handed over listen no more. Closing alone does not end what a service manager holds too.
    /// The file of a Unix socket goes when nobody else answers there.
    static func end(_ descriptor: Int32) {
        _ = shutdown(descriptor, Int32(SHUT_RDWR))
        if let path = SocketName.path(descriptor), let name = SocketName.unix(path) {
            try? removeStale(path, name, .unix(path: path))
        }
        _ = Glibc.close(descriptor)
    }

    /// Closes the descriptor and removes the socket file.
    func close() {
        _ = Glibc.close(descriptor)
        removeFile()
    }

    /// Removes the socket file if it is still the one created here.
    func removeFile() {
        guard let file else { return }
        var status = stat()
        if lstat(file.path, &status) == 0, status.st_dev == file.device, status.st_ino == file.inode {
            unlink(file.path)
        }
    }
}

// MARK: TCP

extension ListenSocket {
    private init(host: String, port: UInt16, _ endpoint: HTTPEndpoint) throws(HTTPServerError) {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host == "localhost" ? "127.0.0.1" : host, String(port), &hints, &found)
        guard status == 0, let info = found else {
            throw HTTPServerError(
                address: "\(endpoint)", reason: "wanted a numeric IPv4 or IPv6 address, found \"\(host)\"",
                errorNumber: 0)
        }
        defer { freeaddrinfo(info) }
        let descriptor = socket(info.pointee.ai_family, Self.streamType, 0)
        guard descriptor >= 0 else { throw Self.failure(endpoint, "socket") }
        do throws(HTTPServerError) {
            try Self.enable(SOL_SOCKET, SO_REUSEADDR, on: descriptor, endpoint)
            if info.pointee.ai_family == AF_INET6 {
                try Self.enable(Int32(IPPROTO_IPV6), IPV6_V6ONLY, on: descriptor, endpoint)
            }
            guard bind(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 else {
                throw Self.failure(endpoint, "bind")
            }
            guard listen(descriptor, Self.backlog) == 0 else { throw Self.failure(endpoint, "listen") }
        } catch {
            _ = Glibc.close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        address = SocketName.own(descriptor) ?? "\(endpoint)"
        file = nil
    }

    private static func enable(
        _ level: Int32, _ option: Int32, on descriptor: Int32, _ endpoint: HTTPEndpoint
    ) throws(HTTPServerError) {
        var one: Int32 = 1
        guard setsockopt(descriptor, level, option, &one, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
            throw failure(endpoint, "setsockopt")
        }
    }
}

// MARK: Unix

extension ListenSocket {
    /// bind → chown → chmod → listen: nobody can connect before `listen`, so the mode is never too wide.
    private init(
        path: String, mode: UInt16, group: UInt32?, _ endpoint: HTTPEndpoint
    ) throws(HTTPServerError) {
        guard let name = SocketName.unix(path) else {
            throw HTTPServerError(
                address: "\(endpoint)", reason: "wanted a path of 1 to 107 bytes, found \(path.utf8.count)",
                errorNumber: ENAMETOOLONG)
        }
        try Self.removeStale(path, name, endpoint)
        let descriptor = socket(AF_UNIX, Self.streamType, 0)
        guard descriptor >= 0 else { throw Self.failure(endpoint, "socket") }
        var status = stat()
        do throws(HTTPServerError) {
            guard SocketName.with(name, { bind(descriptor, $0, $1) }) == 0 else {
                throw Self.failure(endpoint, "bind")
            }
            try Self.open(path, to: group, mode, endpoint)
            guard lstat(path, &status) == 0 else { throw Self.failure(endpoint, "lstat") }
            guard listen(descriptor, Self.backlog) == 0 else { throw Self.failure(endpoint, "listen") }
        } catch {
            _ = Glibc.close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        address = "unix:\(path)"
        file = (path, status.st_dev, status.st_ino)
    }

    private static func open(
        _ path: String, to group: UInt32?, _ mode: UInt16, _ endpoint: HTTPEndpoint
    ) throws(HTTPServerError) {
        if let group, chown(path, uid_t.max, group) != 0 { throw failure(endpoint, "chown") }
        guard chmod(path, mode_t(mode)) == 0 else { throw failure(endpoint, "chmod") }
    }

    /// Removes a socket file at `path` if connecting is refused, which only a dead listener does.
    private static func removeStale(
        _ path: String, _ name: sockaddr_un, _ endpoint: HTTPEndpoint
    ) throws(HTTPServerError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw HTTPServerError(
                address: "\(endpoint)",
                reason: "the path exists and is not a socket; remove it or choose another",
                errorNumber: EEXIST)
        }
        let probe = socket(AF_UNIX, streamType | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard probe >= 0 else { throw failure(endpoint, "socket") }
        defer { _ = Glibc.close(probe) }
        let answer = SocketName.with(name) { connect(probe, $0, $1) }
        guard answer != 0, errno == ECONNREFUSED else {
            throw HTTPServerError(
                address: "\(endpoint)", reason: "address already in use: another process answers on it",
                errorNumber: EADDRINUSE)
        }
        unlink(path)
    }

    private static func failure(_ endpoint: HTTPEndpoint, _ call: String) -> HTTPServerError {
        let number = errno
        let text = String(cString: strerror(number))
        let reason = text.prefix(1).lowercased() + text.dropFirst()
        let advice = number == EADDRINUSE ? "; stop the other process or choose another port" : ""
        return HTTPServerError(
            address: "\(endpoint)", reason: "\(reason) (\(call))\(advice)", errorNumber: number)
    }
}
