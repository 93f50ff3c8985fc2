// Owns: a host with two tunnels that have ways of their own, and their next hops in hand.
//
//   local 0 ─┐           ┌─ tunnel 1, 192.0.2.1, by uplink 0 (a TAP)
//            ├─ bridge ──┤
//            ┘           └─ tunnel 2, 2001:db8::1, by uplink 0 or by uplink 1 (a packet socket)

import Glibc
import Wire

@testable import Datapath

final class Ways {
    let rig = Rig()
    let bridge: UInt32
    /// Of tunnel 1; of tunnel 2 by its two ways.
    let cells: [NeighborCell]
    private let cellMemory: UnsafeMutableRawPointer
    private let holdMemory: UnsafeMutableRawPointer

    static let hop = mac("02:00:00:00:aa:01")
    static let source4 = packed("192.0.2.100")
    static let source6 = packed("2001:db8::100")

    init(isResolved: Bool = true, mtu: UInt32 = 1450, _ change: (inout TunnelEntry) -> Void = { _ in }) {
        cellMemory = .allocate(byteCount: NeighborCells.byteCount(capacity: 3), alignment: 64)
        cellMemory.initializeMemory(
            as: UInt8.self, repeating: 0, count: NeighborCells.byteCount(capacity: 3))
        var cells = NeighborCells(memory: cellMemory, capacity: 3)
        self.cells = (0..<3).map { _ in cells.take()! }
        holdMemory = calloc(1, HoldQueue.byteCount)!
        rig.listener()
        rig.listener(isIPv4: false)
        bridge = rig.bridge()
        rig.local(bridge)
        rig.uplink()
        rig.uplink(.packetSocket)
        rig.underlay.paths = [
            PathEntry(uplink: 0, source: Self.source4, neighbor: self.cells[0]),
            PathEntry(uplink: 0, source: Self.source6, neighbor: self.cells[1]),
            PathEntry(uplink: 1, source: Self.source6, neighbor: self.cells[2]),
        ]
        rig.tunnel(bridge, to: "192.0.2.1", mtu: mtu) {
            $0.pathCount = 1
            change(&$0)
        }
        rig.tunnel(bridge, to: "2001:db8::1", mtu: mtu, listener: 1) {
            $0.pathStart = 1
            $0.pathCount = 2
            change(&$0)
        }
        if isResolved { for cell in self.cells { cell.publish(Self.hop) } }
    }

    deinit {
        cellMemory.deallocate()
        free(holdMemory)
    }

    func engine() -> Engine { Engine(rig.program, flows: .make(), holdMemory: holdMemory) }

    /// To the station behind tunnel `port`.
    func station(_ port: UInt32) -> MACAddress { mac(0x1000 + Int(port)) }

    /// Has the bridge know where stations are, so that nothing is flooded.
    func learn(vlan: UInt16 = 0) {
        for port in [1, 2] as [UInt32] {
            rig.table(bridge).setStatic(
                station(port), vlan: vlan, port: port, member: rig.ports[Int(port)].member)
        }
    }

    var balance: Bool {
        let sum = rig.total(bridge)
        return sum[.rxCopies] == sum[.txPackets] + sum.transmitDropTotal
            && sum[.rxPackets] == sum[.rxForwarded] + sum.receiveDropTotal
    }

    /// The program with tunnel `number` (0 or 1) changed.
    func program(_ number: Int, _ change: (inout TunnelEntry) -> Void) -> Program {
        var tunnels = rig.tunnels
        change(&tunnels[number])
        return program(tunnels: tunnels, ports: rig.ports)
    }

    func program(tunnels: [TunnelEntry], ports: [PortEntry]) -> Program {
        Program(
            ports: ports, tunnels: tunnels, bridges: rig.bridges, listeners: rig.listeners,
            senders: rig.rules, ownAddresses: [], dropsReservedBits: true, underlay: rig.underlay)
    }
}

/// An outer frame as it is on the wire.
struct OuterFrameBytes {
    var isIPv4 = true
    var payload: [UInt8] = []
    var typeOfService: UInt8 = 0
    var destinationPort: UInt16 = 4789
    var checksum = true
    /// Bytes behind the IP packet.
    var padding = 0
    /// Bytes behind the UDP datagram that the IP packet has still.
    var slack = 0

    var transportOffset: Int { isIPv4 ? 34 : 54 }

    var bytes: [UInt8] {
        var udp = emitted(8) {
            UDPHeader(
                sourcePort: 50_000, destinationPort: destinationPort, payloadByteCount: payload.count
            ).emit(to: $0)
        }
        let addresses =
            isIPv4
            ? emitted(4) { ip4("192.0.2.1").store(to: $0) } + emitted(4) { ip4("192.0.2.100").store(to: $0) }
            : emitted(16) { ip6("2001:db8::1").store(to: $0) }
                + emitted(16) { ip6("2001:db8::100").store(to: $0) }
        if checksum {
            let sum = plainChecksum(
                addresses + [0, 17] + bigEndian(UInt16(8 + payload.count)) + udp + payload)
            udp.replaceSubrange(6..<8, with: bigEndian(sum == 0 ? 0xffff : sum))
        }
        let length = 8 + payload.count + slack
        let header =
            isIPv4
            ? emitted(20) {
                IPv4Header(
                    source: ip4("192.0.2.1"), destination: ip4("192.0.2.100"), protocolNumber: .udp,
                    payloadByteCount: length, trafficClass: typeOfService
                ).emit(to: $0)
            }
            : emitted(40) {
                IPv6Header(
                    source: ip6("2001:db8::1"), destination: ip6("2001:db8::100"), nextHeader: .udp,
                    payloadByteCount: length, trafficClass: typeOfService
                ).emit(to: $0)
            }
        return ethernet(
            header + udp + payload + [UInt8](repeating: 0, count: slack + padding), isIPv4 ? .ipv4 : .ipv6)
    }

    func with(_ change: (inout OuterFrameBytes) -> Void) -> OuterFrameBytes {
        var copy = self
        change(&copy)
        return copy
    }
}

extension Engine {
    /// Takes in an outer frame from guarded memory and returns what left.
    mutating func receive(
        outer bytes: [UInt8], _ offload: Offload = .none, isEncapsulated: Bool = false,
        isVerified: Bool = false, at milliseconds: UInt64 = 5_000
    ) -> [Sent] {
        var twin = Twin()
        withFrame(bytes) {
            let frame = OuterFrame(
                base: $0.base, byteCount: $0.byteCount, offload: offload, isEncapsulated: isEncapsulated,
                isVerified: isVerified)
            receive(frame, uplink: 0, nowMilliseconds: milliseconds, to: &twin)
        }
        return twin.take()
    }
}
