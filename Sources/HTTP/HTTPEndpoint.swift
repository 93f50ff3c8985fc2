import Glibc

/// Where a server listens. There is no default: an address nobody chose would be 0.0.0.0.
public enum HTTPEndpoint: Equatable, Sendable {
    /// A numeric IPv4 or IPv6 address (`localhost` stands for 127.0.0.1); port 0 lets the kernel choose.
    case tcp(host: String, port: UInt16)
    /// A Unix socket with these permission bits, and of this group if one is given. A socket file left by a dead
    /// process is replaced.
    case unix(path: String, mode: UInt16 = 0o660, group: UInt32? = nil)

    /// Whether only this host can connect. Callers refuse anything else without TLS and authentication.
    public var isLoopback: Bool {
        switch self {
        case .unix: true
        case .tcp(let host, _): host == "localhost" || host == "::1" || Self.isIPv4Loopback(host)
        }
    }

    private static func isIPv4Loopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}

extension HTTPEndpoint {
    /// Whether a descriptor is a socket that listens here. Port 0 is any port of the host. A Unix socket whose file is
    /// gone can be reached by nobody.
    public func isServed(by descriptor: Int32) -> Bool {
        var listens: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0, listens != 0 else {
            return false
        }
        switch self {
        case .unix(let path, _, _):
            var status = stat()
            return SocketName.path(descriptor) == path && lstat(path, &status) == 0
                && status.st_mode & S_IFMT == S_IFSOCK
        case .tcp(let host, let port):
            let plain = HTTPEndpoint.tcp(host: host == "localhost" ? "127.0.0.1" : host, port: port)
            guard let own = SocketName.own(descriptor) else { return false }
            return port == 0 ? own.hasPrefix("\(plain)".dropLast()) : own == "\(plain)"
        }
    }
}

extension HTTPEndpoint: CustomStringConvertible {
    /// `127.0.0.1:8640`, `[::1]:8640`, `unix:/run/viaduct.sock`
    public var description: String {
        switch self {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path, _, _): "unix:\(path)"
        }
    }
}

/// Why a server could not start. The text names the address, the reason and what to do.
public struct HTTPServerError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The endpoint as it was asked for.
    public var address: String
    public var reason: String
    /// The system's error number, 0 when there was none.
    public var errorNumber: Int32

    public var description: String { "cannot listen on \(address): \(reason)" }
}
