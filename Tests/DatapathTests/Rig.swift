// Owns: a compiled program with everything it borrows (tables, counters), made in two lines, and the twin of
// the kernel that remembers what left.

import Glibc
import Wire

@testable import Datapath

/// A MAC table with its memory.
final class OwnedTable {
    let table: ForwardingTable
    private let memory: UnsafeMutableRawPointer

    init(capacity: Int, ageing: Int = 300, seed: UInt64 = 0x5eed, isShared: Bool = false) {
        // calloc's large blocks are fresh mappings: the member array costs nothing until touched.
        memory = calloc(1, ForwardingTable.byteCount(capacity: capacity))!
        table = ForwardingTable(
            zeroed: memory, capacity: capacity, ageingSeconds: ageing, seed: seed, isShared: isShared)
    }

    deinit { free(memory) }
}

/// Builds a program. Port numbers are handed out from 0, whatever the port is.
final class Rig {
    private(set) var ports: [PortEntry] = []
    private(set) var tunnels: [TunnelEntry] = []
    private(set) var bridges: [BridgeEntry] = []
    private(set) var listeners: [ListenerEntry] = []
    var rules: [SenderTable.Rule] = []
    var ownAddresses: [PackedAddress] = []
    var dropsReservedBits = true
    /// Paths and uplinks of tunnels that have ways of their own.
    var underlay = UnderlayEntries()
    private var tables: [OwnedTable] = []
    private var rows: [CounterRows] = []
    private var bindings: [Bindings] = []

    deinit { for row in rows { row.deallocate() } }

    private func row() -> Counters {
        rows.append(.allocate())
        return rows[rows.count - 1].row(0)
    }

    func bridge(capacity: Int = 64, ageing: Int = 300, forwardsReserved: Bool = false) -> UInt32 {
        tables.append(OwnedTable(capacity: capacity, ageing: ageing))
        var entry = BridgeEntry(table: tables[tables.count - 1].table)
        entry.forwardsReserved = forwardsReserved
        bridges.append(entry)
        return UInt32(bridges.count - 1)
    }

    /// Pins a station to a port and binds addresses to it.
    func bind(_ bridge: UInt32, _ stations: [(station: MACAddress, port: UInt32, addresses: [String])]) {
        for it in stations {
            table(bridge).setStatic(it.station, port: it.port, member: ports[Int(it.port)].member)
        }
        let rows = stations.flatMap { it in it.addresses.map { (IPAddress($0)!, it.station) } }
        bindings.append(Bindings(BindingRows(rows)))
        bridges[Int(bridge)].bindings = bindings[bindings.count - 1].table
    }

    /// Changes a bridge or a port before the program is made.
    func change(bridge: UInt32, _ body: (inout BridgeEntry) -> Void) { body(&bridges[Int(bridge)]) }
    func change(port: UInt32, _ body: (inout PortEntry) -> Void) { body(&ports[Int(port)]) }

    func disableFlooding(_ bridge: UInt32) { bridges[Int(bridge)].floodsTunnels = false }

    @discardableResult
    func local(_ bridge: UInt32, mtu: UInt32 = 1500, kind: PortEntry.Kind = .tap) -> UInt32 {
        var entry = PortEntry(counters: row(), identity: UInt64(ports.count))
        entry.kind = kind
        entry.bridge = bridge
        entry.member = UInt32(ports.count + 1)
        entry.mtu = mtu
        entry.descriptor = 0
        ports.append(entry)
        return UInt32(ports.count - 1)
    }

    /// A tunnel with its claim on what comes to `listener` from `remote`; nil VNI is "flow".
    @discardableResult
    func tunnel(
        _ bridge: UInt32, to remote: String, vni: Int? = 100, mtu: UInt32 = 1450, listener: UInt32 = 0,
        _ change: (inout TunnelEntry) -> Void = { _ in }
    ) -> UInt32 {
        let port = local(bridge, mtu: mtu, kind: .tunnel)
        var entry = TunnelEntry(remote: packed(remote), vni: VNI(truncating: UInt32(vni ?? 0)))
        entry.acceptsAnyVNI = vni == nil
        change(&entry)
        ports[Int(port)].tunnel = UInt32(tunnels.count)
        ports[Int(port)].descriptor = -1
        tunnels.append(entry)
        rules.append(
            SenderTable.Rule(
                listener: listener, remote: entry.remote, local: entry.local,
                vni: vni.map { VNI(truncating: UInt32($0)) }, port: port))
        return port
    }

    @discardableResult
    func listener(port: UInt16 = 4789, isIPv4: Bool = true) -> UInt32 {
        listeners.append(
            ListenerEntry(
                descriptor: 0, port: port, isIPv4: isIPv4, counters: row(),
                identity: 1_000 + UInt64(listeners.count)))
        return UInt32(listeners.count - 1)
    }

    @discardableResult
    func uplink(_ kind: UplinkEntry.Kind = .tap) -> UInt32 {
        let number = underlay.uplinks.count
        underlay.uplinks.append(
            UplinkEntry(
                kind: kind, descriptor: 0, mac: mac(0x100 + number), counters: row(),
                identity: 2_000 + UInt64(number)))
        return UInt32(number)
    }

    lazy var program = Program(
        ports: ports, tunnels: tunnels, bridges: bridges, listeners: listeners, senders: rules,
        ownAddresses: ownAddresses, dropsReservedBits: dropsReservedBits, underlay: underlay)

    func table(_ bridge: UInt32) -> ForwardingTable { bridges[Int(bridge)].table }
    func counters(_ port: UInt32) -> CounterSnapshot { ports[Int(port)].counters.snapshot }
    func listenerCounters(_ number: UInt32) -> CounterSnapshot {
        listeners[Int(number)].counters.snapshot
    }

    func uplinkCounters(_ number: UInt32) -> CounterSnapshot {
        underlay.uplinks[Int(number)].counters.snapshot
    }

    /// The sums of all ports of a bridge.
    func total(_ bridge: UInt32) -> CounterSnapshot {
        ports.filter { $0.bridge == bridge }.reduce(.zero) { $0 + $1.counters.snapshot }
    }
}

/// What left by one port.
struct Sent: Equatable {
    var port: UInt32
    /// Without the VXLAN header.
    var frame: [UInt8]
    var offload = Offload.none
    /// Frames that came and were put together, 1 for what was not.
    var frameCount = 1
    /// The eight bytes in front, for a tunnel.
    var vxlan: [UInt8] = []
    var envelope: Envelope?
    /// Outer Ethernet to UDP, for what left by an uplink.
    var outer: [UInt8] = []
}

/// The kernel's in-memory twin. Ports in `closed` refuse, like an interface that is down.
struct Twin: EngineOutput, ~Copyable {
    private(set) var sent: [Sent] = []
    var closed: Set<UInt32> = []
    /// Whether superframes may leave by an uplink whole.
    var takesSuperframes = true
    /// Times a next hop was asked for.
    private(set) var wantedCount = 0
    /// Frames for the agent itself, and how many of them it takes.
    private(set) var punted: [Sent] = []
    var puntLimit = Int.max
    /// What a capture would have been shown, in order.
    private(set) var seen: [(frame: [UInt8], observation: Observation)] = []
    private var scratch: [UnsafeMutableRawPointer] = []

    deinit { for memory in scratch { memory.deallocate() } }

    /// What left since the last call; scratch memory is given back, as at the end of a batch.
    mutating func take() -> [Sent] {
        for memory in scratch { memory.deallocate() }
        scratch.removeAll()
        defer { sent.removeAll() }
        return sent
    }

    mutating func write(_ frame: Superframe, to port: PortEntry) {
        guard admits(port, frame.frameCount) else { return }
        sent.append(
            Sent(
                port: UInt32(port.identity), frame: frame.bytes, offload: frame.offload,
                frameCount: frame.frameCount))
        port.counters.transmitted(frame.frameCount, byteCount: frame.accountedByteCount)
    }

    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        scratch.append(.allocate(byteCount: byteCount, alignment: 16))
        return scratch[scratch.count - 1]
    }

    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        guard admits(port) else { return }
        let vxlan = VXLANView.byteCount
        sent.append(
            Sent(
                port: UInt32(port.identity), frame: header[vxlan...] + Array(payload),
                vxlan: Array(header[..<vxlan]), envelope: envelope))
        port.counters.transmitted(byteCount: header.count + payload.count - vxlan)
    }

    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        guard admits(port) else { return }
        let whole = Array(header) + Array(payload)
        let vxlan = VXLANView.byteCount
        let sum = whole[vxlan...].withUnsafeBytes { Checksum.sum($0.baseAddress!, count: $0.count) }
        if let sumOfFrame { precondition(Checksum.fold(sum) % 0xffff == Checksum.fold(sumOfFrame) % 0xffff) }
        let known = whole.withUnsafeBytes { Checksum.sum($0.baseAddress!, count: vxlan, adding: sum) }
        sent.append(
            Sent(
                port: UInt32(port.identity), frame: Array(whole[vxlan...]), vxlan: Array(whole[..<vxlan]),
                outer: emitted(outer.byteCount) {
                    outer.emit(
                        to: $0, payloadByteCount: whole.count,
                        tunnel.checksum ? .complete(sumOfPayload: known) : .absent, identification: 7)
                }))
        port.counters.transmitted(byteCount: whole.count - vxlan)
    }

    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool {
        guard takesSuperframes else { return false }
        guard admits(port, plan.count) else { return true }
        sent.append(
            Sent(
                port: UInt32(port.identity), frame: frame.bytes, offload: frame.offload,
                frameCount: plan.count,
                vxlan: emitted(8) { VXLANHeader(vni: tunnel.vni).emit(to: $0) },
                outer: emitted(outer.byteCount) {
                    outer.emit(
                        to: $0, payloadByteCount: 8 + frame.byteCount, tunnel.checksum ? .partial : .absent,
                        identification: 7)
                }))
        port.counters.transmitted(
            plan.count, byteCount: frame.byteCount + (plan.count - 1) * plan.headerByteCount)
        return true
    }

    mutating func observe(_ frame: Superframe, _ observation: Observation) {
        seen.append((frame.bytes, observation))
    }

    mutating func observe(_ datagram: Datagram, _ listener: ListenerEntry, _ observation: Observation) {
        seen.append(
            (Array(UnsafeRawBufferPointer(start: datagram.base, count: datagram.byteCount)), observation))
    }

    mutating func observe(_ frame: OuterFrame, _ observation: Observation) {
        seen.append((Array(UnsafeRawBufferPointer(start: frame.base, count: frame.byteCount)), observation))
    }

    mutating func noteWanted() { wantedCount += 1 }
    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool {
        guard punted.count < puntLimit else { return false }
        punted.append(Sent(port: UInt32(port.identity), frame: frame.bytes))
        return true
    }
    mutating func flush() {}

    private func admits(_ port: PortEntry, _ count: Int = 1) -> Bool {
        if closed.contains(UInt32(port.identity)) { port.counters.dropTransmit(.portDown, count) }
        return !closed.contains(UInt32(port.identity))
    }
}

/// A VXLAN datagram's bytes.
func vxlan(_ frame: [UInt8], vni: Int = 100) -> [UInt8] {
    emitted(8) { VXLANHeader(vni: VNI(truncating: UInt32(vni))).emit(to: $0) } + frame
}

extension FlowCache {
    /// A cache in memory that stays until the process ends: pages of calloc's cost nothing until touched.
    static func make(capacity: Int = 1024, seed: UInt64 = 0x5eed) -> FlowCache {
        FlowCache(zeroed: calloc(1, byteCount(capacity: capacity))!, capacity: capacity, seed: seed)
    }
}

extension Engine {
    /// An engine with a flow cache of its own.
    init(_ program: Program = .empty, coalescing: Coalescing = .all) {
        self.init(program, flows: .make(), coalescing: coalescing)
    }

    /// Forwards `bytes` from guarded memory and returns what left.
    mutating func forward(
        _ bytes: [UInt8], _ offload: Offload = .none, ingress: UInt32, at milliseconds: UInt64 = 5_000,
        closed: Set<UInt32> = []
    ) -> [Sent] {
        var twin = Twin()
        twin.closed = closed
        withFrame(bytes, offload) {
            forward($0, ingress: ingress, nowMilliseconds: milliseconds, to: &twin)
        }
        return twin.take()
    }

    /// Takes in a datagram of `bytes` from guarded memory and returns what left.
    mutating func receive(
        _ bytes: [UInt8], from source: String, to destination: String? = nil, listener: UInt32 = 0,
        typeOfService: UInt8 = 0, isTruncated: Bool = false, at milliseconds: UInt64 = 5_000
    ) -> [Sent] {
        var twin = Twin()
        withFrame(bytes) {
            let datagram = Datagram(
                base: $0.base, byteCount: $0.byteCount, isTruncated: isTruncated,
                typeOfService: typeOfService, source: packed(source),
                destination: destination.map { packed($0) } ?? .none)
            receive(datagram, listener: listener, nowMilliseconds: milliseconds, to: &twin)
        }
        return twin.take()
    }

    /// Takes in datagrams as one train, in guarded memory: all of one size, the last may be shorter.
    mutating func receive(
        train datagrams: [[UInt8]], from source: String, typeOfService: UInt8 = 0, isTruncated: Bool = false,
        at milliseconds: UInt64 = 5_000, closed: Set<UInt32> = []
    ) -> [Sent] {
        let size = datagrams[0].count
        precondition(datagrams.dropLast().allSatisfy { $0.count == size })
        var twin = Twin()
        twin.closed = closed
        withFrame(Array(datagrams.joined())) {
            let datagram = Datagram(
                base: $0.base, byteCount: $0.byteCount, segmentByteCount: size, isTruncated: isTruncated,
                typeOfService: typeOfService, source: packed(source))
            receive(datagram, listener: 0, nowMilliseconds: milliseconds, to: &twin)
        }
        return twin.take()
    }
}
