import Dispatch
import Glibc
import Synchronization
import Testing

@testable import HTTP

/// Many servers by one pool, some of them hung.
@Suite(.serialized) struct ClientPoolTests {
    private static let get = HTTPClientRequest("GET", "/a")

    @Test("a thousand servers get ten requests each: all are answered, by a thousand connections")
    func many() async throws {
        let servers = try QuickServers(count: 1000)
        defer { servers.stop() }
        let pool = HTTPClientPool()
        let clients = servers.addresses.map { HTTPClient($0, pool: pool) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in clients {
                group.addTask {
                    for _ in 0..<10 {
                        let answer = try await client.send(Self.get)
                        #expect(answer.status == 200 && answer.body == Array("hi".utf8))
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(servers.answeredCount == 10_000)
        #expect(servers.acceptedCount == 1000)
    }

    @Test("beside fifty hung servers of every kind, fifty good ones answer as fast as alone")
    func hung() async throws {
        let good = try QuickServers(count: 50)
        let hung = try (0..<50).map {
            try HungServer(HungServer.Habit.allCases[$0 % HungServer.Habit.allCases.count])
        }
        defer {
            good.stop()
            for server in hung { server.stop() }
        }
        let pool = HTTPClientPool()
        // What the machine does beside lasts for a moment: turn and turn about, and the middle of each.
        var (alone, beside): ([Duration], [Duration]) = ([], [])
        for _ in 0..<7 {
            alone.append(try await Self.p99(good.addresses, pool))
            let outcomes = Task { await Self.outcomes(hung, pool, seconds: 60) }
            try await Task.sleep(for: .milliseconds(200))
            beside.append(try await Self.p99(good.addresses, pool))
            outcomes.cancel()
            _ = await outcomes.value
        }
        let (usual, found) = (alone.sorted()[3], beside.sorted()[3])
        #expect(found < usual * 3 + .milliseconds(250), "\(alone), \(beside)")
        let start = ContinuousClock.now
        let errors = await Self.outcomes(hung, pool, seconds: 4)
        #expect(errors.count == 200 && errors.allSatisfy { $0?.mayBeDelivered == true })
        let elapsed = ContinuousClock.now - start
        // One after the other, even if only those of each server, they would take longer.
        #expect(elapsed > .seconds(4) && elapsed < .seconds(15), "each costs its own deadline: \(elapsed)")
    }

    /// Of four requests to each server, all at once.
    private static func outcomes(
        _ servers: [HungServer], _ pool: HTTPClientPool, seconds: Double
    ) async -> [HTTPClientError?] {
        let limits = HTTPClientLimits(totalSeconds: seconds)
        let body = [UInt8](repeating: 0x78, count: 1 << 20)
        return await withTaskGroup(of: HTTPClientError?.self) { group in
            for server in servers {
                for _ in 0..<4 {
                    group.addTask {
                        await failure {
                            let address = try HTTPClientAddress(server.address)
                            let client = HTTPClient(address, pool: pool, limits: limits)
                            _ = try await client.send(HTTPClientRequest("PUT", "/a", body: body))
                        }
                    }
                }
            }
            return await group.reduce(into: [HTTPClientError?]()) { $0.append($1) }
        }
    }

    /// Of the answers to 20 requests to each server, all servers at once.
    private static func p99(_ addresses: [HTTPClientAddress], _ pool: HTTPClientPool) async throws -> Duration
    {
        let durations = try await withThrowingTaskGroup(of: [Duration].self) { group in
            for address in addresses {
                group.addTask {
                    let client = HTTPClient(address, pool: pool)
                    var durations: [Duration] = []
                    for _ in 0..<20 {
                        let start = ContinuousClock.now
                        let answer = try await client.send(get)
                        #expect(answer.status == 200)
                        durations.append(ContinuousClock.now - start)
                    }
                    return durations
                }
            }
            return try await group.reduce(into: [Duration]()) { $0 += $1 }.sorted()
        }
        return durations[durations.count * 99 / 100]
    }

    @Test("a server gets no more connections than its share, and the others do not wait for it")
    func share() async throws {
        let server = try HungServer(.neverAnswers)
        let quick = try QuickServers(count: 1)
        defer {
            server.stop()
            quick.stop()
        }
        let pool = HTTPClientPool(limits: HTTPClientPoolLimits(connectionCount: 5, connectionsPerServer: 4))
        let address = try HTTPClientAddress(server.address)
        let client = HTTPClient(address, pool: pool)
        func failures(_ count: Int, _ seconds: Double) async -> [HTTPClientError] {
            await withTaskGroup(of: HTTPClientError?.self) { group in
                for _ in 0..<count {
                    group.addTask {
                        await failure {
                            _ = try await client.send(HTTPClientRequest("GET", "/a", totalSeconds: seconds))
                        }
                    }
                }
                return await group.reduce(into: []) { list, error in if let error { list.append(error) } }
            }
        }
        // Some wait from before the other server is asked until after it has answered.
        let sent = Task { await failures(4, 60) }
        try await Self.connected(4, to: [address])
        let (patient, waiting) = (Task { await failures(3, 60) }, Task { await failures(6, 0.5) })
        try await Task.sleep(for: .milliseconds(100))
        let other = HTTPClient(quick.addresses[0], pool: pool, limits: HTTPClientLimits(totalSeconds: 30))
        #expect(try await other.send(Self.get).status == 200)
        let list = await waiting.value
        #expect(list.count == 6)
        for error in list { #expect(error.kind == .timeout && !error.mayBeDelivered, "\(error)") }
        patient.cancel()
        let late = await patient.value
        #expect(late.count == 3)
        for error in late { #expect(error.kind == .cancelled && !error.mayBeDelivered, "\(error)") }
        sent.cancel()
        let first = await sent.value
        #expect(first.count == 4)
        for error in first { #expect(error.kind == .cancelled && error.mayBeDelivered, "\(error)") }
    }

    @Test("a task that waits for its turn and is cancelled gets its error at once, and nothing is sent")
    func cancelledInTheQueue() async throws {
        let server = try HungServer(.neverAnswers)
        defer { server.stop() }
        let pool = HTTPClientPool(limits: HTTPClientPoolLimits(connectionsPerServer: 1))
        let address = try HTTPClientAddress(server.address)
        let client = HTTPClient(address, pool: pool)
        let first = Task { await failure { _ = try await client.send(Self.get) } }
        try await Self.connected(1, to: [address])
        let second = Task { await failure { _ = try await client.send(Self.get) } }
        try await Task.sleep(for: .milliseconds(100))
        second.cancel()
        let refused = await second.value
        #expect(refused?.kind == .cancelled && refused?.mayBeDelivered == false)
        first.cancel()
        let sent = await first.value
        #expect(sent?.kind == .cancelled && sent?.mayBeDelivered == true)
    }

    @Test("connections that nobody uses are closed after a time, and made anew")
    func idle() async throws {
        let servers = try QuickServers(count: 3)
        defer { servers.stop() }
        let pool = HTTPClientPool(limits: HTTPClientPoolLimits(idleSeconds: 5))
        for address in servers.addresses { _ = try await HTTPClient(address, pool: pool).send(Self.get) }
        #expect(try Self.connections(to: servers.addresses) == 3)
        // One goes on, the others are left alone.
        try await Self.connected(1, to: servers.addresses) {
            _ = try await HTTPClient(servers.addresses[0], pool: pool).send(Self.get)
            try await Task.sleep(for: .milliseconds(400))
        }
        try await Self.connected(0, to: servers.addresses)
        #expect(try await HTTPClient(servers.addresses[1], pool: pool).send(Self.get).status == 200)
        #expect(servers.acceptedCount == 4)
    }

    /// Waits until there are so many.
    private static func connected(
        _ count: Int, to addresses: [HTTPClientAddress], meanwhile: () async throws -> Void = {}
    ) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while try connections(to: addresses) != count {
            try #require(ContinuousClock.now < end, "connections")
            try await meanwhile()
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// This machine's established connections to these ports of 127.0.0.1, from the client's side.
    private static func connections(to addresses: [HTTPClientAddress]) throws -> Int {
        let ports = Set(
            addresses.map { ":" + String(Int($0.description.split(separator: ":").last!)!, radix: 16) })
        guard let file = fopen("/proc/net/tcp", "r") else { throw RawClient.Failure(description: "/proc") }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 512)
        var count = 0
        while fgets(&line, 512, file) != nil {
            let text = line.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
            let fields = text.split(separator: " ")
            guard fields.count > 3, fields[3] == "01" else { continue }
            if ports.contains(where: { fields[2].lowercased().hasSuffix($0) }) { count += 1 }
        }
        return count
    }

    @Test("what was never sent is told from what nobody knows")
    func delivery() async throws {
        let nobody = try #require(
            await failure {
                _ = try await HTTPClient(try HTTPClientAddress("http://127.0.0.1:1")).send(Self.get)
            })
        #expect(nobody.kind == .unreachable && !nobody.mayBeDelivered)
        for habit in [HungServer.Habit.neverAccepts, .neverAnswers, .closesHalfWay] {
            let server = try HungServer(habit)
            defer { server.stop() }
            let client = HTTPClient(
                try HTTPClientAddress(server.address), limits: HTTPClientLimits(totalSeconds: 3))
            let error = try #require(await failure { _ = try await client.send(Self.get) })
            #expect(error.mayBeDelivered, "\(habit): \(error)")
        }
    }

    @Test(
        "a server that dies over a request on a kept connection may have carried it out",
        arguments: ["POST", "PUT"])
    func diesOverIt(method: String) async throws {
        let (listener, name) = try HungServer.listener()
        let address = try HTTPClientAddress("http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))")
        let seen = Atomic<Int>(0)
        let isClosed = DispatchSemaphore(value: 0)
        DispatchQueue(label: "mortal").async {
            var ready = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            poll(&ready, 1, 5000)
            let client = accept(listener, nil, nil)
            var bytes = [UInt8](repeating: 0, count: 4096)
            _ = recv(client, &bytes, bytes.count, 0)
            let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8)
            _ = send(client, answer, answer.count, 0)
            if recv(client, &bytes, bytes.count, 0) > 0 { seen.add(1, ordering: .sequentiallyConsistent) }
            close(listener)
            close(client)
            isClosed.signal()
        }
        let client = HTTPClient(address)
        #expect(try await client.send(Self.get).status == 200)
        let error = try #require(
            await failure { _ = try await client.send(HTTPClientRequest(method, "/a", body: [0x78])) })
        #expect(seen.load(ordering: .sequentiallyConsistent) == 1)
        #expect(error.kind == .interrupted && error.mayBeDelivered, "\(error)")
    }

    @Test("a POST that a kept connection broke under is not sent a second time, a PUT is")
    func once() async throws {
        for (method, count) in [("POST", 1), ("PUT", 2)] {
            let server = try ForgetfulServer()
            let client = HTTPClient(try HTTPClientAddress(server.address))
            #expect(try await client.send(Self.get).status == 200)
            let error = await failure {
                _ = try await client.send(HTTPClientRequest(method, "/a", body: [0x78]))
            }
            #expect((error == nil) == (method == "PUT"))
            #expect(server.count(of: method) == count)
        }
    }

    @Test("the fields of a request are sent as they are, a token among them")
    func token() async throws {
        let server = try TestServer()
        let client = HTTPClient(try HTTPClientAddress("http://\(server.address)"))
        for token in ["one", "two"] {
            _ = try await client.send(
                HTTPClientRequest("GET", "/a", headers: [("Authorization", "Bearer \(token)")]))
        }
        #expect(server.record.requests.map { $0.header("Authorization") } == ["Bearer one", "Bearer two"])
        await server.stop()
    }

    @Test("a body of several mebibytes arrives whole, also by a kept connection")
    func upload() async throws {
        let server = try TestServer(TestServer.limits { $0.bodyByteCount = 16 << 20 })
        let client = HTTPClient(try HTTPClientAddress("http://\(server.address)"))
        for count in [65_536, 65_537, 8 << 20] {
            let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            #expect(try await client.send(HTTPClientRequest("PUT", "/a", body: body)).status == 200)
            #expect(server.record.requests.last?.body == body)
        }
        await server.stop()
    }

    @Test("a small request by a kept connection costs the client little processor time")
    func cost() async {
        // A process of its own: the processor time of this one is that of all tests at once.
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let microseconds = try await microsecondsPerRequest()
            if microseconds >= 2000 { complain("\(microseconds) microseconds") }
        }
        #expect(String(decoding: result?.standardErrorContent ?? [], as: UTF8.self) == "")
    }
}

/// Of processor time, the server's included.
private func microsecondsPerRequest() async throws -> Double {
    let request = HTTPClientRequest("GET", "/a")
    let servers = try QuickServers(count: 1)
    defer { servers.stop() }
    let client = HTTPClient(servers.addresses[0])
    for _ in 0..<100 { _ = try await client.send(request) }
    let count = 3000
    let start = processorSeconds()
    for _ in 0..<count { _ = try await client.send(request) }
    return (processorSeconds() - start) / Double(count) * 1e6
}

private func processorSeconds() -> Double {
    var usage = rusage()
    getrusage(RUSAGE_SELF.rawValue, &usage)
    return [usage.ru_utime, usage.ru_stime].reduce(0) {
        $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6
    }
}

/// Called in another process: what this one hears of it.
private func complain(_ text: String) {
    _ = Array(text.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// Answers the first request of each connection; reads the second of its first one and hangs up.
private final class ForgetfulServer: Sendable {
    let address: String
    private let listener: Int32
    private let requests = Mutex<[String]>([])

    init() throws {
        let (descriptor, name) = try HungServer.listener()
        listener = descriptor
        address = "http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        DispatchQueue(label: "forgetful server").async {
            var connectionCount = 0
            while true {
                var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                guard poll(&ready, 1, 3000) > 0 else { return }
                let client = accept(descriptor, nil, nil)
                guard client >= 0 else { return }
                connectionCount += 1
                self.serve(client, forgets: connectionCount == 1)
                close(client)
            }
        }
    }

    deinit { close(listener) }

    func count(of method: String) -> Int { requests.withLock { $0.filter { $0 == method }.count } }

    private func serve(_ client: Int32, forgets: Bool) {
        var bytes = [UInt8](repeating: 0, count: 4096)
        for number in 0..<2 {
            let count = recv(client, &bytes, bytes.count, 0)
            guard count > 0 else { return }
            let method = String(decoding: bytes[..<count].prefix { $0 != 0x20 }, as: UTF8.self)
            requests.withLock { $0.append(method) }
            if forgets && number == 1 { return }
            let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".utf8)
            _ = send(client, answer, answer.count, Int32(MSG_NOSIGNAL))
        }
    }
}
