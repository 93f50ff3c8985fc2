// Owns: the outer IP and UDP headers as they are on the wire, made by the kernel from what a tunnel asks for.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("outer headers on the wire")
struct OuterHeaderTests {
    /// What a tunnel wants and what must be seen of it.
    struct Wish: CustomTestStringConvertible, Sendable {
        var remote = "192.0.2.9"
        var local: String?
        var timeToLive: UInt8 = 64
        var typeOfService: UInt8 = 0
        var doNotFragment = true
        var checksum = true
        var testDescription: String {
            "\(local ?? "any") to \(remote), ttl \(timeToLive), tos \(typeOfService)"
                + (doNotFragment ? ", df" : "") + (checksum ? ", csum" : "")
        }
    }

    static let wishes: [Wish] =
        ["192.0.2.9", "2001:db8::9"].flatMap { remote in
            [
                Wish(remote: remote), Wish(remote: remote, timeToLive: 7),
                Wish(remote: remote, timeToLive: 255),
                Wish(remote: remote, typeOfService: 0xb8), Wish(remote: remote, typeOfService: 0xff),
                Wish(remote: remote, doNotFragment: false), Wish(remote: remote, checksum: false),
                Wish(remote: remote, local: remote.hasPrefix("192") ? "192.0.2.2" : "2001:db8::2"),
                Wish(
                    remote: remote, local: remote.hasPrefix("192") ? "192.0.2.3" : "2001:db8::3",
                    timeToLive: 9, typeOfService: 0x49, doNotFragment: false, checksum: false),
            ]
        }

    @Test("TTL, TOS, DF, checksum and source are what the tunnel asks for", arguments: wishes)
    func onTheWire(_ wish: Wish) throws {
        let namespace = TestNamespace()
        namespace.addPair()
        namespace.inside(
            """
            for i in 1 2 3; do
              ip addr add 192.0.2.$i/24 dev v0; ip -6 addr add 2001:db8::$i/64 dev v0 nodad
            done
            ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0
            ip neigh add 2001:db8::9 lladdr 02:00:00:00:00:09 dev v0
            # A default other than 64: the tunnel's word counts, not the host's.
            sysctl -qw net.ipv4.ip_default_ttl=33 net.ipv6.conf.all.hop_limit=33
            """)
        var tunnel = TunnelEntry(remote: packed(wish.remote), vni: VNI(truncating: 5))
        tunnel.local = wish.local.map { packed($0) } ?? .none
        tunnel.timeToLive = wish.timeToLive
        tunnel.doNotFragment = wish.doNotFragment
        tunnel.checksum = wish.checksum
        let kind = SenderKind(
            isIPv4: ip(wish.remote).isIPv4, doNotFragment: wish.doNotFragment, checksum: wish.checksum)
        let pool = Box<SenderPool>()
        try namespace.here { () throws(LinuxError) in
            pool.set(try SenderPool(kind, ports: 50_000...50_100))
        }
        var output = KernelOutput(senders: SenderSockets([kind: pool.take()]))
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        let port = PortEntry(counters: rows.row(0), identity: 1)
        let wire = try RawSocket("v1", in: namespace)
        var shape = FrameShape()
        shape.network = .ipv4
        shape.trafficClass = wish.typeOfService & 3
        tunnel.typeOfService = wish.typeOfService & 0xfc
        var payload: [UInt8] = [1, 2, 3]
        payload.withUnsafeMutableBytes { payload in
            let header = output.reserve(8)
            VXLANHeader(vni: tunnel.vni).emit(to: header)
            output.send(
                header: UnsafeMutableRawBufferPointer(start: header, count: 8), payload: payload,
                Envelope(shape, tunnel), tunnel, port)
            output.flush()
        }
        let isIPv4 = kind.isIPv4
        let seen = try #require(wire.receive(isIPv4 ? .ipv4 : .ipv6) { $0.suffix(3) == [1, 2, 3] })
        let packet = Array(seen.bytes[14...])
        let udp = isIPv4 ? 20 : 40
        #expect(packet.count == udp + 8 + 8 + 3)
        #expect((isIPv4 ? packet[8] : packet[7]) == wish.timeToLive)
        let trafficClass = isIPv4 ? packet[1] : packet[0] << 4 | packet[1] >> 4
        #expect(trafficClass == wish.typeOfService)
        if isIPv4 { #expect((packet[6] & 0x40 != 0) == wish.doNotFragment) }
        let source = IPAddress(octets: Array(isIPv4 ? packet[12..<16] : packet[8..<24]))
        // Unpinned, IPv4 takes the first address; IPv6 chooses by rules of its own.
        if let expected = wish.local ?? (isIPv4 ? "192.0.2.1" : nil) { #expect(source == ip(expected)) }
        let sourcePort = UInt16(packet[udp]) << 8 | UInt16(packet[udp + 1])
        #expect((50_000...50_100).contains(sourcePort))
        #expect(packet[udp + 2..<udp + 4] == [0x12, 0xb5], "port 4789")
        // The device fills it in: the field holds the pseudo-header sum then, never zero.
        #expect((packet[udp + 6..<udp + 8] != [0, 0]) == wish.checksum)
        #expect(packet[(udp + 8)...] == hex("08 00 00 00 00 00 05 00 01 02 03")[...])
        #expect(port.counters.value(.txPackets) == 1)
    }
}
