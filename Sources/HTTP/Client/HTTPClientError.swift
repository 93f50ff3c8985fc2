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
        /// The request was sent, the answer did not come in time; it may have been carried out.
        case timeout
        /// The answer is longer than the limits allow.
        case tooLarge
        /// The connection broke, or what came back is not HTTP; the request may have been carried out.
        case interrupted
        /// The task that sent it was cancelled.
        case cancelled
    }

    public var kind: Kind
    /// What was tried and why it failed.
    public var description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

extension HTTPClientError {
    /// What libcurl's verdict on a transfer means to the caller.
    ///
    /// - Parameters:
    ///   - what: `GET /v1/bridges`
    ///   - detail: libcurl's own text, which names the step that failed.
    ///   - errorNumber: of the system, 0 when there is none.
    ///   - sentByteCount: of the request; 0 means that no connection stood.
    static func from(
        _ code: CURLcode, what: String, address: HTTPClientAddress, detail: String, errorNumber: Int,
        sentByteCount: Int, limits: HTTPClientLimits, totalSeconds: Double?
    ) -> HTTPClientError {
        let reason = errorNumber > 0 ? lowercased(String(cString: strerror(Int32(errorNumber)))) : detail
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST:
            return HTTPClientError(.unreachable, "cannot reach \(address): no such host")
        case CURLE_COULDNT_CONNECT:
            return HTTPClientError(.unreachable, "cannot reach \(address): \(reason)\(advice(errorNumber))")
        case CURLE_OPERATION_TIMEDOUT where sentByteCount == 0:
            return HTTPClientError(
                .unreachable,
                "cannot reach \(address): no connection within \(seconds(limits.connectSeconds))")
        case CURLE_OPERATION_TIMEDOUT:
            let waited = totalSeconds ?? limits.silenceSeconds
            return HTTPClientError(
                .timeout,
                "\(what) at \(address): no \(totalSeconds == nil ? "word" : "answer") "
                    + "within \(seconds(waited))")
        default:
            return HTTPClientError(.interrupted, "\(what) at \(address): \(reason)")
        }
    }

    private static func advice(_ errorNumber: Int) -> String {
        switch Int32(errorNumber) {
        case ECONNREFUSED, ENOENT: "; is the agent running?"
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
