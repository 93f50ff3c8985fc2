// Owns: a small world for scripts: two bridges, their ports and tunnels, one engine, and what left it. Two of them, one
// without its flow cache, are led through the same script.
//
//   bridge 0: taps 0 (MTU 1500), 1 (100) and 2; tunnels 3 (VNI 100), 4 (VNI of the flow) and 5 (VNI 100, over IPv6)
//   bridge 1: taps 6 and 8; tunnel 7 (VNI 200, to the same remote as 3)

import Glibc
import Wire

@testable import Datapath

final class World {
    static let portCount = 9
    static let locals: [UInt32] = [0, 1, 2, 6, 8]
    static let tunnels: [UInt32] = [3, 4, 5, 7]
    static let remotes: [PackedAddress] = [
        PackedAddress(IPv4Address(rawValue: 0xc000_0201)), PackedAddress(IPv4Address(rawValue: 0xc000_0202)),
        PackedAddress(IPv6Address(high: 0x2001_0db8 << 32, low: 1)),
        // Nobody's.
        PackedAddress(IPv4Address(rawValue: 0xcb00_7109)),
    ]
    static let tableCapacity = 12

    var engine: Engine
    var output = Catcher()
    var ports: [PortEntry] = []
    var bridges: [BridgeEntry] = []
    var dropsReservedBits = true
    private var tunnelEntries: [TunnelEntry] = []
    private let listener: ListenerEntry
    private let rows: [CounterRows]
    private let memory: [UnsafeMutableRawPointer]
    /// What programs there were refer to.
    var owners: [AnyObject] = []
    var rules: [Rule] = []
    let isCached: Bool

    init(isCached: Bool) {
        self.isCached = isCached
        rows = (0..<World.portCount + 1).map { _ in .allocate() }
        var memory: [UnsafeMutableRawPointer] = []
        func zeroed(_ count: Int) -> UnsafeMutableRawPointer {
            // Fresh pages are zeroed when they are touched, and most never are.
            let pages = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            precondition(pages != MAP_FAILED, "mmap failed")
            guard let pages else { fatalError("mmap gave nothing") }
            memory.append(pages)
            return pages
        }
        for number in 0..<2 {
            let table = ForwardingTable(
                zeroed: zeroed(World.tableByteCount), capacity: World.tableCapacity, ageingSeconds: 20,
                seed: UInt64(number + 1))
            bridges.append(BridgeEntry(table: table))
        }
        let flows = FlowCache(zeroed: zeroed(World.cacheByteCount), capacity: 32, seed: 5)
        self.memory = memory
        listener = ListenerEntry(
            descriptor: 0, port: 4789, isIPv4: true, counters: rows[World.portCount].row(0), identity: 1000)
        engine = Engine(flows: flows)
        for number in 0..<World.portCount { addPort(number) }
        adopt()
    }

    deinit {
        for row in rows { row.deallocate() }
        for rule in rules { rule.counters.deallocate() }
        munmap(memory[0], World.tableByteCount)
        munmap(memory[1], World.tableByteCount)
        munmap(memory[2], World.cacheByteCount)
    }

    private static let tableByteCount = ForwardingTable.byteCount(capacity: tableCapacity)
    private static let cacheByteCount = FlowCache.byteCount(capacity: 32)

    private func addPort(_ number: Int) {
        var port = PortEntry(counters: rows[number].row(0), identity: UInt64(number))
        port.bridge = number < 6 ? 0 : 1
        port.member = UInt32(number + 1)
        port.descriptor = 0
        port.kind = .tap
        port.mtu = number == 1 ? 100 : 1500
        if let position = World.tunnels.firstIndex(of: UInt32(number)) {
            port.kind = .tunnel
            port.mtu = 1450
            port.tunnel = UInt32(position)
            var tunnel = TunnelEntry(
                remote: World.remotes[[0, 1, 2, 0][position]], vni: VNI(truncating: number == 7 ? 200 : 100))
            tunnel.acceptsAnyVNI = number == 4
            tunnel.inheritsTypeOfService = number == 5
            tunnel.timeToLive = number == 5 ? 0 : 64
            tunnelEntries.append(tunnel)
        }
        ports.append(port)
    }

    /// The VNI of a tunnel; nil for that of the flow.
    static func vni(_ port: UInt32) -> UInt32? { port == 4 ? nil : port == 7 ? 200 : 100 }

    /// What has been configured becomes what is.
    func adopt() {
        let senders = World.tunnels.enumerated().map { position, port in
            SenderTable.Rule(
                listener: 0, remote: tunnelEntries[position].remote, local: .none,
                vni: World.vni(port).map { VNI(truncating: $0) }, port: port)
        }
        engine.adopt(
            Program(
                ports: ports, tunnels: tunnelEntries, bridges: bridges, listeners: [listener],
                senders: senders,
                ownAddresses: [], dropsReservedBits: dropsReservedBits))
    }

    func change(_ port: UInt32, _ body: (inout PortEntry) -> Void) { body(&ports[Int(port)]) }

    // MARK: Frames

    func forward(_ bytes: [UInt8], _ offload: Offload, _ port: UInt32, _ now: UInt64) -> [Left] {
        if !isCached { engine.flows.invalidate() }
        let block = Block(bytes, room: Superframe.headroomByteCount)
        engine.forward(
            Superframe(base: block.base, byteCount: block.count, offload: offload), ingress: port,
            nowMilliseconds: now, to: &output)
        return output.take()
    }

    func receive(_ bytes: [UInt8], _ change: (inout Datagram) -> Void, _ now: UInt64) -> [Left] {
        if !isCached { engine.flows.invalidate() }
        let block = Block(bytes)
        var datagram = Datagram(base: block.base, byteCount: block.count, source: .none)
        change(&datagram)
        engine.receive(datagram, listener: 0, nowMilliseconds: now, to: &output)
        return output.take()
    }

    // MARK: Accounts

    func counters(_ port: UInt32) -> CounterSnapshot { rows[Int(port)].snapshot }

    /// Everything countable.
    func account(_ now: UInt64) -> Account {
        Account(
            ports: rows.map(\.snapshot),
            rules: rules.flatMap { [$0.counters.snapshot.packets, $0.counters.snapshot.bytes] },
            tables: bridges.map(\.table.statistics),
            entries: bridges.flatMap { $0.table.entries(in: 0..<99, nowSeconds: UInt32(now / 1000)) })
    }

    struct Account: Equatable {
        var ports: [CounterSnapshot]
        var rules: [UInt64]
        var tables: [ForwardingStatistics]
        var entries: [ForwardingEntry]
    }

    /// What came in is what left, was answered or was dropped, exactly.
    func expectBalance(_ now: UInt64) throws(Finding) {
        for bridge in [0, 1] as [UInt32] {
            let sum = ports.filter { $0.bridge == bridge }.reduce(.zero) { $0 + $1.counters.snapshot }
            let answered = sum[.neighAnswered] + sum[.punted]
            try demand(
                sum[.rxPackets] == sum[.rxForwarded] + answered + sum.receiveDropTotal,
                "bridge \(bridge) received what it forwarded and dropped: \(sum)")
            try demand(
                sum[.rxCopies] + sum[.icmpGenerated] + sum[.neighAnswered]
                    == sum[.txPackets] + sum.transmitDropTotal, "bridge \(bridge) sent what it made: \(sum)")
        }
        let sum = counters(UInt32(World.portCount))
        try demand(
            sum[.rxPackets] == sum[.rxForwarded] + sum.receiveDropTotal,
            "the listener took or dropped: \(sum)")
        let inside = World.tunnels.reduce(0) { $0 + ports[Int($1)].counters.value(.rxPackets) }
        try demand(sum[.rxForwarded] == inside, "what the listener took came by a tunnel")
        for bridge in bridges {
            let entries = bridge.table.entries(in: 0..<99, nowSeconds: UInt32(now / 1000))
            try demand(entries.count <= World.tableCapacity, "a MAC table holds no more than it holds")
            for entry in entries where !entry.isStatic {
                try demand(!entry.address.isGroup && !entry.address.isZero, "learned \(entry.address)")
            }
        }
    }
}

/// One frame that left.
struct Left: Equatable {
    var port: UInt32
    var frame: [UInt8]
    var offload = Offload.none
    /// What it was sent with; nil for a local port.
    var vni: UInt32?
}

/// Remembers what leaves, and counts it as the kernel's side does.
struct Catcher: EngineOutput, ~Copyable {
    private var left: [Left] = []
    private var blocks: [UnsafeMutableRawPointer] = []

    deinit { for block in blocks { block.deallocate() } }

    mutating func take() -> [Left] {
        for block in blocks { block.deallocate() }
        blocks.removeAll(keepingCapacity: true)
        defer { left.removeAll(keepingCapacity: true) }
        return left
    }

    mutating func write(_ frame: Superframe, to port: PortEntry) {
        let block = Block([UInt8](repeating: 0, count: frame.byteCount))
        frame.copy(to: block.base)
        left.append(
            Left(
                port: UInt32(port.identity),
                frame: Array(UnsafeRawBufferPointer(start: block.base, count: block.count)),
                offload: frame.offload))
        port.counters.transmitted(frame.frameCount, byteCount: frame.accountedByteCount)
    }

    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        blocks.append(.allocate(byteCount: byteCount, alignment: 16))
        return blocks[blocks.count - 1]
    }

    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        let vxlan = VXLANView.byteCount
        left.append(
            Left(
                port: UInt32(port.identity), frame: header[vxlan...] + Array(payload),
                vni: VXLANView(
                    checking: UnsafeRawPointer(header.baseAddress ?? payload.baseAddress!),
                    count: header.count)?
                    .vni.rawValue))
        port.counters.transmitted(byteCount: header.count + payload.count - vxlan)
    }

    mutating func emit(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, sumOfFrame: UInt64?,
        _ outer: OuterHeader, _ tunnel: TunnelEntry, _ port: PortEntry
    ) { fatalError("there is no uplink") }

    mutating func emitWhole(
        _ frame: Superframe, _ plan: SegmentPlan, _ outer: OuterHeader, _ tunnel: TunnelEntry,
        _ port: PortEntry
    ) -> Bool { fatalError("there is no uplink") }

    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool { true }
    mutating func noteWanted() {}
    mutating func flush() {}
}
