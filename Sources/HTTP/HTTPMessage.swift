public import JSON
public import Trust

/// What a handler receives and returns: plain values, complete, detached from the connection.

/// What is known of who sent a request, by the connection alone.
public enum HTTPPeer: Equatable, Sendable {
    /// An address and nothing more: TCP without TLS, or TLS without a client certificate.
    case address
    /// A verified one, that is good now.
    case certificate(ClientCertificate)
    /// A certificate was shown that is not acceptable; why.
    case refused(String)
    /// By a Unix socket: the effective user and all groups of who connected (unix(7), SO_PEERCRED).
    case process(user: UInt32, groups: [UInt32])
}

/// One request whose head and body have been checked. A handler never sees a half-read or ambiguous one.
public struct HTTPRequest: Sendable {
    /// As the client sent it, a token; which ones a path has is the router's to say.
    public var method: String
    /// The path as received: undecoded, without the query.
    public var rawPath: String
    /// The decoded segments; `/` is `[]`, and a trailing slash leaves a last empty segment. No segment
    /// holds a slash, a control character, or is `.` or `..`.
    public var path: [String]
    /// The decoded query in order. `+` is a plus, as in RFC 3986; a name without `=` has an empty value.
    public var query: [(name: String, value: String)]
    /// The header fields in order, names as received.
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]
    /// The client's `X-Request-Id` if it is a sane token (see `RequestID`), else one made here.
    public var id: String
    /// The peer: `127.0.0.1:4242`, `[::1]:4242` or `unix`.
    public var remote: String
    public var peer: HTTPPeer
    /// Who asks, as the service has found out; empty until then.
    public var subject = ""

    public init(
        method: String, rawPath: String, path: [String], query: [(name: String, value: String)] = [],
        headers: [(name: String, value: String)] = [], body: [UInt8] = [], id: String = "",
        remote: String = "", peer: HTTPPeer = .address
    ) {
        self.method = method
        self.rawPath = rawPath
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.id = id
        self.remote = remote
        self.peer = peer
    }

    /// The first field of that name, whatever its letter case.
    public func header(_ name: String) -> String? {
        headers.first { $0.name.equalsIgnoringASCIICase(name) }?.value
    }
}

/// What follows the head of a response.
public enum HTTPBody: Sendable {
    case bytes([UInt8])
    /// Sent as it is written, chunked, until the stream is finished or cut.
    case stream(HTTPStream)
}

/// What goes back. `Content-Length`, `Date` and `Connection` are the server's; fields of those names, and
/// fields with a line break or NUL, are left out and logged.
public struct HTTPResponse: Sendable {
    /// 200…599; anything else is sent as 500 and logged.
    public var status: Int
    public var headers: [(name: String, value: String)]
    /// Dropped for HEAD (its length is still told), 204 and 304.
    public var content: HTTPBody

    /// The bytes of a body that is no stream; setting them replaces the stream.
    public var body: [UInt8] {
        get { if case .bytes(let bytes) = content { bytes } else { [] } }
        set { content = .bytes(newValue) }
    }

    /// Nil for a body that is complete.
    public var stream: HTTPStream? { if case .stream(let stream) = content { stream } else { nil } }

    public init(status: Int = 200, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        content = .bytes(body)
    }

    public init(status: Int = 200, headers: [(name: String, value: String)] = [], stream: HTTPStream) {
        self.status = status
        self.headers = headers
        content = .stream(stream)
    }

    public static func text(_ text: String, status: Int = 200) -> HTTPResponse {
        HTTPResponse(
            status: status, headers: [("Content-Type", "text/plain; charset=utf-8")], body: Array(text.utf8))
    }

    /// Compact JSON and a newline, so that curl leaves the prompt on its own line.
    public static func json(
        _ value: JSONValue, status: Int = 200, contentType: String = "application/json"
    ) -> HTTPResponse {
        let body = value.serialized() + [UInt8(ascii: "\n")]
        return HTTPResponse(status: status, headers: [("Content-Type", contentType)], body: body)
    }
}

extension String {
    /// Field names compare without regard to ASCII letter case (RFC 9110 §5.1).
    func equalsIgnoringASCIICase(_ other: String) -> Bool {
        utf8.count == other.utf8.count
            && zip(utf8, other.utf8).allSatisfy { $0 == $1 || ($0.isASCIILetter && $0 ^ $1 == 0x20) }
    }
}

extension UInt8 {
    var isASCIILetter: Bool { (0x41...0x5A).contains(self & 0xDF) }
    var isASCIIDigit: Bool { (0x30...0x39).contains(self) }
}
