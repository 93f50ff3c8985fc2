import Glibc

/// Socket addresses as text, and the Unix address structure. No ownership.
enum SocketName {
    /// `127.0.0.1:8640` or `[::1]:8640` of the local end; nil for anything but TCP.
    static func own(_ descriptor: Int32) -> String? { text(descriptor, getsockname) }

    /// The peer of a connection; a Unix peer has no name and is `unix`.
    static func peer(_ descriptor: Int32) -> String { text(descriptor, getpeername) ?? "unix" }

    /// Whose connection it is by its peer: an IPv4 address, or of an IPv6 address the 64 bits that are one host's,
    /// which may change the others at will; nil for a Unix peer.
    static func source(_ peer: String) -> String? {
        guard let colon = peer.lastIndex(of: ":") else { return nil }
        let host = peer[..<colon]
        guard host.hasPrefix("[") else { return String(host) }
        var address = in6_addr()
        guard inet_pton(AF_INET6, String(host.dropFirst().dropLast()), &address) == 1 else { return nil }
        return withUnsafeBytes(of: address) { bytes in
            bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ":")
        }
    }

    /// Nil when the path is empty or does not fit with its NUL.
    static func unix(_ path: String) -> sockaddr_un? {
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: name.sun_path)
        guard !bytes.isEmpty, !bytes.contains(0), bytes.count < capacity else { return nil }
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
        return name
    }

    static func with<Result>(
        _ name: sockaddr_un, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        withUnsafePointer(to: name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    /// Of a bound Unix socket; nil for anything else.
    static func path(_ descriptor: Int32) -> String? {
        var name = sockaddr_un()
        var length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let status = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard status == 0, name.sun_family == sa_family_t(AF_UNIX) else { return nil }
        let path = withUnsafeBytes(of: &name.sun_path) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return path.isEmpty ? nil : path
    }

    private typealias Query = (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) ->
        Int32

    private static func text(_ descriptor: Int32, _ query: Query) -> String? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { query(descriptor, $0, &length) }
        }
        guard status == 0 else { return nil }
        return withUnsafeBytes(of: &storage) { raw -> String? in
            switch Int32(storageFamily(raw)) {
            case AF_INET:
                let name = raw.loadUnaligned(as: sockaddr_in.self)
                guard let host = host(AF_INET, name.sin_addr) else { return nil }
                return "\(host):\(UInt16(bigEndian: name.sin_port))"
            case AF_INET6:
                let name = raw.loadUnaligned(as: sockaddr_in6.self)
                guard let host = host(AF_INET6, name.sin6_addr) else { return nil }
                return "[\(host)]:\(UInt16(bigEndian: name.sin6_port))"
            default: return nil
            }
        }
    }

    private static func storageFamily(_ raw: UnsafeRawBufferPointer) -> sa_family_t {
        raw.loadUnaligned(as: sa_family_t.self)
    }

    private static func host<Address>(_ family: Int32, _ address: Address) -> String? {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let result = withUnsafePointer(to: address) { inet_ntop(family, $0, &text, socklen_t(text.count)) }
        guard result != nil else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
