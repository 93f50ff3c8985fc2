// Owns: how a worker waits: when it looks on, and when it sleeps.

import CLinux
import Foundation
import Glibc
import Testing

@testable import LinuxIO

@Suite("patience")
struct PatienceTests {
    private static let limitMilliseconds: UInt64 = 200

    /// An eventfd watched by an epoll instance.
    private final class Bell: Sendable {
        let event = clx_eventfd_create()
        let epoll = clx_epoll_create()

        init() { clx_epoll_add(epoll, event, 7) }

        deinit {
            close(event)
            close(epoll)
        }

        func ring(afterMilliseconds milliseconds: UInt32) {
            Thread.detachNewThread { [self] in
                usleep(milliseconds * 1000)
                clx_eventfd_signal(event)
            }
        }
    }

    /// Waits once; returns how many events came, and whether it looked on for them.
    private func wait(
        _ patience: inout Patience, _ bell: Bell, sleep: Int32 = 100, takenByteCount: Int = 0
    ) -> (count: Int32, looked: Bool) {
        var ready = clx_event()
        let before = patience.lookCount
        let count = patience.wait(
            bell.epoll, &ready, 1, sleepMilliseconds: sleep, takenByteCount: takenByteCount)
        if count > 0 { clx_eventfd_drain(bell.event) }
        return (count, patience.lookCount > before)
    }

    /// Has waited a little for one event, so that the next pause is expected to be as short. On a busy machine the bell
    /// may be late: then once more.
    private func afterShortPause(limitMilliseconds: UInt64 = limitMilliseconds) -> (Patience, Bell) {
        while true {
            var patience = Patience(limitNanoseconds: limitMilliseconds * 1_000_000)
            let bell = Bell()
            let start = clx_monotonic_ns()
            bell.ring(afterMilliseconds: 20)
            #expect(wait(&patience, bell, sleep: 60_000) == (1, false), "nothing is known yet: it sleeps")
            let limit = max(limitMilliseconds, Self.limitMilliseconds) * 1_000_000
            if clx_monotonic_ns() - start < limit { return (patience, bell) }
        }
    }

    @Test("after a short pause it looks on, up to the limit, and then sleeps")
    func looks() {
        var (patience, bell) = afterShortPause()
        #expect(wait(&patience, bell) == (0, true))
        #expect(wait(&patience, bell) == (0, false), "the last pause was a long one")
    }

    @Test("what comes while it looks on is seen")
    func sees() {
        var (patience, bell) = afterShortPause()
        bell.ring(afterMilliseconds: 50)
        #expect(wait(&patience, bell, sleep: 60_000) == (1, true))
    }

    @Test("after bulk it sleeps at once")
    func bulk() {
        var (patience, bell) = afterShortPause()
        #expect(wait(&patience, bell, takenByteCount: Patience.bulkByteCount) == (0, false))
    }

    @Test("without a limit it sleeps at once")
    func never() {
        var (patience, bell) = afterShortPause(limitMilliseconds: 0)
        #expect(wait(&patience, bell) == (0, false))
    }
}
