// GET /v1/events: a stream for those who accept one, a long poll for everybody else.

internal import API
internal import HTTP

enum EventRoutes: Routes {
    static let handlers: [OperationID: Handler] = [
        .listEvents: { call, agent async throws(Problem) in try await answer(call, agent.events) }
    ]

    /// Longest wait of a long poll; `HTTPLimits.handlerSeconds` must be longer.
    static let waitSeconds = 60

    static func answer(_ call: Call, _ events: EventLog) async throws(Problem) -> HTTPResponse {
        let since = try call.query("since").map { text throws(Problem) in
            try position(text, "since", events)
        }
        let wait = try wait(call)
        if call.accepts(exactly: EventPage.streamMediaType) {
            guard wait == nil else {
                throw Problem(.malformedRequest, "wait: wanted none with text/event-stream, found one")
            }
            return try stream(call, events, since: try lastEventID(call, events) ?? since)
        }
        let isHead = call.request.method == "HEAD"
        let page = await events.wait(
            since: since ?? events.lastID, seconds: isHead ? 0 : Double(wait ?? 0))
        guard let page else { throw tooMany }
        return .document(
            EventPage(page.items.map(\.document), next: page.next, gap: page.gap, boot: events.boot).json)
    }

    private static func stream(_ call: Call, _ events: EventLog, since: Int?) throws(Problem) -> HTTPResponse
    {
        // A proxy must neither keep a stream nor hold it back until it ends.
        let headers = [
            (name: "Content-Type", value: EventPage.streamMediaType),
            (name: "Cache-Control", value: "no-store"),
        ]
        if call.request.method == "HEAD" { return HTTPResponse(headers: headers) }
        let stream = HTTPStream()
        guard events.listen(stream, since: since) else { throw tooMany }
        return HTTPResponse(headers: headers, stream: stream)
    }

    private static var tooMany: Problem {
        Problem(
            .unavailable, "wanted at most \(EventLog.listenerCount) listeners at the same time, found more")
    }

    /// What a browser sends when it comes back.
    private static func lastEventID(_ call: Call, _ events: EventLog) throws(Problem) -> Int? {
        guard let text = call.request.header("Last-Event-ID") else { return nil }
        return try position(text, "Last-Event-ID", events)
    }

    private static func position(_ text: String, _ name: String, _ events: EventLog) throws(Problem) -> Int {
        if let id = events.id(in: text) { return id }
        throw Problem(
            .malformedRequest,
            "\(name): wanted a cursor or the id of an event, found \(text.prefix(32).debugDescription)")
    }

    private static func wait(_ call: Call) throws(Problem) -> Int? {
        guard let text = call.query("wait") else { return nil }
        let isDigits = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        if isDigits, let number = Int(text), number <= waitSeconds { return number }
        throw Problem(parameter: "wait", wanted: "an integer from 0 to \(waitSeconds)", found: text)
    }
}
