// The running side of the agent: makes and breaks what the plan says, so that each step can be taken back,
// and compiles programs. Everything here blocks on system calls; the agent's actor has a thread for that.

internal import API
internal import Datapath
internal import LinuxIO
internal import Proc
internal import REST
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
    let underlay: Underlay
    let liveness: LivenessThread
    /// What TAPs and listeners are opened with.
    let offload: OffloadFeatures
    let captures: Captures
    /// What an earlier process has handed over and is not in use yet.
    let inherited: InheritedDescriptors
    private let workers: WorkerSet
    private var numbers = NumberPool(first: 0)
    private var lastIdentity: UInt64 = 0
    private let absent = CounterRows.allocate()
    /// Work on tables to be done with the next program, or without one, while no worker breathes.
    private var migration: [TableStep] = []
    /// Bridges whose stations' addresses, or whether they are answered for, may have changed.
    private var unbound: Set<Name> = []
    /// Bridges whose rules, mirrors, VLANs or members may have changed.
    private var unsteered: Set<Name> = []
    /// Kept until the next program is in force.
    private var graveyard: [AnyObject] = []
    let heartbeat: Heartbeat
    private var freedPlaces: [Place] = []
    private var closedListeners: [RunningListener] = []
    private var lastHolder: (key: RunningListener.Key, holder: PortHolder?, milliseconds: UInt64)?

    init(
        workers: WorkerSet, macSeed: UInt64, sourcePorts: ClosedRange<UInt16>, strictVXLAN: Bool,
        underlay: Underlay, liveness: LivenessThread, offload: OffloadFeatures = .all,
        inherited: InheritedDescriptors = .none, heartbeat: Heartbeat = Heartbeat()
    ) {
        self.heartbeat = heartbeat
        self.inherited = inherited
        self.liveness = liveness
        self.workers = workers
        captures = Captures(workers: workers)
        self.macSeed = macSeed
        self.sourcePorts = sourcePorts
        self.strictVXLAN = strictVXLAN
        self.underlay = underlay
        self.offload = offload
    }

    deinit { absent.deallocate() }

    var workerCount: Int { workers.count }

    /// What is written beside interfaces of this agent, before the name of what they are for.
    var ownerPrefix: String { TAPDevice.ownerPrefix + "\(Agent.id(macSeed)) " }

    func later(_ step: TableStep) { migration.append(step) }
    /// Has a bridge's bindings made anew.
    func bindAnew(_ bridge: Name) { unbound.insert(bridge) }

    /// Has the steering of a step's bridge made anew.
    func steerAnew(_ action: Action) {
        if !action.isAboutEntry, let bridge = action.bridge { unsteered.insert(bridge) }
    }

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
        for name in unsteered {
            if let spec = desired.bridges[name] { steer(name, spec) }
        }
        unsteered.removeAll()
        let programs = compile(desired)
        let steps = takeSteps(desired)
        let hops = usedHops
        underlay.uplinks.retire(allBut: Set(hops.map(\.index)))
        let watched = prepareLiveness(desired)
        workers.adopt(programs, senders: senders) { for step in steps { step.run() } }
        liveness.set(watched.targets, remaining: watched.tunnels, workers: workers)
        heartbeat.wait(for: Host.goneInterfaces) { graveyard.removeAll() }
        settleUplinks(hops)
        captures.follow(self)
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

    /// What was written of the underlay, where nothing has to be made for it.
    func followWritten(_ desired: DesiredState) {
        underlay.setStaticRoutes(desired.routes)
        underlay.setStaticNeighbors(desired.neighbors)
    }

    private func takeSteps(_ desired: DesiredState) -> [TableStep] {
        followWritten(desired)
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
        let uplinks = underlay.uplinks.running.values.sorted { $0.interface < $1.interface }
        var entriesOfUnderlay = UnderlayEntries()
        entriesOfUnderlay.sourcePorts = sourcePorts
        entriesOfUnderlay.uplinks = uplinkEntries(uplinks, 0)
        let uplinkPositions = Dictionary(
            uniqueKeysWithValues: uplinks.enumerated().map { ($1.interface, UInt32($0)) })
        // Most tunnels share the listener of the one before.
        var last: (key: RunningListener.Key, position: UInt32?)?
        for (position, name) in names.enumerated() {
            guard let bridge = bridges[name], let spec = desired.bridges[name] else { continue }
            var entry = BridgeEntry(table: bridge.table)
            entry.forwardsReserved = spec.spec.forwardBPDU
            entry.floodsTunnels = spec.spec.flooding == .headEndReplication
            entry.bindings = bridge.bindings.table
            bridge.steering.apply(to: &entry)
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
                tunnels.append(tunnelEntry(tunnel, vni, running, uplinkPositions, &entriesOfUnderlay.paths))
                let key = RunningListener.Key(tunnel)
                if last?.key != key { last = (key, positions[key]) }
                if running.route.refusal == nil, let listener = last?.position {
                    rules.append(rule(tunnel, vni, listener, running))
                }
            }
            for (number, policy) in bridge.steering.policies { policy.apply(to: &ports[Int(number)]) }
        }
        let sockets = keys.compactMap { listeners[$0] }
        let first = Program(
            ports: ports, tunnels: tunnels, bridges: entries, listeners: sockets.map { listenerEntry($0, 0) },
            senders: rules, ownAddresses: ownAddresses.map { PackedAddress($0) },
            dropsReservedBits: strictVXLAN, underlay: entriesOfUnderlay)
        let others = (1..<max(1, workerCount)).map { worker in
            Program(
                first, ports: assign(ports, to: worker),
                listeners: sockets.map { listenerEntry($0, worker) }, uplinks: uplinkEntries(uplinks, worker),
                worker: worker)
        }
        return [first] + others
    }

    private func uplinkEntries(_ uplinks: [RunningUplink], _ worker: Int) -> [UplinkEntry] {
        let macs = underlay.monitor.withState { state in
            uplinks.map { state.links[$0.interface]?.mac ?? .zero }
        }
        return zip(uplinks, macs).map { $0.entry(worker, mac: $1) }
    }

    private func listenerEntry(_ listener: RunningListener, _ worker: Int) -> ListenerEntry {
        ListenerEntry(
            descriptor: listener.socket.descriptors[worker], port: listener.socket.port,
            isIPv4: listener.socket.isIPv4, counters: listener.counters.row(worker),
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

    private func tunnelEntry(
        _ tunnel: Tunnel, _ vni: TunnelVNI, _ running: RunningTunnel, _ uplinks: [Int32: UInt32],
        _ paths: inout [PathEntry]
    ) -> TunnelEntry {
        var number = VNI(truncating: 0)
        if case .fixed(let fixed) = vni { number = fixed }
        var entry = TunnelEntry(remote: PackedAddress(tunnel.remoteIP), vni: number)
        entry.acceptsAnyVNI = vni == .flow
        entry.local = tunnel.localIP.map { PackedAddress($0) } ?? .none
        entry.source = running.route.source.map { PackedAddress($0) } ?? entry.local
        entry.destinationPort = UInt16(tunnel.dstPort)
        entry.timeToLive = if case .fixed(let hops) = tunnel.ttl { hops } else { 0 }
        if case .fixed(let value) = tunnel.tos { entry.typeOfService = value }
        entry.inheritsTypeOfService = tunnel.tos == .inherit
        entry.doNotFragment = tunnel.dfDefault
        entry.checksum = tunnel.csum
        entry.watch(tunnel.bfd)
        entry.isUsable = running.route.refusal == nil
        guard entry.isUsable, running.route.way.driver == .native else { return entry }
        let ways = underlay.paths(of: running.route.way, uplinks)
        entry.pathStart = UInt32(paths.count)
        entry.pathCount = UInt32(ways.count)
        paths += ways
        entry.isUsable = !ways.isEmpty
        entry.refusal = running.route.way.refusal
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

    /// Where tunnels with these `local_ip`s take datagrams: one without one takes them on every address that another
    /// host can send to.
    func addresses(of locals: [IPAddress?], isIPv4: Bool) -> [IPAddress] {
        let pinned = Set(locals.compactMap { $0 })
        let all = ownAddresses.filter {
            $0.isIPv4 == isIPv4 && !$0.isLoopback && !($0.isLinkLocal && !isIPv4)
        }
        return (locals.contains(nil) ? all.union(pinned) : pinned).sorted()
    }

    /// Looks at this host's addresses again; true when they differ.
    func refreshOwnAddresses() throws(LinuxError) -> Bool {
        let now = Set(try Netlink.interfaceAddresses().map(\.address))
        defer { ownAddresses = now }
        return now != ownAddresses
    }

    /// Looks for the way to a tunnel's remote again: by our own routes, or by the kernel's word where its sockets
    /// send. True when it differs from the last.
    func probe(_ running: RunningTunnel) -> Bool {
        let (tunnel, before) = (running.spec, running.route)
        var now = RunningTunnel.Route()
        // The MTU stays where there is none to be had: a route that comes and goes must not resize the guests'
        // interfaces each time.
        now.pathMTU = before.pathMTU
        now.pathMTUFrom = before.pathMTUFrom
        now.way = underlay.way(to: tunnel.remoteIP, from: tunnel.localIP)
        var interfaces = now.way.hops.map(\.next.index)
        var routeMTU = now.way.mtu
        if now.way.driver == .native {
            now.source = now.way.hops.first?.source
            now.error = now.way.error
        } else {
            do throws(LinuxError) {
                let route = try Netlink.route(to: tunnel.remoteIP, from: tunnel.localIP)
                now.source = tunnel.localIP ?? route.source
                interfaces = [route.interface]
            } catch {
                now.error = error.description
            }
        }
        if ownAddresses.contains(tunnel.remoteIP) {
            now.error = nil
            now.refusal = "remote_ip \(tunnel.remoteIP) is an address of this host"
        } else if let bridge = interfaces.lazy.compactMap({ self.bridge(owning: $0) }).first {
            now.refusal = "the route to remote_ip \(tunnel.remoteIP) leads back into bridge \(bridge)"
        } else if now.error == nil {
            if now.way.driver == .socket {
                do throws(LinuxError) {
                    let mtu = try UnderlayRoute.mtu(to: tunnel.remoteIP, from: tunnel.localIP)
                    // The kernel takes less than its route allows only when it was told so on the way.
                    now.pathMTUFrom = mtu < routeMTU ?? mtu ? .icmp : .route
                    routeMTU = mtu
                } catch {
                    now.error = error.description
                }
            } else {
                now.pathMTUFrom = .route
            }
            if let routeMTU { settlePathMTU(&now, tunnel, routeMTU) }
        }
        running.route = now
        return now != before
    }

    /// What has been learned of the path counts where it is less.
    private func settlePathMTU(_ route: inout RunningTunnel.Route, _ tunnel: Tunnel, _ routeMTU: Int) {
        let learned = underlay.pathMTU(to: tunnel.remoteIP, from: tunnel.localIP, routeMTU: routeMTU)
        route.pathMTU = learned.mtu
        switch learned.origin {
        case .route: break
        case .icmp: route.pathMTUFrom = .icmp
        case .probe: route.pathMTUFrom = .probe
        }
    }

    private var allTunnels: [RunningTunnel] { bridges.values.flatMap(\.tunnels.values) }

    /// Before tunnels are looked at: what the host is like now, which driver is used, what ICMP has told. Returns
    /// which tunnels may have another way by that; a full table of routes may change all the time and concern none.
    func followUnderlay() -> Concern {
        let change = underlay.takeChange()
        let before = underlay.choice
        underlay.decide()
        underlay.settle()
        let hasNews = underlay.learnPathMTUs { [self] error in
            guard ownAddresses.contains(error.source), sourcePorts.contains(error.sourcePort) else {
                return []
            }
            return allTunnels.filter {
                $0.spec.remoteIP == error.destination && $0.spec.dstPort == Int(error.destinationPort)
            }.map { UnderlayPath(remote: $0.spec.remoteIP, local: $0.spec.localIP) }
        }
        if hasNews || underlay.choice != before || !change.addresses.isEmpty { return .all }
        let remotes = change.routes.isEmpty ? [] : Set(allTunnels.map(\.spec.remoteIP)).sorted()
        let covered = Set(change.routes.covered(in: remotes).map { remotes[$0] })
        let names = underlay.monitor.withState { state in
            Set(change.links.compactMap { state.links[$0]?.name })
        }
        return .some(remotes: covered, interfaces: change.links, names: names)
    }

    /// Which tunnels a change is about.
    enum Concern {
        case all
        case some(remotes: Set<IPAddress>, interfaces: Set<Int32>, names: Set<String>)

        func includes(_ tunnel: RunningTunnel) -> Bool {
            guard case .some(let remotes, let interfaces, let names) = self else { return true }
            let way = tunnel.route.way
            return remotes.contains(tunnel.spec.remoteIP)
                || way.hops.contains { interfaces.contains($0.next.index) }
                || way.ifname.map(names.contains) ?? false
        }
    }

    /// Once the workers have a program: takes in what is addressed to it, and lets go of what it does not use.
    private func settleUplinks(_ hops: Set<NeighborKey>) {
        underlay.uplinks.take(
            ports: Set(listeners.keys.map(\.port)),
            addresses: ownAddresses.filter { !$0.isLoopback })
        underlay.keep(hops)
        underlay.settle()
        underlay.probe(underlay.settings.pmtuProbe ? paths : [:])
        if underlay.pathMTUs.count > 0 {
            let used = Set(allTunnels.map { UnderlayPath(remote: $0.spec.remoteIP, local: $0.spec.localIP) })
            underlay.pathMTUs.keep { used.contains($0) }
        }
    }

    /// Next hops of all ways in force.
    private var usedHops: Set<NeighborKey> {
        guard underlay.hasNextHops else { return [] }
        var hops: Set<NeighborKey> = []
        for bridge in bridges.values {
            for tunnel in bridge.tunnels.values { hops.formUnion(tunnel.route.way.hops.lazy.map(\.next)) }
        }
        return hops
    }

    /// Of all tunnels, each with its route's MTU.
    private var paths: [UnderlayPath: Int] {
        var paths: [UnderlayPath: Int] = [:]
        for tunnel in allTunnels {
            paths[UnderlayPath(remote: tunnel.spec.remoteIP, local: tunnel.spec.localIP)] =
                tunnel.route.way.mtu
        }
        return paths
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
