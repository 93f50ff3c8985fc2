import CMicroHTTPD

/// Turns an `HTTPResponse` into libmicrohttpd's and queues it. Owns that object for the length of one call.
enum ResponseWriter {
    /// Fields that describe the connection or the framing; a handler cannot set them.
    private static let reserved = [
        "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Date", RequestID.headerName,
    ]

    /// - Returns: what the access handler returns; `NO` closes the connection.
    static func queue(
        _ response: HTTPResponse, on connection: OpaquePointer, requestID: String, closes: Bool, log: LogGate
    ) -> MHD_Result {
        var status = response.status
        if !(200...599).contains(status) {
            log.write("request \(requestID): wanted a status of 200 to 599, found \(status); sent 500")
            status = 500
        }
        let body = status == 204 || status == 304 ? [] : response.body
        let created = body.withUnsafeBytes {
            MHD_create_response_from_buffer(
                $0.count, UnsafeMutableRawPointer(mutating: $0.baseAddress), .RESPMEM_MUST_COPY)
        }
        guard let created else {
            log.write("request \(requestID): out of memory for an answer of \(body.count) bytes")
            return .NO
        }
        defer { MHD_destroy_response(created) }
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
