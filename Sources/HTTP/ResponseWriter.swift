import CMicroHTTPD

/// Turns an `HTTPResponse` into libmicrohttpd's and queues it. Owns that object for the length of one call.
enum ResponseWriter {
    /// Fields that describe the connection or the framing; a handler cannot set them.
    private static let reserved = [
        "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Date", RequestID.headerName,
    ]

    /// For HTTP/1.0, where libmicrohttpd reads a stream in blocks; chunks are cut as the buffer allows.
    private static var streamBlockByteCount: Int { 16 << 10 }
    private static var unknownByteCount: UInt64 { .max }

    /// - Returns: what the access handler returns; `NO` closes the connection.
    static func queue(
        _ response: HTTPResponse, on connection: OpaquePointer, requestID: String, closes: Bool, log: LogGate
    ) -> MHD_Result {
        let body = response.status == 204 || response.status == 304 ? [] : response.body
        let created = body.withUnsafeBytes {
            MHD_create_response_from_buffer(
                $0.count, UnsafeMutableRawPointer(mutating: $0.baseAddress), .RESPMEM_MUST_COPY)
        }
        guard let created else {
            log.write("request \(requestID): out of memory for an answer of \(body.count) bytes")
            return .NO
        }
        return queue(created, response, on: connection, requestID, closes: closes, log)
    }

    /// The same for a stream. libmicrohttpd holds the reader until the request is over.
    static func queue(
        _ response: HTTPResponse, _ reader: StreamReader, on connection: OpaquePointer, requestID: String,
        log: LogGate
    ) -> MHD_Result {
        let context = Unmanaged.passRetained(reader)
        let created = MHD_create_response_from_callback(
            unknownByteCount, streamBlockByteCount, readStream, context.toOpaque(), releaseStreamReader)
        guard let created else {
            context.release()
            log.write("request \(requestID): out of memory for a stream")
            return .NO
        }
        return queue(created, response, on: connection, requestID, closes: true, log)
    }

    private static func queue(
        _ created: OpaquePointer, _ response: HTTPResponse, on connection: OpaquePointer, _ requestID: String,
        closes: Bool, _ log: LogGate
    ) -> MHD_Result {
        defer { MHD_destroy_response(created) }
        var status = response.status
        if !(200...599).contains(status) {
            log.write("request \(requestID): wanted a status of 200 to 599, found \(status); sent 500")
            status = 500
        }
        for (name, value) in response.headers {
            if reserved.contains(where: { $0.equalsIgnoringASCIICase(name) }) || !isSendable(name, value)
                || MHD_add_response_header(created, name, value) != .YES
            {
                log.write("request \(requestID): left out the response header \(name.debugDescription)")
            }
        }
        _ = MHD_add_response_header(created, RequestID.headerName, requestID)
        if closes { _ = MHD_add_response_header(created, "Connection", "close") }
        return MHD_queue_response(connection, UInt32(status), created)
    }

    private static func isSendable(_ name: String, _ value: String) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy(\.isTokenByte)
            && value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}
