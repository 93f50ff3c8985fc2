import CCurl
import Dispatch
import Glibc
import HTTP
import Synchronization
import Testing

/// Binding, Unix sockets and stopping.
@Suite struct LifecycleTests {
    private func path(_ name: String) -> String { "/tmp/viaduct-\(name)-\(getpid()).sock" }

    private func refusal(_ endpoints: [HTTPEndpoint]) throws -> HTTPServerError {
        try #require(throws: HTTPServerError.self) { _ = try TestServer(endpoints: endpoints) }
    }

    @Test("bound addresses name the port that the kernel chose")
    func addresses() async throws {
        let server = try TestServer(endpoints: [
            .tcp(host: "127.0.0.1", port: 0), .tcp(host: "::1", port: 0), .tcp(host: "localhost", port: 0),
        ])
        let addresses = server.server.boundAddresses
        await server.stop()
        #expect(addresses[0].wholeMatch(of: /127\.0\.0\.1:[1-9][0-9]*/) != nil)
        #expect(addresses[1].wholeMatch(of: /\[::1\]:[1-9][0-9]*/) != nil)
        #expect(addresses[2].hasPrefix("127.0.0.1:"))
    }

    @Test("a port in use is refused with the address and the reason")
    func portInUse() async throws {
        let server = try TestServer()
        let port = try #require(UInt16(server.address.split(separator: ":")[1]))
        let error = try refusal([.tcp(host: "127.0.0.1", port: 0), .tcp(host: "127.0.0.1", port: port)])
        #expect(error.errorNumber == EADDRINUSE)
        #expect(
            error.description
                == "cannot listen on 127.0.0.1:\(port): address already in use (bind); "
                + "stop the other process or choose another port")
        #expect(try await server.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n").replies[0].status == 200)
        await server.stop()
        let again = try TestServer(endpoints: [.tcp(host: "127.0.0.1", port: port)])
        await again.stop()
    }

    @Test("a server can be stopped in the middle of requests, again and again")
    func stopUnderLoad() async throws {
        for _ in 0..<20 {
            let server = try TestServer()
            let clients = (0..<2).map { _ in
                Task {
                    while (try? await server.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))?.replies.isEmpty
                        == false
                    {}
                }
            }
            try await Task.sleep(for: .milliseconds(10))
            await server.stop()
            for client in clients { await client.value }
        }
    }

    @Test("an address that is no address or not ours is refused")
    func badAddresses() throws {
        #expect(try refusal([.tcp(host: "example.org", port: 1)]).description.contains("wanted a numeric"))
        #expect(try refusal([.tcp(host: "", port: 1)]).description.contains("wanted a numeric"))
        #expect(try refusal([.tcp(host: "192.0.2.1", port: 8640)]).errorNumber == EADDRNOTAVAIL)
        #expect(try refusal([.unix(path: "/nonexistent/x.sock")]).errorNumber == ENOENT)
        #expect(try refusal([.unix(path: String(repeating: "x", count: 108))]).errorNumber == ENAMETOOLONG)
        #expect(try refusal([.unix(path: "")]).errorNumber == ENAMETOOLONG)
    }

    @Test("only loopback addresses and Unix sockets are loopback")
    func loopback() {
        for host in ["127.0.0.1", "127.8.9.1", "::1", "localhost"] {
            #expect(HTTPEndpoint.tcp(host: host, port: 1).isLoopback)
        }
        for host in ["0.0.0.0", "::", "128.0.0.1", "127.0.0.1.evil", "10.0.0.1", "127.1"] {
            #expect(!HTTPEndpoint.tcp(host: host, port: 1).isLoopback)
        }
        #expect(HTTPEndpoint.unix(path: "/x").isLoopback)
    }

    @Test("a Unix socket has its mode, serves, and is gone after stop")
    func unixSocket() async throws {
        let path = path("mode")
        let server = try TestServer(endpoints: [.unix(path: path, mode: 0o600)])
        var status = stat()
        #expect(lstat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(server.address == "unix:\(path)")
        let reply = try await server.exchange("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").replies[0]
        #expect(reply.json?["remote"] == "unix")
        await server.stop()
        #expect(lstat(path, &status) != 0)
    }

    @Test("a socket file left behind is replaced, one that answers is not, nor is any other file")
    func staleSocket() async throws {
        let path = path("stale")
        let left = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(left, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        Glibc.close(left)
        let server = try TestServer(endpoints: [.unix(path: path)])
        #expect(try refusal([.unix(path: path)]).errorNumber == EADDRINUSE)
        #expect(try await server.exchange("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").replies[0].status == 200)
        // A successor's file at the same path is not ours to remove.
        unlink(path)
        let file = open(path, O_CREAT | O_WRONLY, 0o600)
        Glibc.close(file)
        await server.stop()
        var status = stat()
        #expect(lstat(path, &status) == 0)
        #expect(try refusal([.unix(path: path)]).description.contains("is not a socket"))
        unlink(path)
    }

    @Test("stop lets requests in flight finish and refuses new ones")
    func drain() async throws {
        let server = try TestServer()
        let address = server.address
        let isStopping = Flag()
        let busy = Task {
            // Whatever goes wrong, the slow request ends.
            defer { server.record.gate.set() }
            return try await blocking {
                let client = try RawClient(address)
                var kept = try (0..<2).map { _ in try RawClient(address) }
                for other in kept {
                    other.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
                    _ = try other.reply()
                }
                client.send("GET /gate HTTP/1.1\r\nHost: x\r\n\r\n")
                while !isStopping.isSet { sleepMilliseconds(5) }
                // The stop may not have begun yet: until then a request is like any other.
                var late: RawClient.Reply
                let end = ContinuousClock.now + .seconds(20)
                repeat {
                    kept[0].send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
                    late = try kept[0].reply()
                    // The stop came while this one was answered, so it was the last of its connection.
                    let isLast = late.header("Connection")?.lowercased() == "close"
                    if late.status == 200 && isLast { kept.removeFirst() }
                } while late.status == 200 && !kept.isEmpty && ContinuousClock.now < end
                // The slow request was in flight all the while.
                server.record.gate.set()
                return (late: late, slow: try client.reply(), closes: client.closes(withinSeconds: 15))
            }
        }
        while server.record.requests.count < 3 { try await Task.sleep(for: .milliseconds(5)) }
        let start = ContinuousClock.now
        async let stopping: Void = server.server.stop(drainSeconds: 60)
        try await Task.sleep(for: .milliseconds(500))
        isStopping.set()
        await stopping
        #expect(ContinuousClock.now - start < .seconds(30))
        let result = try await busy.value
        #expect(result.slow.status == 200)
        #expect(result.slow.header("Connection")?.lowercased() == "close")
        #expect(result.closes)
        #expect(result.late.status == 503)
        #expect(result.late.json?["error"] == "the server is stopping; try again")
        #expect(throws: RawClient.Failure.self) { _ = try RawClient(address) }
    }

    @Test("stop answers for handlers that do not finish in time, and cancels them")
    func cut() async throws {
        let server = try TestServer()
        let address = server.address
        let busy = Task {
            try await blocking {
                let clients = try (0..<20).map { _ in try RawClient(address) }
                for client in clients { client.send("GET /sleep/20000 HTTP/1.1\r\nHost: x\r\n\r\n") }
                return try clients.map { try $0.reply().status }
            }
        }
        while server.record.requests.count < 20 { try await Task.sleep(for: .milliseconds(10)) }
        let start = ContinuousClock.now
        await server.server.stop(drainSeconds: 0.1)
        #expect(ContinuousClock.now - start < .seconds(15))
        #expect(try await busy.value == Array(repeating: 503, count: 20))
        for _ in 0..<750 where server.record.cancelCount < 20 { try await Task.sleep(for: .milliseconds(20)) }
        #expect(server.record.cancelCount == 20)
    }

    @Test("stop under fire neither hangs nor crashes", arguments: 0..<5)
    func stopUnderLoad(round: Int) async throws {
        let server = try TestServer()
        let address = server.address
        let isOver = Flag()
        let load = Task {
            try await blocking {
                while !isOver.isSet {
                    guard let client = try? RawClient(address) else { continue }
                    client.send(String(repeating: "GET /sleep/1 HTTP/1.1\r\nHost: x\r\n\r\n", count: 5))
                    for _ in 0..<round { _ = try? client.reply() }
                }
            }
        }
        try await Task.sleep(for: .milliseconds(50))
        await server.server.stop(drainSeconds: Double(round) * 0.01)
        await server.server.stop(drainSeconds: 0)
        isOver.set()
        try await load.value
    }

    @Test("a socket that listened elsewhere is in nobody's way, even while another process has it too")
    func otherAddress() async throws {
        let first = try TestServer()
        let port = try #require(UInt16(first.address.split(separator: ":")[1]))
        let sockets = await first.server.release(drainSeconds: 0)
        let held = sockets.map { dup($0) }
        defer { for descriptor in held { close(descriptor) } }
        let second = try TestServer(endpoints: [.tcp(host: "0.0.0.0", port: port)], sockets: sockets)
        #expect(try await second.exchange("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").replies[0].status == 200)
        await second.stop()
    }

    @Test("a Unix socket goes on with the mode it shall have now; one whose file is gone is made anew")
    func unixSocketAgain() async throws {
        let path = "/tmp/viaduct-again-\(getpid()).sock"
        func mode() -> mode_t? {
            var status = stat()
            return lstat(path, &status) == 0 ? status.st_mode & 0o777 : nil
        }
        let first = try TestServer(endpoints: [.unix(path: path, mode: 0o660)])
        let kept = await first.server.release(drainSeconds: 0)
        let second = try TestServer(endpoints: [.unix(path: path, mode: 0o600)], sockets: kept)
        #expect(second.server.boundAddresses == ["unix:\(path)"] && mode() == 0o600)
        let orphans = await second.server.release(drainSeconds: 0)
        unlink(path)
        let third = try TestServer(endpoints: [.unix(path: path, mode: 0o640)], sockets: orphans)
        #expect(mode() == 0o640)
        #expect(try await third.exchange("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").replies[0].status == 200)
        // Nobody came to serve what was released: it ends with a stop, and its file goes.
        _ = await third.server.release(drainSeconds: 0)
        await third.stop()
        #expect(mode() == nil)
    }

    @Test("a server that is released without stop frees its port")
    func release() async throws {
        var server: TestServer? = try TestServer()
        let port = try #require(UInt16(server?.address.split(separator: ":")[1] ?? ""))
        server = nil
        for _ in 0..<200 {
            if let again = try? TestServer(endpoints: [.tcp(host: "127.0.0.1", port: port)]) {
                await again.stop()
                return
            }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("the port was still in use after 2 seconds")
    }
}

final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}
