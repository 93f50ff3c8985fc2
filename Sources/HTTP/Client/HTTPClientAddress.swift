/// Where a client's server is: `https://host-a.example:8640`, `http://127.0.0.1:8640`, `http://[::1]:8640` or
/// `unix:/run/viaduct.sock`.
///
/// The port is always written: 80 would be the rule of URLs and never the right answer here. Pure.
public struct HTTPClientAddress: Hashable, Sendable {
    enum Place: Hashable {
        /// The host as it stands in a URL, IPv6 in brackets.
        case tcp(scheme: String, host: String, port: UInt16)
        case unix(path: String)
    }

    let place: Place
    /// Whether nobody between can hear what is said: by TLS, or because nothing leaves this host.
    public var isPrivate: Bool {
        switch place {
        case .unix: true
        case .tcp(let scheme, let host, let port):
            scheme == "https"
                || HTTPEndpoint.tcp(host: host.filter { !"[]".contains($0) }, port: port).isLoopback
        }
    }
    /// Whether what is said is secret, and the server is who it says.
    public var isEncrypted: Bool { if case .tcp("https", _, _) = place { true } else { false } }

    public init(_ text: String) throws(HTTPClientError) {
        guard let place = Self.unix(text) ?? Self.tcp(text) else {
            throw HTTPClientError(
                .invalidAddress,
                "server: wanted https://HOST:PORT, http://HOST:PORT or unix:/PATH, found \(text.debugDescription)"
            )
        }
        self.place = place
        origin = Self.origin(place)
    }

    /// What the URL of a request starts with.
    let origin: String

    /// Over a Unix socket nobody reads the host of the URL, but libcurl looks for a kept connection among all
    /// that have it: so each socket has one of its own.
    private static func origin(_ place: Place) -> String {
        switch place {
        case .tcp(let scheme, let host, let port): return "\(scheme)://\(host):\(port)"
        case .unix(let path):
            // FNV-1a; two paths of one hash only share a place to look.
            let hash = path.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
                ($0 ^ UInt64($1)) &* 0x100_0000_01B3
            }
            return "http://unix-\(String(hash, radix: 16))"
        }
    }

    private static func unix(_ text: String) -> Place? {
        guard text.hasPrefix("unix:/") else { return nil }
        let path = String(text.dropFirst("unix:".count))
        return SocketName.unix(path) == nil ? nil : .unix(path: path)
    }

    private static func tcp(_ text: String) -> Place? {
        guard let scheme = ["https", "http"].first(where: { text.hasPrefix("\($0)://") }) else { return nil }
        var rest = text.dropFirst(scheme.count + "://".count)
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        guard let colon = rest.lastIndex(of: ":") else { return nil }
        let (host, digits) = (rest[..<colon], rest[colon...].dropFirst())
        guard digits.utf8.allSatisfy(\.isASCIIDigit), let port = UInt16(digits), port > 0 else { return nil }
        return isHost(host) ? .tcp(scheme: scheme, host: String(host), port: port) : nil
    }

    /// A name, an IPv4 address, or an IPv6 address in brackets; nothing that could be read as user or path.
    private static func isHost(_ host: Substring) -> Bool {
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inside = host.dropFirst().dropLast().utf8
            return inside.contains(UInt8(ascii: ":"))
                && inside.allSatisfy { $0.isASCIIDigit || $0.isASCIILetter || ":.%".utf8.contains($0) }
        }
        return !host.isEmpty
            && host.utf8.allSatisfy { $0.isASCIIDigit || $0.isASCIILetter || "-._".utf8.contains($0) }
    }
}

extension HTTPClientAddress: CustomStringConvertible {
    /// As it is written on the command line.
    public var description: String {
        switch place {
        case .tcp: origin
        case .unix(let path): "unix:\(path)"
        }
    }
}
