import Glibc
import Testing

@testable import HTTP

/// Limits on what is sent and how many send it, clients that vanish, descriptors that come back.
///
/// One test at a time: they count descriptors of the process and open hundreds of connections.
@Suite(.serialized) struct LoadTests {
    private func put(_ byteCount: Int, headers: String = "") -> String {
        "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: \(byteCount)\r\n\(headers)\r\n"
            + String(repeating: "x", count: byteCount)
    }

    private func chunked(_ byteCount: Int) -> String {
        let chunk = String(repeating: "x", count: 100)
        let chunks = String(repeating: "64\r\n\(chunk)\r\n", count: byteCount / 100)
        let rest = byteCount % 100
        let last =
            rest == 0 ? "" : String(rest, radix: 16) + "\r\n" + String(repeating: "x", count: rest) + "\r\n"
        return "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)\(last)0\r\n\r\n"
    }

    @Test("a body at the limit passes, one byte more is 413 and closes", arguments: [false, true])
    func bodyLimit(isChunked: Bool) async throws {
        let server = try TestServer(TestServer.limits { $0.bodyByteCount = 1000 })
        for (byteCount, status) in [(999, 200), (1000, 200), (1001, 413), (3999, 413)] {
            let text = isChunked ? chunked(byteCount) : put(byteCount)
            let (replies, closes) = try await server.exchange(text, closeSeconds: status == 413 ? 3 : 0)
            #expect(replies[0].status == status)
            #expect(closes == (status == 413))
            if status == 413 {
                #expect(
                    replies[0].json?["error"] == "wanted a body of at most 1000 bytes, found a longer one")
            }
        }
        await server.stop()
        #expect(server.record.requests.map(\.body.count) == [999, 1000])
    }

    @Test("a body far over the limit is refused at once, and a chunked one that never ends is cut")
    func hugeBody() async throws {
        let server = try TestServer(TestServer.limits { $0.bodyByteCount = 1000 })
        let head = "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        let (replies, closes) = try await server.exchange(head, closeSeconds: 3)
        #expect(replies[0].status == 413)
        #expect(closes)
        let address = server.address
        let isCut = try await blocking {
            let client = try RawClient(address)
            client.send("PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in 0..<1000 where !client.send("3e8\r\n\(String(repeating: "x", count: 1000))\r\n") {
                return true
            }
            return client.closes(withinSeconds: 3)
        }
        await server.stop()
        #expect(isCut)
        #expect(server.record.requests.isEmpty)
    }

    @Test("a client that asks first is told before it sends")
    func expectContinue() async throws {
        let server = try TestServer(TestServer.limits { $0.bodyByteCount = 1000 })
        let address = server.address
        let statuses = try await blocking {
            func first(_ byteCount: Int) throws -> (RawClient, RawClient.Reply) {
                let client = try RawClient(address)
                client.send(
                    "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: \(byteCount)\r\n"
                        + "Expect: 100-continue\r\n\r\n"
                )
                return (client, try client.reply())
            }
            let (client, reply) = try first(3)
            client.send("abc")
            return [reply.status, try client.reply().status, try first(1001).1.status]
        }
        await server.stop()
        #expect(statuses == [100, 200, 413])
    }

    /// Also the case that stalls libmicrohttpd with 128 connections in one thread.
    @Test("200 requests at once are all answered, each with its own")
    func concurrency() async throws {
        let server = try TestServer()
        let address = server.address
        let start = ContinuousClock.now
        let bodies = try await blocking {
            let clients = try (0..<200).map { _ in try RawClient(address) }
            for (index, client) in clients.enumerated() {
                client.send("PUT /sleep/300 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\(100 + index)")
            }
            return try clients.map { try $0.reply().json?["body"]?.stringValue ?? "" }
        }
        await server.stop()
        #expect(bodies == (0..<200).map { String(100 + $0) })
        // One after the other they would take a minute.
        #expect(ContinuousClock.now - start < .seconds(30))
    }

    @Test("clients that vanish while their handlers run cost nothing")
    func disconnects() async throws {
        let server = try TestServer()
        let address = server.address
        let before = descriptorCount([address])
        try await blocking {
            let clients = try (0..<50).map { _ in try RawClient(address) }
            for client in clients { client.send("GET /sleep/1000 HTTP/1.1\r\nHost: x\r\n\r\n") }
            // Until each of them has its handler.
            for _ in 0..<6000 where server.record.requests.count < 50 { sleepMilliseconds(5) }
        }
        try await Task.sleep(for: .milliseconds(1200))
        #expect(try await server.exchange("GET /alive HTTP/1.1\r\nHost: x\r\n\r\n").replies[0].status == 200)
        try await settles { descriptorCount([address]) <= before }
        await server.stop()
        #expect(server.record.requests.count == 51)
    }

    @Test("1,000 connections leave no descriptor behind, and stop leaves none at all")
    func descriptors() async throws {
        let server = try TestServer(endpoints: [
            .tcp(host: "127.0.0.1", port: 0), .unix(path: "/tmp/viaduct-fd-\(getpid()).sock"),
        ])
        let addresses = server.server.boundAddresses
        let before = descriptorCount(addresses)
        #expect(before >= 2, "those that listen")
        try await blocking {
            for index in 0..<1000 {
                let client = try RawClient(addresses[index % 2])
                client.send(
                    index % 5 == 4
                        ? "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
                if index % 3 != 2 { _ = try client.reply() }
            }
        }
        try await settles { descriptorCount(addresses) <= before }
        await server.stop()
        try await settles { descriptorCount(addresses) == 0 }
    }

    @Test("one address cannot take more connections than its share")
    func perAddressLimit() async throws {
        let server = try TestServer(TestServer.limits { $0.connectionsPerAddress = 3 })
        let address = server.address
        let statuses = try await blocking {
            let clients = try (0..<5).map { _ in try RawClient(address) }
            return clients.map { client -> Int in
                client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return (try? client.reply().status) ?? 0
            }
        }
        // Which three is decided by the threads that accept.
        #expect(statuses.sorted() == [0, 0, 200, 200, 200])
        // The server notices that they have left when their threads come to it.
        var status: Int?
        for _ in 0..<500 where status != 200 {
            try await Task.sleep(for: .milliseconds(20))
            status = try? await server.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n").replies[0].status
        }
        #expect(status == 200)
        await server.stop()
    }

    @Test("clients that say nothing displace each other at their address, and whoever asks there is answered")
    func displacedAtAddress() async throws {
        let server = try TestServer(TestServer.limits { $0.connectionsPerAddress = 32 })
        let address = server.address
        let statuses = try await blocking {
            var silent: [RawClient] = []
            return try (0..<60).map { _ -> Int in
                silent.append(try RawClient(address))
                // Those that are displaced go as soon as their thread comes to it.
                for _ in 0..<500 {
                    sleepMilliseconds(10)
                    let client = try RawClient(address)
                    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    if let reply = try? client.reply() { return reply.status }
                }
                return 0
            }
        }
        #expect(statuses.allSatisfy { $0 == 200 })
        await server.stop()
    }

    @Test("who has come just now is not displaced for the sake of those who asked once and stay")
    func idleStrangers() async throws {
        let limits = TestServer.limits {
            $0.connectionCount = 32
            $0.idleSeconds = 60
        }
        let server = try TestServer(limits)
        let address = server.address
        try await blocking {
            let idle = try (0..<30).map { _ in try RawClient(address) }
            for client in idle {
                client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(try client.reply().status == 200)
            }
            let client = try RawClient(address)
            let silent = try RawClient(address)
            #expect(idle[0].closes(withinSeconds: 5) && idle[1].closes(withinSeconds: 5))
            #expect(!idle.dropFirst(2).contains { $0.closes(withinSeconds: 0.02) })
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.reply().status == 200)
            #expect(!silent.closes(withinSeconds: 0.02))
        }
        await server.stop()
    }

    @Test("addresses of one IPv6 network are one source's")
    func sources() {
        let one = SocketName.source("[2001:db8:0:1::5]:80")
        #expect(one != nil && SocketName.source("[2001:db8:0:1:ffff::9]:81") == one)
        #expect(SocketName.source("[2001:db8:0:2::5]:80") != one && SocketName.source("[::1]:80") != one)
        #expect(SocketName.source("192.0.2.1:80") == "192.0.2.1" && SocketName.source("unix") == nil)
    }

    @Test("connections beyond the limit wait until one is free")
    func connectionLimit() async throws {
        let server = try TestServer(TestServer.limits { $0.connectionCount = 4 })
        let address = server.address
        let statuses = try await blocking {
            try (0..<40).map { _ in
                let client = try RawClient(address)
                client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return try client.reply().status
            }
        }
        await server.stop()
        #expect(statuses == Array(repeating: 200, count: 40))
    }

    @Test("clients that say nothing displace each other, oldest first, and nobody who asks waits for them")
    func displacement() async throws {
        let server = try TestServer(TestServer.limits { $0.connectionCount = 32 })
        let address = server.address
        let (areClosed, seconds) = try await blocking {
            let silent = try (0..<60).map { _ in
                sleepMilliseconds(5)
                return try RawClient(address)
            }
            let start = ContinuousClock.now
            let client = try RawClient(address)
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.reply().status == 200)
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            // Those that are displaced go as soon as their thread comes to it; the others would stay for 20 seconds.
            return (
                silent.enumerated().map { $1.closes(withinSeconds: $0 < 31 ? 5 : 0.02) }, seconds
            )
        }
        await server.stop()
        #expect(seconds < 10, "nobody waits until the silent ones are cut, after 20")
        // One for each that came after the 30th.
        #expect(areClosed == Array(repeating: true, count: 31) + Array(repeating: false, count: 29))
    }

    /// Sockets with one of these addresses at either end: other suites run beside this one and have sockets of their
    /// own.
    private func descriptorCount(_ addresses: [String]) -> Int {
        // The kernel gives the lowest number that is free, and all suites together have some thousand.
        (0..<Int32(16_384)).count { descriptor in
            if let own = SocketName.own(descriptor) {
                return addresses.contains(own) || addresses.contains(SocketName.peer(descriptor))
            }
            return SocketName.path(descriptor).map { addresses.contains("unix:" + $0) } ?? false
        }
    }

    private func settles(_ isTrue: () -> Bool) async throws {
        for _ in 0..<1000 where !isTrue() { try await Task.sleep(for: .milliseconds(20)) }
        #expect(isTrue())
    }
}
