// Where log lines go: a queue of their own, bounded, so that a reader of standard error who is slow, stuck or
// gone holds up nobody. Lines that find the queue full are counted, and the count is logged when there is room.

import Dispatch
import Glibc
import Synchronization

final class LogWriter: Sendable {
    /// Lines waiting at most: a burst, not a backlog.
    static let capacity = 1024

    private struct State {
        var waiting = 0
        var dropped = 0
    }

    private let descriptor: Int32
    private let noticeOfDrops: @Sendable (Int) -> String
    private let queue = DispatchQueue(label: "viaduct.log")
    private let state = Mutex(State())

    /// Does not own `descriptor`. A closed reader is an error of `write`, not a signal that ends the agent.
    ///
    /// - Parameter noticeOfDrops: the line that says how many lines were dropped.
    init(descriptor: Int32, noticeOfDrops: @escaping @Sendable (Int) -> String) {
        self.descriptor = descriptor
        self.noticeOfDrops = noticeOfDrops
        signal(SIGPIPE, SIG_IGN)
    }

    func write(_ line: String) {
        let isAdmitted = state.withLock { state in
            guard state.waiting < LogWriter.capacity else {
                state.dropped += 1
                return false
            }
            state.waiting += 1
            return true
        }
        guard isAdmitted else { return }
        queue.async { [self] in
            let dropped = state.withLock { state in
                defer { (state.waiting, state.dropped) = (state.waiting - 1, 0) }
                return state.dropped
            }
            put((dropped > 0 ? noticeOfDrops(dropped) + "\n" : "") + line + "\n")
        }
    }

    /// Waits for what is queued, but not for ever.
    func flush(seconds: Double) {
        let done = DispatchSemaphore(value: 0)
        queue.async { done.signal() }
        _ = done.wait(timeout: .now() + seconds)
    }

    private func put(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                bytes = bytes.dropFirst(written)
            } else if errno != EINTR {
                return
            }
        }
    }
}
