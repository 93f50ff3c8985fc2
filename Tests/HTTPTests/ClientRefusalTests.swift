import Glibc
import Testing

@testable import HTTP

/// Servers that are not there or not sane, addresses and requests that are none.
@Suite struct ClientRefusalTests {
    private func failure(at address: String, _ limits: HTTPClientLimits = HTTPClientLimits()) async throws
        -> HTTPClientError
    {
        let client = HTTPClient(try HTTPClientAddress(address), limits: limits)
        return try #require(
            await HTTPTests.failure { _ = try await client.send(HTTPClientRequest("GET", "/a")) })
    }

    @Test("an address is http with a port, or unix with an absolute path")
    func addresses() throws {
        for text in [
            "http://127.0.0.1:8640", "http://[::1]:8640", "https://agent-1.example:80",
            "unix:/run/viaduct.sock",
        ] { #expect(try HTTPClientAddress(text).description == text) }
        #expect(try HTTPClientAddress("http://a:1/").description == "http://a:1")
        let long = "unix:/" + String(repeating: "x", count: 107)
        for text in [
            "", "127.0.0.1:8640", "ftp://a:1", "https://a", "http://a", "http://a:0", "http://a:65536",
            "http://a:+1",
            "http://:1", "http://u@a:1", "http://a/b:1", "http://a:1/b", "http://[a]:1", "http://a b:1",
            "unix:run.sock", "unix:", long,
        ] {
            let error = #expect(throws: HTTPClientError.self) { _ = try HTTPClientAddress(text) }
            #expect(error?.kind == .invalidAddress)
            #expect(
                error?.description.contains("wanted https://HOST:PORT, http://HOST:PORT or unix:/PATH")
                    == true)
        }
    }

    @Test("a request that could be read as two is refused before it is sent")
    func requests() async throws {
        let client = HTTPClient(try HTTPClientAddress("http://127.0.0.1:1"))
        for request in [
            HTTPClientRequest("get", "/a"), HTTPClientRequest("", "/a"), HTTPClientRequest("GET", "a"),
            HTTPClientRequest("GET", "/a b"), HTTPClientRequest("GET", "/a\r\nX: y"),
            HTTPClientRequest("GET", "/a?b"), HTTPClientRequest("GET", "/é"),
            HTTPClientRequest("GET", "/a", headers: [("X", "a\r\nY: b")]),
            HTTPClientRequest("GET", "/a", headers: [("X Y", "a")]),
        ] {
            let error = await HTTPTests.failure { _ = try await client.send(request) }
            #expect(error?.kind == .invalidRequest, "\(request)")
        }
    }

    @Test("a header field that is refused is named without its value, which may be a secret")
    func secret() async throws {
        let client = HTTPClient(try HTTPClientAddress("http://127.0.0.1:1"))
        let headers = [(name: "Authorization", value: "Bearer one\ntwo")]
        let error = await HTTPTests.failure {
            _ = try await client.send(HTTPClientRequest("GET", "/a", headers: headers))
        }
        #expect(error?.kind == .invalidRequest && error?.description.contains("Authorization") == true)
        #expect(error?.description.contains("Bearer") == false)
    }

    @Test("a refused connection names the address and asks whether anything listens there")
    func refused() async throws {
        let tcp = try await failure(at: "http://127.0.0.1:1")
        #expect(tcp.kind == .unreachable)
        #expect(
            tcp.description
                == "cannot reach http://127.0.0.1:1: connection refused; is it running?")
        let unix = try await failure(at: "unix:/tmp/viaduct-nobody.sock")
        #expect(unix.kind == .unreachable)
        #expect(
            unix.description == "cannot reach unix:/tmp/viaduct-nobody.sock: no such file or directory; "
                + "is it running?")
    }

    @Test("a name that is none is unreachable")
    func noSuchHost() async throws {
        let error = try await failure(at: "http://nobody.invalid:1")
        #expect(error.kind == .unreachable)
        #expect(error.description == "cannot reach http://nobody.invalid:1: no such host")
    }

    @Test("a server that accepts and never answers is a timeout")
    func stall() async throws {
        let server = try ScriptedServer([], stalls: true)
        let error = try await failure(at: server.address, HTTPClientLimits(totalSeconds: 0.4))
        #expect(error.kind == .timeout)
    }

    @Test("a proxy of the environment is not obeyed")
    func proxy() async {
        // In a process of its own, because other tests read the environment meanwhile.
        await #expect(processExitsWith: .success) {
            setenv("http_proxy", "http://127.0.0.1:1", 1)
            let server = try ScriptedServer(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"])
            let client = HTTPClient(try HTTPClientAddress(server.address))
            let answer = try await client.send(HTTPClientRequest("GET", "/a"))
            precondition(answer.body == Array("hi".utf8))
        }
    }

    @Test("a redirect is an answer, not an order")
    func redirect() async throws {
        let server = try ScriptedServer([
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        ])
        let client = HTTPClient(try HTTPClientAddress(server.address))
        let response = try await client.send(HTTPClientRequest("GET", "/a"))
        #expect(response.status == 302 && response.header("location") == "http://127.0.0.1:1/")
    }

    @Test("an interim answer is passed over")
    func interim() async throws {
        let server = try ScriptedServer([
            "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Last: \t 2 \r\n\r\n", "hi",
        ])
        let client = HTTPClient(try HTTPClientAddress(server.address))
        let response = try await client.send(HTTPClientRequest("GET", "/a"))
        #expect(response.status == 200 && response.body == Array("hi".utf8))
        #expect(response.header("X-Interim") == nil && response.header("X-Last") == "2")
    }

    @Test("fields that follow the body are passed over")
    func trailers() async throws {
        let server = try ScriptedServer([
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n",
            "2\r\nhi\r\n0\r\n", "X-Late: 1\r\n\r\n",
        ])
        let client = HTTPClient(try HTTPClientAddress(server.address))
        let response = try await client.send(HTTPClientRequest("GET", "/a"))
        #expect(response.status == 200 && response.body == Array("hi".utf8))
        #expect(response.header("Trailer") == "X-Late" && response.header("X-Late") == nil)
    }

    @Test(
        "an answer that breaks off, or is none, is interrupted",
        arguments: [
            ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
            ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nhalf\r\n"],
            ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "zz\r\nhalf\r\n"],
            ["SSH-2.0-OpenSSH_9.2\r\n"], ["HTTP/1.1 200 OK\r\nX-A"], [],
        ])
    func broken(script: [String]) async throws {
        let server = try ScriptedServer(script)
        let error = try await failure(at: server.address)
        #expect(error.kind == .interrupted)
        #expect(error.description.hasPrefix("GET /a at http://127.0.0.1:"))
    }

    @Test("a head over the limit is refused")
    func head() async throws {
        let fields = String(repeating: "X-A: \(String(repeating: "b", count: 1000))\r\n", count: 70)
        let server = try ScriptedServer(["HTTP/1.1 200 OK\r\n\(fields)Content-Length: 0\r\n\r\n"])
        #expect(try await failure(at: server.address).kind == .tooLarge)
    }
}
