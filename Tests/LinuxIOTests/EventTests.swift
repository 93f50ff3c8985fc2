// Owns: the small things under the worker: eventfd, epoll, the clock, locks, errors, memory.

import CLinux
import Glibc
import Testing

@testable import LinuxIO

@Suite("events and errors")
struct EventTests {
    @Test("an eventfd wakes epoll with its token until it is drained, however often it was signalled")
    func eventfd() {
        let epoll = clx_epoll_create()
        let event = clx_eventfd_create()
        defer {
            close(event)
            close(epoll)
        }
        var ready = [clx_event](repeating: clx_event(), count: 4)
        #expect(clx_epoll_add(epoll, event, 0xdead_beef_0000_0001) == 0)
        #expect(clx_epoll_wait(epoll, &ready, 4, 0) == 0)
        for _ in 0..<3 { #expect(clx_eventfd_signal(event) == 0) }
        for _ in 0..<2 {
            #expect(clx_epoll_wait(epoll, &ready, 4, 1000) == 1)
            #expect(ready[0].token == 0xdead_beef_0000_0001 && ready[0].events == UInt32(CLX_EPOLL_IN))
        }
        #expect(clx_eventfd_drain(event) == 0 && clx_epoll_wait(epoll, &ready, 4, 0) == 0)
        #expect(clx_eventfd_drain(event) == 0, "there is nothing to drain: no matter")
        for _ in 0..<2 { #expect(clx_epoll_remove(epoll, event) == 0, "out already is out") }
        #expect(clx_eventfd_signal(event) == 0 && clx_epoll_wait(epoll, &ready, 4, 0) == 0)
    }

    @Test("more descriptors than one call reports are reported by the next, none starves")
    func manyReady() {
        let epoll = clx_epoll_create()
        let events = (0..<100).map { _ in clx_eventfd_create() }
        defer { for descriptor in events + [epoll] { close(descriptor) } }
        for (index, event) in events.enumerated() {
            clx_epoll_add(epoll, event, UInt64(index))
            clx_eventfd_signal(event)
        }
        var seen: Set<UInt64> = []
        var ready = [clx_event](repeating: clx_event(), count: 100)
        for _ in 0..<2 {
            let count = clx_epoll_wait(epoll, &ready, 100, 0)
            #expect(count == 64)
            seen.formUnion(ready.prefix(Int(count)).map(\.token))
        }
        #expect(seen.count == 100)
    }

    @Test("a wait takes as long as it was told, and the clock goes forward")
    func timeout() {
        let epoll = clx_epoll_create()
        defer { close(epoll) }
        var event = clx_event()
        let start = clx_monotonic_ms()
        #expect(clx_epoll_wait(epoll, &event, 1, 30) == 0)
        let waited = clx_monotonic_ms() - start
        #expect(waited >= 29 && waited < 5000)
    }

    @Test("bad descriptors are -EBADF from every call")
    func badDescriptors() {
        var event = clx_event()
        #expect(clx_epoll_add(-1, -1, 0) == -EBADF && clx_epoll_wait(-1, &event, 1, 0) == -EBADF)
        #expect(clx_eventfd_signal(-1) == -EBADF && clx_eventfd_drain(-1) == -EBADF)
        #expect(clx_udp_port(-1) == -EBADF && clx_socket_drops(-1) == Int64(-EBADF))
        #expect(clx_enter_network_namespace(-1) == -EBADF)
        #expect(clx_open_read("/no/such/file") == -ENOENT)
    }

    @Test("a lock file has one holder until its descriptor closes")
    func lock() {
        let path = "/tmp/viaduct-test-\(getpid())-lock"
        defer { unlink(path) }
        let first = clx_lock_file(path)
        #expect(first >= 0 && clx_lock_file(path) == -EWOULDBLOCK)
        close(first)
        #expect(
            eventually {
                let second = clx_lock_file(path)
                return second >= 0 && close(second) == 0
            })
        #expect(clx_lock_file("/no/such/directory/lock") == -ENOENT)
    }

    @Test("an error says what was tried and what the kernel answered, with the name to search for")
    func errors() {
        let error = LinuxError("create TAP web1", code: EBUSY)
        #expect(error.description == "create TAP web1: Device or resource busy (EBUSY)")
        #expect(LinuxError("x", code: 9999).name == "errno 9999")
        #expect(throws: error) { try check(-EBUSY, "create TAP web1") }
    }

    @Test("a result that is no error is passed on")
    func results() throws {
        #expect(try check(7, "count") == 7)
        #expect(try check(0, "count") == 0)
    }

    @Test("memory for tables is zero, and a size nobody has is refused")
    func memory() throws {
        let memory = try ZeroedMemory(byteCount: 1 << 20)
        let bytes = UnsafeRawBufferPointer(start: memory.base, count: 1 << 20)
        #expect(bytes.allSatisfy { $0 == 0 })
        #expect(throws: LinuxError.self) { try ZeroedMemory(byteCount: 1 << 60) }
    }
}
