// GET /v1/events: a stream for those who accept one, a long poll for everybody else.

internal import API
internal import HTTP

extension EventLog {
    func answer(_ call: Call) async throws(Problem) -> HTTPResponse {
        let since = try call.query("since").map { text throws(Problem) in
            try position(text, "since")
        }
        let seconds = try EventLog.wantedSeconds(call)
        if call.accepts(exactly: EventPage.streamMediaType) {
            guard seconds == nil else {
                throw Problem(.malformedRequest, "wait: wanted none with text/event-stream, found one")
            }
            return try stream(call, since: try lastEventID(call) ?? since)
        }
        let isHead = call.request.method == "HEAD"
        let page = await wait(since: since ?? lastID, seconds: isHead ? 0 : Double(seconds ?? 0))
        guard let page else { throw EventLog.tooMany }
        return .document(
            EventPage(page.items.map(\.document), next: page.next, gap: page.gap, boot: boot).json)
    }

    private func stream(_ call: Call, since: Int?) throws(Problem) -> HTTPResponse {
        // A proxy must neither keep a stream nor hold it back until it ends.
        let headers = [
            (name: "Content-Type", value: EventPage.streamMediaType),
            (name: "Cache-Control", value: "no-store"),
        ]
        if call.request.method == "HEAD" { return HTTPResponse(headers: headers) }
        let stream = HTTPStream()
        guard listen(stream, since: since) else { throw EventLog.tooMany }
        return HTTPResponse(headers: headers, stream: stream)
    }

    private static var tooMany: Problem {
        Problem(
            .unavailable, "wanted at most \(EventLog.listenerCount) listeners at the same time, found more")
    }

    /// What a browser sends when it comes back.
    private func lastEventID(_ call: Call) throws(Problem) -> Int? {
        guard let text = call.request.header("Last-Event-ID") else { return nil }
        return try position(text, "Last-Event-ID")
    }

    private func position(_ text: String, _ name: String) throws(Problem) -> Int {
        if let id = id(in: text) { return id }
        throw Problem(
            .malformedRequest,
            "\(name): wanted a cursor or the id of an event, found \(text.prefix(32).debugDescription)")
    }

    private static func wantedSeconds(_ call: Call) throws(Problem) -> Int? {
        guard let text = call.query("wait") else { return nil }
        let isDigits = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        if isDigits, let number = Int(text), number <= waitSeconds { return number }
        throw Problem(parameter: "wait", wanted: "an integer from 0 to \(waitSeconds)", found: text)
    }
}
