// Whether this kernel carries superframes in UDP tunnels rightly, tried in a network namespace made for it:
//
//   superframe ─▶ uplink ─▶ TAP without offloads: three right datagrams?        (segmentation in software)
//   superframe ─▶ uplink ─▶ veth ═ veth ─▶ uplink: the same superframe?         (both redirections)
//
// A kernel that does not know such superframes (before Linux 6.17), or forbids the redirection, gets a packet socket.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

/// Used by `OffloadProbe`'s thread, in the namespace it made.
struct UplinkProbe: ~Copyable {
    private static let segmentByteCount = 1000
    private static let segmentCount = 3
    private static let stepMilliseconds: Int32 = 200
    private static let headerByteCount = EthernetView.byteCount + IPv4View.byteCount + TCPView.byteCount

    private let counters = CounterRows.allocate()
    private let bytes: UnsafeMutableRawPointer
    private let buffer: UnsafeMutableRawPointer
    private var output = KernelOutput(senders: SenderSockets([:]))
    private var made: [UplinkTAP] = []

    init() {
        bytes = .allocate(byteCount: UplinkProbe.byteCount, alignment: 64)
        buffer = .allocate(byteCount: 1 << 17, alignment: 64)
    }

    deinit {
        counters.deallocate()
        bytes.deallocate()
        buffer.deallocate()
    }

    private static var byteCount: Int { headerByteCount + segmentCount * segmentByteCount }
    private static let local = IPv4Address(rawValue: 0xC000_0201)
    private static let remote = IPv4Address(rawValue: 0xC000_0202)

    /// Nil when all is well, else what is not. `tap` has no offloads and is up.
    mutating func fault(tap: Int32, index: Int32) -> String? {
        do throws(LinuxError) {
            if let fault = try cutFault(tap, index) { return fault }
            return try carryFault()
        } catch {
            return error.description
        }
    }

    private mutating func make(beside index: Int32) throws(LinuxError) -> UplinkTAP {
        let uplink = try UplinkTAP(beside: index)
        made.append(uplink)
        return uplink
    }

    /// An inner TCP superframe as a guest's kernel hands it over: its checksum is the pseudo-header's sum.
    private func fill() -> Superframe {
        let network = EthernetView.byteCount
        let transport = network + IPv4View.byteCount
        let length = UplinkProbe.byteCount - transport
        for index in 0..<UplinkProbe.byteCount {
            bytes.store(byte: UInt8(truncatingIfNeeded: index * 7 / 5), at: index)
        }
        EthernetHeader(
            destination: MACAddress(rawValue: 0x0200_0000_0001),
            source: MACAddress(rawValue: 0x0200_0000_0002), etherType: .ipv4
        ).emit(to: bytes)
        let source = IPv4Address(rawValue: 0x0A00_0001)
        let destination = IPv4Address(rawValue: 0x0A00_0002)
        IPv4Header(
            source: source, destination: destination, protocolNumber: .tcp, payloadByteCount: length
        ).emit(to: bytes + network)
        bytes.store(byte: 0x50, at: transport + 12)
        bytes.store(byte: 0x10, at: transport + 13)
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .tcp, length: length)
        Checksum.store(Checksum.fold(pseudo), to: bytes + transport + 16)
        var frame = Superframe(base: bytes, byteCount: UplinkProbe.byteCount)
        frame.offload = Offload(
            segmentation: .tcp4, needsChecksum: true,
            segmentByteCount: UInt16(UplinkProbe.segmentByteCount), checksumStart: UInt16(transport),
            checksumOffset: 16)
        return frame
    }

    private mutating func send(_ uplink: UplinkTAP, to mac: MACAddress) -> Bool {
        let frame = fill()
        let shape = FrameShape(frame)
        guard let plan = SegmentPlan(frame, shape) else { return false }
        var tunnel = TunnelEntry(remote: PackedAddress(UplinkProbe.remote), vni: VNI(truncating: 7))
        tunnel.checksum = true
        let entry = UplinkEntry(
            kind: .tap, descriptor: uplink.descriptors[0], mac: MACAddress(rawValue: 0x0200_0000_0003),
            counters: counters.row(0), identity: 1)
        let hop = Hop(
            uplink: entry, linkAddress: mac, source: PackedAddress(UplinkProbe.local), sourcePort: 50_000)
        let port = PortEntry(counters: counters.row(0), identity: 1)
        defer { output.flush() }
        return output.emitWhole(frame, plan, OuterHeader(hop, Envelope(shape, tunnel), tunnel), tunnel, port)
    }

    // MARK: In software

    private mutating func cutFault(_ tap: Int32, _ index: Int32) throws(LinuxError) -> String? {
        let uplink = try make(beside: index)
        guard send(uplink, to: .broadcast) else { return "the kernel takes no superframes in UDP tunnels" }
        let room = MemoryLayout<clx_vnet_header>.size
        var number = 0
        while number < UplinkProbe.segmentCount {
            guard isReadable(tap) else { return "the kernel lost a segment of a superframe in a UDP tunnel" }
            let count = read(tap, buffer, 1 << 17) - room
            let frame = OuterFrame(base: buffer + room, byteCount: max(0, count))
            // The kernel may have something of its own to say there.
            guard EthernetView(checking: frame.base, count: frame.byteCount)?.etherType == .ipv4 else {
                continue
            }
            guard isSegment(number, frame) else {
                return "the kernel cuts superframes in UDP tunnels wrongly"
            }
            number += 1
        }
        return nil
    }

    private func isSegment(_ number: Int, _ frame: OuterFrame) -> Bool {
        let outer = OuterDatagram(checking: frame)
        let whole = fill()
        let headers = UplinkProbe.headerByteCount
        guard outer.isAccepted, let plan = SegmentPlan(whole, FrameShape(whole)),
            outer.datagram.byteCount == VXLANView.byteCount + headers + UplinkProbe.segmentByteCount
        else { return false }
        let header = UnsafeMutableRawPointer.allocate(byteCount: headers, alignment: 16)
        defer { header.deallocate() }
        plan.emitHeader(number, of: whole, to: header)
        let inner = outer.datagram.base + VXLANView.byteCount
        let payload = bytes + headers + number * UplinkProbe.segmentByteCount
        return memcmp(inner, header, headers) == 0
            && memcmp(inner + headers, payload, UplinkProbe.segmentByteCount) == 0
    }

    // MARK: Whole

    private mutating func carryFault() throws(LinuxError) -> String? {
        try Netlink.addVethPair("probe0", "probe1")
        guard let near = try Netlink.link(named: "probe0"), let far = try Netlink.link(named: "probe1") else {
            return "a veth pair vanished"
        }
        try Netlink.setLink(near.index, up: true)
        try Netlink.setLink(far.index, up: true)
        let uplink = try make(beside: near.index)
        let receiver = try make(beside: far.index)
        try receiver.take(ports: [Tunnel.port], addresses: [.v4(UplinkProbe.remote)])
        guard send(uplink, to: far.mac), isReadable(receiver.descriptors[0]) else {
            return "a superframe in a UDP tunnel does not come through tc redirection"
        }
        var header = clx_tunnel_header()
        let count = withUnsafeMutableBytes(of: &header) { header in
            var parts = [
                iovec(iov_base: header.baseAddress, iov_len: header.count),
                iovec(iov_base: buffer, iov_len: 1 << 17),
            ]
            return readv(receiver.descriptors[0], &parts, 2)
        }
        let byteCount = max(0, count - MemoryLayout<clx_tunnel_header>.size)
        let outer = OuterDatagram(checking: OuterFrame(base: buffer, byteCount: byteCount, header))
        let whole = fill()
        guard outer.isAccepted, outer.datagram.offload == whole.offload,
            outer.datagram.byteCount == VXLANView.byteCount + whole.byteCount,
            memcmp(outer.datagram.base + VXLANView.byteCount, bytes, whole.byteCount) == 0
        else { return "a superframe in a UDP tunnel is not the same behind tc redirection" }
        return nil
    }

    private enum Tunnel { static let port: UInt16 = 4789 }

    private func isReadable(_ descriptor: Int32) -> Bool {
        var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&wanted, 1, UplinkProbe.stepMilliseconds) == 1
    }
}
