import HTTP
import Testing

/// Requests that libmicrohttpd 0.9.75 lets through or treats in its own way, one row each, over a socket.
@Suite struct HostileRequestTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: String
        let status: Int
        /// Part of the failure's message; empty where libmicrohttpd answers by itself.
        var message = ""

        var testDescription: String { name }
    }

    private static let host = "Host: x\r\n"
    private static let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

    private static func get(_ target: String) -> String { "GET \(target) HTTP/1.1\r\n\(host)\r\n" }

    private static func nines(_ count: Int) -> String { String(repeating: "9", count: count) }

    static let rows: [Row] = [
        Row(
            name: "chunked beside Content-Length",
            bytes:
                "POST /a HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
                + smuggled, status: 400, message: "found both"),
        Row(
            name: "Content-Length beside chunked, other order and case",
            bytes:
                "POST /a HTTP/1.1\r\n\(host)content-length: 5\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n"
                + smuggled, status: 400, message: "found both"),
        Row(
            name: "two different lengths",
            bytes: "POST /a HTTP/1.1\r\n\(host)Content-Length: 2\r\nContent-Length: 40\r\n\r\nxx" + smuggled,
            status: 400, message: "wanted one Content-Length"),
        Row(
            name: "the same length twice",
            bytes: "POST /a HTTP/1.1\r\n\(host)Content-Length: 2\r\nContent-Length: 2\r\n\r\nxx" + smuggled,
            status: 400, message: "wanted one Content-Length"),
        Row(
            name: "an unknown transfer coding",
            bytes: "POST /a HTTP/1.1\r\n\(host)Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
            status: 400,
            message: "xchunked"),
        Row(
            name: "two transfer codings in one field",
            bytes: "POST /a HTTP/1.1\r\n\(host)Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled,
            status: 400, message: "gzip, chunked"),
        Row(
            name: "two transfer codings in two fields",
            bytes:
                "POST /a HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
                + "0\r\n\r\n" + smuggled, status: 400, message: "chunked, identity"),
        Row(
            name: "chunked in HTTP/1.0",
            bytes: "POST /a HTTP/1.0\r\n\(host)Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
            status: 400,
            message: "HTTP/1.0"),
        Row(
            name: "length +5", bytes: "POST /a HTTP/1.1\r\n\(host)Content-Length: +5\r\n\r\nxxxxx",
            status: 400),
        Row(
            name: "length -5", bytes: "POST /a HTTP/1.1\r\n\(host)Content-Length: -5\r\n\r\nxxxxx",
            status: 400),
        Row(
            name: "length 5, 5", bytes: "POST /a HTTP/1.1\r\n\(host)Content-Length: 5, 5\r\n\r\nxxxxx",
            status: 400),
        Row(
            name: "length 0x5", bytes: "POST /a HTTP/1.1\r\n\(host)Content-Length: 0x5\r\n\r\nxxxxx",
            status: 400),
        Row(
            name: "length of 30 digits",
            bytes:
                "POST /a HTTP/1.1\r\n\(host)Content-Length: \(nines(30))\r\n\r\nxxxxx",
            status: 413),
        Row(
            name: "length of 19 digits",
            bytes:
                "POST /a HTTP/1.1\r\n\(host)Content-Length: \(nines(19))\r\n\r\nxxxxx",
            status: 413, message: "wanted a body of at most"),
        Row(
            name: "encoded dot-dot", bytes: get("/v1/bridges/%2e%2e/%2E%2e/etc"), status: 400,
            message: "\"..\""),
        Row(name: "plain dot-dot", bytes: get("/v1/../etc"), status: 400, message: "\"..\""),
        Row(name: "a dot segment", bytes: get("/v1/./etc"), status: 400, message: "\".\""),
        Row(name: "an encoded NUL", bytes: get("/v1/public%00/v1/secret"), status: 400, message: "control"),
        Row(name: "an encoded newline", bytes: get("/v1/a%0ab"), status: 400, message: "control"),
        Row(name: "an encoded DEL", bytes: get("/v1/a%7f"), status: 400, message: "control"),
        Row(
            name: "a raw NUL in the target", bytes: get("/v1/public\0/v1/secret"), status: 400, message: "NUL"
        ),
        Row(
            name: "a raw NUL in the query", bytes: get("/v1/public?a=b\0/v1/secret"), status: 400,
            message: "NUL"),
        Row(name: "an encoded slash", bytes: get("/v1/a%2fb"), status: 400, message: "encoded slash"),
        Row(
            name: "an upper-case encoded slash", bytes: get("/v1/a%2Fb"), status: 400,
            message: "encoded slash"),
        Row(name: "%zz", bytes: get("/v1/%zz"), status: 400, message: "two hex digits"),
        Row(name: "a truncated escape", bytes: get("/v1/a%2"), status: 400, message: "two hex digits"),
        Row(name: "a lone percent", bytes: get("/v1/a%"), status: 400, message: "two hex digits"),
        Row(name: "%zz in the query", bytes: get("/v1?a=%zz"), status: 400, message: "two hex digits"),
        Row(name: "an encoded NUL in the query", bytes: get("/v1?a=%00"), status: 400, message: "control"),
        Row(name: "a query without a name", bytes: get("/v1?=x"), status: 400, message: "empty name"),
        Row(name: "a query with a double &", bytes: get("/v1?a=1&&b=2"), status: 400, message: "empty name"),
        Row(
            name: "encoded bytes, not UTF-8", bytes: get("/v1/%ff%fe"), status: 400, message: "UTF-8"),
        Row(name: "an overlong encoded slash", bytes: get("/v1/%c0%af"), status: 400, message: "UTF-8"),
        Row(name: "raw bytes beyond ASCII", bytes: get("/v1/é"), status: 400, message: "percent-encoded"),
        Row(name: "a backslash", bytes: get("/v1/a\\b"), status: 400, message: "percent-encoded"),
        Row(name: "a fragment", bytes: get("/v1/a#b"), status: 400, message: "percent-encoded"),
        Row(
            name: "an empty segment", bytes: get("/v1//x"), status: 400, message: "between two slashes"),
        Row(
            name: "a double slash at the start", bytes: get("//v1"), status: 400,
            message: "between two slashes"),
        Row(name: "an absolute URI", bytes: get("http://x/v1"), status: 400, message: "starts with /"),
        Row(name: "an authority", bytes: get("x:80"), status: 400, message: "starts with /"),
        Row(
            name: "an asterisk", bytes: "OPTIONS * HTTP/1.1\r\n\(host)\r\n", status: 400,
            message: "starts with /"),
        Row(
            name: "a method that is no token", bytes: "G(T /v1 HTTP/1.1\r\n\(host)\r\n", status: 400,
            message: "wanted a method"),
        Row(
            name: "a method of 33 bytes",
            bytes: "\(String(repeating: "A", count: 33)) /v1 HTTP/1.1\r\n\(host)\r\n", status: 400,
            message: "at most 32 bytes"),
        Row(
            name: "CONNECT", bytes: "CONNECT x:80 HTTP/1.1\r\n\(host)\r\n", status: 400,
            message: "starts with /"),
        Row(name: "a space in the target", bytes: get("/v1/a b"), status: 400, message: "percent-encoded"),
        Row(name: "no version", bytes: "GET /v1\r\n\r\n", status: 400),
        Row(name: "no Host", bytes: "GET /v1 HTTP/1.1\r\n\r\n", status: 400, message: "found 0"),
        Row(
            name: "two Hosts", bytes: "GET /v1 HTTP/1.1\r\n\(host)Host: y\r\n\r\n", status: 400,
            message: "one Host"),
        Row(
            name: "a space before the colon", bytes: "GET /v1 HTTP/1.1\r\n\(host)X-A : b\r\n\r\n",
            status: 400,
            message: "header name"),
        Row(name: "no colon", bytes: "GET /v1 HTTP/1.1\r\n\(host)X-A\r\n\r\n", status: 400),
        Row(
            name: "a blank before the first header", bytes: "GET /v1 HTTP/1.1\r\n \(host)\r\n", status: 400),
        Row(
            name: "a control character in a header", bytes: "GET /v1 HTTP/1.1\r\n\(host)X-A: b\u{1}c\r\n\r\n",
            status: 400, message: "control"),
        Row(
            name: "a header name that is no token", bytes: "GET /v1 HTTP/1.1\r\n\(host)X(A): b\r\n\r\n",
            status: 400,
            message: "header name"),
        Row(name: "HTTP/9.9", bytes: "GET /v1 HTTP/9.9\r\n\(host)\r\n", status: 505),
        Row(
            name: "a target over the limit", bytes: get("/" + String(repeating: "a", count: 4096)),
            status: 414,
            message: "4096"),
        Row(
            name: "a header of 40 kB",
            bytes: "GET /v1 HTTP/1.1\r\n\(host)X-A: \(String(repeating: "a", count: 40_000))\r\n\r\n",
            status: 431),
        Row(
            name: "101 header fields",
            bytes: "GET /v1 HTTP/1.1\r\n\(host)\(String(repeating: "X-A: b\r\n", count: 100))\r\n",
            status: 431,
            message: "100"),
    ]

    @Test(
        "a hostile request is refused, the connection closes, and nothing behind it is served",
        arguments: rows)
    func refusal(row: Row) async throws {
        let server = try TestServer()
        let (replies, closes) = try await server.exchange(row.bytes + Self.smuggled, closeSeconds: 3)
        await server.stop()
        let reply = try #require(replies.first)
        #expect(reply.status == row.status)
        #expect(closes)
        #expect(server.record.requests.isEmpty)
        guard !row.message.isEmpty else { return }
        #expect(reply.json?["error"]?.stringValue?.contains(row.message) == true, "\(reply.text)")
        #expect(reply.header("Content-Type") == "application/problem+json")
        #expect(reply.header("Connection")?.lowercased() == "close")
        #expect(reply.header("X-Request-Id")?.isEmpty == false)
    }

    @Test(
        "what is odd but clear is served",
        arguments: [
            "GET /ok HTTP/1.1\nHost: x\n\n",
            "GET /ok HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
            "\r\nGET /ok HTTP/1.1\r\nHost:x\r\n\r\n",
            "GET /ok HTTP/1.0\r\n\r\n",
            "GET /ok HTTP/1.1\r\nhOST: x\r\nX-A:\r\n\r\n",
            "POST /ok HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
            "BREW /ok HTTP/1.1\r\nHost: x\r\n\r\n", "get /ok HTTP/1.1\r\nHost: x\r\n\r\n",
            "BREW /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        ])
    func leniency(bytes: String) async throws {
        let server = try TestServer()
        let reply = try await server.exchange(bytes).replies[0]
        await server.stop()
        #expect(reply.status == 200)
        #expect(reply.json?["path"] == ["ok"])
    }

    @Test("clients that send random bytes get a refusal or a close and the server lives on")
    func randomBytes() async throws {
        let server = try TestServer()
        let address = server.address
        try await blocking {
            var random = SystemRandomNumberGenerator()
            let pieces = [
                "GET ", "POST ", "/", "%", "?", " HTTP/1.1", "\r\n", "\n", "Host: x", ":", "Content-Length: ",
                "5",
                "\0", "chunked", "Transfer-Encoding: ", " ", "\t", "é", "aaaa",
            ]
            for _ in 0..<300 {
                let client = try RawClient(address)
                let text = (0..<random.next(upperBound: 30 as UInt32))
                    .map { _ in pieces[Int(random.next(upperBound: UInt32(pieces.count)))] }.joined()
                client.send(text)
            }
        }
        #expect(try await server.exchange("GET /alive HTTP/1.1\r\nHost: x\r\n\r\n").replies[0].status == 200)
        await server.stop()
    }
}
