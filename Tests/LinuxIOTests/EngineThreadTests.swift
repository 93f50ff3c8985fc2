// Owns: what a confined thread can and cannot do.

import CLinux
import Dispatch
import Glibc
import Proc
import Synchronization
import Testing

import class Foundation.Thread

@testable import LinuxIO

private final class Outcome<R: Sendable>: Sendable {
    let value = Mutex<R?>(nil)
}

/// What `body` says on a thread of its own, which ends with it.
func onThread<R: Sendable>(_ body: @escaping @Sendable () -> R) -> R {
    let (outcome, done) = (Outcome<R>(), DispatchSemaphore(value: 0))
    let thread = Thread {
        let result = body()
        outcome.value.withLock { $0 = result }
        done.signal()
    }
    thread.start()
    done.wait()
    return outcome.value.withLock { $0! }
}

@Suite("threads of the engine")
struct EngineThreadTests {
    /// 0 or the errno of each attempt, on a confined thread.
    private func confined(_ attempts: @escaping @Sendable () -> [Int32]) -> [Int32] {
        onThread {
            do throws(LinuxError) {
                try EngineThread.confine()
            } catch {
                Issue.record("\(error)")
                return []
            }
            return attempts()
        }
    }

    @Test(
        "a confined thread opens, starts and changes nothing: neither files, sockets, processes nor threads")
    func refuses() {
        let codes = confined {
            var thread = pthread_t()
            let made = pthread_create(&thread, nil, { _ in nil }, nil)
            var child: pid_t = 0
            let words: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/true"), nil]
            defer { free(words[0]) }
            return [
                clx_open_read("/etc/passwd"), clx_eventfd_create(), clx_netlink_open(0), clx_packet_open(1),
                clx_tap_open("x", 0), clx_leave_network_namespace(), -made,
                -posix_spawn(&child, "/bin/true", nil, nil, words, nil),
                kill(getpid(), 0) < 0 ? -errno : 0, clx_capabilities_keep(0),
            ]
        }
        #expect(codes == Array(repeating: -EPERM, count: 10))
    }

    @Test("a confined thread has no capability, and no memory to execute")
    func hasNothing() {
        let codes = confined {
            let page = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            guard let page, page != MAP_FAILED else { return [errno] }
            defer { munmap(page, 4096) }
            let code = mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0 ? errno : 0
            let executable = mmap(nil, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            return [code, executable == MAP_FAILED ? errno : 0]
        }
        #expect(codes == [EPERM, EPERM])
        #expect(onThread { (try? EngineThread.confine()).map { Capabilities.held.rawValue } ?? 1 } == 0)
    }

    @Test("a confined thread reads, writes, waits, and takes memory")
    func goesOn() throws {
        let bell = try Bell()
        let epoll = try check(clx_epoll_create(), "create an epoll instance")
        defer { close(epoll) }
        let descriptor = bell.descriptor
        let codes = confined {
            var event = clx_event()
            let watched = clx_epoll_add(epoll, descriptor, 7)
            bell.ring()
            let ready = clx_epoll_wait(epoll, &event, 1, 1000)
            bell.silence()
            let memory = (0..<64).map { [UInt8](repeating: UInt8($0), count: 1 << 20) }
            let last = Int32(memory.last?.last ?? 0)
            return [watched, ready, Int32(event.token), last, clx_epoll_remove(epoll, descriptor)]
        }
        #expect(codes == [0, 1, 7, 63, 0])
    }

    @Test("a worker is confined when it is to be, and forwards nothing less")
    func worker() throws {
        var settings = WorkerSettings()
        settings.isConfined = true
        let worker = try Worker(
            events: WorkerEvents(portTroubled: { _ in }, pathMTUChanged: {}), settings: settings)
        defer { worker.stop() }
        #expect(worker.confinementFault == nil)
        #expect(worker.perform { (Capabilities.held.rawValue, clx_open_read("/etc/passwd")) } == (0, -EPERM))
        let free = try Worker(events: WorkerEvents(portTroubled: { _ in }, pathMTUChanged: {}))
        defer { free.stop() }
        #expect(free.perform { Capabilities.held } == Capabilities.held)
    }

    @Test("without CAP_NET_ADMIN a TAP is taken that was made for this user, and left as it was")
    func prepared() throws {
        let name = uniqueName()
        run("ip", "tuntap", "add", "dev", name, "mode", "tap", "user", "\(geteuid())")
        defer { run("ip", "link", "del", name) }
        run("ip", "link", "set", name, "mtu", "1400", "up")
        let settings = InterfaceSettings(name: name, namespace: nil, mac: nil, mtu: 1500, addresses: [])
        let result = onThread { () -> Result<Link?, LinuxError> in
            try? Capabilities.keep(only: [])
            do throws(LinuxError) {
                try TAPDevice.checkFree(settings)
                let device = try TAPDevice.create(settings)
                return .success(try device.link())
            } catch {
                return .failure(error)
            }
        }
        let link = try #require(try result.get())
        #expect(link.name == name && link.mtu == 1400 && link.hasCarrier)
        #expect(try Netlink.link(named: name) != nil, "it outlives its descriptor")
        var missing = settings
        missing.name = uniqueName()
        let refusal = onThread { [missing] () -> LinuxError? in
            try? Capabilities.keep(only: [])
            do throws(LinuxError) {
                _ = try TAPDevice.create(missing)
                return nil
            } catch {
                return error
            }
        }
        #expect(refusal?.code == ENODEV && refusal?.operation.contains("ip tuntap add") == true)
    }
}
