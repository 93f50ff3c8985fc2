// Events over real HTTP: the stream and the long poll, with the route's own answers.

import API
import Glibc
import HTTP
import JSON
import Synchronization
import Testing

@testable import REST

/// A server that has nothing but /v1/events.
private final class EventServer: Sendable {
    let events = EventLog(boot: "bb")
    let server: HTTPServer
    let client: HTTPClient

    init(_ limits: HTTPLimits = HTTPLimits(connectionsPerAddress: 256)) throws {
        let events = events
        server = try HTTPServer(
            endpoints: [.tcp(host: "127.0.0.1", port: 0)], limits: limits,
            renderFailure: HTTPResponse.failure,
            onLog: { _ in },
            handler: { request in
                guard let operation = Operations.agent[.listEvents] else { return .noContent }
                let call = Call(request: request, operation: operation, parameters: [:])
                do throws(Problem) {
                    try call.checkQuery()
                    try call.checkAccept()
                    return try await events.answer(call)
                } catch { return .problem(error) }
            })
        client = HTTPClient(try HTTPClientAddress("http://" + server.boundAddresses[0]))
    }

    func request(_ query: [(name: String, value: String)] = [], _ headers: [(String, String)] = [])
        -> HTTPClientRequest
    {
        HTTPClientRequest(
            "GET", "/v1/events", query: query, headers: headers.map { (name: $0.0, value: $0.1) })
    }

    /// Reads the stream until its last 8 KiB are enough.
    func read(
        _ query: [(name: String, value: String)] = [], _ headers: [(String, String)] = [],
        until isEnough: @escaping @Sendable (String) -> Bool
    ) async throws -> String {
        let text = Mutex<[UInt8]>([])
        let request = request(query, [("Accept", "text/event-stream")] + headers)
        _ = try await client.stream(request) { bytes in
            let end = text.withLock { text in
                text += bytes
                return text.suffix(8192)
            }
            return !isEnough(String(decoding: end, as: UTF8.self))
        }
        return String(decoding: text.withLock { $0 }, as: UTF8.self)
    }

    func stop() async { await server.stop(drainSeconds: 1) }
}

@Suite struct EventStreamTests {
    private static func ids(_ text: String) -> [Int] {
        text.split(separator: "\n").filter { $0.hasPrefix("id: bb-") }.compactMap { Int($0.dropFirst(7)) }
    }

    @Test("a stream starts with a comment and then has what happens, one frame each")
    func live() async throws {
        let server = try EventServer()
        server.events.append(.bridgeCreated, "/v1/bridges/br0", at: 0)
        async let text = server.read { $0.contains("id: bb-3\n") }
        try await eventually("listening") { server.events.currentListenerCount == 1 }
        server.events.append(.portCreated, "/v1/bridges/br0/ports/a", ["line": "1\n2"], at: 1000)
        server.events.append(.portOK, "/v1/bridges/br0/ports/a", at: 2000)
        let frames = try await text
        let first =
            #"{"id":2,"time":"1970-01-01T00:00:01.000Z","type":"port.created","#
            + #""resource":"/v1/bridges/br0/ports/a","data":{"line":"1\n2"}}"#
        #expect(
            frames.hasPrefix(": keep-alive\n\nid: bb-2\nevent: port.created\ndata: \(first)\n\nid: bb-3\n"))
        try await eventually("gone") { server.events.currentListenerCount == 0 }
        await server.stop()
    }

    @Test("a stream resumes after since, or after Last-Event-ID, which goes first")
    func resume() async throws {
        let server = try EventServer()
        for _ in 0..<5 { server.events.append(.macMoved, "/a", at: 0) }
        let since = try await server.read([("since", "2")]) { $0.contains("id: bb-5\n") }
        #expect(Self.ids(since) == [3, 4, 5])
        let last = try await server.read([("since", "0")], [("Last-Event-ID", "4")]) {
            $0.contains("id: bb-5\n")
        }
        #expect(Self.ids(last) == [5])
        await server.stop()
    }

    @Test(
        "a cursor resumes in its own life of the service and is a gap in every other, as stream and as poll")
    func cursors() async throws {
        let server = try EventServer()
        for _ in 0..<5 { server.events.append(.macMoved, "/a", at: 0) }
        for (cursor, resumed, isGap) in [
            ("bb-3", [4, 5], false), ("cc-3", [1, 2, 3, 4, 5], true), ("cc-5", [1, 2, 3, 4, 5], true),
            ("cc-9", [1, 2, 3, 4, 5], true), ("3", [4, 5], false),
        ] {
            let answer = try await server.client.send(server.request([("since", cursor)]))
            let page = try EventPage.parse(answer.body)
            #expect(page.items.map(\.id) == resumed && page.gap == isGap, "\(cursor)")
            #expect(page.cursor == "bb-5" && page.boot == "bb")
            for (query, headers) in [([("since", cursor)], []), ([], [("Last-Event-ID", cursor)])] {
                let stream = try await server.read(query.map { (name: $0.0, value: $0.1) }, headers) {
                    $0.contains("id: bb-5\n")
                }
                #expect(stream.contains("event: gap\n") == isGap, "\(cursor)")
                #expect(Self.ids(stream).filter { $0 > 0 } == resumed, "\(cursor)")
            }
        }
        for wrong in ["bb-", "-3", "bb-3-3", "b b-3", "xyz-3", "bb-x", "bb--3"] {
            let answer = try await server.client.send(server.request([("since", wrong)]))
            #expect(answer.status == 400, "\(wrong)")
        }
        await server.stop()
    }

    @Test("a whole ring of backlog arrives in order, led by the gap, and live events follow")
    func backlog() async throws {
        let server = try EventServer()
        let data: JSONObject = ["pad": .string(String(repeating: "x", count: 300))]
        let drafts = (0..<5000).map { EventDraft(type: .tunnelCreated, resource: "/\($0)", data: data) }
        server.events.append(drafts, at: 0)
        async let text = server.read([("since", "1")]) { $0.contains("id: bb-5001\n") }
        try await eventually("listening") { server.events.currentListenerCount == 1 }
        server.events.append(.tunnelOK, "/last", at: 0)
        let frames = try await text
        #expect(Self.ids(frames) == Array(904...5001))
        #expect(frames.contains("id: bb-904\nevent: gap\ndata: {\"id\":904,"))
        #expect(frames.contains(#""resource":"/v1/events","data":{"next":905,"lost":903}}"#))
        await server.stop()
    }

    @Test("a burst larger than the ring makes a gap for the listeners, and nobody is cut")
    func burst() async throws {
        let server = try EventServer()
        async let text = server.read { $0.contains("id: bb-10000\n") }
        try await eventually("listening") { server.events.currentListenerCount == 1 }
        server.events.append(
            Array(repeating: EventDraft(type: .tunnelCreated, resource: "/a"), count: 10_000), at: 0)
        let ids = Self.ids(try await text)
        #expect(ids == Array(5904...10_000))
        await server.stop()
    }

    @Test("a reader that takes nothing is cut, one that reads is not")
    func slow() async throws {
        let server = try EventServer(HTTPLimits(responseSeconds: 5))
        let isReleased = Mutex(false)
        let stalled = Task {
            try await HTTPClient(server.client.address).stream(
                server.request([], [("Accept", "text/event-stream")])
            ) { _ in
                while !isReleased.withLock({ $0 }) { usleep(1000) }
                return true
            }
        }
        try await eventually("listening") { server.events.currentListenerCount == 1 }
        let data: JSONObject = ["pad": .string(String(repeating: "x", count: 3000))]
        async let text = server.read { $0.contains("id: bb-4000\n") }
        try await eventually("both") { server.events.currentListenerCount == 2 }
        for index in 0..<4000 {
            server.events.append(.macMoved, "/a", data, at: 0)
            if index % 100 == 0 { try await Task.sleep(for: .milliseconds(5)) }
        }
        #expect(Self.ids(try await text).last == 4000)
        try await eventually("cut") { server.events.currentListenerCount == 0 }
        isReleased.withLock { $0 = true }
        _ = try? await stalled.value
        await server.stop()
    }

    @Test("the long poll answers what there is, waits for what there is not, and pages")
    func longPoll() async throws {
        let server = try EventServer()
        let (events, client) = (server.events, server.client)
        func page(_ query: [(name: String, value: String)]) async throws -> EventPage {
            let answer = try await client.send(server.request(query))
            #expect(answer.status == 200 && answer.header("Content-Type") == "application/json")
            return try EventPage.parse(answer.body)
        }
        #expect(try await page([]) == EventPage([], next: 0, gap: false, boot: "bb"))
        events.append(.portOK, "/a", at: 0)
        #expect(try await page([]) == EventPage([], next: 1, gap: false, boot: "bb"))
        #expect(try await page([("since", "0")]).items.map(\.id) == [1])
        async let waiting = page([("since", "1"), ("wait", "30")])
        try await eventually("waiting") { !events.state.withLock { $0.waiting.isEmpty } }
        events.append(.portDegraded, "/a", ["error": "gone"], at: 0)
        #expect(try await waiting.items.map(\.type) == [.portDegraded])
        #expect(try await page([("since", "99")]).gap)
        let head = try await client.send(
            HTTPClientRequest("HEAD", "/v1/events", query: [("wait", "60")], totalSeconds: 5))
        #expect(head.status == 200)
        await server.stop()
    }

    @Test(
        "what cannot be understood is refused",
        arguments: [
            ("since", "-1"), ("since", ""), ("since", "x"), ("since", "99999999999999999999"), ("wait", "61"),
            ("wait", "1.5"), ("wait", "+1"), ("limit", "3"),
        ])
    func refusals(name: String, value: String) async throws {
        let server = try EventServer()
        let answer = try await server.client.send(server.request([(name: name, value: value)]))
        #expect(answer.status == 400 && String(decoding: answer.body, as: UTF8.self).contains(name))
        let streaming = [("Accept", "text/event-stream")]
        for (query, headers) in [
            ([(name: "wait", value: "1")], streaming), ([], streaming + [("Last-Event-ID", "x")]),
            ([(name: "since", value: "1"), (name: "since", value: "1")], []),
        ] { #expect(try await server.client.send(server.request(query, headers)).status == 400) }
        let image = try await server.client.send(server.request([], [("Accept", "image/png")]))
        #expect(image.status == 406)
        await server.stop()
    }

    @Test("the sixty-fifth listener is refused, closing ends the others")
    func places() async throws {
        let server = try EventServer()
        let readers = (0..<64).map { _ in Task { try await server.read { _ in false } } }
        try await eventually("64 listen") { server.events.currentListenerCount == 64 }
        let refused = try await server.client.send(server.request([], [("Accept", "text/event-stream")]))
        #expect(refused.status == 503)
        #expect(try Problem.parse(refused.body).code == .unavailable)
        server.events.keepAlive()
        server.events.close()
        for reader in readers { #expect(try await reader.value.hasPrefix(": keep-alive\n\n")) }
        await server.stop()
    }
}
