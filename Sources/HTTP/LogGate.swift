import Synchronization

/// Passes log lines on, at most a few a second: clients can make libmicrohttpd write one per request.
final class LogGate: Sendable {
    /// Enough to see what is going on, too few to fill a disk.
    private static var linesPerSecond: Int { 20 }

    private struct State {
        var second: UInt64 = 0
        var lineCount = 0
        var droppedCount = 0
    }

    private let state = Mutex(State())
    private let sink: @Sendable (String) -> Void

    init(_ sink: @escaping @Sendable (String) -> Void) { self.sink = sink }

    func write(_ line: String) {
        let second = Monotonic.now / 1_000_000_000
        let (passes, droppedCount) = state.withLock { state -> (Bool, Int) in
            if state.second != second {
                let droppedCount = state.droppedCount
                state = State(second: second, lineCount: 1)
                return (true, droppedCount)
            }
            state.lineCount += 1
            if state.lineCount <= Self.linesPerSecond { return (true, 0) }
            state.droppedCount += 1
            return (false, 0)
        }
        if droppedCount > 0 { sink("\(droppedCount) more lines were dropped") }
        if passes { sink(line) }
    }
}
