import CCurl
import Glibc

/// Why there is no answer. An answer with a bad status is not an error: it is an answer.
public struct HTTPClientError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Equatable, Sendable {
        /// The text is not the address of a server.
        case invalidAddress
        /// The request cannot be sent as it is.
        case invalidRequest
        /// Nobody answers there: no such host or socket, refused, no connection in time. Nothing was sent.
        case unreachable
        /// The answer did not come in time.
        case timeout
        /// The answer is longer than the limits allow.
        case tooLarge
        /// The connection broke, or what came back is not HTTP.
        case interrupted
        /// The task that sent it was cancelled.
        case cancelled
    }

    public var kind: Kind
    /// What was tried and why it failed.
    public var description: String
    /// False: not a byte of the request has left, so it was certainly not carried out. True: nobody knows.
    public var mayBeDelivered: Bool

    public init(_ kind: Kind, _ description: String, mayBeDelivered: Bool = false) {
        self.kind = kind
        self.description = description
        self.mayBeDelivered = mayBeDelivered
    }
}

extension HTTPClientError {
    /// What libcurl's verdict on a transfer means to the caller.
    ///
    /// - Parameters:
    ///   - what: `GET /v1/bridges`
    ///   - detail: libcurl's own text, which names the step that failed.
    ///   - errorNumber: of the system, 0 when there is none.
    ///   - isSent: by any connection: libcurl may have tried a second one when a kept one had broken.
    static func from(
        _ code: CURLcode, what: String, address: HTTPClientAddress, detail: String, errorNumber: Int,
        isSent: Bool, connectSeconds: Double, totalSeconds: Double?, silenceSeconds: Double
    ) -> HTTPClientError {
        let reason = errorNumber > 0 ? lowercased(String(cString: strerror(Int32(errorNumber)))) : detail
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST where !isSent:
            return HTTPClientError(.unreachable, "cannot reach \(address): no such host")
        case CURLE_COULDNT_CONNECT where !isSent:
            return HTTPClientError(.unreachable, "cannot reach \(address): \(reason)\(advice(errorNumber))")
        // Of the handshake: the server is not who it shall be, or the files of this side are no good.
        case CURLE_SSL_CONNECT_ERROR where !isSent, CURLE_PEER_FAILED_VERIFICATION where !isSent,
            CURLE_SSL_CERTPROBLEM where !isSent, CURLE_SSL_CACERT_BADFILE where !isSent:
            return HTTPClientError(.unreachable, "cannot reach \(address): TLS: \(lowercased(detail))")
        case CURLE_OPERATION_TIMEDOUT where !isSent:
            let waited = min(connectSeconds, totalSeconds ?? connectSeconds)
            return HTTPClientError(
                .unreachable, "cannot reach \(address): no connection within \(seconds(waited))")
        case CURLE_OPERATION_TIMEDOUT:
            return HTTPClientError(
                .timeout,
                "\(what) at \(address): no \(totalSeconds == nil ? "word" : "answer") "
                    + "within \(seconds(totalSeconds ?? silenceSeconds))", mayBeDelivered: true)
        case CURLE_ABORTED_BY_CALLBACK:
            return HTTPClientError(
                .interrupted, "\(what) at \(address): the connection was closed before an answer came",
                mayBeDelivered: isSent)
        default:
            return HTTPClientError(
                .interrupted, "\(what) at \(address): \(reason)", mayBeDelivered: isSent)
        }
    }

    private static func advice(_ errorNumber: Int) -> String {
        switch Int32(errorNumber) {
        case ECONNREFUSED, ENOENT: "; is it running?"
        case EACCES, EPERM: "; may this user use the socket?"
        default: ""
        }
    }

    private static func seconds(_ count: Double) -> String {
        count == 1 ? "1 second" : count == count.rounded() ? "\(Int(count)) seconds" : "\(count) seconds"
    }

    private static func lowercased(_ text: String) -> String {
        text.prefix(1).lowercased() + text.dropFirst()
    }
}
