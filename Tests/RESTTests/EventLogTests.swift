// The ring of events, its pages and its waiters.

import API
import JSON
import Synchronization
import Testing

@testable import REST

@Suite struct EventLogTests {
    private func log(_ count: Int) -> EventLog {
        let log = EventLog()
        for index in 0..<count {
            log.append(.portCreated, "/v1/bridges/br0/ports/p\(index + 1)", at: Int64(index))
        }
        return log
    }

    @Test("events are numbered from 1 and come back in order with what was said")
    func order() {
        let log = EventLog()
        log.append(.bridgeCreated, "/v1/bridges/br0", ["mtu": 1450], at: 1_795_356_000_123)
        log.append(
            [EventDraft(type: .portOK, resource: "/a"), EventDraft(type: .macMoved, resource: "/b")], at: 5)
        log.append([], at: 6)
        let page = log.events(since: 0)
        #expect(page.items.map(\.id) == [1, 2, 3] && page.next == 3 && !page.gap)
        #expect(page.items.map(\.type) == [.bridgeCreated, .portOK, .macMoved])
        #expect(log.events(since: 2).items.map(\.resource) == ["/b"])
        #expect(log.events(since: 3) == EventLog.Page(items: [], next: 3, gap: false))
        #expect(
            JSONValue.object(page.items[0].document.json).description
                == #"{"id":1,"time":"2026-11-22T14:00:00.123Z","type":"bridge.created","#
                + #""resource":"/v1/bridges/br0","data":{"mtu":1450}}"#)
    }

    @Test("a page ends at its limit and says where to go on")
    func limit() {
        let log = log(10)
        var (since, seen): (Int, [Int]) = (0, [])
        for _ in 0..<4 {
            let page = log.events(since: since, limit: 3)
            seen += page.items.map(\.id)
            since = page.next
        }
        #expect(seen == Array(1...10) && since == 10)
    }

    @Test("the ring keeps the last 4,096 and says when it has lost what was asked for")
    func ring() {
        let log = log(5000)
        for (since, first, gap) in [
            (0, 905, true), (903, 905, true), (904, 905, false), (905, 906, false), (4999, 5000, false),
        ] {
            let page = log.events(since: since, limit: 1)
            #expect(page.items.map(\.id) == [first] && page.gap == gap, "\(since)")
            #expect(page.items[0].resource.hasSuffix("p\(first)"))
        }
        #expect(log.events(since: 904, limit: 5000).items.map(\.id) == Array(905...5000))
    }

    @Test("a number of an earlier life of the service is a gap, and everything there is comes after it")
    func earlierLife() {
        #expect(log(3).events(since: 7).items.map(\.id) == [1, 2, 3])
        #expect(log(3).events(since: 7).gap)
        #expect(EventLog().events(since: 7) == EventLog.Page(items: [], next: 0, gap: true))
    }

    @Test("a wait ends with the first event, at its deadline, when cancelled and when the log closes")
    func wait() async throws {
        let log = log(2)
        #expect(await log.wait(since: 0, seconds: 60)?.items.count == 2)
        #expect(await log.wait(since: 9, seconds: 60)?.gap == true)
        let start = ContinuousClock.now
        #expect(await log.wait(since: 2, seconds: 0.2)?.items.isEmpty == true)
        #expect(ContinuousClock.now - start >= .milliseconds(200))
        #expect(await log.wait(since: 2, seconds: 1e-9)?.next == 2)
        let waiting = (0..<20).map { _ in Task { await log.wait(since: 2, seconds: 60) } }
        let cancelled = Task { await log.wait(since: 2, seconds: 60) }
        try await Task.sleep(for: .milliseconds(50))
        cancelled.cancel()
        #expect(await cancelled.value?.items.isEmpty == true)
        log.append(.portOK, "/a", at: 0)
        for task in waiting { #expect(await task.value?.items.map(\.id) == [3]) }
        let last = Task { await log.wait(since: 3, seconds: 60) }
        try await Task.sleep(for: .milliseconds(20))
        log.close()
        #expect(await last.value?.items.isEmpty == true)
        #expect(await log.wait(since: 3, seconds: 60)?.items.isEmpty == true)
        #expect(ContinuousClock.now - start < .seconds(25))
    }

    @Test("the sixty-fifth waiter is refused, and its place is free again when one has gone")
    func places() async throws {
        let log = EventLog()
        let waiting = (0..<64).map { _ in Task { await log.wait(since: 0, seconds: 60) } }
        try await eventually("64 wait") { log.state.withLock { $0.waiting.count } == 64 }
        #expect(await log.wait(since: 0, seconds: 60) == nil)
        #expect(await log.wait(since: 0, seconds: 0) != nil)
        waiting[0].cancel()
        _ = await waiting[0].value
        #expect(await log.wait(since: 0, seconds: 0.01) != nil)
        log.close()
        for task in waiting { _ = await task.value }
        #expect(log.state.withLock { $0.waiting.isEmpty && $0.waiters.isEmpty && $0.woken.isEmpty })
    }

    @Test("waiters who follow miss nothing, whatever they race with")
    func race() async throws {
        let log = EventLog()
        let followers = (0..<8).map { index in
            Task {
                var (since, seen): (Int, [Int]) = (0, [])
                while since < 2000 {
                    // Now and then a wait that is over before it has begun.
                    let seconds = index % 2 == 0 ? 30 : Double.random(in: 0...0.0005)
                    guard let page = await log.wait(since: since, limit: 100, seconds: seconds) else { break }
                    seen += page.items.map(\.id)
                    since = page.next
                }
                return seen
            }
        }
        for index in 0..<1000 {
            let draft = EventDraft(type: .macMoved, resource: "/\(index)")
            log.append([draft, draft], at: 0)
            if index % 10 == 0 { await Task.yield() }
        }
        for follower in followers { #expect(await follower.value == Array(1...2000)) }
        #expect(log.state.withLock { $0.waiting.isEmpty && $0.woken.isEmpty })
    }

    @Test("times are RFC 3339 in UTC with milliseconds")
    func times() {
        #expect(RFC3339.text(milliseconds: 0) == "1970-01-01T00:00:00.000Z")
        #expect(RFC3339.text(milliseconds: 951_782_399_999) == "2000-02-28T23:59:59.999Z")
        #expect(RFC3339.text(milliseconds: 4_102_444_800_007) == "2100-01-01T00:00:00.007Z")
    }
}
