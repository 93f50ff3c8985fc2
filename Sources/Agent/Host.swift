// The running side of the agent: makes and breaks what the plan says, so that each step can be taken back,
// and compiles programs. Everything here blocks on system calls; the agent's actor has a thread for that.

internal import API
internal import Datapath
internal import LinuxIO
internal import Proc
internal import Wire

/// What the steps of one change leave to be done when it stands, or when it is taken back.
struct ChangeLog {
    private var rollback: [() -> Void] = []
    private var commit: [() -> Void] = []

    mutating func onRollback(_ step: @escaping () -> Void) { rollback.append(step) }
    mutating func onCommit(_ step: @escaping () -> Void) { commit.append(step) }
    /// Each step is let go of once it is done: what it holds, an interface for one, may be in the way of the next.
    mutating func rollBack() {
        while let step = rollback.popLast() { step() }
    }
    func commitAll() { for step in commit { step() } }
}

/// Everything the agent has made on this host.
final class Host {
    var bridges: [Name: RunningBridge] = [:]
    var listeners: [RunningListener.Key: RunningListener] = [:]
    var senders = SenderSockets([:])
    private(set) var ownAddresses: Set<IPAddress> = []
    /// Totals of what no longer exists, so that the host's sums never go back.
    private(set) var retired = CounterSnapshot.zero
    /// Times the workers have been given programs.
    private(set) var adoptionCount: UInt64 = 0

    /// Keeps made-up MAC addresses different from host to host and the same from start to start.
    let macSeed: UInt64
    let sourcePorts: ClosedRange<UInt16>
    let strictVXLAN: Bool
    /// What TAPs and listeners are opened with.
    let offload: OffloadFeatures
    private let workers: WorkerSet
    private var numbers = NumberPool(first: 0)
    private var lastIdentity: UInt64 = 0
    private let absent = CounterRows.allocate()
    /// Work on tables to be done with the next program, or without one, while no worker breathes.
    private var migration: [TableStep] = []
    /// Bridges whose stations' addresses, or whether they are answered for, may have changed.
    private var unbound: Set<Name> = []
    /// Kept until the next program is in force.
    private var graveyard: [AnyObject] = []
    private var freedPlaces: [Place] = []
    private var closedListeners: [RunningListener] = []
    private var lastHolder: (key: RunningListener.Key, holder: PortHolder?, milliseconds: UInt64)?

    init(
        workers: WorkerSet, macSeed: UInt64, sourcePorts: ClosedRange<UInt16>, strictVXLAN: Bool,
        offload: OffloadFeatures = .all
    ) {
        self.workers = workers
        self.macSeed = macSeed
        self.sourcePorts = sourcePorts
        self.strictVXLAN = strictVXLAN
        self.offload = offload
    }

    deinit { absent.deallocate() }

    var workerCount: Int { workers.count }

    /// A change of a bridge's tables, done between two breaths.
    enum TableStep: Sendable {
        case adopt(ForwardingTable, from: ForwardingTable)
        case setAgeing(ForwardingTable, seconds: Int)
        case flush(ForwardingTable, member: UInt32)
        case pin(ForwardingTable, MACAddress, port: UInt32, member: UInt32)
        case unpin(ForwardingTable, MACAddress)
        case bind(Bindings, BindingRows)

        func run() {
            switch self {
            case .adopt(let table, let old): table.adopt(old)
            case .setAgeing(let table, let seconds): table.setAgeing(seconds: seconds)
            case .flush(let table, let member): table.flush(member: member)
            case .pin(let table, let mac, let port, let member):
                table.setStatic(mac, port: port, member: member)
            case .unpin(let table, let mac): table.removeStatic(mac)
            case .bind(let bindings, let rows): bindings.replace(with: rows)
            }
        }
    }

    func later(_ step: TableStep) { migration.append(step) }
    /// Has a bridge's bindings made anew.
    func bindAnew(_ bridge: Name) { unbound.insert(bridge) }

    // MARK: Places

    func newIdentity() -> UInt64 {
        lastIdentity += 1
        return lastIdentity
    }

    func newPlace(_ members: inout NumberPool) -> Place {
        Place(
            number: numbers.take(), member: members.take(), identity: newIdentity(),
            counters: .allocate(count: workerCount))
    }

    /// Frees a place once the program without it is in force.
    func bury(_ place: Place, of bridge: RunningBridge?) {
        if let bridge {
            later(.flush(bridge.table, member: place.member))
            bridge.members.giveBack(place.member)
        }
        freedPlaces.append(place)
    }

    func bury(_ object: AnyObject) { graveyard.append(object) }
    func bury(_ listener: RunningListener) { closedListeners.append(listener) }

    /// Takes back a place the worker has never seen.
    func discard(_ place: Place, of bridge: RunningBridge?) {
        bridge?.members.giveBack(place.member)
        numbers.giveBack(place.number)
        place.counters.deallocate()
    }

    /// Forgets steps of a change that was taken back.
    func dropPending() { migration.removeAll() }

    // MARK: The datapath

    /// Compiles the present state and waits until the workers run it; then lets go of what it replaced.
    func adopt(_ desired: DesiredState) {
        adoptionCount += 1
        let programs = compile(desired)
        let steps = takeSteps(desired)
        workers.adopt(programs, senders: senders) { for step in steps { step.run() } }
        graveyard.removeAll()
        for place in freedPlaces {
            retired = retired + place.counters.snapshot
            numbers.giveBack(place.number)
            place.counters.deallocate()
        }
        freedPlaces.removeAll()
        for listener in closedListeners { retired = retired + listener.counters.snapshot }
        closedListeners.removeAll()
    }

    /// Brings the tables up to date where nothing else has changed: programs and flows stay as they are.
    func adoptEntries(_ desired: DesiredState) {
        let steps = takeSteps(desired)
        workers.perform { for step in steps { step.run() } }
    }

    private func takeSteps(_ desired: DesiredState) -> [TableStep] {
        defer { migration.removeAll() }
        for name in unbound {
            guard let bridge = bridges[name], let spec = desired.bridges[name] else { continue }
            later(.bind(bridge.bindings, BindingRows(spec.bindings(of: name))))
        }
        unbound.removeAll()
        return migration
    }

    /// One program per worker: the first is compiled, the others are made from it.
    private func compile(_ desired: DesiredState) -> [Program] {
        let names = bridges.keys.sorted()
        var ports = Array(
            repeating: PortEntry(counters: absent.row(0), identity: 0), count: Int(numbers.next))
        var tunnels: [TunnelEntry] = []
        var rules: [SenderTable.Rule] = []
        tunnels.reserveCapacity(ports.count)
        rules.reserveCapacity(ports.count)
        var entries: [BridgeEntry] = []
        let keys = listeners.keys.sorted()
        let positions = Dictionary(uniqueKeysWithValues: keys.enumerated().map { ($1, UInt32($0)) })
        // Most tunnels share the listener of the one before.
        var last: (key: RunningListener.Key, position: UInt32?)?
        for (position, name) in names.enumerated() {
            guard let bridge = bridges[name], let spec = desired.bridges[name] else { continue }
            var entry = BridgeEntry(table: bridge.table)
            entry.forwardsReserved = spec.spec.forwardBPDU
            entry.floodsTunnels = spec.spec.flooding == .headEndReplication
            entry.bindings = bridge.bindings.table
            entries.append(entry)
            for port in bridge.locals { ports[Int(port.place.number)] = portEntry(port, UInt32(position)) }
            for running in bridge.tunnels.values {
                let tunnel = running.spec
                let vni = spec.vni(of: tunnel)
                var port = PortEntry(
                    counters: running.place.counters.row(0), identity: running.place.identity)
                port.kind = .tunnel
                port.bridge = UInt32(position)
                port.member = running.place.member
                port.mtu = UInt32(running.innerMTU)
                port.tunnel = UInt32(tunnels.count)
                ports[Int(running.place.number)] = port
                tunnels.append(tunnelEntry(tunnel, vni, running))
                let key = RunningListener.Key(tunnel)
                if last?.key != key { last = (key, positions[key]) }
                if running.route.refusal == nil, let listener = last?.position {
                    rules.append(rule(tunnel, vni, listener, running))
                }
            }
        }
        let sockets = keys.compactMap { listeners[$0] }
        let first = Program(
            ports: ports, tunnels: tunnels, bridges: entries, listeners: sockets.map { listenerEntry($0, 0) },
            senders: rules, ownAddresses: ownAddresses.map { PackedAddress($0) },
            dropsReservedBits: strictVXLAN)
        let others = (1..<max(1, workerCount)).map { worker in
            Program(
                first, ports: assign(ports, to: worker),
                listeners: sockets.map { listenerEntry($0, worker) })
        }
        return [first] + others
    }

    private func listenerEntry(_ listener: RunningListener, _ worker: Int) -> ListenerEntry {
        ListenerEntry(
            descriptor: listener.socket.descriptors[worker], counters: listener.counters.row(worker),
            identity: listener.identity)
    }

    /// The ports as another worker has them: its queues, its rows of counters.
    private func assign(_ ports: [PortEntry], to worker: Int) -> [PortEntry] {
        var ports = ports
        for bridge in bridges.values {
            for place in bridge.places { ports[Int(place.number)].counters = place.counters.row(worker) }
            for port in bridge.locals { attach(port, to: worker, &ports[Int(port.place.number)]) }
        }
        return ports
    }

    /// A TAP has a queue for each worker. A packet socket has one queue: all write to it, one reads.
    private func attach(_ port: RunningPort, to worker: Int, _ entry: inout PortEntry) {
        entry.descriptor = port.device?.descriptor(worker) ?? -1
        guard case .packetSocket = port.device else { return }
        entry.isReadHere = Int(port.place.number) % workerCount == worker
    }

    private func portEntry(_ port: RunningPort, _ bridge: UInt32) -> PortEntry {
        var entry = PortEntry(counters: port.place.counters.row(0), identity: port.place.identity)
        entry.kind = if case .packetSocket = port.device { .packetSocket } else { .tap }
        entry.bridge = bridge
        entry.member = port.place.member
        entry.mtu = UInt32(port.mtu)
        attach(port, to: 0, &entry)
        return entry
    }

    private func tunnelEntry(_ tunnel: Tunnel, _ vni: TunnelVNI, _ running: RunningTunnel) -> TunnelEntry {
        var number = VNI(truncating: 0)
        if case .fixed(let fixed) = vni { number = fixed }
        var entry = TunnelEntry(remote: PackedAddress(tunnel.remoteIP), vni: number)
        entry.acceptsAnyVNI = vni == .flow
        entry.local = tunnel.localIP.map { PackedAddress($0) } ?? .none
        entry.destinationPort = UInt16(tunnel.dstPort)
        entry.timeToLive = if case .fixed(let hops) = tunnel.ttl { hops } else { 0 }
        if case .fixed(let value) = tunnel.tos { entry.typeOfService = value }
        entry.inheritsTypeOfService = tunnel.tos == .inherit
        entry.doNotFragment = tunnel.dfDefault
        entry.checksum = tunnel.csum
        entry.isUsable = running.route.refusal == nil
        return entry
    }

    private func rule(
        _ tunnel: Tunnel, _ vni: TunnelVNI, _ listener: UInt32, _ running: RunningTunnel
    ) -> SenderTable.Rule {
        let number: VNI? = if case .fixed(let fixed) = vni { fixed } else { nil }
        return SenderTable.Rule(
            listener: listener, remote: PackedAddress(tunnel.remoteIP),
            local: tunnel.localIP.map { PackedAddress($0) } ?? .none, vni: number, port: running.place.number)
    }

    /// Ports and tunnels with an error.
    var degradedCount: Int {
        bridges.values.reduce(0) { count, bridge in
            count + bridge.locals.filter { $0.error != nil }.count
                + bridge.tunnels.values.filter { $0.error != nil }.count
        }
    }

    /// Who has a port that could not be had. Thousands of tunnels may ask about one port at once, and an answer
    /// costs a look at every descriptor of the host: it is good for a second.
    func holder(of key: RunningListener.Key) -> PortHolder? {
        let now = Worker.nowMilliseconds
        if let last = lastHolder, last.key == key, now - last.milliseconds < 1000 { return last.holder }
        let holder = PortHolder.udp(key.port, isIPv4: key.isIPv4)
        lastHolder = (key, holder, now)
        return holder
    }

    // MARK: The underlay as the kernel sees it

    /// Looks at this host's addresses again; true when they differ.
    func refreshOwnAddresses() throws(LinuxError) -> Bool {
        let now = Set(try Netlink.interfaceAddresses().map(\.address))
        defer { ownAddresses = now }
        return now != ownAddresses
    }

    /// Asks the kernel for the way to a tunnel's remote; true when the answer differs from the last.
    func probe(_ running: RunningTunnel) -> Bool {
        let (tunnel, before) = (running.spec, running.route)
        var now = RunningTunnel.Route()
        // The MTU stays where there is none to be had: a route that comes and goes must not resize the guests'
        // interfaces each time.
        now.pathMTU = before.pathMTU
        do throws(LinuxError) {
            let route = try Netlink.route(to: tunnel.remoteIP, from: tunnel.localIP)
            now.source = tunnel.localIP ?? route.source
            if ownAddresses.contains(tunnel.remoteIP) {
                now.refusal = "remote_ip \(tunnel.remoteIP) is an address of this host"
            } else if let bridge = bridge(owning: route.interface) {
                now.refusal = "the route to remote_ip \(tunnel.remoteIP) leads back into bridge \(bridge)"
            } else {
                now.pathMTU = try UnderlayRoute.mtu(to: tunnel.remoteIP, from: tunnel.localIP)
            }
        } catch {
            now.error = error.description
        }
        running.route = now
        return before != now
    }

    /// The bridge one of whose TAPs has this index: what goes there would be encapsulated again.
    private func bridge(owning interface: Int32) -> Name? {
        bridges.first { _, bridge in
            bridge.locals.contains { port in
                if case .tap(let tap) = port.device, tap.settings.namespace == nil {
                    tap.index == interface
                } else {
                    false
                }
            }
        }?.key
    }
}
