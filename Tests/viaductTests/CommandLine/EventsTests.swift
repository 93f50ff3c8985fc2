// Events as lines, and where reading starts, goes on and ends.

import Foundation
import HTTP
import JSON
import Testing

@testable import viaduct

@Suite struct EventsTests {
    private func agent(from first: Int64 = 1) -> FakeAgent {
        FakeAgent(
            events: (first..<first + 5).map { id in
                [
                    "id": .integer(id), "time": "2026-01-02T03:04:05Z", "type": "port.degraded",
                    "resource": "/v1/bridges/br0/ports/web1", "data": ["error": "gone"],
                ]
            })
    }

    @Test("without options it prints what the agent still has, page after page, and stops")
    func all() async throws {
        let agent = agent(from: 100)
        let run = try await CommandRun("events", on: agent)
        let lines = run.output.split(separator: "\n")
        #expect(lines.count == 5)
        #expect(lines[0] == "100  2026-01-02T03:04:05Z  port.degraded  br0/ports/web1  error=gone")
        #expect(agent.requests.map { $0.query["since"] } == ["0", "101", "103", "104"])
        #expect(agent.requests.allSatisfy { $0.query["wait"] == "0" })
    }

    @Test("a gap is told to who said what they had seen")
    func gap() async throws {
        let run = try await CommandRun("events --since 7", on: agent(from: 100))
        #expect(run.output.hasPrefix("gap: what happened before this line is not known any more\n100  "))
        let json = try await CommandRun("events --since 7 --json", on: agent(from: 100))
        let first = try JSONValue.parse(Array(json.output.split(separator: "\n")[0].utf8))
        #expect(first["type"] == "gap")
        let none = try await CommandRun("events --since 102", on: agent(from: 100))
        #expect(!none.output.contains("gap") && none.output.split(separator: "\n").count == 2)
    }

    @Test("following goes on where it was when the agent comes back, and begins with what is new")
    func follow() async throws {
        let agent = agent(from: 100)
        agent.state.withLock { $0.failures = [3] }
        let following = Task { try await CommandRun("events -f", on: agent) }
        while agent.requests.count < 6 { try await Task.sleep(for: .milliseconds(5)) }
        following.cancel()
        let run = try await following.value
        #expect(run.exitCode == 0 && run.output == "", "\(run.output)")
        // The first poll finds out where the end is; the third one failed and was made again.
        #expect(agent.requests.prefix(4).map { $0.query["since"] } == [nil, "104", "104", "104"])
        let gone = FakeAgent()
        gone.state.withLock { $0.failures = [1] }
        #expect(try await CommandRun("events -f", on: gone).exitCode == 3)
    }

    @Test("following across a restart tells the gap and has what the new life has counted from 1")
    func restart() async throws {
        let agent = agent(from: 100)
        agent.state.withLock { $0.boot = "aa" }
        let following = Task { try await CommandRun("events -f", on: agent) }
        while agent.requests.count < 3 { try await Task.sleep(for: .milliseconds(5)) }
        let reborn = self.agent(from: 1).state.withLock { $0.events }
        agent.state.withLock { ($0.boot, $0.events) = ("bb", reborn) }
        while agent.requests.last?.query["since"] != "bb-5" { try await Task.sleep(for: .milliseconds(5)) }
        following.cancel()
        let run = try await following.value
        let lines = run.output.split(separator: "\n")
        #expect(lines.count == 6 && lines[0].hasPrefix("gap: "), "\(run.output)")
        #expect(lines.dropFirst().map { $0.prefix(1) } == ["1", "2", "3", "4", "5"])
        #expect(agent.requests.prefix(2).map { $0.query["since"] } == [nil, "aa-104"])
    }

    @Test("an event the answer itself calls a gap is shown once")
    func ownGap() {
        let page = EventPage(["items": [["type": "gap"], ["id": 3]], "next": 3, "gap": true])
        #expect(page.eventsWithGap.count == 2)
        let silent = EventPage(["items": [["id": 3]], "next": 3, "gap": true])
        #expect(silent.eventsWithGap.count == 2 && EventPage.isGap(silent.eventsWithGap[0]))
    }
}

@Suite struct RateTests {
    private let key = Reading.Key(bridge: "br0", name: "t1", type: "tunnel")
    private let start = ContinuousClock.now

    private func reading(_ rxBytes: Int64, packets: Int64 = 0, after seconds: Double = 0) -> Reading {
        Reading([key: .init(rxPackets: packets, rxBytes: rxBytes)], at: start + .seconds(seconds))
    }

    @Test("a rate is a difference by the time that passed, in bits")
    func rate() {
        let rates = Rate.between(reading(1000, packets: 10), reading(3000, packets: 14, after: 2))
        #expect(rates.count == 1)
        #expect(rates[0].rxBits == 8000 && rates[0].rxPackets == 2 && rates[0].txBits == 0)
    }

    @Test("a counter that went back started again from zero")
    func restart() {
        #expect(Rate.between(reading(5000), reading(1000, after: 1)).first?.rxBits == 8000)
    }

    @Test("what was not there before has no rate, and no time has none either")
    func news() {
        #expect(Rate.between(Reading([:], at: start), reading(1000, after: 1)).isEmpty)
        #expect(Rate.between(reading(0), reading(1000)).isEmpty)
    }

    @Test("the busiest come first, equals by name")
    func order() {
        func key(_ name: String) -> Reading.Key { Reading.Key(bridge: "br0", name: name, type: "tap") }
        let before = Reading([key("a"): .init(), key("b"): .init(), key("c"): .init()], at: start)
        let after = Reading(
            [key("a"): .init(), key("b"): .init(), key("c"): .init(txBytes: 9)], at: start + .seconds(1))
        #expect(Rate.between(before, after).map(\.key.name) == ["c", "a", "b"])
    }
}

/// A file for one test.
final class TemporaryFile {
    let path = "/tmp/viaduct-test-\(UUID().uuidString)"

    init(_ text: String) throws { try text.write(toFile: path, atomically: true, encoding: .utf8) }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
