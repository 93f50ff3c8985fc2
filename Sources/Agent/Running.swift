// What exists because of what was written: kernel objects, numbers, counters and tables, beside the desired
// state and keyed by the same names. Owned by the agent's actor; the workers borrow memory and descriptors
// through programs.

internal import API
internal import Datapath
internal import LinuxIO
internal import Wire

/// Hands out small numbers and takes them back.
struct NumberPool {
    /// All numbers handed out so far are below.
    private(set) var next: UInt32
    private var returned: [UInt32] = []

    init(first: UInt32) { next = first }

    mutating func take() -> UInt32 {
        if let number = returned.popLast() { return number }
        defer { next += 1 }
        return next
    }

    mutating func giveBack(_ number: UInt32) { returned.append(number) }
}

/// A port's place in the datapath, kept from its creation to its end whatever happens to its interface.
struct Place {
    let number: UInt32
    let member: UInt32
    let identity: UInt64
    let counters: CounterRows
}

/// A local port: a TAP, a packet socket, or neither while it cannot be had.
final class RunningPort {
    enum Device {
        case tap(TAPDevice)
        case packetSocket(PacketSocket)

        /// What worker number `worker` writes to.
        func descriptor(_ worker: Int) -> Int32 {
            switch self {
            case .tap(let tap): tap.descriptors[worker]
            case .packetSocket(let socket): socket.descriptor
            }
        }

        var index: Int32 {
            switch self {
            case .tap(let tap): tap.index
            case .packetSocket(let socket): socket.index
            }
        }
    }

    let place: Place
    var device: Device?
    /// Why there is no device, or what of it could not be set.
    var fault: String?
    /// A written address the kernel took away and does not take back.
    var missing: String?
    var error: String? { fault ?? missing }
    /// The interface's MTU, bytes: our setting for a TAP, the interface's own for a packet socket.
    var mtu = 1500

    init(_ place: Place) { self.place = place }
}

/// A tunnel and the way to its remote.
final class RunningTunnel {
    /// The way to the remote.
    struct Route: Equatable {
        /// Last known MTU, bytes.
        var pathMTU: Int?
        /// How that is known.
        var pathMTUFrom: PathMTUOrigin?
        var source: IPAddress?
        /// By the underlay's routes.
        var way = Underlay.Way()
        /// Why there is no way now.
        var error: String?
        /// Why the way must not be used: it leads to this host, or into an overlay of its own.
        var refusal: String?
    }

    let place: Place
    /// As it runs; the desired state has the same once the change stands. Kept here because programs are
    /// compiled from all tunnels, and looking each up costs more than compiling it.
    var spec: Tunnel {
        didSet { innerMTU = RunningTunnel.innerMTU(spec, route) }
    }
    var route = Route() {
        didSet { innerMTU = RunningTunnel.innerMTU(spec, route) }
    }
    /// What fits inside, bytes of layer 3.
    private(set) var innerMTU: Int
    /// Why its sockets could not be opened.
    var socketError: String?

    init(_ place: Place, _ spec: Tunnel) {
        self.place = place
        self.spec = spec
        innerMTU = RunningTunnel.innerMTU(spec, route)
    }

    var error: String? { socketError ?? route.refusal ?? route.error }

    /// Outer Ethernet excluded, inner included: IP, UDP, VXLAN and the inner Ethernet header.
    static func overhead(_ remote: IPAddress) -> Int { remote.isIPv4 ? 20 + 8 + 8 + 14 : 40 + 8 + 8 + 14 }

    private static func innerMTU(_ spec: Tunnel, _ route: Route) -> Int {
        max(68, (route.pathMTU ?? 1500) - RunningTunnel.overhead(spec.remoteIP))
    }
}

/// A bridge's tables and members.
final class RunningBridge {
    private(set) var memory: ZeroedMemory
    private(set) var table: ForwardingTable
    /// Addresses that are answered for.
    let bindings = Bindings()
    var members = NumberPool(first: 1)
    let local: RunningPort
    var ports: [Name: RunningPort] = [:]
    var tunnels: [Name: RunningTunnel] = [:]
    let steering = Steering()

    /// Whether several workers use the table.
    private let isShared: Bool

    init(
        _ spec: Bridge, isShared: Bool, local: (inout NumberPool) -> RunningPort
    ) throws(LinuxError) {
        self.isShared = isShared
        (memory, table) = try RunningBridge.makeTable(spec, isShared)
        self.local = local(&members)
    }

    private static func makeTable(
        _ spec: Bridge, _ isShared: Bool
    ) throws(LinuxError) -> (ZeroedMemory, ForwardingTable) {
        let memory = try ZeroedMemory(byteCount: ForwardingTable.byteCount(capacity: spec.macTableSize))
        let table = ForwardingTable(
            zeroed: memory.base, capacity: spec.macTableSize, ageingSeconds: spec.macAgingSeconds,
            seed: .random(in: .min ... .max), isShared: isShared)
        return (memory, table)
    }

    /// Replaces the table by an empty one of another size; the old memory is returned for as long as the
    /// workers may use it.
    func resize(_ spec: Bridge) throws(LinuxError) -> (old: ForwardingTable, memory: ZeroedMemory) {
        let before = (table, memory)
        (memory, table) = try RunningBridge.makeTable(spec, isShared)
        return before
    }

    func restore(_ table: ForwardingTable, _ memory: ZeroedMemory) {
        self.table = table
        self.memory = memory
    }

    var locals: [RunningPort] { [local] + ports.values }
    var places: [Place] { locals.map(\.place) + tunnels.values.map(\.place) }
}

/// A listener with its counters.
final class RunningListener {
    struct Key: Hashable, Comparable {
        var isIPv4: Bool
        var port: UInt16

        init(_ tunnel: Tunnel) {
            isIPv4 = tunnel.remoteIP.isIPv4
            port = UInt16(tunnel.dstPort)
        }

        var name: String { "\(isIPv4 ? "ipv4" : "ipv6"):\(port)" }
        static func < (left: Key, right: Key) -> Bool { left.name < right.name }
    }

    let socket: UDPListener
    let counters: CounterRows
    let identity: UInt64

    /// `former`: its sockets where they are open already.
    init(
        _ key: Key, identity: UInt64, trains: Bool, workers: Int, former: UDPListener?
    ) throws(LinuxError) {
        if let former {
            socket = former
        } else {
            socket = try UDPListener(port: key.port, isIPv4: key.isIPv4, trains: trains, count: workers)
        }
        counters = .allocate(count: workers)
        self.identity = identity
    }

    deinit { counters.deallocate() }
}

extension SenderKind {
    init(_ tunnel: Tunnel) {
        self.init(isIPv4: tunnel.remoteIP.isIPv4, doNotFragment: tunnel.dfDefault, checksum: tunnel.csum)
    }
}
