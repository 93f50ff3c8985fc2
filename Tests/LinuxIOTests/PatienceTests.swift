// Owns: how a worker waits, seen by the processor time it costs.

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

    /// Waits once; returns how many events came and the processor time it took, milliseconds.
    private func wait(
        _ patience: inout Patience, _ bell: Bell, sleep: Int32 = 100, takenByteCount: Int = 0
    ) -> (count: Int32, cpu: UInt64) {
        var ready = clx_event()
        let start = clx_thread_cpu_ns()
        let count = patience.wait(
            bell.epoll, &ready, 1, sleepMilliseconds: sleep, takenByteCount: takenByteCount)
        let cpu = (clx_thread_cpu_ns() - start) / 1_000_000
        if count > 0 { clx_eventfd_drain(bell.event) }
        return (count, cpu)
    }

    /// Has waited a little for one event, so that the next pause is expected to be as short.
    private func afterShortPause(limitMilliseconds: UInt64 = limitMilliseconds) -> (Patience, Bell) {
        var patience = Patience(limitNanoseconds: limitMilliseconds * 1_000_000)
        let bell = Bell()
        bell.ring(afterMilliseconds: 20)
        let first = wait(&patience, bell, sleep: 5000)
        #expect(first.count == 1 && first.cpu < 10, "nothing is known yet: it sleeps")
        return (patience, bell)
    }

    @Test("after a short pause it looks on, up to the limit, and then sleeps")
    func looks() {
        var (patience, bell) = afterShortPause()
        let second = wait(&patience, bell)
        #expect(second.count == 0 && second.cpu >= 20)
        let third = wait(&patience, bell)
        #expect(third.count == 0 && third.cpu < 10, "the last pause was a long one")
    }

    @Test("what comes while it looks on is seen")
    func sees() {
        var (patience, bell) = afterShortPause()
        bell.ring(afterMilliseconds: 50)
        #expect(wait(&patience, bell, sleep: 5000).count == 1)
    }

    @Test("after bulk it sleeps at once")
    func bulk() {
        var (patience, bell) = afterShortPause()
        let second = wait(&patience, bell, takenByteCount: Patience.bulkByteCount)
        #expect(second.count == 0 && second.cpu < 10)
    }

    @Test("without a limit it sleeps at once")
    func never() {
        var (patience, bell) = afterShortPause(limitMilliseconds: 0)
        #expect(wait(&patience, bell).cpu < 10)
    }
}
