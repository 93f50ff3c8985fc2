// Who has a port: real sockets, real kernel devices, each in a namespace of its own.

import CLinux
import Glibc
import Proc
import Testing

@testable import LinuxIO

@Suite struct PortHolderTests {
    private func mine() -> PortHolder {
        .process(
            id: getpid(),
            command: ProcFile.read("/proc/self/comm")?.split(separator: "\n").first.map(String.init) ?? "")
    }

    @Test(
        "a UDP port is held by the process whose socket it is, until the socket is closed",
        arguments: [true, false])
    func process(isIPv4: Bool) throws {
        let space = TestNamespace()
        let mine = mine()
        try space.here { () throws(LinuxError) in
            #expect(PortHolder.udp(4789, isIPv4: isIPv4) == nil)
            let listener = try UDPListener(port: 4789, isIPv4: isIPv4)
            #expect(PortHolder.udp(4789, isIPv4: isIPv4) == mine)
            #expect(PortHolder.udp(4790, isIPv4: isIPv4) == nil)
            _ = listener
        }
        try space.here { () throws(LinuxError) in
            #expect(eventually { PortHolder.udp(4789, isIPv4: isIPv4) == nil })
        }
    }

    @Test("another namespace's socket on the same port is nobody's here")
    func otherNamespace() throws {
        let (one, two) = (TestNamespace(), TestNamespace())
        let listener = try one.here { () throws(LinuxError) in Held(try UDPListener(port: 4789, isIPv4: true))
        }
        try two.here { () throws(LinuxError) in #expect(PortHolder.udp(4789, isIPv4: true) == nil) }
        _ = listener
    }

    @Test("an IPv6 socket that takes both families holds the IPv4 port", .timeLimit(.minutes(1)))
    func bothFamilies() throws {
        let space = TestNamespace()
        let mine = mine()
        try space.here { () throws(LinuxError) in
            let socket = try check(Glibc.socket(AF_INET6, Int32(SOCK_DGRAM.rawValue), 0), "socket")
            defer { close(socket) }
            var name = sockaddr_in6()
            name.sin6_family = sa_family_t(AF_INET6)
            name.sin6_port = in_port_t(4789).bigEndian
            let bound = withUnsafeBytes(of: &name) { bytes in
                bind(
                    socket, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            }
            #expect(bound == 0)
            #expect(throws: LinuxError.self) { _ = try UDPListener(port: 4789, isIPv4: true) }
            #expect(PortHolder.udp(4789, isIPv4: true) == mine)
        }
    }

    @Test("a kernel vxlan device is named, and only while it is up")
    func kernelDevice() throws {
        let space = TestNamespace()
        space.inside(
            """
            ip link add vx7 type vxlan id 7 dev lo remote 192.0.2.7 dstport 4789
            ip link add vx8 type vxlan id 8 dev lo remote 192.0.2.7 dstport 8472
            """)
        try space.here { () throws(LinuxError) in
            #expect(PortHolder.udp(4789, isIPv4: true) == nil, "it is down")
        }
        space.inside("ip link set vx7 up; ip link set vx8 up")
        try space.here { () throws(LinuxError) in
            #expect(throws: LinuxError.self) { _ = try UDPListener(port: 4789, isIPv4: true) }
            #expect(PortHolder.udp(4789, isIPv4: true) == .vxlan(names: ["vx7"]))
            #expect(PortHolder.udp(4789, isIPv4: true)?.description == "kernel vxlan device vx7")
            #expect(PortHolder.udp(8472, isIPv4: true) == .vxlan(names: ["vx8"]))
        }
    }

    @Test("a device that was moved to another namespace keeps its port here, unseen")
    func movedDevice() throws {
        let (space, other) = (TestNamespace(), TestNamespace())
        space.inside(
            """
            ip link add vx7 type vxlan id 7 dev lo remote 192.0.2.7 dstport 4789
            ip link set vx7 netns \(other.name)
            """)
        other.inside("ip link set vx7 up")
        try space.here { () throws(LinuxError) in #expect(PortHolder.udp(4789, isIPv4: true) == .unseen) }
        try other.here { () throws(LinuxError) in #expect(PortHolder.udp(4789, isIPv4: true) == nil) }
    }

    @Test("a TCP port is held by who listens on it, not by who is connected")
    func tcp() throws {
        let space = TestNamespace()
        let mine = mine()
        try space.here { () throws(LinuxError) in
            #expect(PortHolder.tcp(8640) == nil)
            let socket = try check(Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0), "socket")
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = in_port_t(8640).bigEndian
            let bound = withUnsafeBytes(of: &name) { bytes in
                bind(
                    socket, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
            }
            #expect(bound == 0)
            #expect(PortHolder.tcp(8640) == nil, "bound, but it does not listen")
            #expect(listen(socket, 1) == 0)
            #expect(PortHolder.tcp(8640) == mine)
            close(socket)
        }
    }

    /// Carries a listener out of the thread that opened it.
    private final class Held: @unchecked Sendable {
        let listener: UDPListener
        init(_ listener: UDPListener) { self.listener = listener }
    }
}
