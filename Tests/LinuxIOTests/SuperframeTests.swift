// Owns: superframes handed to the kernel. A train from the underlay, put together, written to a TAP, and what a
// guest's sockets and links make of it; frame by frame where the kernel refuses.

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

@Suite("superframes")
struct SuperframeTests {
    private static let guestMAC = "02:00:00:00:00:0a"
    private static let peerMAC = "02:00:00:00:00:0b"

    private static func plainSum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in bytes.enumerated() { sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte) }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return UInt16(sum)
    }

    private static func octets(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 0xff), UInt8(value & 0xff)] }

    /// A UDP frame from port 1000 of the peer to port 7000 of the guest.
    private static func udpFrame(_ payload: [UInt8], isIPv4: Bool, identification: Int) -> [UInt8] {
        let length = 8 + payload.count
        let addresses =
            isIPv4
            ? ip("198.51.100.2").octets + ip("198.51.100.1").octets
            : ip("2001:db8::2").octets + ip("2001:db8::1").octets
        let body = octets(1000) + octets(7000) + octets(length)
        let sum = ~plainSum(addresses + [0, 17] + octets(length) + body + [0, 0] + payload)
        let datagram = body + octets(Int(sum == 0 ? 0xffff : sum)) + payload
        if isIPv4 {
            var header = [0x45, 0] + octets(20 + length) + octets(identification) + [0x40, 0, 64, 17, 0, 0]
            header += addresses
            header.replaceSubrange(10..<12, with: octets(Int(~plainSum(header))))
            return ethernetHeader(from: peerMAC, to: guestMAC, .ipv4) + header + datagram
        }
        return ethernetHeader(from: peerMAC, to: guestMAC, .ipv6)
            + [0x60, 0, 0, 0] + octets(length) + [17, 64] + addresses + datagram
    }

    /// `count` payloads, all different, the last one shorter.
    private static func payloads(_ count: Int) -> [[UInt8]] {
        (0..<count).map { index in
            (0..<(index + 1 == count ? 333 : 1000)).map { UInt8(truncatingIfNeeded: $0 &* (index + 3)) }
        }
    }

    @Test(
        "UDP that came in a train is heard by a guest's socket datagram by datagram",
        arguments: [true, false])
    func udp(isIPv4: Bool) throws {
        let (guests, underlay) = (TestNamespace(), TestNamespace())
        let bench = try WorkerBench()
        let address = isIPv4 ? "198.51.100.1/24" : "2001:db8::1/64"
        try bench.tap(
            .test(in: guests, mac: mac(Self.guestMAC), mtu: 1450, address))
        var tunnel = TunnelEntry(remote: packed("127.0.0.1"), vni: VNI(truncating: 5))
        tunnel.destinationPort = 5555  // What the guest says by itself goes nowhere.
        try bench.tunnel(tunnel, in: underlay)
        bench.start()
        let heard = try guests.here { () throws(LinuxError) -> Int32 in
            var endpoint = clx_endpoint(ip(isIPv4 ? "198.51.100.1" : "2001:db8::1"), port: 7000)
            return try check(clx_udp_open(&endpoint, UInt32(CLX_UDP_RECEIVER), 4 << 20), "bind the guest")
        }
        defer { close(heard) }
        let sender = try underlay.here { () throws(LinuxError) -> Int32 in
            var endpoint = clx_endpoint(ip("127.0.0.1"), port: 0)
            return try check(clx_udp_open(&endpoint, 0, 4 << 20), "bind the sender")
        }
        defer { close(sender) }
        let payloads = Self.payloads(40)
        var train = payloads.enumerated().flatMap { index, payload in
            hex("08 00 00 00 00 00 05 00")
                + Self.udpFrame(payload, isIPv4: isIPv4, identification: index)
        }
        let segment = 8 + Self.udpFrame(payloads[0], isIPv4: isIPv4, identification: 0).count
        let sent = train.withUnsafeMutableBytes { bytes in
            sendMessage(
                sender, [iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)], to: "127.0.0.1",
                port: 4789
            ) { $0.segment = UInt32(segment) }
        }
        #expect(sent == 1)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        for (index, payload) in payloads.enumerated() {
            try #require(waitReadable(heard), "datagram \(index)")
            let count = buffer.withUnsafeMutableBytes { recv(heard, $0.baseAddress, $0.count, 0) }
            #expect(Array(buffer.prefix(max(0, count))) == payload, "datagram \(index)")
        }
        // Asks the worker, which by then has counted what the guest may have heard before.
        bench.expectBalance()
        #expect(bench.listenerCounters[.rxPackets] == 40)
        #expect(bench.counters(0)[.txPackets] == 40)
    }

    // MARK: By hand

    /// Frames of `count` payloads, one behind the other as in a receive buffer, as one superframe.
    private func withTrain(
        _ frames: [[UInt8]], payloads: [[UInt8]], isIPv4: Bool, _ body: (Superframe) throws -> Void
    ) rethrows {
        let headers = frames[0].count - payloads[0].count
        var memory = frames.flatMap { hex("08 00 00 00 00 00 05 00") + $0 }
        try memory.withUnsafeMutableBytes { memory in
            let base = memory.baseAddress! + 8
            let whole = payloads.reduce(0) { $0 + $1.count }
            let start = isIPv4 ? 34 : 54
            var header = Array(frames[0].prefix(headers))
            header.replaceSubrange(start + 4..<start + 6, with: Self.octets(8 + whole))
            let ip = isIPv4 ? 16..<18 : 18..<20
            header.replaceSubrange(ip, with: Self.octets(isIPv4 ? 28 + whole : 8 + whole))
            if isIPv4 {
                header.replaceSubrange(24..<26, with: [0, 0])
                header.replaceSubrange(
                    24..<26, with: Self.octets(Int(~Self.plainSum(Array(header[14..<34])))))
            }
            let addresses = Array(isIPv4 ? header[26..<34] : header[22..<54])
            let pseudo = Self.plainSum(addresses + [0, 17] + Self.octets(8 + whole))
            header.replaceSubrange(start + 6..<start + 8, with: Self.octets(Int(pseudo)))
            try header.withUnsafeMutableBytes { header in
                var frame = Superframe(base: header.baseAddress!, byteCount: headers + whole)
                frame.offload = Offload(
                    segmentation: .udp, needsChecksum: true, segmentByteCount: UInt16(payloads[0].count),
                    checksumStart: UInt16(start), checksumOffset: 6)
                frame.train = Train(
                    frameCount: frames.count, receivedByteCount: frames.reduce(0) { $0 + $1.count },
                    payload: base + headers, strideByteCount: frames[0].count + 8, headerByteCount: headers)
                try body(frame)
            }
        }
    }

    @Test(
        "a train the kernel refuses is written frame by frame, each as it came",
        arguments: [true, false])
    func refused(isIPv4: Bool) throws {
        let namespace = TestNamespace()
        let device = try TAPDevice.create(.test(in: namespace))
        let guest = try RawSocket(device.settings.name, in: namespace)
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        var port = PortEntry(counters: rows.row(0), identity: 1)
        port.descriptor = device.descriptors[0]
        var output = KernelOutput(senders: SenderSockets([:]))
        let payloads = Self.payloads(64)
        let frames = payloads.enumerated().map {
            Self.udpFrame($1, isIPv4: isIPv4, identification: $0)
        }
        let byteCount = frames.reduce(0) { $0 + $1.count }
        withTrain(frames, payloads: payloads, isIPv4: isIPv4) { train in
            output.write(train, to: port)
            #expect(port.counters.value(.txPackets) == 64)
            #expect(port.counters.value(.txBytes) == UInt64(byteCount))
            // A packet socket sees it whole.
            let whole = guest.receive(isIPv4 ? .ipv4 : .ipv6) { $0.count > 40_000 }
            #expect(whole?.bytes.suffix(333) == payloads[63][...])
            #expect(whole?.header.gso_type == 5 && whole?.header.gso_size == 1000)
            // The kernel knows where UDP keeps its checksum: anything else is EINVAL.
            var bad = train
            bad.offload.checksumOffset = 4
            output.write(bad, to: port)
        }
        #expect(port.counters.value(.txPackets) == 128)
        #expect(port.counters.value(.txBytes) == UInt64(2 * byteCount))
        #expect(port.counters.snapshot.transmitDropTotal == 0)
        for (index, frame) in frames.enumerated() {
            let heard = guest.receive(isIPv4 ? .ipv4 : .ipv6) {
                $0.count < 2000 && $0[6..<12] == frame[6..<12]
            }
            #expect(heard?.bytes == frame, "frame \(index)")
        }
    }

    @Test(
        "a superframe that came whole and is refused is cut before it is written, and counts once",
        arguments: [true, false])
    func cut(isIPv4: Bool) throws {
        let namespace = TestNamespace()
        let device = try TAPDevice.create(.test(in: namespace))
        let guest = try RawSocket(device.settings.name, in: namespace)
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        var port = PortEntry(counters: rows.row(0), identity: 1)
        port.descriptor = device.descriptors[0]
        var output = KernelOutput(senders: SenderSockets([:]))
        let payloads = Self.payloads(40)
        let frames = payloads.enumerated().map {
            Self.udpFrame($1, isIPv4: isIPv4, identification: $0)
        }
        var whole = Self.udpFrame(Array(payloads.joined()), isIPv4: isIPv4, identification: 0)
        whole.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var frame = Superframe(base: base, byteCount: bytes.count)
            // The kernel knows where UDP keeps its checksum: anything else is EINVAL.
            frame.offload = Offload(
                segmentation: .udp, needsChecksum: true, segmentByteCount: 1000,
                checksumStart: isIPv4 ? 34 : 54, checksumOffset: 4)
            output.write(frame, to: port)
        }
        #expect(port.counters.value(.txPackets) == 1)
        #expect(port.counters.value(.txBytes) == UInt64(whole.count))
        #expect(port.counters.snapshot.transmitDropTotal == 0)
        for (index, frame) in frames.enumerated() {
            let heard = guest.receive(isIPv4 ? .ipv4 : .ipv6) { $0[6..<12] == frame[6..<12] }
            #expect(heard?.bytes == frame, "frame \(index)")
        }
    }

    @Test("a train for a port that is down or gone is counted frame by frame under the kernel's reason")
    func down() throws {
        let namespace = TestNamespace()
        let device = try TAPDevice.create(.test(in: namespace))
        namespace.inside("ip link set \(device.settings.name) down")
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        var port = PortEntry(counters: rows.row(0), identity: 1)
        port.descriptor = device.descriptors[0]
        var output = KernelOutput(senders: SenderSockets([:]))
        let payloads = Self.payloads(10)
        let frames = payloads.enumerated().map { Self.udpFrame($1, isIPv4: true, identification: $0) }
        withTrain(frames, payloads: payloads, isIPv4: true) { train in
            output.write(train, to: port)
            #expect(port.counters.transmitDrops(.portDown) == 10)
            port.descriptor = -1
            output.write(train, to: port)
            #expect(port.counters.transmitDrops(.portGone) == 10)
        }
        #expect(port.counters.value(.txPackets) == 0)
    }

    @Test("everything works on this kernel, and trying it leaves nothing behind")
    func probe() throws {
        let namespace = currentNamespace()
        #expect(try OffloadProbe.run() == .all)
        #expect(currentNamespace() == namespace)
        let tap = try Netlink.link(named: "probe")
        #expect(tap == nil, "the TAP was made in a namespace of its own")
        #expect(OffloadFeatures.off.names.isEmpty && OffloadFeatures.all.names.count == 8)
    }
}
