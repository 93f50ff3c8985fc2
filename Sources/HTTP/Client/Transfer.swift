import CCurl
import Synchronization

/// One request on its way: libcurl's easy handle with everything it points at, and the answer so far.
///
/// Owns the handle and the list of header fields. `@unchecked Sendable`: made by the caller, then used only
/// on the loop's thread; `isCancelled` is what others may touch.
final class Transfer: @unchecked Sendable {
    let isCancelled = Atomic<Bool>(false)

    private let request: HTTPClientRequest
    private let target: String
    private let address: HTTPClientAddress
    private let limits: HTTPClientLimits
    private let deliver: (@Sendable ([UInt8]) -> Bool)?

    private var easy: UnsafeMutableRawPointer?
    private var fields: UnsafeMutablePointer<curl_slist>?
    private let message = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))

    private var answer = HTTPClientResponse(status: 0)
    private var headByteCount = 0
    /// libcurl takes a connection that closes in the middle of the head for an answer.
    private var isHeadComplete = false
    /// Why the transfer was cut from this side.
    private var refusal: HTTPClientError?
    private var hasEnough = false

    init(
        _ request: HTTPClientRequest, to address: HTTPClientAddress, limits: HTTPClientLimits,
        deliver: (@Sendable ([UInt8]) -> Bool)?
    ) throws(HTTPClientError) {
        self.request = request
        self.address = address
        self.limits = limits
        self.deliver = deliver
        target = try request.target()
        message.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit {
        if let easy { curl_easy_cleanup(easy) }
        if let fields { curl_slist_free_all(fields) }
        message.deallocate()
    }

    private var what: String { "\(request.method) \(request.path)" }
    /// Nil for a stream.
    private var totalSeconds: Double? {
        deliver == nil ? request.totalSeconds ?? limits.totalSeconds : request.totalSeconds
    }

    var cancellation: HTTPClientError {
        HTTPClientError(.cancelled, "\(what) at \(address): cancelled")
    }
    var outOfMemory: HTTPClientError {
        HTTPClientError(.interrupted, "\(what) at \(address): out of memory for the request")
    }

    // MARK: Before

    /// The handle with every option set; nil when there is no memory for it.
    func prepare() -> UnsafeMutableRawPointer? {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
        var isSet = true
        func set(_ option: CURLoption, _ number: Int) {
            isSet = isSet && viaduct_curl_set_long(easy, option, number) == CURLE_OK
        }
        func set(_ option: CURLoption, _ text: String) {
            isSet = isSet && viaduct_curl_set_pointer(easy, option, text) == CURLE_OK
        }
        set(CURLOPT_URL, address.origin + target)
        if case .unix(let path) = address.place { set(CURLOPT_UNIX_SOCKET_PATH, path) }
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_PROTOCOLS_STR, "http")
        set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        set(CURLOPT_FOLLOWLOCATION, 0)
        // Empty text means none, not even the one `http_proxy` names; the second keeps it from looking.
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOPROXY, "*")
        set(CURLOPT_USERAGENT, "viaduct")
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(limits.connectSeconds))
        if let totalSeconds { set(CURLOPT_TIMEOUT_MS, milliseconds(totalSeconds)) }
        if deliver != nil {
            set(CURLOPT_LOW_SPEED_LIMIT, 1)
            set(CURLOPT_LOW_SPEED_TIME, max(1, Int(limits.silenceSeconds.rounded(.up))))
        }
        set(CURLOPT_CUSTOMREQUEST, request.method)
        if request.method == "HEAD" { set(CURLOPT_NOBODY, 1) }
        isSet = isSet && setBody(easy) && setFields(easy) && setReceivers(easy)
        return isSet ? easy : nil
    }

    private func setBody(_ easy: UnsafeMutableRawPointer) -> Bool {
        guard let body = request.body else { return true }
        let size = viaduct_curl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, Int(body.count))
        // The bytes are copied, and an empty array has no address: the text stands in for it.
        let bytes = body.isEmpty ? [0] : body
        return size == CURLE_OK
            && bytes.withUnsafeBytes {
                viaduct_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) == CURLE_OK
            }
    }

    private func setFields(_ easy: UnsafeMutableRawPointer) -> Bool {
        // libcurl reads "Name;" as a field without a value and "Name:" as one it shall not send.
        var lines = request.headers.map { $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)" }
        let names = request.headers.map(\.name)
        if !names.contains(where: { $0.equalsIgnoringASCIICase("Content-Type") }) {
            lines.append("Content-Type:")
        }
        for line in lines {
            guard let longer = curl_slist_append(fields, line) else { return false }
            fields = longer
        }
        return viaduct_curl_set_pointer(easy, CURLOPT_HTTPHEADER, fields) == CURLE_OK
    }

    private func setReceivers(_ easy: UnsafeMutableRawPointer) -> Bool {
        // Unretained: the loop holds the transfer as long as it holds the handle.
        let context = Unmanaged.passUnretained(self).toOpaque()
        return viaduct_curl_set_pointer(easy, CURLOPT_ERRORBUFFER, message) == CURLE_OK
            && viaduct_curl_set_receiver(easy, CURLOPT_HEADERFUNCTION, receivedHead) == CURLE_OK
            && viaduct_curl_set_pointer(easy, CURLOPT_HEADERDATA, context) == CURLE_OK
            && viaduct_curl_set_receiver(easy, CURLOPT_WRITEFUNCTION, receivedBody) == CURLE_OK
            && viaduct_curl_set_pointer(easy, CURLOPT_WRITEDATA, context) == CURLE_OK
    }

    private func milliseconds(_ seconds: Double) -> Int { max(1, Int(min(seconds, 1e6) * 1000)) }

    // MARK: Meanwhile

    /// One line of the head. False cuts the transfer.
    fileprivate func receiveHead(_ line: UnsafeRawBufferPointer) -> Bool {
        let text = String(decoding: line, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            // The head of an interim answer (100) came before; only the last one counts.
            answer = HTTPClientResponse(status: Int(text.split(separator: " ").dropFirst().first ?? "") ?? 0)
            headByteCount = 0
        }
        isHeadComplete = text == "\r\n" || text == "\n"
        headByteCount += line.count
        guard headByteCount <= limits.headByteCount else {
            refusal = tooLarge("a head", limits.headByteCount)
            return false
        }
        if !text.hasPrefix("HTTP/"), let colon = text.firstIndex(of: ":") {
            answer.headers.append((String(text[..<colon]), text[colon...].dropFirst().trimmed))
        }
        return true
    }

    /// A piece of the body. False cuts the transfer.
    fileprivate func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if let deliver, (200..<300).contains(answer.status) {
            hasEnough = !deliver(Array(bytes))
            return !hasEnough
        }
        guard answer.body.count + bytes.count <= limits.bodyByteCount else {
            refusal = tooLarge("a body", limits.bodyByteCount)
            return false
        }
        answer.body.append(contentsOf: bytes)
        return true
    }

    private func tooLarge(_ part: String, _ limit: Int) -> HTTPClientError {
        HTTPClientError(
            .tooLarge, "\(what) at \(address): wanted \(part) of at most \(limit) bytes, found a longer one")
    }

    // MARK: After

    func outcome(_ code: CURLcode) -> TransferLoop.Outcome {
        if let refusal { return .failure(refusal) }
        if hasEnough { return .success(answer) }
        if code == CURLE_OK {
            if isHeadComplete { return .success(answer) }
            return .failure(
                HTTPClientError(.interrupted, "\(what) at \(address): the answer broke off in its head"))
        }
        let text = String(cString: message)
        return .failure(
            .from(
                code, what: what, address: address,
                detail: text.isEmpty ? String(cString: curl_easy_strerror(code)) : text,
                errorNumber: number(CURLINFO_OS_ERRNO), sentByteCount: number(CURLINFO_REQUEST_SIZE),
                limits: limits, totalSeconds: totalSeconds))
    }

    private func number(_ info: CURLINFO) -> Int {
        var value = 0
        guard let easy, viaduct_curl_get_long(easy, info, &value) == CURLE_OK else { return 0 }
        return value
    }
}

private let receivedHead: viaduct_curl_receiver = { bytes, size, count, context in
    received(bytes, size * count, context) { $0.receiveHead($1) }
}

private let receivedBody: viaduct_curl_receiver = { bytes, size, count, context in
    received(bytes, size * count, context) { $0.receiveBody($1) }
}

/// What libcurl takes for "go on" is the count it gave; anything else cuts the transfer.
private func received(
    _ bytes: UnsafeMutablePointer<CChar>?, _ count: Int, _ context: UnsafeMutableRawPointer?,
    _ body: (Transfer, UnsafeRawBufferPointer) -> Bool
) -> Int {
    guard let context else { return -1 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    return body(transfer, UnsafeRawBufferPointer(start: bytes, count: count)) ? count : -1
}

extension Substring {
    /// Without blanks and line ends around it.
    fileprivate var trimmed: String {
        let blanks: Set<Character> = [" ", "\t", "\r", "\n", "\r\n"]
        var text = drop { blanks.contains($0) }
        while let last = text.last, blanks.contains(last) { text.removeLast() }
        return String(text)
    }
}
