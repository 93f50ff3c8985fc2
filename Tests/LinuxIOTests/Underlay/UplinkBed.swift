// Owns: two hosts joined by a wire, an engine that encapsulates down to it on the near one, and the kernel's own vxlan
// device on the far one:
//
//   near: engine ─ uplink ─ v0 192.0.2.1, 2001:db8::1 ─── far: v1 192.0.2.9, 2001:db8::9 ─ vx4 or vx6

import CLinux
import Glibc
import Testing
import Wire

@testable import Datapath
@testable import LinuxIO

final class UplinkBed {
    static let nearMAC = mac("02:00:00:00:00:01")
    static let farMAC = mac("02:00:00:00:00:09")
    static let guestMAC = mac("02:00:00:00:00:0a")
    static let peerMAC = mac("02:00:00:00:00:0b")

    let near = TestNamespace()
    let far = TestNamespace()
    let tap: UplinkTAP?
    private let socket: UplinkSocket?
    private let rows = CounterRows.allocate(count: 1)
    private let portRows = CounterRows.allocate(count: 1)
    private let memory: [ZeroedMemory]
    let program: Program

    init(
        _ kind: UplinkEntry.Kind = .tap, isIPv4: Bool = true, _ change: (inout TunnelEntry) -> Void = { _ in }
    ) throws {
        far.inside("sysctl -qw net.ipv6.conf.default.accept_dad=0")
        near.inside(
            """
            ip link add v0 address \(Self.nearMAC) type veth peer name v1 netns \(far.name)
            ip link set v0 addrgenmode none; ip link set v0 up
            ip addr add 192.0.2.1/24 dev v0; ip addr add 2001:db8::1/64 dev v0 nodad
            ip neigh add 192.0.2.9 lladdr \(Self.farMAC) dev v0
            """)
        far.inside(
            """
            ip link set v1 address \(Self.farMAC); ip link set v1 up
            ip addr add 192.0.2.9/24 dev v1; ip addr add 2001:db8::9/64 dev v1 nodad
            ip neigh add 192.0.2.1 lladdr \(Self.nearMAC) dev v1
            ip neigh add 2001:db8::1 lladdr \(Self.nearMAC) dev v1
            ip link add vx4 address \(Self.peerMAC) type vxlan id 7 remote 192.0.2.1 dstport 4789 dev v1
            ip link add vx6 address \(Self.peerMAC) type vxlan id 6 remote 2001:db8::1 dstport 4789 dev v1 \
              udp6zerocsumrx
            sysctl -qw net.ipv6.conf.vx4.disable_ipv6=1 net.ipv6.conf.vx6.disable_ipv6=1
            ip link set vx4 mtu 1400 up; ip link set vx6 mtu 1400 up
            """)
        let made = Box<(UplinkTAP?, UplinkSocket?)>()
        try near.here { () throws(LinuxError) in
            guard let link = try Netlink.link(named: "v0") else { throw LinuxError("find v0", code: ENODEV) }
            switch kind {
            case .tap: made.set((try UplinkTAP(beside: link.index), nil))
            case .packetSocket: made.set((nil, try UplinkSocket(on: link.index)))
            }
        }
        (tap, socket) = made.take()
        let tableMemory = try ZeroedMemory(byteCount: ForwardingTable.byteCount(capacity: 64))
        let cellMemory = try ZeroedMemory(byteCount: NeighborCells.byteCount(capacity: 1))
        memory = [tableMemory, cellMemory]
        let table = ForwardingTable(zeroed: tableMemory.base, capacity: 64, ageingSeconds: 300, seed: 1)
        var cells = NeighborCells(memory: cellMemory.base, capacity: 1)
        let cell = cells.take()!
        cell.publish(Self.farMAC)

        var local = PortEntry(counters: portRows.row(0), identity: 1)
        local.kind = .tap
        local.member = 1
        local.mtu = 1400
        local.descriptor = -1
        var port = PortEntry(counters: rows.row(0), identity: 2)
        port.kind = .tunnel
        port.member = 2
        port.mtu = 1400
        port.descriptor = -1
        var tunnel = TunnelEntry(
            remote: packed(isIPv4 ? "192.0.2.9" : "2001:db8::9"), vni: VNI(truncating: isIPv4 ? 7 : 6))
        tunnel.pathCount = 1
        change(&tunnel)
        var underlay = UnderlayEntries()
        underlay.uplinks = [
            UplinkEntry(
                kind: kind, descriptor: tap?.descriptors[0] ?? socket?.descriptor ?? -1, mac: Self.nearMAC,
                counters: portRows.row(0), identity: 9)
        ]
        underlay.paths = [
            PathEntry(
                uplink: 0, source: packed(isIPv4 ? "192.0.2.1" : "2001:db8::1"), neighbor: cell)
        ]
        program = Program(
            ports: [local, port], tunnels: [tunnel], bridges: [BridgeEntry(table: table)], listeners: [],
            senders: [], ownAddresses: [], dropsReservedBits: true, underlay: underlay)
        table.setStatic(Self.peerMAC, port: 1, member: 2)
    }

    deinit {
        rows.deallocate()
        portRows.deallocate()
    }

    /// Has the uplink take in what comes to these ports and addresses, in the host's namespace.
    func intake(_ ports: Set<UInt16>, _ addresses: String...) throws {
        let taken = Box<UplinkTAP?>()
        taken.set(tap)
        let addresses = Set(addresses.map { ip($0) })
        try near.here { () throws(LinuxError) in try taken.take()?.take(ports: ports, addresses: addresses) }
    }

    /// Of the tunnel.
    var counters: CounterSnapshot { rows.row(0).snapshot }

    /// Sends frames through the engine in one batch.
    func send(_ frames: [(bytes: [UInt8], offload: Offload)], packs: Bool = true) throws {
        let flowMemory = try ZeroedMemory(byteCount: FlowCache.byteCount(capacity: 1024))
        var engine = Engine(
            program, flows: FlowCache(zeroed: flowMemory.base, capacity: 1024, seed: 1))
        var output = KernelOutput(senders: SenderSockets([:]), packs: packs)
        var buffers: [UnsafeMutableRawPointer] = []
        for (bytes, offload) in frames {
            let base = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 16)
            base.copyMemory(from: bytes, byteCount: bytes.count)
            buffers.append(base)
            engine.forward(
                Superframe(base: base, byteCount: bytes.count, offload: offload), ingress: 0,
                nowMilliseconds: 1000, to: &output)
        }
        output.flush()
        for base in buffers { base.deallocate() }
    }

    /// The next outer frame that the uplink's TAP takes in, checked; nil when there is none.
    func take<R>(seconds: Double = 20, _ body: (OuterFrame, OuterDatagram) -> R) -> R? {
        guard let descriptor = tap?.descriptors[0] else { return nil }
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: 70_000, alignment: 16)
        defer { buffer.deallocate() }
        while waitReadable(descriptor, seconds: seconds) {
            var header = clx_tunnel_header()
            let count = withUnsafeMutableBytes(of: &header) { header in
                var parts = [
                    iovec(iov_base: header.baseAddress, iov_len: header.count),
                    iovec(iov_base: buffer, iov_len: 70_000),
                ]
                return readv(descriptor, &parts, 2)
            }
            guard count > header.size else { continue }
            let frame = OuterFrame(base: buffer, byteCount: count - header.size, header)
            return body(frame, OuterDatagram(checking: frame))
        }
        return nil
    }
}

extension clx_tunnel_header {
    fileprivate var size: Int { MemoryLayout<clx_tunnel_header>.size }
}

/// A frame of a guest, whole or as its kernel hands it over.
func innerFrame(
    _ payload: [UInt8], isTCP: Bool = false, isIPv4: Bool = true, isPartial: Bool = false,
    tagged: Bool = false, sourcePort: UInt16 = 1000, from source: MACAddress = UplinkBed.guestMAC,
    to destination: MACAddress = UplinkBed.peerMAC
) -> [UInt8] {
    let type = isIPv4 ? EtherType.ipv4 : .ipv6
    var bytes = destination.octets + source.octets + (tagged ? [0x81, 0, 0, 5] : []) + type.octets
    let network = bytes.count
    let transport = network + (isIPv4 ? 20 : 40)
    let header = isTCP ? 20 : 8
    bytes += [UInt8](repeating: 0, count: transport - network + header) + payload
    let length = header + payload.count
    let protocolNumber = isTCP ? IPProtocol.tcp : .udp
    bytes.withUnsafeMutableBytes { buffer in
        let base = buffer.baseAddress!
        var pseudo: UInt64
        if isIPv4 {
            let (from, to) = (IPv4Address(rawValue: 0x0a00_0001), IPv4Address(rawValue: 0x0a00_0002))
            IPv4Header(
                source: from, destination: to, protocolNumber: protocolNumber, payloadByteCount: length
            )
            .emit(to: base + network)
            pseudo = Checksum.pseudoHeader(
                source: from, destination: to, protocol: protocolNumber, length: length)
        } else {
            let (from, to) = (
                IPv6Address(high: 0xfd00 << 48, low: 1), IPv6Address(high: 0xfd00 << 48, low: 2)
            )
            IPv6Header(source: from, destination: to, nextHeader: protocolNumber, payloadByteCount: length)
                .emit(to: base + network)
            pseudo = Checksum.pseudoHeader(
                source: from, destination: to, protocol: protocolNumber, length: length)
        }
        UDPHeader(sourcePort: sourcePort, destinationPort: 7000, payloadByteCount: payload.count)
            .emit(to: base + transport)
        if isTCP {
            (base + transport + 4).storeBytes(of: 0, as: UInt32.self)
            base.storeBytes(of: 0x50, toByteOffset: transport + 12, as: UInt8.self)
            base.storeBytes(of: 0x10, toByteOffset: transport + 13, as: UInt8.self)
        }
        let field = base + transport + (isTCP ? 16 : 6)
        if isPartial {
            Checksum.store(Checksum.fold(pseudo), to: field)
        } else {
            Checksum.store(
                Checksum.finishUDP(Checksum.sum(base + transport, count: length, adding: pseudo)), to: field)
        }
    }
    return bytes
}

/// The metadata of such a frame.
func innerOffload(
    isTCP: Bool = false, isIPv4: Bool = true, tagged: Bool = false, segment: Int = 0
) -> Offload {
    Offload(
        segmentation: segment == 0 ? .none : isTCP ? isIPv4 ? .tcp4 : .tcp6 : .udp, needsChecksum: true,
        segmentByteCount: UInt16(segment), checksumStart: UInt16(14 + (tagged ? 4 : 0) + (isIPv4 ? 20 : 40)),
        checksumOffset: isTCP ? 16 : 6)
}

func pattern(_ count: Int, _ seed: Int = 1) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* (2 &* seed &+ 5) &+ $0 >> 8) }
}
