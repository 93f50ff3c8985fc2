// What a service manager hears, with a socket of the test's in its place.

import Foundation
import Glibc
import Testing

@testable import Proc

/// The manager's end: a datagram socket with a name.
final class NotifySocket: Sendable {
    let name: String
    private let descriptor: Int32

    init(isAbstract: Bool) throws {
        let path = "/tmp/viaduct-notify-\(UUID().uuidString.prefix(8))"
        name = isAbstract ? "@" + path : path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = (isAbstract ? [0] : []) + Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let byteCount = socklen_t(2 + bytes.count + (isAbstract ? 0 : 1))
        let bound = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, byteCount) }
        }
        try #require(bound == 0)
    }

    /// The lines of the next datagram; empty when there is none.
    func read() -> [String] {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return count > 0
            ? String(decoding: buffer.prefix(count), as: UTF8.self).components(separatedBy: "\n") : []
    }

    deinit {
        close(descriptor)
        if !name.hasPrefix("@") { unlink(name) }
    }
}

@Suite struct ServiceManagerTests {
    @Test(
        "a service manager hears each notice, by a path and by an abstract socket", arguments: [false, true])
    func notices(isAbstract: Bool) throws {
        let socket = try NotifySocket(isAbstract: isAbstract)
        let manager = try #require(ServiceManager(environment: ["NOTIFY_SOCKET": socket.name]))
        #expect(manager.watchdogSeconds == nil)
        #expect(manager.tell(.ready, .status("listening on\nunix:/run/a")))
        #expect(socket.read() == ["READY=1", "STATUS=listening on unix:/run/a"])
        #expect(manager.tell(.alive) && socket.read() == ["WATCHDOG=1"])
        #expect(manager.tell(.stopping) && socket.read() == ["STOPPING=1"])
        #expect(manager.tell(.reloading))
        let reloading = socket.read()
        #expect(reloading.first == "RELOADING=1")
        let microseconds = reloading.last.flatMap { UInt64($0.dropFirst("MONOTONIC_USEC=".count)) }
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let age = UInt64(now.tv_sec) * 1_000_000 + UInt64(now.tv_nsec) / 1000 - (try #require(microseconds))
        #expect(age < 60_000_000)
        #expect(socket.read().isEmpty)
    }

    @Test(
        "who has no socket that can be told has no service manager",
        arguments: [nil, "", "/", "relative", "vsock:2:1234", "@" + String(repeating: "x", count: 200)])
    func nobody(name: String?) {
        var environment = ["WATCHDOG_USEC": "1000000"]
        environment["NOTIFY_SOCKET"] = name
        #expect(ServiceManager(environment: environment) == nil)
    }

    @Test("a socket that is gone is told nothing, and nothing else happens")
    func gone() throws {
        var manager: ServiceManager?
        do {
            let socket = try NotifySocket(isAbstract: false)
            manager = ServiceManager(environment: ["NOTIFY_SOCKET": socket.name])
        }
        #expect(try !#require(manager).tell(.ready))
    }

    @Test("a manager that does not read holds nobody up")
    func stuck() throws {
        let socket = try NotifySocket(isAbstract: false)
        let manager = try #require(ServiceManager(environment: ["NOTIFY_SOCKET": socket.name]))
        let start = ContinuousClock.now
        var taken = 0
        while manager.tell(.alive), taken < 100_000 { taken += 1 }
        #expect(taken < 100_000 && ContinuousClock.now - start < .seconds(30))
    }

    @Test("the watchdog is a process's own")
    func watchdog() {
        func seconds(_ pid: String?, _ microseconds: String) -> Double? {
            var environment = ["NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": microseconds]
            environment["WATCHDOG_PID"] = pid
            return ServiceManager(environment: environment, processID: 42)?.watchdogSeconds
        }
        #expect(seconds("42", "30000000") == 30)
        #expect(seconds(nil, "500000") == 0.5)
        #expect(seconds("41", "30000000") == nil)
        #expect(seconds("42", "0") == nil && seconds("42", "soon") == nil)
    }
}
