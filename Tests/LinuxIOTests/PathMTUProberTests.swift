// Owns: probing real paths: two hosts and a router between them whose far link is smaller, with and without the
// router's ICMP. And the bytes of the probes.
//
//   near ── v0 ═══ v1 ── router ── w0 ═══ w1 ── far
//       192.0.2.0/24            198.51.100.0/24
//      2001:db8:1::/64          2001:db8:2::/64

import CLinux
import Dispatch
import Glibc
import Synchronization
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

/// The three namespaces; the near link takes 9,000 bytes.
private final class RoutedPath: Sendable {
    let near = TestNamespace()
    let router = TestNamespace()
    let far = TestNamespace()

    init(farMTU: Int) {
        router.inside(
            """
            ip link add v1 mtu 9000 type veth peer name v0 mtu 9000 netns \(near.name)
            ip link add w0 mtu \(farMTU) type veth peer name w1 mtu 9000 netns \(far.name)
            sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            \(Self.addresses("v1", "192.0.2.254/24", "2001:db8:1::fe/64"))
            \(Self.addresses("w0", "198.51.100.254/24", "2001:db8:2::fe/64"))
            """)
        near.inside(
            """
            \(Self.addresses("v0", "192.0.2.1/24", "2001:db8:1::1/64"))
            ip addr add 192.0.2.2/24 dev v0
            ip route add default via 192.0.2.254; ip -6 route add default via 2001:db8:1::fe
            """)
        far.inside(
            """
            \(Self.addresses("w1", "198.51.100.1/24", "2001:db8:2::1/64"))
            ip route add default via 198.51.100.254 mtu \(farMTU)
            ip -6 route add default via 2001:db8:2::fe mtu \(max(1280, farMTU))
            """)
        // The kernel takes up to seconds to notice that links are up: a prober's first three probes may be sooner.
        near.inside(
            """
            for remote in 198.51.100.1 2001:db8:2::1; do
                timeout 30 sh -c "until ping -qc 1 -W 1 $remote >/dev/null 2>&1; do sleep 0.05; done"
            done
            """)
    }

    private static func addresses(_ name: String, _ v4: String, _ v6: String) -> String {
        "ip addr add \(v4) dev \(name); ip addr add \(v6) dev \(name) nodad; ip link set \(name) up"
    }

    /// The router says no more why it drops.
    func silence() {
        router.inside(
            """
            nft add table inet quiet
            nft add chain inet quiet output '{ type filter hook output priority 0; }'
            nft add rule inet quiet output icmp type destination-unreachable drop
            nft add rule inet quiet output icmpv6 type packet-too-big drop
            """)
    }
}

/// What a prober has found, in the order it came.
private final class Findings: Sendable {
    private let all = Mutex<[UnderlayPath: [PathMTUSearch.Outcome]]>([:])

    func add(_ path: UnderlayPath, _ outcome: PathMTUSearch.Outcome) {
        all.withLock { $0[path, default: []].append(outcome) }
    }

    /// Waits for the first outcome of each path; those that have none after `seconds` are left out.
    func first(_ paths: [UnderlayPath], seconds: Int = 30) -> [UnderlayPath: PathMTUSearch.Outcome] {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < deadline {
            if all.withLock({ all in paths.allSatisfy { all[$0] != nil } }) { break }
            usleep(5000)
        }
        return all.withLock { $0.compactMapValues(\.first) }
    }
}

private let far4 = UnderlayPath(remote: ip("198.51.100.1"))
private let far6 = UnderlayPath(remote: ip("2001:db8:2::1"))

@Suite("probing path MTUs")
struct PathMTUProberTests {
    private func probe(
        _ namespace: TestNamespace, _ paths: [UnderlayPath: Int], seconds: Int = 30
    ) throws -> [UnderlayPath: PathMTUSearch.Outcome] {
        let findings = Findings()
        let prober = try PathMTUProber(queue: DispatchQueue(label: "probe"), in: namespace.name) {
            findings.add($0, $1)
        }
        prober.setPaths(paths)
        return withExtendedLifetime(prober) { findings.first(Array(paths.keys), seconds: seconds) }
    }

    @Test("a smaller link beyond a router is found exactly", arguments: [1500, 1437, 1283])
    func told(mtu: Int) throws {
        let path = RoutedPath(farMTU: mtu)
        let pinned = UnderlayPath(remote: far4.remote, local: ip("192.0.2.2"))
        let found = try probe(path.near, [far4: 9000, far6: 9000, pinned: 9000])
        #expect(found == [far4: .mtu(mtu), far6: .mtu(mtu), pinned: .mtu(mtu)])
    }

    @Test("also when the router says nothing: a black hole", arguments: [1492, 1437])
    func blackHole(mtu: Int) throws {
        let path = RoutedPath(farMTU: mtu)
        path.silence()
        let found = try probe(path.near, [far4: 9000, far6: 9000])
        #expect(found == [far4: .mtu(mtu), far6: .mtu(mtu)])
    }

    @Test("below the base of IPv4 as well")
    func small() throws {
        let path = RoutedPath(farMTU: 1500)
        // Takes IPv6 off the link.
        path.router.inside("ip link set w0 mtu 1006")
        path.silence()
        #expect(try probe(path.near, [far4: 1500]) == [far4: .mtu(1006)])
    }

    @Test("a path that is all of one size is found whatever the kernel has come to believe of it")
    func kernelBelief() throws {
        let path = RoutedPath(farMTU: 9000)
        path.near.inside(
            """
            ip route add 198.51.100.1 via 192.0.2.254 mtu 1300
            ip -6 route add 2001:db8:2::1 via 2001:db8:1::fe mtu 1300
            """)
        let found = try probe(path.near, [far4: 9000, far6: 9000])
        #expect(found == [far4: .mtu(9000), far6: .mtu(9000)])
    }

    @Test("more than the interface takes is found out without sending it")
    func aboveTheInterface() throws {
        let path = RoutedPath(farMTU: 9000)
        path.silence()
        let found = try probe(path.near, [far4: 9100, far6: 9100])
        #expect(found == [far4: .mtu(9000), far6: .mtu(9000)])
    }

    @Test("a remote that answers no echo is unanswered")
    func unanswered() throws {
        let path = RoutedPath(farMTU: 1400)
        path.far.inside("sysctl -qw net.ipv4.icmp_echo_ignore_all=1 net.ipv6.icmp.echo_ignore_all=1")
        let found = try probe(path.near, [far4: 1500, far6: 1500])
        #expect(found == [far4: .unanswered, far6: .unanswered])
    }

    @Test("a prober that goes closes its sockets")
    func closes() throws {
        let namespace = TestNamespace()
        let count: @Sendable () throws(LinuxError) -> Int = {
            var lines = 0
            for name in ["raw", "raw6"] {
                guard let file = fopen("/proc/thread-self/net/\(name)", "r") else { continue }
                defer { fclose(file) }
                var byte = getc(file)
                while byte != EOF {
                    if byte == Int32(UInt8(ascii: "\n")) { lines += 1 }
                    byte = getc(file)
                }
            }
            return lines
        }
        let before = try namespace.here(count)
        do {
            let prober = try PathMTUProber(queue: DispatchQueue(label: "probe"), in: namespace.name) { _, _ in
            }
            #expect(try namespace.here(count) == before + 2)
            withExtendedLifetime(prober) {}
        }
        #expect(try eventually { try namespace.here(count) == before })
    }
}

@Suite("probes on the wire")
struct EchoProbeTests {
    private func probe(_ remote: String, _ size: Int) -> PathMTUProbes.Probe {
        PathMTUProbes.Probe(
            path: UnderlayPath(remote: ip(remote)), size: size, identifier: 0x1234, sequence: 5,
            cookie: 0x0102_0304_0506_0708)
    }

    /// An IPv4 packet from 192.0.2.9 around a message.
    private func packet(_ message: [UInt8]) -> [UInt8] {
        let count = 20 + message.count
        return hex("45 00") + [UInt8(count >> 8), UInt8(count & 0xff)]
            + hex("00 00 40 00 40 01 00 00 c0 00 02 09 c0 00 02 01") + message
    }

    private func answer4(_ bytes: [UInt8]) -> EchoAnswer? { bytes.withUnsafeBytes { EchoAnswer(ipv4: $0) } }
    private func answer6(_ bytes: [UInt8]) -> EchoAnswer? {
        bytes.withUnsafeBytes { EchoAnswer(ipv6: $0, from: ip("2001:db8::9")) }
    }

    /// `message` as a message of another type, its checksum right.
    private func typed(_ message: [UInt8], _ header: [UInt8]) -> [UInt8] {
        var bytes = header + message.dropFirst(header.count)
        bytes.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            base.store(bigEndian16: 0, at: 2)
            let sum = Checksum.sum(UnsafeRawPointer(base), count: bytes.count)
            Checksum.store(Checksum.finish(sum), to: base + 2)
        }
        return bytes
    }

    @Test("a request is as large as it should be, byte for byte")
    func request() {
        #expect(
            EchoProbe.request(probe("192.0.2.9", 40))
                == hex("08 00 b3 8e 12 34 00 05  01 02 03 04 05 06 07 08  10 11 12 13"))
        #expect(
            EchoProbe.request(probe("2001:db8::9", 60))
                == hex("80 00 00 00 12 34 00 05  01 02 03 04 05 06 07 08  10 11 12 13"))
        #expect(EchoProbe.request(probe("192.0.2.9", 9000)).count == 8980)
        #expect(EchoProbe.request(probe("2001:db8::9", 65_535)).count == 65_495)
    }

    @Test("a reply says its size and cookie; one byte changed, and it is none")
    func reply() {
        let request = EchoProbe.request(probe("192.0.2.9", 60))
        let reply = packet(typed(request, [0, 0, 0, 0]))
        #expect(
            answer4(reply)
                == .reply(
                    ip("192.0.2.9"), identifier: 0x1234, sequence: 5, cookie: 0x0102_0304_0506_0708, size: 60)
        )
        for position in 20..<reply.count {
            var damaged = reply
            damaged[position] ^= 0x40
            #expect(answer4(damaged) == nil)
        }
        var other = typed(request, [0, 0, 0, 0])
        other[30] ^= 1
        #expect(answer4(packet(typed(other, [0, 0, 0, 0]))) == nil, "not what was sent")
        #expect(answer4(packet(request)) == nil, "a request")
        #expect(answer4(packet(typed(hex("00 00 00 00 12 34 00 05 01 02"), [0, 0]))) == nil)
        let six = [129] + EchoProbe.request(probe("2001:db8::9", 80)).dropFirst()
        #expect(
            answer6(six)
                == .reply(
                    ip("2001:db8::9"), identifier: 0x1234, sequence: 5, cookie: 0x0102_0304_0506_0708,
                    size: 80))
        for count in 0..<six.count where count < 16 { #expect(answer6(Array(six.prefix(count))) == nil) }
    }

    @Test("too big names the probe it is about, and what the router takes")
    func tooBig() {
        let request = EchoProbe.request(probe("192.0.2.9", 1500))
        let quote = hex("45 00 05 dc 00 00 40 00 3f 01 00 00 c0 00 02 01 c6 33 64 01") + request.prefix(8)
        func error(_ mtu: [UInt8], _ quote: [UInt8]) -> EchoAnswer? {
            answer4(packet(typed([3, 4, 0, 0, 0, 0] + mtu + quote, [3, 4, 0, 0])))
        }
        let told = EchoAnswer.tooBig(
            ip("198.51.100.1"), identifier: 0x1234, sequence: 5, size: 1500, mtu: 1400)
        #expect(error([5, 0x78], quote) == told)
        #expect(
            error([0, 0], quote)
                == .tooBig(ip("198.51.100.1"), identifier: 0x1234, sequence: 5, size: 1500, mtu: nil))
        for count in 0..<quote.count { #expect(error([5, 0x78], Array(quote.prefix(count))) == nil) }
        var udp = quote
        udp[9] = 17
        #expect(error([5, 0x78], udp) == nil)
        let quote6 =
            hex("60 00 00 00 05 b4 3a 3f") + ip("2001:db8::1").octets + ip("2001:db8:2::1").octets
            + EchoProbe.request(probe("2001:db8::9", 1500)).prefix(8)
        let told6 = EchoAnswer.tooBig(
            ip("2001:db8:2::1"), identifier: 0x1234, sequence: 5, size: 1500, mtu: 1400)
        #expect(answer6(hex("02 00 00 00 00 00 05 78") + quote6) == told6)
        for count in 0..<quote6.count {
            #expect(answer6(hex("02 00 00 00 00 00 05 78") + quote6.prefix(count)) == nil)
        }
    }
}
