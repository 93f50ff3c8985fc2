// When waits for hosts are over, and who is not to wait.

import API
import Testing

@testable import Controller

@Suite struct ArrivalsTests {
    private let a = name("a")
    private let b = name("b")

    @Test("a wave is over once every host has acknowledged its change, or is given up")
    func over() {
        var arrivals = Arrivals()
        let first = arrivals.add(.wave(holding: [a]), at: [(a, 3), (b, 1)])
        let second = arrivals.add(.convergence(since: .zero), at: [(b, 2)])
        #expect(arrivals.arrived(at: a, upTo: 2) == [] && arrivals.arrived(at: b, upTo: 1) == [])
        #expect(
            arrivals.arrived(at: a, upTo: 3)
                == [Arrivals.Over(id: first, purpose: .wave(holding: [a]), isComplete: true)])
        #expect(
            arrivals.giveUp(on: b)
                == [Arrivals.Over(id: second, purpose: .convergence(since: .zero), isComplete: false)])
        #expect(arrivals.count == 0)
    }

    @Test("a host is awaited from a wave's beginning until it has acknowledged, or is given up")
    func awaited() {
        var arrivals = Arrivals()
        _ = arrivals.add(.convergence(since: .zero), at: [(a, 1)])
        #expect(!arrivals.isAwaited(a))
        _ = arrivals.add(.wave(holding: [b]), at: [(a, 2)])
        _ = arrivals.arrived(at: a, upTo: 1)
        #expect(arrivals.isAwaited(a) && !arrivals.isAwaited(b))
        _ = arrivals.arrived(at: a, upTo: 2)
        #expect(!arrivals.isAwaited(a))
        _ = arrivals.add(.wave(holding: [b]), at: [(a, 3)])
        _ = arrivals.giveUp(on: a)
        #expect(!arrivals.isAwaited(a))
    }
}
