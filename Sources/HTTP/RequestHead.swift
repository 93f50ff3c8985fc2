/// The head of a request, checked: the gate between libmicrohttpd's lenient parser and our handlers. Pure.
///
/// Every rule answers a behaviour measured in libmicrohttpd 0.9.75: it accepts two lengths, a length beside
/// a transfer coding, unknown codings, absolute targets, blanks in names and any method.
struct RequestHead {
    let method: String
    let target: RequestTarget
    let headers: [(name: String, value: String)]
    /// From Content-Length; nil for a chunked body, 0 for none.
    let bodyByteCount: Int?
    /// The client waits for `100 Continue` before it sends the body, so nothing is lost by refusing now.
    let expectsContinue: Bool

    /// - Parameter target: the raw bytes between method and version.
    init(
        method: String, target: [UInt8], version: String, headers: [(name: String, value: String)],
        limits: HTTPLimits
    ) throws(HTTPFailure) {
        guard HTTPRequest.methods.contains(method) else {
            throw .methodNotImplemented(PercentDecoding.printable(Array(method.utf8)))
        }
        guard version == "HTTP/1.1" || version == "HTTP/1.0" else {
            throw .malformedRequest(
                "wanted HTTP/1.1 or HTTP/1.0, found \"\(PercentDecoding.printable(Array(version.utf8)))\"")
        }
        guard headers.count <= limits.headerCount else { throw .tooManyHeaders(limit: limits.headerCount) }
        try Self.checkFields(headers)
        try Self.checkHost(headers, version)
        self.method = method
        self.target = try RequestTarget(target, limit: limits.uriByteCount)
        self.headers = headers
        bodyByteCount = try Self.framing(headers, version: version)
        expectsContinue = headers.contains { $0.name.equalsIgnoringASCIICase("Expect") }
    }

    /// Names are tokens and values hold no control character but tab.
    private static func checkFields(_ headers: [(name: String, value: String)]) throws(HTTPFailure) {
        for (name, value) in headers {
            guard !name.isEmpty, name.utf8.allSatisfy(\.isTokenByte) else {
                throw .malformedRequest(
                    "wanted a header name, found \"\(PercentDecoding.printable(Array(name.utf8)))\"")
            }
            guard value.utf8.allSatisfy({ ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }) else {
                throw .malformedRequest("wanted no control character in header \(name)")
            }
        }
    }

    /// HTTP/1.1 demands exactly one (RFC 9112 §3.2); HTTP/1.0 may leave it out.
    private static func checkHost(
        _ headers: [(name: String, value: String)], _ version: String
    ) throws(HTTPFailure) {
        let count = headers.count { $0.name.equalsIgnoringASCIICase("Host") }
        guard count == 1 || (count == 0 && version == "HTTP/1.0") else {
            throw .malformedRequest("wanted one Host header, found \(count)")
        }
    }

    /// The length of the body: a number, nil for chunked. Exactly one way of saying it is allowed.
    private static func framing(
        _ headers: [(name: String, value: String)], version: String
    ) throws(HTTPFailure) -> Int? {
        let lengths = headers.filter { $0.name.equalsIgnoringASCIICase("Content-Length") }
        let codings = headers.filter { $0.name.equalsIgnoringASCIICase("Transfer-Encoding") }
        guard lengths.count <= 1 else {
            throw .ambiguousLength("wanted one Content-Length, found \(lengths.count)")
        }
        guard lengths.isEmpty || codings.isEmpty else {
            throw .ambiguousLength("wanted Content-Length or Transfer-Encoding, found both")
        }
        if let coding = codings.first {
            guard codings.count == 1, coding.value.equalsIgnoringASCIICase("chunked") else {
                let found = codings.map(\.value).joined(separator: ", ")
                throw .unsupportedTransferEncoding(PercentDecoding.printable(Array(found.utf8)))
            }
            guard version == "HTTP/1.1" else {
                throw .ambiguousLength("wanted HTTP/1.1 for a chunked body, found \(version)")
            }
            return nil
        }
        guard let length = lengths.first?.value else { return 0 }
        guard !length.isEmpty, length.utf8.allSatisfy(\.isASCIIDigit) else {
            throw .malformedRequest(
                "wanted digits in Content-Length, found \"\(PercentDecoding.printable(Array(length.utf8)))\"")
        }
        return Int(length) ?? Int.max
    }
}

extension UInt8 {
    /// tchar of RFC 9110 §5.6.2.
    var isTokenByte: Bool {
        if isASCIILetter || isASCIIDigit { return true }
        switch self {
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            return true
        default: return false
        }
    }
}
