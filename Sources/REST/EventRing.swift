// The last events, each as the JSON it is sent as, many in one piece of memory: thousands of small values that outlive
// the requests that made them would each keep a page of the heap with them.

internal import API
internal import JSON

/// The last `EventLog.capacity` events.
struct EventRing {
    /// Events whose numbers lead to the same place, (id - 1) / `count`.
    private struct Segment {
        static let count = 64

        var firstID: Int
        var bytes: [UInt8] = []
        var marks: [(end: Int, type: EventType, milliseconds: Int64)] = []

        func document(_ id: Int) -> ArraySlice<UInt8> {
            let index = id - firstID
            return bytes[(index == 0 ? 0 : marks[index - 1].end)..<marks[index].end]
        }
    }

    /// Number of the newest event, 0 before the first.
    private(set) var lastID = 0
    /// The last of them may have room; the first may have events that are no longer kept.
    private var segments: [Segment] = []

    /// Of the oldest event that is kept; one more than `lastID` when none is.
    var oldestID: Int { max(segments.first?.firstID ?? lastID + 1, lastID - EventLog.capacity + 1) }

    private func segment(of id: Int) -> Segment {
        segments[(id - 1) / Segment.count - (segments[0].firstID - 1) / Segment.count]
    }

    // MARK: Writing

    /// Numbers and keeps what belongs together; what would not be kept to the end is only numbered.
    mutating func append(_ drafts: [EventDraft], at milliseconds: Int64) {
        let kept = drafts.suffix(EventLog.capacity)
        if kept.count < drafts.count {
            lastID += drafts.count - kept.count
            segments.removeAll()
        }
        for draft in kept { append(draft, milliseconds) }
    }

    private mutating func append(_ draft: EventDraft, _ milliseconds: Int64) {
        lastID += 1
        if segments.isEmpty || (lastID - 1).isMultiple(of: Segment.count) {
            segments.append(Segment(firstID: lastID))
            if segments[0].firstID + Segment.count <= oldestID { segments.removeFirst() }
        }
        let event = Event(
            id: lastID, milliseconds: milliseconds, type: draft.type, resource: draft.resource,
            data: draft.data)
        let last = segments.count - 1
        segments[last].bytes += event.encoded
        segments[last].marks.append((segments[last].bytes.count, draft.type, milliseconds))
    }

    // MARK: Reading

    /// Of an event that is kept.
    subscript(id: Int) -> Event {
        let segment = segment(of: id)
        let mark = segment.marks[id - segment.firstID]
        let document = try? JSONValue.parse(Array(segment.document(id)))
        return Event(
            id: id, milliseconds: mark.milliseconds, type: mark.type,
            resource: document?["resource"]?.stringValue ?? "", data: document?["data"]?.objectValue ?? [:])
    }

    /// Appends an event that is kept, as a stream sends it.
    func frame(_ id: Int, boot: String, to bytes: inout [UInt8]) {
        let segment = segment(of: id)
        Event.frame(
            id, segment.marks[id - segment.firstID].type, segment.document(id), boot: boot, to: &bytes)
    }
}
