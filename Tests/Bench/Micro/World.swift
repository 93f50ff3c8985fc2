// What the operations work on: frames in memory, a compiled configuration of a chosen size, and an output that
// leads nowhere. The process performs one operation and ends, so that nothing here is given back.

import Datapath
import Glibc
import LinuxIO
import Wire

/// Bridges, tunnels and stations behind them. Each number is 1 or the number of stations; station n is behind
/// tunnel n of bridge n, or the only one. Every bridge has one local port with one guest.
struct World {
    let stations: Int
    private let tunnels: Int
    private let bridges: Int
    let program: Program
    /// Of one engine.
    let flows: FlowCache

    static let vni = 100
    static let nowMilliseconds: UInt64 = 1000
    static let nowSeconds: UInt32 = 1

    init(bridges: Int = 1, tunnels: Int = 1, stations: Int = 1, rules handle: Rules = .none) throws {
        self.bridges = bridges
        self.tunnels = tunnels
        self.stations = stations
        flows = try .standing()
        var tables: [ForwardingTable] = []
        var ports: [PortEntry] = []
        for bridge in 0..<bridges {
            let room = max(8192, bridges == 1 ? stations + 1 : 0)
            tables.append(try World.table(capacity: room))
            ports.append(World.port(.tap, bridge: bridge, member: 1, number: bridge))
        }
        var entries: [TunnelEntry] = []
        var rules: [SenderTable.Rule] = []
        for tunnel in 0..<tunnels {
            let bridge = bridges == 1 ? 0 : tunnel
            let number = ports.count
            var port = World.port(.tunnel, bridge: bridge, member: number - bridges + 2, number: number)
            port.mtu = 1450
            port.tunnel = UInt32(tunnel)
            ports.append(port)
            let entry = TunnelEntry(
                remote: World.remote(tunnel), vni: VNI(truncating: UInt32(World.vni + bridge)))
            entries.append(entry)
            rules.append(
                SenderTable.Rule(
                    listener: 0, remote: entry.remote, local: .none, vni: entry.vni, port: UInt32(number)))
        }
        let listener = ListenerEntry(descriptor: 0, counters: CounterRows.allocate().row(0), identity: .max)
        let bridgeEntries = tables.map { table in
            var entry = BridgeEntry(table: table)
            entry.rules = handle
            return entry
        }
        program = Program(
            ports: ports, tunnels: entries, bridges: bridgeEntries,
            listeners: [listener], senders: rules, ownAddresses: [], dropsReservedBits: true)
        for station in 0..<stations {
            let number = portNumber(station)
            let port = ports[Int(number)]
            _ = tables[Int(port.bridge)].learn(
                World.mac(station), port: number, member: port.member, nowSeconds: World.nowSeconds)
        }
    }

    private static func port(_ kind: PortEntry.Kind, bridge: Int, member: Int, number: Int) -> PortEntry {
        var entry = PortEntry(counters: CounterRows.allocate().row(0), identity: UInt64(number))
        entry.kind = kind
        entry.bridge = UInt32(bridge)
        entry.member = UInt32(member)
        return entry
    }

    /// An empty MAC table, in memory that is the process's until it ends.
    static func table(capacity: Int) throws -> ForwardingTable {
        let memory = try ZeroedMemory(byteCount: ForwardingTable.byteCount(capacity: capacity))
        let base = Unmanaged.passRetained(memory).takeUnretainedValue().base
        return ForwardingTable(zeroed: base, capacity: capacity, ageingSeconds: 300, seed: 0x5eed)
    }

    @inline(__always)
    static func mac(_ station: Int) -> MACAddress { MACAddress(rawValue: 0x0200_0000_0000 | UInt64(station)) }
    /// The guest of every bridge's local port.
    static var guest: MACAddress { MACAddress(rawValue: 0x0600_0000_0001) }
    @inline(__always)
    static func remote(_ tunnel: Int) -> PackedAddress {
        PackedAddress(IPv4Address(rawValue: 0x0a00_0001 &+ UInt32(truncatingIfNeeded: tunnel)))
    }

    @inline(__always)
    func bridge(_ station: Int) -> Int { bridges == 1 ? 0 : station }
    @inline(__always)
    func tunnel(_ station: Int) -> Int { tunnels == 1 ? 0 : station }
    /// The port a station is behind.
    private func portNumber(_ station: Int) -> UInt32 { UInt32(bridges + tunnel(station)) }
}

/// Numbers below a limit in an order no cache foresees. Operations walk on from call to call: the same steps
/// again would find in the caches what they left there.
struct Walk {
    private var state: UInt64 = 0x5eed
    private let limit: UInt64

    init(below limit: Int) { self.limit = UInt64(limit) }

    /// Knuth's linear congruential generator (MMIX), its high half scaled.
    @inline(__always)
    mutating func next() -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(truncatingIfNeeded: ((state &>> 32) &* limit) &>> 32)
    }
}

/// Accounts for every copy, as an output must, and forgets it.
struct Nowhere: EngineOutput, ~Copyable {
    private static let roomByteCount = 64 << 10
    private let scratch = UnsafeMutableRawPointer.allocate(byteCount: roomByteCount, alignment: 64)
    private var used = 0
    /// Frames and datagrams that came out.
    private(set) var copies = 0

    deinit { scratch.deallocate() }

    mutating func write(_ frame: Superframe, to port: PortEntry) {
        copies &+= 1
        port.counters.transmitted(byteCount: frame.byteCount)
    }

    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        if used + byteCount > Nowhere.roomByteCount { used = 0 }
        defer { used += (byteCount + 15) & ~15 }
        return scratch + used
    }

    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        keep(header.baseAddress)
        copies &+= 1
        port.counters.transmitted(byteCount: header.count + payload.count - VXLANView.byteCount)
    }

    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        let room = reserve(OuterHeader.maximumByteCount)
        let byteCount = header.count + payload.count
        outer.emit(to: room, payloadByteCount: byteCount, .partial, identification: 0)
        keep(room)
        copies &+= 1
        port.counters.transmitted(byteCount: byteCount - VXLANView.byteCount)
    }

    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool { false }

    mutating func noteWanted() {}
    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool { true }
    mutating func flush() {}
}

extension FlowCache {
    /// An empty one of the default size, in memory that is the process's until it ends.
    static func standing() throws -> FlowCache {
        let memory = try ZeroedMemory(byteCount: FlowCache.byteCount(capacity: FlowCache.defaultCapacity))
        let base = Unmanaged.passRetained(memory).takeUnretainedValue().base
        return FlowCache(zeroed: base, capacity: FlowCache.defaultCapacity, seed: 1)
    }
}

/// The optimizer must believe that somebody looks at what is there.
@_optimize(none) @inline(never)
func keep(_ pointer: UnsafeRawPointer?) {}
