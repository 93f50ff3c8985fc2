/// What a client sends, what it gets, and what it allows. Values; nothing here touches a socket.

/// One request. Checked when it is sent, not when it is made.
public struct HTTPClientRequest: Sendable {
    /// Upper case: `GET`.
    public var method: String
    /// Sent as it is, so already percent-encoded: `/v1/bridges/br0`. `path(_:)` makes one from names.
    public var path: String
    /// Percent-encoded by the client.
    public var query: [(name: String, value: String)]
    /// `Content-Type` too: there is no default for a body. `Host` and `Content-Length` are the client's.
    public var headers: [(name: String, value: String)]
    /// Nil sends no body at all, an empty one says `Content-Length: 0`.
    public var body: [UInt8]?
    /// In place of `HTTPClientLimits.totalSeconds`, for a long poll.
    public var totalSeconds: Double?
    /// In place of `HTTPClientLimits.connectSeconds`.
    public var connectSeconds: Double?

    public init(
        _ method: String, _ path: String, query: [(name: String, value: String)] = [],
        headers: [(name: String, value: String)] = [], body: [UInt8]? = nil, totalSeconds: Double? = nil,
        connectSeconds: Double? = nil
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.totalSeconds = totalSeconds
        self.connectSeconds = connectSeconds
    }

    /// `["v1", "bridges", "a b"]` → `/v1/bridges/a%20b`
    public static func path(_ segments: [String]) -> String {
        segments.map { "/" + PercentEncoding.encode($0) }.joined()
    }

    /// The request target, or what is wrong with the request.
    func target() throws(HTTPClientError) -> String {
        func refuse(_ wanted: String, _ found: String) -> HTTPClientError {
            HTTPClientError(
                .invalidRequest,
                "request: wanted \(wanted), found \"\(PercentDecoding.printable(found.utf8))\"")
        }
        guard !method.isEmpty, method.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) else {
            throw refuse("a method in upper case", method)
        }
        guard path.hasPrefix("/"), path.utf8.allSatisfy({ PercentEncoding.isSendable($0) }) else {
            throw refuse("a percent-encoded path that starts with /", path)
        }
        for (name, value) in headers {
            guard !name.isEmpty, name.utf8.allSatisfy(\.isTokenByte),
                value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
            else {
                // Not the value: it may be a secret, and errors go to logs and to clients.
                throw refuse("header fields without control characters", name)
            }
        }
        let pairs = query.map { PercentEncoding.encode($0.name) + "=" + PercentEncoding.encode($0.value) }
        return pairs.isEmpty ? path : path + "?" + pairs.joined(separator: "&")
    }
}

/// A complete answer, whatever its status.
public struct HTTPClientResponse: Sendable {
    public var status: Int
    /// In order, names as received.
    public var headers: [(name: String, value: String)]
    /// Empty when it was delivered as a stream.
    public var body: [UInt8]

    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The first field of that name, whatever its letter case.
    public func header(_ name: String) -> String? {
        headers.first { $0.name.equalsIgnoringASCIICase(name) }?.value
    }
}

/// What a server may cost a client.
public struct HTTPClientLimits: Equatable, Sendable {
    /// Until a connection stands. A host that is up answers within a round trip.
    public var connectSeconds: Double
    /// From the call to the last byte of the answer. A stream has none.
    public var totalSeconds: Double
    /// How long a stream may say nothing: three of the server's keep-alives. Whole seconds, and libcurl
    /// looks at an average, so it may take some seconds more.
    public var silenceSeconds: Double
    /// Age of the oldest connection used where there is a list of revoked certificates, which libcurl reads when it
    /// connects. Whole seconds.
    public var listedSeconds: Int
    /// Body of an answer that is collected. A list of 1,000 tunnels with counters is below 2 MiB.
    public var bodyByteCount: Int
    /// Status line and header fields of one answer.
    public var headByteCount: Int

    public init(
        connectSeconds: Double = 3, totalSeconds: Double = 30, silenceSeconds: Double = 45,
        listedSeconds: Int = 60, bodyByteCount: Int = 64 << 20, headByteCount: Int = 64 << 10
    ) {
        self.connectSeconds = connectSeconds
        self.totalSeconds = totalSeconds
        self.silenceSeconds = silenceSeconds
        self.listedSeconds = listedSeconds
        self.bodyByteCount = bodyByteCount
        self.headByteCount = headByteCount
    }
}

/// Percent-encoding (RFC 3986 §2.1): the way back from `PercentDecoding`.
enum PercentEncoding {
    /// Every byte but the unreserved ones is escaped, so the result fits a path segment and a query alike.
    static func encode(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            if isUnreserved(byte) {
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                encoded += byte < 0x10 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return encoded
    }

    /// Whether a raw path may hold it: printable, and neither the end of the path nor of the line.
    static func isSendable(_ byte: UInt8) -> Bool {
        (0x21..<0x7F).contains(byte) && byte != UInt8(ascii: "?") && byte != UInt8(ascii: "#")
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        byte.isASCIILetter || byte.isASCIIDigit || "-._~".utf8.contains(byte)
    }
}
