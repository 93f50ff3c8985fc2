// One event, and its two spellings: the document of the long poll and the frame of the stream.

public import API
public import JSON

/// Something that happened, numbered.
public struct Event: Sendable, Equatable {
    /// From 1, without holes.
    public let id: Int
    /// Since 1970.
    public let milliseconds: Int64
    public let type: EventType
    /// `/v1/bridges/br0/ports/web1`
    public let resource: String
    public let data: JSONObject

    /// As the long poll answers it.
    public var document: EventDocument {
        EventDocument(
            id: id, time: RFC3339.text(milliseconds: milliseconds), type: type, resource: resource,
            data: data)
    }

    /// The document as JSON. JSON has no raw line break, so it is one line.
    var encoded: [UInt8] { JSONValue.object(document.json).serialized() }

    /// Appends a frame of server-sent events, WHATWG HTML §9.2.6.
    ///
    /// - Parameter boot: makes the id one of this life: it comes back as Last-Event-ID, perhaps to another.
    static func frame(
        _ id: Int, _ type: EventType, _ document: some Sequence<UInt8>, boot: String, to bytes: inout [UInt8]
    ) {
        bytes += "id: \(EventPage.cursor(boot, id))\nevent: \(type.rawValue)\ndata: ".utf8
        bytes += document
        bytes += "\n\n".utf8
    }

    /// A comment, which readers pass over: it keeps the connection and shows the service who has left.
    static let keepAlive = Array(": keep-alive\n\n".utf8)

    /// In place of the events from `since` to before `next`. It carries the number before `next`, so that a
    /// reader who resumes after it misses nothing more.
    ///
    /// - Parameter since: nil when the reader's number is not of this service's life.
    static func gap(since: Int?, next: Int, milliseconds: Int64) -> Event {
        var data: JSONObject = ["next": .integer(Int64(next))]
        if let since { data["lost"] = .integer(Int64(next - 1 - since)) }
        return Event(
            id: next - 1, milliseconds: milliseconds, type: .gap, resource: "/v1/events", data: data)
    }
}

/// What an append says; the log adds the number and the time.
public struct EventDraft: Sendable {
    public var type: EventType
    /// Path of the resource it is about.
    public var resource: String
    public var data: JSONObject

    public init(type: EventType, resource: String, data: JSONObject = [:]) {
        self.type = type
        self.resource = resource
        self.data = data
    }
}
