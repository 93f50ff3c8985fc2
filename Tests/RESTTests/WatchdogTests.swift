// A service manager that listens to a service whose threads breathe, hang, and breathe again.

import Foundation
import Glibc
import Proc
import Synchronization
import Testing

@testable import REST

@Suite struct WatchdogTests {
    @Test(
        "the watchdog is fed while a service lives, and not while one of its threads hangs",
        .timeLimit(.minutes(1)))
    func hang() async throws {
        let path = "/tmp/viaduct-watchdog-\(UUID().uuidString.prefix(8))"
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer {
            close(socket)
            unlink(path)
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let bound = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        let manager = try #require(
            ServiceManager(environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"]))
        let failure = Mutex<String?>(nil)
        let look: @Sendable () -> [HealthResult] = {
            [HealthResult("worker", failure: failure.withLock { $0 })]
        }
        let informing = Task { await manager.keepInformed(usual: "well", live: look, ready: look) }

        /// Everything that has been said by now.
        func heard() -> [String] {
            var all: [String] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                guard count > 0 else { return all }
                all.append(String(decoding: buffer.prefix(count), as: UTF8.self))
            }
        }
        func wait(for line: String) async throws {
            while !heard().contains(line) { try await Task.sleep(for: .milliseconds(5)) }
        }
        try await wait(for: "WATCHDOG=1")
        try await wait(for: "WATCHDOG=1")
        failure.withLock { $0 = "a forwarding thread has not run" }
        try await wait(for: "STATUS=worker: a forwarding thread has not run")
        try await Task.sleep(for: .milliseconds(300))
        #expect(heard().isEmpty, "it hangs: nothing may say that it lives")
        failure.withLock { $0 = nil }
        try await wait(for: "STATUS=well")
        try await wait(for: "WATCHDOG=1")
        informing.cancel()
        await informing.value
    }
}
