// What this kernel's offloads do, tried at start in a network namespace made for it:
//
//   sender ── UDP_SEGMENT ──▶ TAP without offloads ──▶ three right datagrams?   (segmentation in software)
//   sender ── UDP_SEGMENT ──▶ lo ──▶ UDP_GRO receiver: one train of three?
//   TCP and UDP superframes ──▶ TAP: taken?
//   superframes in VXLAN ──▶ uplink ──▶ … : see UplinkProbe
//
// Some kernels cut a message wrongly whose last segment is a full one, some refuse superframes that they should
// take: such an offload is left out, and everything else used.

internal import CLinux
internal import Datapath
internal import Dispatch
internal import Glibc
internal import Proc
internal import Synchronization
internal import Wire

/// Tries the kernel's offloads.
public final class OffloadProbe: Sendable {
    /// How long the kernel may take for one step.
    private static let stepMilliseconds: Int32 = 200
    /// Of each datagram: fits any MTU; three make a message whose last segment is a full one.
    private static let segmentByteCount = 1000
    private static let segmentCount = 3

    private let features = Mutex(OffloadFeatures())
    private let done = DispatchSemaphore(value: 0)

    private init() {}

    /// What works here, found out once.
    public static let found = Result { () throws(LinuxError) in try run() }

    /// What works. Takes some milliseconds; without the right to make a namespace (CAP_SYS_ADMIN) nothing can
    /// be tried and nothing is found. EAGAIN: there may be no more threads.
    public static func run() throws(LinuxError) -> OffloadFeatures {
        let probe = OffloadProbe()
        // A thread of its own, because its namespace ends with it; what it leaves is cleared away behind us.
        try check(-OwnThread.start("viaduct-probe") { probe.tryAll() }, "make a thread to try offloads")
        probe.done.wait()
        return probe.features.withLock { $0 }
    }

    private func note(_ change: @Sendable (inout OffloadFeatures) -> Void) {
        features.withLock { change(&$0) }
    }

    private func tryAll() {
        var tap: Int32 = -1
        // What it makes takes the kernel some time to remove: nobody waits for that.
        var uplinks = UplinkProbe()
        do throws(LinuxError) {
            defer { done.signal() }
            try check(clx_leave_network_namespace(), "make a network namespace")
            try Netlink.setLink(1, up: true)  // lo
            if try receivesTrain() { note { $0.udpTrains = true } }
            tap = try check(clx_tap_open("probe", 0), "open a TAP")
            if let link = try Netlink.link(named: "probe"), let address = IPPrefix("192.0.2.1/24") {
                try Netlink.addAddress(address, to: link.index)
                try Netlink.setLink(link.index, up: true)
            }
            if try sendsTrain(readBy: tap) { note { $0.udpSegmentation = true } }
            if let link = try Netlink.link(named: "probe") {
                let fault = uplinks.fault(tap: tap, index: link.index)
                note {
                    $0.uplinkTAP = fault == nil
                    $0.uplinkFault = fault
                }
            }
            tryTAP(tap)
        } catch {
            // What was found so far stands.
            let words = error.description
            note { if !$0.uplinkTAP { $0.uplinkFault = words } }
        }
        if tap >= 0 { close(tap) }
    }

    // MARK: Messages and trains

    /// A socket of this namespace.
    private func socket(_ address: String, port: UInt16, flags: UInt32) throws(LinuxError) -> Int32 {
        guard let address = IPAddress(address) else { throw LinuxError("read \(address)", code: EINVAL) }
        var endpoint = clx_endpoint(address, port: port)
        return try check(clx_udp_open(&endpoint, flags, 1 << 20), "open a UDP socket")
    }

    /// Sends three datagrams in one message from `source` to port 4789 of `remote`.
    private func sendTrain(_ bytes: [UInt8], from source: String, to remote: String) throws(LinuxError)
        -> Bool
    {
        let sender = try socket(source, port: 0, flags: 0)
        defer { close(sender) }
        guard let remote = IPAddress(remote), let source = IPAddress(source) else { return false }
        return bytes.withUnsafeBytes { bytes in
            var part = iovec(
                iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
            return withUnsafePointer(to: &part) { part in
                var message = clx_message()
                message.parts = part
                message.part_count = 1
                message.segment = UInt32(OffloadProbe.segmentByteCount)
                message.destination = clx_endpoint(remote, port: 4789)
                message.source = clx_endpoint(source, port: 0)
                return clx_udp_send(sender, &message, 1) == 1
            }
        }
    }

    /// Bytes that differ from segment to segment.
    private var pattern: [UInt8] {
        (0..<OffloadProbe.segmentCount * OffloadProbe.segmentByteCount).map {
            UInt8(truncatingIfNeeded: $0 * 7 / 5)
        }
    }

    private func receivesTrain() throws(LinuxError) -> Bool {
        let flags = UInt32(CLX_UDP_RECEIVER) | UInt32(CLX_UDP_TRAINS)
        let receiver = try socket("127.0.0.1", port: 4789, flags: flags)
        defer { close(receiver) }
        guard try sendTrain(pattern, from: "127.0.0.1", to: "127.0.0.1"), isReadable(receiver) else {
            return false
        }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let segment = buffer.withUnsafeMutableBytes { buffer in
            var datagram = clx_datagram()
            datagram.data = buffer.baseAddress
            datagram.capacity = UInt32(buffer.count)
            guard clx_udp_receive(receiver, &datagram, 1) == 1, Int(datagram.length) == pattern.count else {
                return 0
            }
            return Int(datagram.segment)
        }
        return segment == OffloadProbe.segmentByteCount && buffer.starts(with: pattern)
    }

    /// A multicast address needs no neighbour.
    private func sendsTrain(readBy tap: Int32) throws(LinuxError) -> Bool {
        guard try sendTrain(pattern, from: "192.0.2.1", to: "239.192.0.1") else { return false }
        var found: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 2048)
        while found.count < pattern.count, isReadable(tap) {
            let count = buffer.withUnsafeMutableBytes { read(tap, $0.baseAddress, $0.count) }
            guard count > 0 else { return false }
            found += OffloadProbe.payload(buffer[MemoryLayout<clx_vnet_header>.size..<count])
        }
        return found == pattern
    }

    /// What a frame carries to port 4789, with every length and checksum right; else nothing.
    private static func payload(_ frame: ArraySlice<UInt8>) -> [UInt8] {
        frame.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, bytes.count > EthernetView.byteCount else { return [] }
            let packet = base + EthernetView.byteCount
            guard let ip = IPv4View(checking: packet, count: bytes.count - EthernetView.byteCount),
                ip.protocolNumber == .udp, ip.totalLength == bytes.count - EthernetView.byteCount,
                Checksum.isValid(Checksum.sum(packet, count: ip.headerByteCount)),
                let udp = UDPView(
                    checking: packet + ip.headerByteCount, count: ip.totalLength - ip.headerByteCount),
                udp.destinationPort == 4789,
                udp.isChecksumValid(source: ip.source, destination: ip.destination)
            else { return [] }
            let start = EthernetView.byteCount + ip.headerByteCount + UDPView.byteCount
            return Array(bytes[start...])
        }
    }

    private func isReadable(_ descriptor: Int32) -> Bool {
        var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&wanted, 1, OffloadProbe.stepMilliseconds) == 1
    }

    // MARK: TAPs

    private func tryTAP(_ tap: Int32) {
        var features = OffloadFeatures.off
        features.tapTCP = true
        guard clx_tap_set_offloads(tap, features.tapFlags) == 0 else { return }
        note { $0.tapTCP = true }
        if takes(tap, .tcp) { note { $0.coalescing.tcp = true } }
        if takes(tap, .udp) { note { $0.coalescing.udp = true } }
        features.tapUDP = true
        if clx_tap_set_offloads(tap, features.tapFlags) == 0 { note { $0.tapUDP = true } }
    }

    /// Whether the TAP takes a superframe of three segments. It is addressed to nobody.
    private func takes(_ tap: Int32, _ transport: IPProtocol) -> Bool {
        let headers = EthernetView.byteCount + IPv4View.byteCount
        let l4 = transport == .tcp ? TCPView.byteCount : UDPView.byteCount
        let payload = OffloadProbe.segmentCount * OffloadProbe.segmentByteCount
        var bytes = [UInt8](repeating: 0, count: headers + l4 + payload)
        return bytes.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return false }
            EthernetHeader(
                destination: MACAddress(rawValue: 0x0200_0000_0001),
                source: MACAddress(rawValue: 0x0200_0000_0002),
                etherType: .ipv4
            ).emit(to: base)
            IPv4Header(
                source: IPv4Address(rawValue: 0xC000_0202), destination: IPv4Address(rawValue: 0xC000_0203),
                protocolNumber: transport, payloadByteCount: l4 + payload, doNotFragment: true
            ).emit(to: base + EthernetView.byteCount)
            if transport == .tcp {
                base.store(byte: 0x50, at: headers + 12)
                base.store(byte: 0x10, at: headers + 13)
            } else {
                base.store(bigEndian16: UInt16(l4 + payload), at: headers + 4)
            }
            var frame = Superframe(base: base, byteCount: bytes.count)
            frame.offload = Offload(
                segmentation: transport == .tcp ? .tcp4 : .udp, needsChecksum: true,
                segmentByteCount: UInt16(OffloadProbe.segmentByteCount), checksumStart: UInt16(headers),
                checksumOffset: transport == .tcp ? 16 : 6)
            var header = clx_vnet_header(frame)
            return withUnsafeMutableBytes(of: &header) { header in
                var parts = [
                    iovec(iov_base: header.baseAddress, iov_len: header.count),
                    iovec(iov_base: base, iov_len: bytes.count),
                ]
                return writev(tap, &parts, 2) > 0
            }
        }
    }
}
