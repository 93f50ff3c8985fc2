// Owns: what a rule has met, by several workers.

import Testing

@testable import Datapath

@Suite("counters of rules")
struct RuleCountersTests {
    @Test("each worker counts in a row of its own, whatever the number of frames; the rest is nobody's")
    func rows() {
        let counters = RuleCounters.allocate(workers: 2)
        defer { counters.deallocate() }
        counters.add(1, byteCount: 60, nowMilliseconds: 7, worker: 1)
        counters.add(64, byteCount: 6_000, nowMilliseconds: 5, worker: 0)
        counters.add(64, byteCount: 6_000, nowMilliseconds: 9, worker: 2)
        RuleCounters.nowhere.add(1, byteCount: 1, nowMilliseconds: 1, worker: 0)
        #expect(counters.snapshot == (packets: 65, bytes: 6_060, usedMilliseconds: 7))
    }
}
