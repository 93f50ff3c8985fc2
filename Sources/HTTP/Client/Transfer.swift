import CCurl
import Synchronization

/// One request on its way: what it says, libcurl's easy handle while it is under way, and the answer so far.
///
/// Owns the list of header fields and borrows the handle. `@unchecked Sendable`: made by the caller, then used
/// only on the loop's thread; `isCancelled` is what others may touch.
final class Transfer: @unchecked Sendable {
    /// A body up to this size goes out together with the head, and is copied for it; a larger one is read
    /// from where it is, piece by piece.
    private static var copiedBodyByteCount: Int { 64 << 10 }

    let isCancelled = Atomic<Bool>(false)
    let address: HTTPClientAddress
    /// When a transfer that still waits for its turn is given up; nil for a stream.
    let deadline: ContinuousClock.Instant?

    private let request: HTTPClientRequest
    private let target: String
    private let limits: HTTPClientLimits
    private let identity: HTTPClientIdentity
    private let deliver: (@Sendable ([UInt8]) -> Bool)?
    /// Nil once it has been called.
    private var report: (@Sendable (TransferLoop.Outcome) -> Void)?

    /// Nil unless it is under way.
    private(set) var easy: UnsafeMutableRawPointer?
    private var fields: UnsafeMutablePointer<curl_slist>?
    private let message = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private var sentBodyByteCount = 0
    private var sendCount = 0

    /// libcurl takes a connection that closes in the middle of the head for an answer: `isComplete` tells.
    private var head = AnswerHead()
    private var body: [UInt8] = []
    /// Why the transfer was cut from this side.
    private var refusal: HTTPClientError?
    private var hasEnough = false

    init(
        _ request: HTTPClientRequest, to address: HTTPClientAddress, limits: HTTPClientLimits,
        identity: HTTPClientIdentity = HTTPClientIdentity(), deliver: (@Sendable ([UInt8]) -> Bool)?
    ) throws(HTTPClientError) {
        self.request = request
        self.address = address
        self.limits = limits
        self.identity = identity
        self.deliver = deliver
        target = try request.target()
        let totalSeconds = deliver == nil ? request.totalSeconds ?? limits.totalSeconds : request.totalSeconds
        deadline = totalSeconds.map { .now + .milliseconds(Self.milliseconds($0)) }
        message.initialize(to: 0)
    }

    deinit {
        if let fields { curl_slist_free_all(fields) }
        message.deallocate()
    }

    private var what: String { "\(request.method) \(request.path)" }
    /// Nil for a stream.
    private var totalSeconds: Double? {
        deliver == nil ? request.totalSeconds ?? limits.totalSeconds : request.totalSeconds
    }
    private var connectSeconds: Double { request.connectSeconds ?? limits.connectSeconds }

    var isOver: Bool { report == nil }

    /// Before it is handed to the loop.
    func willReport(_ report: @escaping @Sendable (TransferLoop.Outcome) -> Void) { self.report = report }

    /// Tells the caller, once.
    func finish(_ outcome: TransferLoop.Outcome) {
        report?(outcome)
        report = nil
    }

    // MARK: Before

    /// Sets every option of a fresh or reset handle; false when there is no memory for it.
    func prepare(_ easy: UnsafeMutableRawPointer, idleSeconds: Double) -> Bool {
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
        set(CURLOPT_PROTOCOLS_STR, address.isEncrypted ? "https" : "http")
        if address.isEncrypted { isSet = setTLS(easy) && isSet }
        set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        set(CURLOPT_FOLLOWLOCATION, 0)
        // Empty text means none, not even the one `http_proxy` names; the second keeps it from looking.
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOPROXY, "*")
        set(CURLOPT_USERAGENT, "viaduct")
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_MAXAGE_CONN, max(1, Int(idleSeconds)))
        if identity.revocations != nil { set(CURLOPT_MAXLIFETIME_CONN, limits.listedSeconds) }
        set(CURLOPT_CONNECTTIMEOUT_MS, Self.milliseconds(connectSeconds))
        if let deadline { set(CURLOPT_TIMEOUT_MS, Self.milliseconds(until: deadline)) }
        if deliver != nil {
            set(CURLOPT_LOW_SPEED_LIMIT, 1)
            set(CURLOPT_LOW_SPEED_TIME, max(1, Int(limits.silenceSeconds.rounded(.up))))
        }
        isSet = isSet && setBody(easy)
        set(CURLOPT_CUSTOMREQUEST, request.method)
        if request.method == "HEAD" { set(CURLOPT_NOBODY, 1) }
        return isSet && setFields(easy) && setReceivers(easy)
    }

    private func setTLS(_ easy: UnsafeMutableRawPointer) -> Bool {
        let files = [
            (CURLOPT_CAINFO, identity.authorities), (CURLOPT_CRLFILE, identity.revocations),
            (CURLOPT_SSLCERT, identity.certificate), (CURLOPT_SSLKEY, identity.key),
        ]
        return viaduct_curl_set_long(easy, CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2)) == CURLE_OK
            && viaduct_curl_set_long(easy, CURLOPT_SSL_VERIFYPEER, 1) == CURLE_OK
            && viaduct_curl_set_long(easy, CURLOPT_SSL_VERIFYHOST, 2) == CURLE_OK
            && files.allSatisfy { option, path in
                path.map { viaduct_curl_set_pointer(easy, option, $0) == CURLE_OK } ?? true
            }
    }

    private func setBody(_ easy: UnsafeMutableRawPointer) -> Bool {
        guard let body = request.body else { return true }
        guard viaduct_curl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, Int(body.count)) == CURLE_OK else {
            return false
        }
        if body.count > Self.copiedBodyByteCount {
            let context = Unmanaged.passUnretained(self).toOpaque()
            return viaduct_curl_set_long(easy, CURLOPT_POST, 1) == CURLE_OK
                && viaduct_curl_set_receiver(easy, CURLOPT_READFUNCTION, wantedBody) == CURLE_OK
                && viaduct_curl_set_pointer(easy, CURLOPT_READDATA, context) == CURLE_OK
                && viaduct_curl_set_seeker(easy, CURLOPT_SEEKFUNCTION, rewoundBody) == CURLE_OK
                && viaduct_curl_set_pointer(easy, CURLOPT_SEEKDATA, context) == CURLE_OK
        }
        // An empty array has no address: a byte stands in for it.
        let bytes = body.isEmpty ? [0] : body
        return bytes.withUnsafeBytes {
            viaduct_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) == CURLE_OK
        }
    }

    private func setFields(_ easy: UnsafeMutableRawPointer) -> Bool {
        var hasType = false
        for (name, value) in request.headers {
            // libcurl reads "Name;" as a field without a value and "Name:" as one it shall not send.
            guard append(value.isEmpty ? "\(name);" : "\(name): \(value)") else { return false }
            hasType = hasType || name.equalsIgnoringASCIICase("Content-Type")
        }
        if !hasType, request.body != nil { guard append("Content-Type:") else { return false } }
        if case .unix = address.place { guard append("Host: localhost") else { return false } }
        return fields == nil || viaduct_curl_set_pointer(easy, CURLOPT_HTTPHEADER, fields) == CURLE_OK
    }

    private func append(_ line: String) -> Bool {
        guard let longer = curl_slist_append(fields, line) else { return false }
        fields = longer
        return true
    }

    private func setReceivers(_ easy: UnsafeMutableRawPointer) -> Bool {
        // Unretained: the loop holds the transfer as long as it holds the handle.
        let context = Unmanaged.passUnretained(self).toOpaque()
        return viaduct_curl_set_pointer(easy, CURLOPT_ERRORBUFFER, message) == CURLE_OK
            && viaduct_curl_set_prerequest(easy, CURLOPT_PREREQFUNCTION, aboutToSend) == CURLE_OK
            && viaduct_curl_set_pointer(easy, CURLOPT_PREREQDATA, context) == CURLE_OK
            && viaduct_curl_set_receiver(easy, CURLOPT_HEADERFUNCTION, receivedHead) == CURLE_OK
            && viaduct_curl_set_pointer(easy, CURLOPT_HEADERDATA, context) == CURLE_OK
            && viaduct_curl_set_receiver(easy, CURLOPT_WRITEFUNCTION, receivedBody) == CURLE_OK
            && viaduct_curl_set_pointer(easy, CURLOPT_WRITEDATA, context) == CURLE_OK
    }

    private static func milliseconds(_ seconds: Double) -> Int { max(1, Int(min(seconds, 1e6) * 1000)) }

    private static func milliseconds(until deadline: ContinuousClock.Instant) -> Int {
        max(1, Int((deadline - .now) / .milliseconds(1)))
    }

    // MARK: Meanwhile

    /// A connection stands. When a kept connection breaks before an answer comes, libcurl would send the
    /// request again by another one; that is for methods that may be repeated (RFC 9112 §9.3.1).
    fileprivate func maySend() -> Bool {
        sendCount += 1
        return sendCount == 1 || ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].contains(request.method)
    }

    fileprivate func readBody(into space: UnsafeMutableRawBufferPointer) -> Int {
        let piece = request.body?[sentBodyByteCount...].prefix(space.count) ?? []
        space.copyBytes(from: piece)
        sentBodyByteCount += piece.count
        return piece.count
    }

    fileprivate func seekBody(to offset: Int) -> Bool {
        guard let body = request.body, (0...body.count).contains(offset) else { return false }
        sentBodyByteCount = offset
        return true
    }

    /// One line of the head. False cuts the transfer.
    fileprivate func receiveHead(_ line: UnsafeRawBufferPointer) -> Bool {
        head.take(line)
        if head.byteCount > limits.headByteCount { refusal = tooLarge("a head", limits.headByteCount) }
        return refusal == nil
    }

    /// A piece of the body. False cuts the transfer.
    fileprivate func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if let deliver, (200..<300).contains(head.status) {
            hasEnough = !deliver(Array(bytes))
            return !hasEnough
        }
        guard body.count + bytes.count <= limits.bodyByteCount else {
            refusal = tooLarge("a body", limits.bodyByteCount)
            return false
        }
        body.append(contentsOf: bytes)
        return true
    }

    private func tooLarge(_ part: String, _ limit: Int) -> HTTPClientError {
        HTTPClientError(
            .tooLarge, "\(what) at \(address): wanted \(part) of at most \(limit) bytes, found a longer one",
            mayBeDelivered: true)
    }

    // MARK: After

    /// Of a transfer that has ended by itself.
    func outcome(_ code: CURLcode) -> TransferLoop.Outcome {
        if let refusal { return .failure(refusal) }
        if hasEnough || code == CURLE_OK && head.isComplete {
            return .success(HTTPClientResponse(status: head.status, headers: head.fields, body: body))
        }
        if code == CURLE_OK {
            return .failure(
                HTTPClientError(
                    .interrupted, "\(what) at \(address): the answer broke off in its head",
                    mayBeDelivered: true))
        }
        let text = String(cString: message)
        return .failure(
            .from(
                code, what: what, address: address,
                detail: text.isEmpty ? String(cString: curl_easy_strerror(code)) : text,
                errorNumber: number(CURLINFO_OS_ERRNO), isSent: isSent,
                connectSeconds: connectSeconds, totalSeconds: totalSeconds,
                silenceSeconds: limits.silenceSeconds))
    }

    var cancellation: HTTPClientError {
        HTTPClientError(.cancelled, "\(what) at \(address): cancelled", mayBeDelivered: isSent)
    }
    var outOfMemory: HTTPClientError {
        HTTPClientError(
            .interrupted, "\(what) at \(address): out of memory or descriptors for the request",
            mayBeDelivered: false)
    }
    /// Too many requests were before it.
    var overdue: HTTPClientError {
        HTTPClientError(
            .timeout,
            "\(what) at \(address): not sent within \(totalSeconds ?? 0) seconds, others were first",
            mayBeDelivered: false)
    }

    /// Whether any of it has left, by whatever connection; libcurl adds up over all of them.
    private var isSent: Bool { number(CURLINFO_REQUEST_SIZE) > 0 }

    private func number(_ info: CURLINFO) -> Int {
        var value = 0
        guard let easy, viaduct_curl_get_long(easy, info, &value) == CURLE_OK else { return 0 }
        return value
    }

    /// The handle is another transfer's from now on.
    func leaveHandle() { easy = nil }
}

private func transfer(_ context: UnsafeMutableRawPointer) -> Transfer {
    Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
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
    return body(transfer(context), UnsafeRawBufferPointer(start: bytes, count: count)) ? count : -1
}

private let wantedBody: viaduct_curl_receiver = { bytes, size, count, context in
    guard let context else { return Int(CURL_READFUNC_ABORT) }
    return transfer(context).readBody(into: UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
}

private let rewoundBody: curl_seek_callback = { context, offset, origin in
    guard let context, origin == SEEK_SET, transfer(context).seekBody(to: offset) else {
        return CURL_SEEKFUNC_FAIL
    }
    return CURL_SEEKFUNC_OK
}

private let aboutToSend: curl_prereq_callback = { context, _, _, _, _ in
    guard let context, transfer(context).maySend() else { return CURL_PREREQFUNC_ABORT }
    return CURL_PREREQFUNC_OK
}
