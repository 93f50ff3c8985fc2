// When drops are a storm and when a state's change is news: tables with the time as an argument.

import API
import JSON
import REST
import Testing

@testable import Agent

@Suite struct ConditionsTests {
    @Test("a storm is told once, and again only after it has died down")
    func storms() {
        var conditions = Conditions()
        let limit = Conditions.stormDrops
        // Drops since the last look, and whether that look tells of a storm.
        let looks: [(UInt64, Bool)] = [
            (limit - 1, false), (limit, true), (limit * 5, false), (limit / 2, false), (limit, false),
            (limit / 10 - 1, false), (limit, true),
        ]
        var total: UInt64 = 0
        for (index, (count, isTold)) in looks.enumerated() {
            total += count
            let drafts = conditions.noteDrops(["/v1/bridges/br0": (total, ["runt": .integer(Int64(total))])])
            #expect(drafts.map(\.type) == (isTold ? [.dropsStorm] : []), "look \(index)")
            if isTold { #expect(drafts.first?.data["dropped"] == .integer(Int64(count))) }
        }
    }

    @Test("a state's change is told once with its time, another reason for the same state is not")
    func turns() throws {
        var conditions = Conditions()
        let id = ResourceID.port(try #require(Name("br0")), try #require(Name("p0")))
        // Error at each look, and the event it makes.
        let looks: [(String?, EventType?)] = [
            (nil, nil), ("gone", .portDegraded), ("still gone", nil), (nil, .portOK), (nil, nil),
        ]
        for (index, (error, event)) in looks.enumerated() {
            let errors: [ResourceID: String?] = [id: error]
            let drafts: [EventDraft] = conditions.note(errors, at: Int64(index))
            let wanted: [EventType] = event.map { [$0] } ?? []
            #expect(drafts.map(\.type) == wanted, "look \(index)")
        }
        #expect(conditions.states[id]?.sinceMilliseconds == 3)
    }
}
