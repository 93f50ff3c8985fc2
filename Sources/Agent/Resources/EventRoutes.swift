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
        let since = try number("since", in: call, 0...Int.max)
        let wait = try number("wait", in: call, 0...waitSeconds)
        if call.accepts(exactly: EventPage.streamMediaType) {
            guard wait == nil else {
                throw Problem(.malformedRequest, "wait: wanted none with text/event-stream, found one")
            }
            return try stream(call, events, since: try lastEventID(call) ?? since)
        }
        let isHead = call.request.method == "HEAD"
        let page = await events.wait(
            since: since ?? events.lastID, seconds: isHead ? 0 : Double(wait ?? 0))
        guard let page else { throw tooMany }
        return .document(EventPage(page.items.map(\.document), next: page.next, gap: page.gap).json)
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
    private static func lastEventID(_ call: Call) throws(Problem) -> Int? {
        guard let text = call.request.header("Last-Event-ID") else { return nil }
        return try parse(text, "Last-Event-ID", 0...Int.max)
    }

    private static func number(
        _ name: String, in call: Call, _ range: ClosedRange<Int>
    ) throws(Problem) -> Int? {
        let given = call.request.query.filter { $0.name == name }
        guard given.count <= 1 else {
            throw Problem(.malformedRequest, "\(name): wanted it once, found \(given.count)")
        }
        guard let text = given.first?.value else { return nil }
        return try parse(text, name, range)
    }

    private static func parse(
        _ text: String, _ name: String, _ range: ClosedRange<Int>
    ) throws(Problem) -> Int {
        let isDigits = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        if isDigits, let number = Int(text), range.contains(number) { return number }
        let wanted = Codec<Int>.integer(range).wanted
        throw Problem(
            .malformedRequest, "\(name): wanted \(wanted), found \(text.prefix(32).debugDescription)")
    }
}
