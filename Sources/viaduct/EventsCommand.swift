// `viaduct events`: what happened, one line each. Asks by long poll, so that a connection that broke or an
// agent that was restarted is no end: the next poll goes on after the last event seen, by a cursor that says
// which life of the agent it is of.

import ArgumentParser
import JSON

struct EventsCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Print what happened, to a host or with --controller to the fleet.",
        discussion: """
            Changes, state, MAC moves and drops; of a controller also moves of guests, hosts that fall behind and \
            who leads. The last events are kept in memory, each with a number. Without options it prints those there \
            still are; with -f those that come from now on; with --since those after a number, then stops, \
            or with -f goes on. A line "gap" says that events in between are lost. With --json, one object a \
            line.
            """)

    /// The agent holds a poll for at most 60 s.
    private static let waitSeconds = 30
    /// Between tries while the agent is away: an agent restarts in less.
    private static let pause = Duration.seconds(1)

    @Flag(name: .shortAndLong, help: "Go on, and print what comes.") var follow = false
    @Option(help: ArgumentHelp("Start after this event, by number or cursor.", valueName: "event"))
    var since: String?
    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        // Number 0 was never given: everything comes after it.
        var position = since ?? (follow ? nil : "0")
        // What is older than the ring is no gap to a reader who did not say what they had seen.
        var isGapNews = since != nil
        var hasAnswered = false
        while true {
            let wait = follow && position != nil ? EventsCommand.waitSeconds : 0
            let page: EventPage
            do throws(CommandError) {
                page = EventPage(try await session.client.events(since: position, waitSeconds: wait))
            } catch .unreachable(let reason) where follow && hasAnswered {
                session.terminal.writeError("viaduct: \(reason); trying again\n")
                // Woken early only when the task is over.
                guard (try? await Task.sleep(for: EventsCommand.pause)) != nil else { return }
                continue
            }
            hasAnswered = true
            let events = isGapNews ? page.eventsWithGap : page.events.filter { !EventPage.isGap($0) }
            for event in events { session.print(EventLine.text(event, session)) }
            isGapNews = true
            position = page.position ?? position
            if !follow, page.events.isEmpty || page.position == nil { return }
            guard position != nil else { throw .strange("/v1/events: wanted \"cursor\" in the answer") }
        }
    }
}

/// One answer of a poll.
struct EventPage {
    var events: [JSONValue]
    /// What to ask after next time; an agent without cursors has a number.
    var position: String?
    var hasGap: Bool

    init(_ answer: JSONValue) {
        events = answer["items"]?.arrayValue ?? []
        position = answer["cursor"]?.stringValue ?? answer["next"]?.integerValue.map(String.init)
        hasGap = answer["gap"] == true
    }

    static func isGap(_ event: JSONValue) -> Bool { event["type"] == "gap" }

    /// With a gap line before them when the answer says so and has none itself.
    var eventsWithGap: [JSONValue] {
        hasGap && !events.contains(where: EventPage.isGap) ? [["type": "gap"]] + events : events
    }
}

enum EventLine {
    /// "1041  2026-01-02T03:04:05Z  port.degraded  br0/ports/web1  error=no such device"
    static func text(_ event: JSONValue, _ session: Session) -> String {
        if session.json { return event.description }
        let type = Cell.text(event["type"])
        if EventPage.isGap(event) {
            return session.terminal.painted(
                "gap: what happened before this line is not known any more", as: "gap")
        }
        let resource = event["resource"]?.stringValue.map { ResourceID(path: $0)?.title ?? $0 }
        let data = event["data"]?.objectValue.map(Cell.assignments) ?? Table.absent
        let state = type.split(separator: ".").last.map(String.init) ?? type
        let columns = [
            Cell.text(event["id"]), Cell.text(event["time"]),
            session.terminal.painted(type, as: state), resource ?? Table.absent, data,
        ]
        return columns.filter { $0 != Table.absent }.joined(separator: "  ")
    }
}
