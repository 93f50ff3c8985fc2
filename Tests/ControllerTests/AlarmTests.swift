// The one wake-up of the control plane.

import Synchronization
import Testing

@testable import Controller

@Suite struct AlarmTests {
    @Test("an alarm that is cleared, or set to another time, does not ring when it would have")
    func cleared() async throws {
        let rings = Rings()
        var alarm = Alarm()
        alarm.set(.milliseconds(20), now: .zero) { rings.note(1) }
        alarm.set(.milliseconds(40), now: .zero) { rings.note(2) }
        alarm.clear()
        alarm.set(.milliseconds(60), now: .zero) { rings.note(3) }
        for _ in 0..<1000 where rings.all.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
        #expect(rings.all == [3])
    }
}

private final class Rings: Sendable {
    private let numbers = Mutex<[Int]>([])
    var all: [Int] { numbers.withLock { $0 } }
    func note(_ number: Int) { numbers.withLock { $0.append(number) } }
}
