/// Everything the server refuses by itself, before or instead of the handler.
///
/// The caller turns each into a response (`renderFailure`), so that even these are problem documents. Not
/// in reach: what libmicrohttpd answers before any callback (no colon, `Content-Length: +5`, a head over the
/// memory limit, HTTP/9.9), which has its own short HTML body, no `X-Request-Id`, and closes.
public enum HTTPFailure: Error, Equatable, Sendable {
    /// Request line, target or header is not acceptable; the text says what was wanted and found. 400.
    case malformedRequest(String)
    /// Content-Length given twice, or together with Transfer-Encoding: request smuggling. 400.
    case ambiguousLength(String)
    /// A transfer coding other than exactly `chunked`; the text is what was sent. 400.
    case unsupportedTransferEncoding(String)
    /// The request target is longer than `limit` bytes. 414.
    case uriTooLong(limit: Int)
    /// More than `limit` header fields. 431.
    case tooManyHeaders(limit: Int)
    /// The body is longer than `limit` bytes. 413.
    case bodyTooLarge(limit: Int)
    /// As many bodies as may be over the ordinary limit are being read already. 503.
    case tooManyLargeBodies(limit: Int)
    /// As many streams as may be are open already. 503.
    case tooManyStreams(limit: Int)
    /// A method this server does not know, which includes `get` in lower case. 501.
    case methodNotImplemented(String)
    /// The handler had not answered after this many seconds; its task has been cancelled. 503.
    case handlerTimeout(seconds: Double)
    /// The server is stopping. 503.
    case unavailable

    /// The status to answer with.
    public var status: Int {
        switch self {
        case .malformedRequest, .ambiguousLength, .unsupportedTransferEncoding: 400
        case .bodyTooLarge: 413
        case .uriTooLong: 414
        case .tooManyHeaders: 431
        case .methodNotImplemented: 501
        case .handlerTimeout, .unavailable, .tooManyLargeBodies, .tooManyStreams: 503
        }
    }

    /// What was wanted, what was found.
    public var message: String {
        switch self {
        case .malformedRequest(let detail), .ambiguousLength(let detail): detail
        case .unsupportedTransferEncoding(let coding):
            "wanted Content-Length or Transfer-Encoding: chunked, found \"\(coding)\""
        case .uriTooLong(let limit): "wanted a request target of at most \(limit) bytes, found a longer one"
        case .tooManyHeaders(let limit): "wanted at most \(limit) header fields, found more"
        case .bodyTooLarge(let limit): "wanted a body of at most \(limit) bytes, found a longer one"
        case .tooManyLargeBodies(let limit):
            "wanted at most \(limit) large bodies at the same time, found more; try again"
        case .tooManyStreams(let limit): "wanted at most \(limit) listeners at the same time, found more"
        case .methodNotImplemented(let method):
            "wanted one of \(HTTPRequest.methods.joined(separator: ", ")), found \"\(method)\""
        case .handlerTimeout(let seconds): "no answer within \(seconds) seconds; try again"
        case .unavailable: "the server is stopping; try again"
        }
    }
}
