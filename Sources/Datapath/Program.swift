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
    /// Which VLANs it carries, and how.
    public var vlan = PortVLAN()
    /// The addresses its stations may have.
    public var security = PortSecurity.none
    /// Frames from here that may be flooded.
    public var storm = Meter.none
    /// Addresses that may be learned here, 0 for any number.
    public var macLimit: UInt32 = 0
    /// The bridge's mirrors that copy what comes in here, a bit each, and what leaves here.
    @usableFromInline var sourceMirrors: UInt32 = 0
    @usableFromInline var destinationMirrors: UInt32 = 0
    /// Whether a mirror has it for itself.
    @usableFromInline var isMirrorOutput = false

    /// Whether frames that come in or leave here take more than switching.
    var isPlain: Bool { !vlan.isSet && !security.isSet && !storm.isSet && macLimit == 0 }

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
    /// Where the kernel's routing has outer packets come from, as far as it is known: for who looks on.
    public var source: PackedAddress = .none
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
    /// False while there is no way: why is `refusal`.
    public var isUsable = true
    /// What frames are dropped for while it is not usable.
    public var refusal: DropReason = .tunnelDown
    /// Where its ways are in the path array; no ways: the kernel's UDP sockets.
    public var pathStart: UInt32 = 0
    public var pathCount: UInt32 = 0
    /// Where the other end's BFD is addressed to, and ours; zero without BFD.
    public var livenessMAC = MACAddress(rawValue: 0)
    public var livenessRemoteMAC = MACAddress(rawValue: 0)

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
    /// False where nothing is to be learned: a copy of the configuration that only tells what would be.
    public var learns = true
    /// What is done to frames before they are switched, or instead.
    public var rules = Rules.none
    public var mirrors = Mirrors.none
    /// VLANs and VNIs of tunnels that have the VNI of the flow.
    public var vlanMap = VLANMap.none
    /// Whether frames are only switched: no rules, VLANs, mirrors or limits. Found when the program is compiled.
    public internal(set) var isPlain = true
    /// The bridge's ports in the flood array: local ones first, then tunnels.
    @usableFromInline var floodStart: UInt32 = 0
    @usableFromInline var localCount: UInt32 = 0
    @usableFromInline var tunnelCount: UInt32 = 0
    /// A bit for each address that BFD of its tunnels is sent to; other addresses may share it.
    @usableFromInline var livenessFilter: UInt64 = 0

    public init(table: ForwardingTable) { self.table = table }
}

/// A UDP socket VXLAN arrives on.
@frozen
public struct ListenerEntry: BitwiseCopyable, Sendable {
    public var descriptor: Int32
    public var port: UInt16
    public var isIPv4: Bool
    public var counters: Counters
    public var identity: UInt64

    public init(
        descriptor: Int32, port: UInt16 = 4789, isIPv4: Bool = true, counters: Counters, identity: UInt64
    ) {
        self.descriptor = descriptor
        self.port = port
        self.isIPv4 = isIPv4
        self.counters = counters
        self.identity = identity
    }
}

/// What a program has of the underlay when frames are encapsulated here, outer headers and all.
public struct UnderlayEntries: Sendable {
    public var paths: [PathEntry] = []
    public var uplinks: [UplinkEntry] = []
    /// UDP source ports to choose from.
    public var sourcePorts: ClosedRange<UInt16> = 49152...65535

    public init() {}
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
    @usableFromInline var paths: UnsafeMutablePointer<PathEntry>
    @usableFromInline var uplinks: UnsafeMutablePointer<UplinkEntry>
    @usableFromInline var firstSourcePort: UInt16
    @usableFromInline var sourcePortCount: UInt32
    @usableFromInline var dropsReservedBits: Bool
    /// Whose rows of the rules' counters are written.
    @usableFromInline var worker = 0
    /// Whether anything captures; a worker's own copy says.
    @usableFromInline var isObserved = false
}

/// Owner of one compiled configuration.
public final class Program: @unchecked Sendable {
    // Unchecked: written only by `init`, read-only afterwards, freed when the last holder lets go.
    public let view: ProgramView
    public let portCount: Int
    public let listenerCount: Int
    public let uplinkCount: Int
    /// Of each bridge.
    private let mirrors: [MirrorTable?]
    /// Owner of what is the same for all workers, nil when it is this one.
    private let original: Program?
    /// Whether bridges and paths are its own although the rest is not.
    private let isTrial: Bool

    /// Compiles. `ports[n]` is port number n, `.absent` where the number is free; `bridge` and `tunnel` of a
    /// port are positions in the other arrays; a sender's port is the tunnel its datagrams belong to.
    public init(
        ports: [PortEntry], tunnels: [TunnelEntry], bridges: [BridgeEntry], listeners: [ListenerEntry],
        senders: [SenderTable.Rule], ownAddresses: [PackedAddress], dropsReservedBits: Bool,
        underlay: UnderlayEntries = UnderlayEntries()
    ) {
        var compiled = bridges
        let flood = Program.floodLists(ports, &compiled)
        for port in ports where port.isTunnel {
            let target = tunnels[Int(port.tunnel)].livenessRemoteMAC
            if !target.isZero { compiled[Int(port.bridge)].livenessFilter |= LivenessFilter.bit(target) }
        }
        mirrors = bridges.map { $0.mirrors.table?.takeUnretainedValue() }
        for index in bridges.indices {
            compiled[index].isPlain =
                bridges[index].rules.isEmpty && mirrors[index] == nil && bridges[index].vlanMap.isEmpty
        }
        for port in ports where port.kind != .absent && !port.isPlain {
            compiled[Int(port.bridge)].isPlain = false
        }
        view = ProgramView(
            ports: Program.copy(Program.select(ports, mirrors)), portCount: ports.count,
            tunnels: Program.copy(tunnels),
            bridges: Program.copy(compiled), bridgeCount: bridges.count, flood: Program.copy(flood),
            listeners: Program.copy(listeners),
            listenerCount: listeners.count,
            senders: SenderTable(rules: senders, ownAddresses: ownAddresses),
            paths: Program.copy(underlay.paths), uplinks: Program.copy(underlay.uplinks),
            firstSourcePort: underlay.sourcePorts.lowerBound,
            sourcePortCount: UInt32(underlay.sourcePorts.count),
            dropsReservedBits: dropsReservedBits)
        portCount = ports.count
        listenerCount = listeners.count
        uplinkCount = underlay.uplinks.count
        original = nil
        isTrial = false
    }

    /// The same configuration for worker number `worker`, whose ports, listeners and uplinks differ by descriptors and
    /// counters only.
    public init(
        _ original: Program, ports: [PortEntry], listeners: [ListenerEntry], uplinks: [UplinkEntry] = [],
        worker: Int = 0
    ) {
        precondition(ports.count == original.portCount && listeners.count == original.listenerCount)
        precondition(uplinks.count == original.uplinkCount)
        var view = original.view
        view.worker = worker
        view.ports = Program.copy(Program.select(ports, original.mirrors))
        view.listeners = Program.copy(listeners)
        view.uplinks = Program.copy(uplinks)
        self.view = view
        portCount = ports.count
        listenerCount = listeners.count
        uplinkCount = uplinks.count
        mirrors = original.mirrors
        self.original = original
        isTrial = false
    }

    /// The same configuration for trying frames on: nothing learns, and what is counted and noted goes to the rows
    /// and cells of these ports, listeners, uplinks and paths.
    init(
        trying original: Program, ports: [PortEntry], listeners: [ListenerEntry], uplinks: [UplinkEntry],
        paths: [PathEntry]
    ) {
        var bridges = (0..<original.view.bridgeCount).map { original.view.bridges[$0] }
        for index in bridges.indices { bridges[index].learns = false }
        var view = original.view
        view.ports = Program.copy(ports)
        view.listeners = Program.copy(listeners)
        view.uplinks = Program.copy(uplinks)
        view.paths = Program.copy(paths)
        view.bridges = Program.copy(bridges)
        // Nobody's row: rules count nothing.
        view.worker = .max
        self.view = view
        portCount = ports.count
        listenerCount = listeners.count
        uplinkCount = uplinks.count
        mirrors = original.mirrors
        self.original = original
        isTrial = true
    }

    deinit {
        view.ports.deallocate()
        view.listeners.deallocate()
        view.uplinks.deallocate()
        if original == nil || isTrial {
            view.bridges.deallocate()
            view.paths.deallocate()
        }
        guard original == nil else { return }
        view.tunnels.deallocate()
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
    public func uplink(_ position: Int) -> UplinkEntry { view.uplinks[position] }

    private static func copy<T: BitwiseCopyable>(_ array: [T]) -> UnsafeMutablePointer<T> {
        let memory = UnsafeMutablePointer<T>.allocate(capacity: max(1, array.count))
        for (index, element) in array.enumerated() { (memory + index).initialize(to: element) }
        return memory
    }

    /// The ports with what the mirrors of their bridges say about them.
    private static func select(_ ports: [PortEntry], _ mirrors: [MirrorTable?]) -> [PortEntry] {
        guard mirrors.contains(where: { $0 != nil }) else { return ports }
        var ports = ports
        for number in ports.indices where ports[number].kind != .absent {
            guard let table = mirrors[Int(ports[number].bridge)] else { continue }
            ports[number].sourceMirrors = table.sources(UInt32(number))
            ports[number].destinationMirrors = table.destinations(UInt32(number))
            ports[number].isMirrorOutput = table.isOutput(UInt32(number))
        }
        return ports
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
