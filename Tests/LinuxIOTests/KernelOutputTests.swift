// Owns: datagrams on their way to the kernel: queued, gathered, sent in order, each accounted for once and
// under the kernel's own reason.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("the engine's output")
struct KernelOutputTests {
    /// A namespace with an underlay of MTU 1400, senders in it, and a peer that listens on its loopback.
    private final class Bed {
        let namespace = TestNamespace()
        let senders: SenderSockets
        let peer: Int32
        private let rows = CounterRows.allocate()
        let port: PortEntry

        init(checksum: Bool = true) throws {
            port = PortEntry(counters: rows.row(0), identity: 1)
            namespace.addPair(mtu: 1400)
            namespace.inside(
                """
                ip addr add 192.0.2.1/24 dev v0; ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0
                ip route add prohibit 203.0.113.1; ip route add unreachable 203.0.113.2
                ip route add blackhole 203.0.113.3
                """)
            let kind = SenderKind(isIPv4: true, doNotFragment: true, checksum: checksum)
            let made = Box<(SenderPool, Int32)>()
            try namespace.here { () throws(LinuxError) in
                var endpoint = clx_endpoint(ip("127.0.0.1"), port: 5555)
                let peer = try check(
                    clx_udp_open(&endpoint, UInt32(CLX_UDP_RECEIVER), 32 << 20), "bind the peer")
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

        /// Everything the peer has got: bytes and source port.
        func received() -> [(bytes: [UInt8], port: UInt16)] {
            var result: [([UInt8], UInt16)] = []
            var buffer = [UInt8](repeating: 0, count: 70_000)
            buffer.withUnsafeMutableBytes { buffer in
                var datagram = clx_datagram()
                datagram.data = buffer.baseAddress
                datagram.capacity = UInt32(buffer.count)
                while clx_udp_receive(peer, &datagram, 1) == 1 {
                    result.append((Array(buffer.prefix(Int(datagram.length))), datagram.source.port))
                }
            }
            return result
        }
    }

    /// Queues one datagram: a header of 8 bytes and more, all `mark`, before `payload`.
    private func send(
        _ output: inout KernelOutput, _ bed: Bed, _ tunnel: TunnelEntry, headerCount: Int = 8,
        mark: UInt8 = 0,
        _ payload: UnsafeMutableRawBufferPointer, flow: UInt32 = 0
    ) {
        let header = output.reserve(headerCount)
        header.initializeMemory(as: UInt8.self, repeating: mark, count: headerCount)
        // A port of its own for each tunnel; they share a row of counters.
        var port = bed.port
        port.identity = tunnel.remote.high ^ tunnel.remote.low
        output.send(
            header: UnsafeMutableRawBufferPointer(start: header, count: headerCount), payload: payload,
            Envelope(flow: flow), tunnel, port)
    }

    @Test(
        "what the kernel refuses is counted under its reason, datagram by datagram",
        arguments: [
            ("198.51.100.1", 100, DropReason.underlayNoRoute), ("203.0.113.2", 100, .underlayNoRoute),
            ("203.0.113.1", 100, .underlayDenied), ("203.0.113.3", 100, .underlayError),
            ("192.0.2.9", 1365, .underlayMTUExceeded), ("2001:db8::1", 100, .tunnelDown),
        ])
    func refusals(remote: String, count: Int, reason: DropReason) throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        var payload = [UInt8](repeating: 7, count: count)
        payload.withUnsafeMutableBytes { payload in
            // Between two good ones: the others must not suffer.
            send(&output, bed, bed.tunnel(to: "127.0.0.1"), payload)
            for _ in 0..<3 { send(&output, bed, bed.tunnel(to: remote), payload) }
            send(&output, bed, bed.tunnel(to: "127.0.0.1"), payload)
            output.flush()
        }
        #expect(bed.drops(reason) == 3 && bed.row.transmitDropTotal == 3)
        #expect(bed.row[.txPackets] == 2 && bed.row[.txBytes] == UInt64(2 * count))
        #expect(bed.received().count == 2)
        let said = [output.takePathMTUChange(), output.takePathMTUChange()]
        #expect(said == [reason == .underlayMTUExceeded, false], "it is said once")
    }

    @Test("the largest datagram that fits the underlay leaves")
    func largest() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        var payload = [UInt8](repeating: 7, count: 1400 - 20 - 8 - 8)
        payload.withUnsafeMutableBytes {
            send(&output, bed, bed.tunnel(to: "192.0.2.9"), $0)
            output.flush()
        }
        #expect(bed.row[.txPackets] == 1 && bed.row.transmitDropTotal == 0)
    }

    @Test("a tunnel to ourselves or without sockets sends nothing")
    func unusable() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        var payload: [UInt8] = [1]
        payload.withUnsafeMutableBytes { payload in
            send(&output, bed, bed.tunnel(to: "127.0.0.1") { $0.isUsable = false }, payload)
            send(&output, bed, bed.tunnel(to: "127.0.0.1") { $0.checksum = false }, payload)
            output.flush()
        }
        #expect(bed.drops(.tunnelDown) == 2 && bed.received().isEmpty)
    }

    @Test("a flow keeps its source port and its order; flows are spread over sixteen ports")
    func flows() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        var payload = (0..<32).map { UInt8($0) }
        payload.withUnsafeMutableBytes { payload in
            for mark in 0..<200 as Range<UInt8> {
                let slot = Int(mark % 32)
                send(
                    &output, bed, bed.tunnel(to: "127.0.0.1"), mark: mark,
                    UnsafeMutableRawBufferPointer(rebasing: payload[slot...slot]), flow: UInt32(slot))
            }
            output.flush()
        }
        let received = bed.received()
        #expect(received.count == 200 && bed.row[.txPackets] == 200)
        #expect(
            received.allSatisfy { $0.bytes == [UInt8](repeating: $0.bytes[0], count: 8) + [$0.bytes[0] % 32] }
        )
        let ports = Dictionary(grouping: received, by: \.port)
        #expect(ports.count == 16)
        for datagrams in ports.values {
            let marks = datagrams.map { $0.bytes[0] }
            #expect(marks == marks.sorted() && Set(marks.map { $0 % 16 }).count == 1)
        }
    }

    @Test("more than the queues and the header memory hold is sent early, and every header is still right")
    func overflow() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        var payload: [UInt8] = [0xee]
        // 2,000 headers of 528 bytes: four times the memory, a hundred queues' worth on two sockets.
        payload.withUnsafeMutableBytes { payload in
            for number in 0..<2000 {
                send(
                    &output, bed, bed.tunnel(to: "127.0.0.1"), headerCount: 521,
                    mark: UInt8(number % 251), payload, flow: UInt32(number % 2))
            }
            output.flush()
        }
        let received = bed.received()
        #expect(received.count == 2000 && bed.row[.txPackets] == 2000)
        #expect(bed.row[.txBytes] == UInt64(2000 * (521 + 1 - 8)))
        for (parity, datagrams) in Dictionary(grouping: received, by: \.port).values.enumerated() {
            let first = Int(datagrams[0].bytes[0])
            #expect(first < 2 && datagrams.count == 1000, "port \(parity)")
            for (index, datagram) in datagrams.enumerated() {
                let mark = UInt8((first + 2 * index) % 251)
                #expect(datagram.bytes == [UInt8](repeating: mark, count: 521) + [0xee])
            }
        }
    }

    @Test("a queue that is filled and sent again and again within a batch is still one queue")
    func longBatch() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        var payload: [UInt8] = [0xee]
        // As many as the header memory holds in one go: each socket is sent early a dozen times.
        let count = KernelOutput.arenaByteCount / 16
        payload.withUnsafeMutableBytes { payload in
            for number in 0..<count {
                send(&output, bed, bed.tunnel(to: "127.0.0.1"), payload, flow: UInt32(number))
            }
            output.flush()
        }
        #expect(bed.row[.txPackets] == UInt64(count) && bed.received().count == count)
    }

    @Test("memory reserved just before a forced flush keeps its bytes until they are sent")
    func reservedAcrossFlush() throws {
        let bed = try Bed()
        var output = KernelOutput(senders: bed.senders)
        // An ICMP answer is built like this: first its bytes, then the header to go before them.
        _ = output.reserve(KernelOutput.arenaByteCount - 1312)
        let answer = UnsafeMutableRawBufferPointer(start: output.reserve(1312), count: 1312)
        answer.initializeMemory(as: UInt8.self, repeating: 0xaa)
        send(&output, bed, bed.tunnel(to: "127.0.0.1"), mark: 1, answer)
        let rest = KernelOutput.arenaByteCount - 16
        output.reserve(rest).initializeMemory(as: UInt8.self, repeating: 0x55, count: rest)
        output.flush()
        let expected = [UInt8](repeating: 1, count: 8) + [UInt8](repeating: 0xaa, count: 1312)
        #expect(bed.received().map(\.bytes) == [expected])
    }

    @Test("errors of a local port have their reasons")
    func localReasons() {
        let table: [(Int32, DropReason)] = [
            (EIO, .portDown), (ENETDOWN, .portDown), (EBADFD, .portGone), (EBADF, .portGone),
            (ENXIO, .portGone), (ENODEV, .portGone), (EAGAIN, .portQueueFull), (ENOBUFS, .portQueueFull),
            (ENOMEM, .portQueueFull), (EINVAL, .portError), (EPERM, .portError),
        ]
        for (code, reason) in table { #expect(KernelOutput.localReason(code) == reason) }
    }

    @Test("a frame with bad checksum metadata is refused by a TAP as an error of the port")
    func badMetadata() throws {
        let bed = try Bed()
        let device = try TAPDevice.create(.test(in: bed.namespace))
        var port = bed.port
        port.descriptor = device.descriptors[0]
        var output = KernelOutput(senders: bed.senders)
        var bytes = testFrame(from: "02:00:00:00:00:0a", to: "02:00:00:00:00:0b")
        bytes.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            let offload = Offload(needsChecksum: true, checksumStart: 5000, checksumOffset: 6)
            output.write(Superframe(base: base, byteCount: bytes.count, offload: offload), to: port)
            output.write(Superframe(base: base, byteCount: bytes.count), to: port)
        }
        #expect(bed.drops(.portError) == 1 && bed.row[.txPackets] == 1)
    }
}

extension Envelope {
    /// TOS 0, TTL 64.
    init(flow: UInt32) {
        let tunnel = TunnelEntry(remote: .none, vni: VNI(truncating: 0))
        var shape = FrameShape()
        shape.flowHash = flow
        self.init(shape, tunnel)
    }
}
