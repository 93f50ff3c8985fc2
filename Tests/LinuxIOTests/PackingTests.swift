// Owns: datagrams packed into messages for the kernel to cut. A receiver on the loopback gets each message as one
// train, so that what was packed can be seen; what the kernel refuses is really refused.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("packing")
struct PackingTests {
    /// One train or datagram as the peer got it.
    struct Arrived: Equatable {
        var byteCount: Int
        /// 0 for a single datagram.
        var segment: Int
        var tos: UInt8 = 0
    }

    /// A namespace with an underlay of MTU 1400, senders in it, and a peer on its loopback that takes trains.
    private final class Bed {
        let namespace = TestNamespace()
        let senders: SenderSockets
        let peer: Int32
        private let rows = CounterRows.allocate()
        let port: PortEntry
        private(set) var bytes: [[UInt8]] = []

        init(checksum: Bool = true, isIPv4: Bool = true) throws {
            port = PortEntry(counters: rows.row(0), identity: 1)
            namespace.addPair(mtu: 1400)
            namespace.inside(
                """
                ip addr add 192.0.2.1/24 dev v0; ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0
                """)
            let kind = SenderKind(isIPv4: isIPv4, doNotFragment: true, checksum: checksum)
            let made = Box<(SenderPool, Int32)>()
            try namespace.here { () throws(LinuxError) in
                var endpoint = clx_endpoint(ip(isIPv4 ? "0.0.0.0" : "::"), port: 5555)
                let flags = UInt32(CLX_UDP_RECEIVER) | UInt32(CLX_UDP_TRAINS)
                let peer = try check(clx_udp_open(&endpoint, flags, 64 << 20), "bind the peer")
                made.set((try SenderPool(kind, ports: 50_000...50_100), peer))
            }
            let (pool, descriptor) = made.take()
            senders = SenderSockets([kind: pool])
            peer = descriptor
        }

        deinit {
            close(peer)
            rows.deallocate()
        }

        func tunnel(to remote: String, _ change: (inout TunnelEntry) -> Void = { _ in }) -> TunnelEntry {
            var entry = TunnelEntry(remote: packed(remote), vni: VNI(truncating: 1))
            entry.destinationPort = 5555
            change(&entry)
            return entry
        }

        func drops(_ reason: DropReason) -> UInt64 { port.counters.transmitDrops(reason) }
        var row: CounterSnapshot { port.counters.snapshot }

        /// What the peer has got since it was last asked.
        func arrived() -> [Arrived] {
            var result: [Arrived] = []
            bytes = []
            var buffer = [UInt8](repeating: 0, count: 70_000)
            buffer.withUnsafeMutableBytes { buffer in
                var datagram = clx_datagram()
                datagram.data = buffer.baseAddress
                datagram.capacity = UInt32(buffer.count)
                while clx_udp_receive(peer, &datagram, 1) == 1 {
                    bytes.append(Array(buffer.prefix(Int(datagram.length))))
                    result.append(
                        Arrived(
                            byteCount: Int(datagram.length), segment: Int(datagram.segment),
                            tos: UInt8(datagram.tos)))
                }
            }
            return result
        }
    }

    /// One datagram to be sent: all its bytes, VXLAN header included.
    private struct Item {
        var count: Int
        var to = "127.0.0.1"
        var tos: UInt8 = 0
        var ttl: UInt8 = 64
    }

    private func send(_ items: [Item], _ bed: Bed, _ output: inout KernelOutput) {
        var payload = (0..<66_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        payload.withUnsafeMutableBytes { payload in
            for (number, item) in items.enumerated() {
                let header = output.reserve(8)
                header.initializeMemory(
                    as: UInt8.self, repeating: UInt8(truncatingIfNeeded: number), count: 8)
                var port = bed.port
                let tunnel = bed.tunnel(to: item.to)
                port.identity = tunnel.remote.high ^ tunnel.remote.low
                var envelope = Envelope(flow: 0)
                envelope.typeOfService = item.tos
                envelope.timeToLive = item.ttl
                output.send(
                    header: UnsafeMutableRawBufferPointer(start: header, count: 8),
                    payload: UnsafeMutableRawBufferPointer(rebasing: payload[..<(item.count - 8)]), envelope,
                    tunnel, port)
            }
            output.flush()
        }
    }

    private static func equal(_ number: Int, _ count: Int) -> [Item] {
        [Item](repeating: Item(count: count), count: number)
    }

    private static func train(_ number: Int, _ segment: Int, tail: Int = 0, tos: UInt8 = 0) -> Arrived {
        Arrived(
            byteCount: number * segment + tail, segment: number * segment + tail > segment ? segment : 0,
            tos: tos)
    }

    private static let table: [(String, [Item], [Arrived])] = [
        ("one", equal(1, 100), [train(1, 100)]),
        ("equal ones", equal(5, 100), [train(5, 100)]),
        ("a shorter one is the last", equal(5, 100) + equal(2, 50), [train(5, 100, tail: 50), train(1, 50)]),
        (
            "a longer one begins anew", equal(2, 100) + equal(3, 101) + equal(1, 100),
            [train(2, 100), train(3, 101, tail: 100)]
        ),
        ("64 and no more", equal(130, 100), [train(64, 100), train(64, 100), train(2, 100)]),
        ("only headers", equal(3, 8), [train(3, 8)]),
        (
            "another TOS", equal(2, 100) + [Item(count: 100, tos: 0xb8)] + equal(1, 100),
            [train(2, 100), train(1, 100, tos: 0xb8), train(1, 100)]
        ),
        (
            "another TTL", equal(2, 100) + [Item(count: 100, ttl: 9), Item(count: 100, ttl: 9)],
            [train(2, 100), train(2, 100)]
        ),
        (
            "another peer", equal(2, 100) + [Item(count: 100, to: "127.0.0.2")] + equal(2, 100),
            [train(2, 100), train(1, 100), train(2, 100)]
        ),
    ]

    @Test("what follows one another to one peer goes in one message")
    func packs() throws {
        for (name, items, expected) in Self.table {
            let bed = try Bed()
            var output = KernelOutput(senders: bed.senders)
            send(items, bed, &output)
            let arrived = bed.arrived()
            #expect(arrived == expected, "\(name)")
            let total = items.reduce(0) { $0 + $1.count }
            #expect(bed.row[.txPackets] == UInt64(items.count), "\(name)")
            #expect(bed.row[.txBytes] == UInt64(total - 8 * items.count), "\(name)")
            #expect(bed.row.transmitDropTotal == 0)
            // In order, each under its own header.
            let stream = bed.bytes.flatMap { $0 }
            var place = 0
            for (number, item) in items.enumerated() where stream.count >= place + item.count {
                #expect(stream[place] == UInt8(truncatingIfNeeded: number), "\(name)")
                if item.count > 8 { #expect(stream[place + 8] == 0) }
                place += item.count
            }
        }
    }

    @Test("a message is as long as a datagram can be, and not one byte longer")
    func longest() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        // The loopback cuts what is so long by itself; a kernel that refused it would say so.
        send(Self.equal(59, 1110) + [Item(count: 17)] + Self.equal(3, 100), bed, &output)
        #expect(bed.arrived().count == 61 && bed.row[.txPackets] == 63)
        let said = output.takePathMTUChange()
        #expect(!said && bed.row.transmitDropTotal == 0)
        for (last, messages) in [(17, 1), (18, 2)] {
            var queue = SendQueue()
            var bytes = [UInt8](repeating: 0, count: 1110)
            bytes.withUnsafeMutableBytes { bytes in
                for count in [Int](repeating: 1110, count: 59) + [last] {
                    queue.append(
                        header: UnsafeMutableRawBufferPointer(rebasing: bytes[..<8]),
                        payload: UnsafeMutableRawBufferPointer(rebasing: bytes[8..<count]),
                        Envelope(flow: 0), bed.tunnel(to: "127.0.0.1"), bed.port, isPackable: true)
                }
            }
            let count = queue.messageCount
            #expect(count == messages, "the last one has \(last) bytes")
        }
    }

    @Test("IPv6 as well")
    func ipv6() throws {
        let bed = try Bed(isIPv4: false)
        var output = KernelOutput(senders: bed.senders)
        send([Item](repeating: Item(count: 1200, to: "::1", tos: 4), count: 7), bed, &output)
        #expect(bed.arrived() == [Self.train(7, 1200, tos: 4)])
    }

    @Test("nothing is packed where packing is off, nor for a tunnel without checksums")
    func plain() throws {
        let single = [Arrived](repeating: Arrived(byteCount: 100, segment: 0), count: 40)
        let off = try Bed()
        var output = KernelOutput(senders: off.senders, packs: false)
        send(Self.equal(40, 100), off, &output)
        #expect(off.arrived() == single)

        let bed = try Bed(checksum: false)
        var second = KernelOutput(senders: bed.senders)
        var payload = [UInt8](repeating: 1, count: 92)
        payload.withUnsafeMutableBytes { payload in
            for _ in 0..<40 {
                let header = UnsafeMutableRawBufferPointer(start: second.reserve(8), count: 8)
                second.send(
                    header: header, payload: payload, Envelope(flow: 0),
                    bed.tunnel(to: "127.0.0.1") { $0.checksum = false }, bed.port)
            }
            second.flush()
        }
        #expect(bed.arrived() == single && bed.row[.txPackets] == 40)
    }

    @Test("more than a queue holds, packed or not, arrives and is counted")
    func full() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        // Growing ones cannot be packed; then more equal ones than the queue has places for.
        let items = (0..<150).map { Item(count: 10 + $0) } + Self.equal(1000, 60)
        send(items, bed, &output)
        let arrived = bed.arrived()
        let offered = items.reduce(0) { $0 + $1.count }
        #expect(arrived.map(\.byteCount).reduce(0, +) == offered)
        #expect(bed.row[.txPackets] == 1150 && bed.row.transmitDropTotal == 0)
        #expect(arrived.count < 150 + 30, "\(arrived.count) messages")
    }

    @Test("of a message that exceeds the path MTU, what fits is sent, and the rest is counted")
    func tooLarge() throws {
        let bed = try Bed()
        let wire = try RawSocket("v1", in: bed.namespace)
        var output = KernelOutput(senders: bed.senders)
        // 1400 less 28 of IP and UDP is 1372.
        let far = { Item(count: $0, to: "192.0.2.9") }
        let items: [Item] = [far(1373), far(1373), far(1373), far(200), Item(count: 100), Item(count: 100)]
        send(items, bed, &output)
        #expect(bed.drops(.underlayMTUExceeded) == 3 && bed.row.transmitDropTotal == 3)
        #expect(bed.row[.txPackets] == 3 && bed.row[.txBytes] == 376, "200, 100 and 100 less VXLAN")
        #expect(bed.arrived() == [Self.train(2, 100)])
        let said = output.takePathMTUChange()
        #expect(said)
        let left = wire.receive(.ipv4) { $0.count == 14 + 28 + 200 }
        #expect(left != nil)
        // The route is not taken for one that cannot have messages cut.
        send([far(1372), far(1372), far(1372)], bed, &output)
        #expect(bed.row[.txPackets] == 6)
        let whole = wire.receive(.ipv4) { $0.count > 1400 }
        #expect(whole?.bytes.count == 4158, "one superframe on the veth")
    }

    @Test("a way that cannot have messages cut is remembered, and everything sent plainly for a minute")
    func refused() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        output.nowMilliseconds = 1_000_000
        func setChecksums(_ isOff: Int32) {
            var value = isOff
            for index in 0..<KernelOutput.socketCount where bed.senders.descriptors[index] >= 0 {
                setsockopt(bed.senders.descriptors[index], SOL_SOCKET, SO_NO_CHECK, &value, 4)
            }
        }
        // Without checksums the kernel refuses to cut: EINVAL (Linux, udp_send_skb).
        setChecksums(1)
        send(Self.equal(9, 100), bed, &output)
        let single = [Arrived](repeating: Arrived(byteCount: 100, segment: 0), count: 9)
        #expect(bed.arrived() == single)
        #expect(bed.row[.txPackets] == 9 && bed.row.transmitDropTotal == 0)
        setChecksums(0)
        for (now, expected) in [
            (1_000_000, single), (1_059_999, single), (1_060_000, [Self.train(9, 100)]),
        ] as [(UInt64, [Arrived])] {
            output.nowMilliseconds = now
            send(Self.equal(9, 100), bed, &output)
            #expect(bed.arrived() == expected, "at \(now)")
        }
        // Meanwhile another peer has its messages.
        setChecksums(1)
        send(Self.equal(2, 100), bed, &output)
        setChecksums(0)
        send([Item](repeating: Item(count: 100, to: "127.0.0.3"), count: 9), bed, &output)
        #expect(bed.arrived() == [single[0], single[0], Self.train(9, 100)])
        #expect(bed.row.transmitDropTotal == 0)
    }

    @Test("plain routes: eight are remembered, a minute each, the oldest makes room")
    func plainRoutes() {
        var routes = PlainRoutes()
        func remote(_ number: UInt64) -> PackedAddress { packed("192.0.2.\(number)") }
        #expect(!routes.contains(remote(1), 0) && !routes.contains(.none, 0))
        for number in 1...8 as ClosedRange<UInt64> { routes.insert(remote(number), number * 1000) }
        for number in 1...8 as ClosedRange<UInt64> {
            #expect(routes.contains(remote(number), number * 1000 + 59_999))
            #expect(!routes.contains(remote(number), number * 1000 + 60_000))
        }
        // Again before its time is over: it keeps its place and its time.
        routes.insert(remote(8), 20_000)
        #expect(routes.contains(remote(1), 20_000) && !routes.contains(remote(8), 68_000))
        routes.insert(remote(9), 20_000)
        #expect(!routes.contains(remote(1), 20_000), "the oldest")
        for number in 2...9 as ClosedRange<UInt64> { #expect(routes.contains(remote(number), 20_000)) }
        routes.insert(remote(2), 90_000)
        #expect(routes.contains(remote(2), 149_999) && !routes.contains(remote(3), 90_000))
        #expect(!routes.contains(packed("2001:db8::1"), 90_000))
    }
}
