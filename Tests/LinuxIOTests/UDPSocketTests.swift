// Owns: the underlay's sockets: who gets which port, what a datagram says about itself, what goes wrong.

import CLinux
import Datapath
import Glibc
import Testing
import Wire

@testable import LinuxIO

@Suite("UDP sockets")
struct UDPSocketTests {
    private static let any4 = SenderKind(isIPv4: true, doNotFragment: true, checksum: true)
    private static let any6 = SenderKind(isIPv4: false, doNotFragment: true, checksum: true)

    private func ports(_ pool: SenderPool) -> [Int32] { pool.descriptors.map { clx_udp_port($0) } }

    /// Opens a plain socket; the caller closes it.
    private func open(_ address: String, _ port: UInt16 = 0, flags: Int = 0) throws -> Int32 {
        var endpoint = clx_endpoint(ip(address), port: port)
        return try check(clx_udp_open(&endpoint, UInt32(flags), 1 << 20), "bind \(address) \(port)")
    }

    private func send(_ bytes: [UInt8], to address: String, port: UInt16, from descriptor: Int32) -> Int32 {
        var copy = bytes
        return copy.withUnsafeMutableBytes { buffer in
            let part = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
            return sendMessage(descriptor, [part], to: address, port: port)
        }
    }

    @Test("a listener has its port alone, per family, until it is let go")
    func listener() throws {
        let namespace = TestNamespace()
        try namespace.here { () throws(LinuxError) in
            let four = try UDPListener(port: 4789, isIPv4: true)
            let six = try UDPListener(port: 4789, isIPv4: false)
            #expect(clx_udp_port(four.descriptors[0]) == 4789 && clx_udp_port(six.descriptors[0]) == 4789)
            for isIPv4 in [true, false] {
                let error = #expect(throws: LinuxError.self) {
                    try UDPListener(port: 4789, isIPv4: isIPv4)
                }
                #expect(error?.code == EADDRINUSE && error?.operation.contains("4789") == true)
            }
            _ = try UDPListener(port: 4790, isIPv4: true)
        }
        #expect(
            eventually {
                (try? namespace.here { () throws(LinuxError) in _ = try UDPListener(port: 4789, isIPv4: true)
                })
                    != nil
            })
    }

    @Test("a pool is sixteen sockets on sixteen ports of its range, spread over it")
    func pool() throws {
        let namespace = TestNamespace()
        for kind in [Self.any4, Self.any6] {
            let found = try namespace.here { () throws(LinuxError) in
                let pool = try SenderPool(kind, ports: 49_152...65_535)
                return pool.descriptors.map { clx_udp_port($0) }
            }
            #expect(Set(found).count == 16 && found.allSatisfy { (49_152...65_535).contains($0) })
            let sorted = found.sorted()
            #expect(zip(sorted, sorted.dropFirst()).allSatisfy { $1 - $0 == 1024 })
        }
    }

    @Test(
        "ports that are taken are passed over, wherever they lie, as long as sixteen are free",
        arguments: [
            ("first half", 40, Array(0..<20)), ("second half", 40, Array(20..<40)), ("one", 40, [7]),
            ("every other", 40, (0..<20).map { $0 * 2 }), ("all but sixteen", 40, Array(3..<27)),
            ("none, and exactly sixteen there are", 16, []),
        ] as [(String, UInt16, [UInt16])])
    func takenPorts(which: String, width: UInt16, taken: [UInt16]) throws {
        let namespace = TestNamespace()
        // The start is random: twenty rounds, each with ports of its own.
        for base in stride(from: 50_000 as UInt16, to: 52_000, by: 100) {
            let range = base...base + width - 1
            try namespace.here { () throws(LinuxError) in
                var holders: [Int32] = []
                defer { for holder in holders { close(holder) } }
                for port in taken {
                    var endpoint = clx_endpoint(ip("0.0.0.0"), port: base + port)
                    holders.append(try check(clx_udp_open(&endpoint, 0, 4096), "bind \(port)"))
                }
                let pool = try SenderPool(Self.any4, ports: range)
                let found = pool.descriptors.map { UInt16(clx_udp_port($0)) }
                #expect(Set(found).count == 16 && found.allSatisfy { range.contains($0) })
                #expect(Set(found).isDisjoint(with: taken.map { base + $0 }))
            }
        }
    }

    @Test("a range without sixteen free ports is refused, and no socket stays open")
    func rangeTooSmall() throws {
        let namespace = TestNamespace()
        for range in [50_000...50_000, 50_000...50_014] as [ClosedRange<UInt16>] {
            try namespace.here { () throws(LinuxError) in
                let error = #expect(throws: LinuxError.self) { try SenderPool(Self.any4, ports: range) }
                #expect(error?.code == EADDRINUSE && error?.operation.contains("\(range)") == true)
                for port in range {
                    var endpoint = clx_endpoint(ip("0.0.0.0"), port: port)
                    let isFree = eventually {
                        let descriptor = clx_udp_open(&endpoint, 0, 4096)
                        return descriptor >= 0 && close(descriptor) == 0
                    }
                    #expect(isFree)
                }
            }
        }
    }

    @Test("the senders of each kind have their place, and go with the last who needs them")
    func senderSockets() throws {
        let namespace = TestNamespace()
        try namespace.here { () throws(LinuxError) in
            let four = try SenderPool(Self.any4, ports: 50_000...50_100)
            let six = try SenderPool(Self.any6, ports: 50_000...50_100)
            let both = SenderSockets([Self.any4: four]).adding(six, of: Self.any6)
            #expect(both.has(Self.any4) && both.has(Self.any6))
            var tunnel = TunnelEntry(remote: packed("192.0.2.1"), vni: VNI(truncating: 1))
            #expect(both.descriptors[SenderKind.index(tunnel) * 16] == four.descriptors[0])
            tunnel.remote = packed("2001:db8::1")
            #expect(both.descriptors[SenderKind.index(tunnel) * 16 + 15] == six.descriptors[15])
            tunnel.checksum = false
            #expect(both.descriptors[SenderKind.index(tunnel) * 16] == -1)
            #expect(both.keeping([Self.any4, Self.any6]) == nil)
            let less = both.keeping([Self.any4])
            #expect(less?.has(Self.any4) == true && less?.has(Self.any6) == false)
        }
    }

    @Test("a datagram says where it came from, where it went and its TOS", arguments: ["127.0.0.1", "::1"])
    func received(address: String) throws {
        let receiver = try open(address, flags: Int(CLX_UDP_RECEIVER))
        let sender = try open(address)
        defer {
            close(receiver)
            close(sender)
        }
        var payload: [UInt8] = [1, 2, 3]
        let port = UInt16(clx_udp_port(receiver))
        let sent = payload.withUnsafeMutableBytes { buffer in
            let parts = [
                iovec(iov_base: buffer.baseAddress, iov_len: 1),
                iovec(iov_base: buffer.baseAddress.map { $0 + 1 }, iov_len: 2),
            ]
            return sendMessage(sender, parts, to: address, port: port) {
                $0.source = clx_endpoint(ip(address), port: 0)
                $0.tos = 0xb9
                $0.ttl = 3
            }
        }
        #expect(sent == 1 && waitReadable(receiver))
        var buffer = [UInt8](repeating: 0xa5, count: 16)
        let datagram = buffer.withUnsafeMutableBytes { buffer in
            var datagram = clx_datagram()
            datagram.data = buffer.baseAddress
            datagram.capacity = 16
            #expect(clx_udp_receive(receiver, &datagram, 1) == 1)
            #expect(clx_udp_receive(receiver, &datagram, 1) == -EAGAIN)
            return datagram
        }
        #expect(datagram.length == 3 && buffer.prefix(4) == [1, 2, 3, 0xa5])
        #expect(datagram.source.packed == packed(address))
        #expect(Int32(datagram.source.port) == clx_udp_port(sender))
        #expect(datagram.destination.packed == packed(address))
        #expect(datagram.tos == 0xb9 && datagram.truncated == 0)
    }

    @Test("a datagram larger than the buffer is marked, and an empty one is a datagram")
    func truncated() throws {
        let receiver = try open("127.0.0.1", flags: Int(CLX_UDP_RECEIVER))
        defer { close(receiver) }
        let port = UInt16(clx_udp_port(receiver))
        for count in [9, 8, 0] {
            #expect(
                send([UInt8](repeating: 7, count: count), to: "127.0.0.1", port: port, from: receiver) == 1)
        }
        var buffer = [UInt8](repeating: 0, count: 24)
        buffer.withUnsafeMutableBytes { buffer in
            var datagrams = (0..<3).map { index in
                var datagram = clx_datagram()
                datagram.data = buffer.baseAddress.map { $0 + 8 * index }
                datagram.capacity = 8
                return datagram
            }
            #expect(waitReadable(receiver) && clx_udp_receive(receiver, &datagrams, 3) == 3)
            #expect(datagrams.map(\.truncated) == [1, 0, 0] && datagrams.map(\.length) == [8, 8, 0])
        }
    }

    @Test("what the kernel drops at a full listener is counted")
    func drops() throws {
        let namespace = TestNamespace()
        try namespace.here { () throws(LinuxError) in
            let listener = try UDPListener(port: 4789, isIPv4: true)
            #expect(listener.droppedCount == 0)
            var endpoint = clx_endpoint(ip("127.0.0.1"), port: 0)
            let sender = try check(clx_udp_open(&endpoint, 0, 4 << 20), "bind")
            defer { close(sender) }
            for _ in 0..<400 {
                _ = send(.init(repeating: 0, count: 60_000), to: "127.0.0.1", port: 4789, from: sender)
            }
            #expect(listener.droppedCount > 0)
        }
    }

    @Test("the kernel is asked for the way: its MTU, its source, or that there is none")
    func routes() throws {
        #expect(try UnderlayRoute.mtu(to: ip("127.0.0.1"), from: nil) == 65_535, "IPv4 has no more")
        #expect(try UnderlayRoute.mtu(to: ip("::1"), from: ip("::1")) == 65_536)
        let namespace = TestNamespace()
        namespace.addPair(mtu: 1400)
        namespace.inside("ip addr add 192.0.2.1/24 dev v0; ip -6 addr add 2001:db8::1/64 dev v0 nodad")
        try namespace.here { () throws(LinuxError) in
            #expect(try UnderlayRoute.mtu(to: ip("192.0.2.9"), from: nil) == 1400)
            #expect(try UnderlayRoute.mtu(to: ip("192.0.2.9"), from: ip("192.0.2.1")) == 1400)
            #expect(try UnderlayRoute.mtu(to: ip("2001:db8::9"), from: nil) == 1400)
            let index = try Netlink.link(named: "v0")?.index
            let route = try Netlink.route(to: ip("192.0.2.9"), from: nil)
            #expect(route.interface == index && route.source == ip("192.0.2.1"))
            let route6 = try Netlink.route(to: ip("2001:db8::9"), from: nil)
            #expect(route6.interface == index && route6.source == ip("2001:db8::1"))
            for address in ["198.51.100.1", "2001:db8:1::1"] {
                let error = #expect(throws: LinuxError.self) {
                    try UnderlayRoute.mtu(to: ip(address), from: nil)
                }
                #expect(error?.code == ENETUNREACH)
                let other = #expect(throws: LinuxError.self) { try Netlink.route(to: ip(address), from: nil) }
                #expect(other?.code == ENETUNREACH)
            }
        }
    }
}
