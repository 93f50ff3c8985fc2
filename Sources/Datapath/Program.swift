// The configuration as the packet path sees it: flat arrays of trivial values, compiled by the control plane,
// never changed afterwards, adopted by the workers between two breaths. Everything is found by number; names
// and resources do not exist here. Each worker has a program of its own: descriptors and counter rows are its
// alone, all the rest is shared memory.
//
// Numbers: a port (local or tunnel) keeps its number for life; within its bridge it has a member number
// (from 1) for the MAC table. Tables, counters and descriptors belong to the control plane, which frees them
// only after the workers have adopted programs without them.

public import Wire

/// An IP address as two host-order words; IPv4 in its mapped form ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
@frozen
public struct PackedAddress: BitwiseCopyable, Hashable, Sendable {
    public var high: UInt64
    public var low: UInt64

    @_noLocks
    @inlinable
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    @_noLocks
    @inlinable
    public init(_ address: IPv4Address) {
        high = 0
        low = 0xffff_0000_0000 | UInt64(address.rawValue)
    }

    @_noLocks
    @inlinable
    public init(_ address: IPv6Address) {
        high = address.high
        low = address.low
    }

    public init(_ address: IPAddress) {
        switch address {
        case .v4(let v4): self.init(v4)
        case .v6(let v6): self.init(v6)
        }
    }

    /// "No address": what an absent `local_ip` is.
    @inlinable public static var none: PackedAddress { @_noLocks get { PackedAddress(high: 0, low: 0) } }
    @inlinable public var isIPv4: Bool { @_noLocks get { high == 0 && low &>> 32 == 0xffff } }
}

/// A port, as its bridge forwards to it.
@frozen
public struct PortEntry: BitwiseCopyable, Sendable {
    @frozen
    public enum Kind: BitwiseCopyable, Sendable {
        case absent, tap, packetSocket, tunnel
    }

    @inlinable
    public var isTunnel: Bool {
        @_noLocks get {
            if case .tunnel = kind { true } else { false }
        }
    }

    public var kind: Kind = .absent
    public var bridge: UInt32 = 0
    public var member: UInt32 = 0
    /// Largest layer-3 packet that may leave here, bytes.
    public var mtu: UInt32 = 1500
    /// The TAP's queue of this worker, or the packet socket; -1 while there is none.
    public var descriptor: Int32 = -1
    /// Whether this worker reads `descriptor`: a packet socket is written by all and read by one.
    public var isReadHere = true
    /// Position in the tunnel array.
    public var tunnel: UInt32 = 0
    public var counters: Counters
    /// Differs for every port there ever was, so that a reused number is noticed.
    public var identity: UInt64

    public init(counters: Counters, identity: UInt64) {
        self.counters = counters
        self.identity = identity
    }
}

/// What encapsulation needs to know of a tunnel.
@frozen
public struct TunnelEntry: BitwiseCopyable, Sendable {
    public var remote: PackedAddress
    /// `.none`: any destination in, the route's source out.
    public var local: PackedAddress = .none
    /// The VNI in and out; 0 out and any in when `acceptsAnyVNI`.
    public var vni: VNI
    public var acceptsAnyVNI = false
    public var destinationPort: UInt16 = 4789
    /// Outer TTL; 0 copies the inner one.
    public var timeToLive: UInt8 = 64
    /// Outer DSCP (upper six bits) unless copied from inside.
    public var typeOfService: UInt8 = 0
    public var inheritsTypeOfService = false
    public var doNotFragment = true
    public var checksum = true
    /// False while there is nothing to send with or `remote` is an address of this host.
    public var isUsable = true

    public init(remote: PackedAddress, vni: VNI) {
        self.remote = remote
        self.vni = vni
    }
}

/// A bridge: its tables and where to flood.
@frozen
public struct BridgeEntry: BitwiseCopyable, Sendable {
    public var table: ForwardingTable
    public var forwardsReserved = false
    /// Whether what is flooded goes to tunnels as well as to local ports.
    public var floodsTunnels = true
    /// Addresses that are answered for.
    public var bindings = BindingTable.none
    /// The bridge's ports in the flood array: local ones first, then tunnels.
    @usableFromInline var floodStart: UInt32 = 0
    @usableFromInline var localCount: UInt32 = 0
    @usableFromInline var tunnelCount: UInt32 = 0

    public init(table: ForwardingTable) { self.table = table }
}

/// A UDP socket VXLAN arrives on.
@frozen
public struct ListenerEntry: BitwiseCopyable, Sendable {
    public var descriptor: Int32
    public var counters: Counters
    public var identity: UInt64

    public init(descriptor: Int32, counters: Counters, identity: UInt64) {
        self.descriptor = descriptor
        self.counters = counters
        self.identity = identity
    }
}

/// The arrays of a program, for the packet path.
@frozen
public struct ProgramView: BitwiseCopyable {
    @usableFromInline var ports: UnsafeMutablePointer<PortEntry>
    @usableFromInline var portCount: Int
    @usableFromInline var tunnels: UnsafeMutablePointer<TunnelEntry>
    @usableFromInline var bridges: UnsafeMutablePointer<BridgeEntry>
    @usableFromInline var bridgeCount: Int
    @usableFromInline var flood: UnsafeMutablePointer<UInt32>
    @usableFromInline var listeners: UnsafeMutablePointer<ListenerEntry>
    @usableFromInline var listenerCount: Int
    @usableFromInline var senders: SenderTable
    @usableFromInline var dropsReservedBits: Bool
}

/// Owner of one compiled configuration.
public final class Program: @unchecked Sendable {
    // Unchecked: written only by `init`, read-only afterwards, freed when the last holder lets go.
    public let view: ProgramView
    public let portCount: Int
    public let listenerCount: Int
    /// Owner of what is the same for all workers, nil when it is this one.
    private let original: Program?

    /// Compiles. `ports[n]` is port number n, `.absent` where the number is free; `bridge` and `tunnel` of a
    /// port are positions in the other arrays; a sender's port is the tunnel its datagrams belong to.
    public init(
        ports: [PortEntry], tunnels: [TunnelEntry], bridges: [BridgeEntry], listeners: [ListenerEntry],
        senders: [SenderTable.Rule], ownAddresses: [PackedAddress], dropsReservedBits: Bool
    ) {
        var compiled = bridges
        let flood = Program.floodLists(ports, &compiled)
        view = ProgramView(
            ports: Program.copy(ports), portCount: ports.count, tunnels: Program.copy(tunnels),
            bridges: Program.copy(compiled), bridgeCount: bridges.count, flood: Program.copy(flood),
            listeners: Program.copy(listeners),
            listenerCount: listeners.count,
            senders: SenderTable(rules: senders, ownAddresses: ownAddresses),
            dropsReservedBits: dropsReservedBits)
        portCount = ports.count
        listenerCount = listeners.count
        original = nil
    }

    /// The same configuration for another worker, whose ports and listeners differ by descriptors and counters
    /// only.
    public init(_ original: Program, ports: [PortEntry], listeners: [ListenerEntry]) {
        precondition(ports.count == original.portCount && listeners.count == original.listenerCount)
        var view = original.view
        view.ports = Program.copy(ports)
        view.listeners = Program.copy(listeners)
        self.view = view
        portCount = ports.count
        listenerCount = listeners.count
        self.original = original
    }

    deinit {
        view.ports.deallocate()
        view.listeners.deallocate()
        guard original == nil else { return }
        view.tunnels.deallocate()
        view.bridges.deallocate()
        view.flood.deallocate()
        view.senders.deallocate()
    }

    /// A program that forwards nothing.
    public static var empty: Program {
        Program(
            ports: [], tunnels: [], bridges: [], listeners: [], senders: [], ownAddresses: [],
            dropsReservedBits: true)
    }

    public func port(_ number: Int) -> PortEntry { view.ports[number] }
    public func tunnel(_ position: Int) -> TunnelEntry { view.tunnels[position] }
    public func listener(_ position: Int) -> ListenerEntry { view.listeners[position] }

    private static func copy<T: BitwiseCopyable>(_ array: [T]) -> UnsafeMutablePointer<T> {
        let memory = UnsafeMutablePointer<T>.allocate(capacity: max(1, array.count))
        for (index, element) in array.enumerated() { (memory + index).initialize(to: element) }
        return memory
    }

    private static func floodLists(_ ports: [PortEntry], _ bridges: inout [BridgeEntry]) -> [UInt32] {
        var locals = Array(repeating: [UInt32](), count: bridges.count)
        var tunnels = Array(repeating: [UInt32](), count: bridges.count)
        for (number, port) in ports.enumerated() {
            switch port.kind {
            case .absent: break
            case .tunnel: tunnels[Int(port.bridge)].append(UInt32(number))
            case .tap, .packetSocket: locals[Int(port.bridge)].append(UInt32(number))
            }
        }
        var flood: [UInt32] = []
        for index in bridges.indices {
            bridges[index].floodStart = UInt32(flood.count)
            bridges[index].localCount = UInt32(locals[index].count)
            bridges[index].tunnelCount = UInt32(tunnels[index].count)
            flood += locals[index] + tunnels[index]
        }
        return flood
    }
}
