// Owns: what is left when things are let go of: nothing. Each test is a process of its own, because the
// descriptors and threads of this one belong to all tests at once.

import CLinux
import Datapath
import Foundation
import Glibc
import Testing
import Wire

@testable import LinuxIO

/// Descriptors and threads of this process.
private struct Holdings {
    // Listing the directory takes a descriptor, the same each time.
    var descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? -1
    var threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count) ?? -1

    /// Waits for threads that have ended to be gone. Dispatch may have one or two more of its own by then.
    static func settle(to before: Holdings) -> Bool {
        eventually {
            let now = Holdings()
            return now.descriptors <= before.descriptors + 2 && now.threads <= before.threads + 3
        }
    }
}

private func epollCount() -> Int {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return names.count { readLink("/proc/self/fd/\($0)") == "anon_inode:[eventpoll]" }
}

/// Called in the other process: says what is wrong and ends it.
private func require(_ condition: Bool, _ complaint: @autoclosure () -> String) {
    guard !condition else { return }
    try? FileHandle.standardError.write(contentsOf: Data(complaint().utf8))
    exit(EXIT_SUCCESS)
}

/// Called in this one: what the other complained of.
private func complaint(_ result: ExitTest.Result?) -> String {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
}

@Suite("lifetimes")
struct LifetimeTests {
    @Test("two hundred rounds of everything leave no descriptor, no thread and no interface")
    func everything() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let name = uniqueName()
            func round(_ number: Int) throws {
                let worker = try Worker(events: WorkerEvents(portTroubled: { _ in }, pathMTUChanged: {}))
                let device = try TAPDevice.create(
                    InterfaceSettings(
                        name: name, namespace: nil, mac: nil, mtu: 1400,
                        addresses: [prefix("198.19.254.1/32")]))
                let listener = try UDPListener(port: UInt16(20_000 + number), isIPv4: number % 2 == 0)
                let kind = SenderKind(isIPv4: true, doNotFragment: true, checksum: true)
                let senders = SenderSockets([kind: try SenderPool(kind, ports: 49_152...65_535)])
                let socket = try PacketSocket(interface: name)
                let monitor = try UnderlayMonitor { _ in }
                _ = try ZeroedMemory(byteCount: 1 << 20)
                worker.adopt(.empty, senders: senders)
                worker.stop()
                withExtendedLifetime((device, listener, socket, monitor)) {}
                // Refusals must not leave anything either.
                _ = try? TAPDevice.create(
                    InterfaceSettings(name: "lo", namespace: nil, mac: nil, mtu: 1400, addresses: []))
                _ = try? SenderPool(kind, ports: 49_152...49_153)
                _ = try? Namespace.run(in: "no-such-namespace") { 1 }
            }
            for number in 0..<5 { try round(number) }
            usleep(100_000)
            let before = Holdings()
            for number in 0..<200 { try round(number) }
            require(Holdings.settle(to: before), "before \(before), after \(Holdings())")
            require(try Netlink.link(named: name) == nil, "the interface is still there")
        }
        #expect(complaint(result) == "")
    }

    @Test("the first hundred namespaces visited leave no thread and no descriptor behind")
    func namespaces() async {
        let namespace = TestNamespace()
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            [name = namespace.name as String] in
            _ = try Namespace.run(in: name) { 1 }
            usleep(50_000)
            let before = Holdings()
            let home = currentNamespace()
            for _ in 0..<100 { _ = try Namespace.run(in: name) { () throws(LinuxError) in 1 } }
            require(Holdings.settle(to: before), "before \(before), after \(Holdings())")
            require(currentNamespace() == home, "the thread has moved")
        }
        #expect(complaint(result) == "")
    }

    @Test("when stop returns the worker's thread has left its loop and let go of its descriptors")
    func stop() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            func make() throws -> Worker {
                try Worker(events: WorkerEvents(portTroubled: { _ in }, pathMTUChanged: {}))
            }
            try make().stop()
            usleep(50_000)
            let before = epollCount()
            for round in 0..<300 {
                let worker = try make()
                require(epollCount() == before + 1, "round \(round): a worker has one epoll instance")
                if round % 2 == 0 { worker.adopt(.empty, senders: SenderSockets([:])) }
                worker.stop()
                require(epollCount() == before, "round \(round): its thread was still there after stop")
            }
        }
        #expect(complaint(result) == "")
    }
}
