// What the agent answers: documents put together from what was written, what runs, and what the kernel says
// at this moment.

internal import API
internal import Datapath
internal import JSON
internal import LinuxIO
internal import REST
internal import Wire

extension AgentCore {
    /// MAC table places copied per breath: a million entries are read without holding up traffic.
    static let placesPerBreath = 4096

    func bridge(_ name: Name) throws(Problem) -> (DesiredBridge, RunningBridge) {
        guard let spec = desired.bridges[name], let running = host.bridges[name] else {
            throw Problem(.notFound, "there is no bridge \(name)")
        }
        return (spec, running)
    }

    /// A resource of any kind as it is answered, and the tag of what was written of it.
    func document(of id: ResourceID) throws(Problem) -> (JSONObject, EntityTag) {
        switch id {
        case .bridge(let name):
            let document = try document(bridge: name)
            return (document.json, EntityTag(document.spec.json))
        case .port(let owner, let name):
            let document = try document(port: name, of: owner)
            return (document.json, EntityTag(document.spec.json))
        case .tunnel(let owner, let name):
            let document = try document(tunnel: name, of: owner)
            return (document.json, EntityTag(document.spec.json))
        case .mac(let owner, let mac):
            let entry = try macEntry(mac, of: owner)
            return (entry.json, EntityTag(entry.spec.json))
        case .rule(let owner, let name):
            let document = try document(rule: name, of: owner)
            return (document.json, EntityTag(document.spec.json))
        case .mirror(let owner, let name):
            let document = try document(mirror: name, of: owner)
            return (document.json, EntityTag(document.spec.json))
        case .underlay:
            let document = underlayDocument()
            return (document.json, EntityTag(document.spec.json))
        case .route(let name):
            let document = try document(route: name)
            return (document.json, EntityTag(document.spec.json))
        case .neighbor(let id):
            let entry = try neighborEntry(id)
            return (entry.json, EntityTag(entry.spec.json))
        }
    }

    func document(bridge name: Name) throws(Problem) -> Bridge.Document {
        let (spec, running) = try bridge(name)
        var status = BridgeStatus()
        if let link = link(running.local) {
            status.ifindex = Int(link.index)
            status.mac = link.mac
            status.mtu = link.mtu
            status.link = link.isUp && link.hasCarrier ? .up : .down
            status.carrier = link.hasCarrier
        }
        status.error = running.local.error
        status.since = since(.bridge(name))
        status.managedBy = desired.manager(of: .bridge(name))
        status.state = status.error == nil ? .ok : .degraded
        status.ports = spec.ports.count
        status.tunnels = spec.tunnels.count
        status.rules = spec.rules.count
        status.mirrors = spec.mirrors.count
        status.macs = macStatus(running.table)
        status.counters = API.Counters(running.local.place.counters.snapshot)
        return Bridge.Document(name: name, spec: spec.spec, status: status)
    }

    func document(port name: Name, of owner: Name) throws(Problem) -> API.Port.Document {
        let (spec, bridge) = try bridge(owner)
        guard let port = spec.ports[name], let running = bridge.ports[name] else {
            throw Problem(.notFound, "bridge \(owner) has no port \(name)")
        }
        var status = PortStatus()
        status.ifname = port.ifname ?? "\(name)"
        status.netns = port.netns
        if let link = link(running) {
            status.ifindex = Int(link.index)
            status.mac = link.mac
            status.mtu = link.mtu
            status.link = link.isUp && link.hasCarrier ? .up : .down
            status.carrier = link.hasCarrier
        }
        status.error = running.error
        status.since = since(.port(owner, name))
        status.managedBy = desired.manager(of: .port(owner, name))
        status.state = status.error == nil ? .ok : .degraded
        status.counters = API.Counters(running.place.counters.snapshot)
        return API.Port.Document(name: name, spec: port, status: status)
    }

    func document(tunnel name: Name, of owner: Name) throws(Problem) -> Tunnel.Document {
        let (spec, bridge) = try bridge(owner)
        guard let tunnel = spec.tunnels[name], let running = bridge.tunnels[name] else {
            throw Problem(.notFound, "bridge \(owner) has no tunnel \(name)")
        }
        var status = TunnelStatus()
        status.vni = spec.vni(of: tunnel)
        status.localIP = running.route.source
        status.pathMTU = running.route.pathMTU
        status.mtu = running.innerMTU
        status.underlay = path(of: running)
        status.error = running.error
        status.since = since(.tunnel(owner, name))
        status.managedBy = desired.manager(of: .tunnel(owner, name))
        status.state = status.error == nil ? .ok : .degraded
        status.bfd = bfdStatus(of: running)
        status.counters = API.Counters(running.place.counters.snapshot)
        return Tunnel.Document(name: name, spec: tunnel, status: status)
    }

    func path(of running: RunningTunnel) -> TunnelPath {
        var path = TunnelPath(running.route)
        path.neighbor = host.underlay.neighbor(of: running.route.way)
        return path
    }

    func listenerDocuments() -> [ListenerDocument] {
        var sharers: [RunningListener.Key: [(name: String, local: IPAddress?)]] = [:]
        for (bridge, spec) in desired.bridges {
            for (name, tunnel) in spec.tunnels {
                sharers[RunningListener.Key(tunnel), default: []].append(
                    ("\(bridge)/\(name)", tunnel.localIP))
            }
        }
        return host.listeners.sorted { $0.key < $1.key }.map { key, listener in
            var document = ListenerDocument()
            document.name = key.name
            document.status.port = Int(key.port)
            let tunnels = sharers[key] ?? []
            document.status.family = key.isIPv4 ? .ipv4 : .ipv6
            document.status.addresses = host.addresses(of: tunnels.map(\.local), isIPv4: key.isIPv4)
            document.status.sharedBy = tunnels.map(\.name).sorted()
            document.status.tunnels = tunnels.count
            document.status.socketDrops = listener.socket.droppedCount
            document.status.counters = API.Counters(listener.counters.snapshot)
            return document
        }
    }

    func underlayDocument() -> API.Underlay.Document {
        API.Underlay.Document(name: .underlay, spec: desired.underlay, status: host.underlay.status)
    }

    func document(route name: Name) throws(Problem) -> StaticRoute.Document {
        guard let route = desired.routes[name] else {
            throw Problem(.notFound, "there is no route \(name)")
        }
        return StaticRoute.Document(name: name, spec: route, status: host.underlay.status(of: route, name))
    }

    func link(_ port: RunningPort) -> Link? {
        switch port.device {
        case .tap(let tap): (try? tap.link()) ?? nil
        case .packetSocket(let socket): (try? Netlink.link(index: socket.index)) ?? nil
        case nil: nil
        }
    }

    private func macStatus(_ table: ForwardingTable) -> MACTableStatus {
        let statistics = workers.perform { table.statistics }
        var status = MACTableStatus()
        status.learned = statistics.learned
        status.statics = statistics.statics
        status.capacity = statistics.capacity
        status.moves = Int(clamping: statistics.moves)
        status.evictions = Int(clamping: statistics.evictions)
        status.expired = Int(clamping: statistics.expirations)
        status.learnRefused = Int(clamping: statistics.refusals)
        return status
    }

    // MARK: MAC tables

    func macEntries(of name: Name) throws(Problem) -> [MACEntry] {
        let (_, running) = try bridge(name)
        let table = running.table
        let names = memberNames(name, running)
        var entries: [ForwardingEntry] = []
        var start = 0
        var end = 1
        while start < end {
            let range = start..<start + AgentCore.placesPerBreath
            let (part, count) = workers.perform {
                (table.entries(in: range, nowSeconds: Worker.nowSeconds), table.placeCount)
            }
            entries += part
            start = range.upperBound
            end = count
        }
        return entries.sorted { $0.key < $1.key }.compactMap { entry($0, name, names) }
    }

    func macEntry(_ key: StationKey, of name: Name) throws(Problem) -> MACEntry {
        let (_, running) = try bridge(name)
        let table = running.table
        let found = workers.perform {
            table.entry(key.mac, vlan: UInt16(key.vlan), nowSeconds: Worker.nowSeconds)
        }
        guard let found, let entry = entry(found, name, memberNames(name, running)) else {
            throw Problem(.notFound, "bridge \(name) does not know \(key)")
        }
        return entry
    }

    /// Forgets what was learned; static entries stay.
    func flushMACs(of name: Name) throws(Problem) {
        let table = try bridge(name).1.table
        workers.perform { _ = table.flushLearned() }
    }

    /// Forgets one learned entry; false when there was none.
    func forgetMAC(_ key: StationKey, of name: Name) throws(Problem) -> Bool {
        let table = try bridge(name).1.table
        return workers.perform { table.forget(key.mac, vlan: UInt16(key.vlan)) }
    }

    func memberNames(_ name: Name, _ bridge: RunningBridge) -> [UInt32: Name] {
        var names = [bridge.local.place.number: name]
        for (port, running) in bridge.ports { names[running.place.number] = port }
        for (tunnel, running) in bridge.tunnels { names[running.place.number] = tunnel }
        return names
    }

    /// Nil for a port that has gone since the entry was read.
    private func entry(_ entry: ForwardingEntry, _ owner: Name, _ names: [UInt32: Name]) -> MACEntry? {
        guard let name = names[entry.port] else { return nil }
        var result = MACEntry(mac: entry.address, port: "\(name)", type: entry.isStatic ? .static : .learned)
        if entry.vlan != 0 { result.vlan = Int(entry.vlan) }
        if entry.isStatic {
            result.managedBy = desired.manager(of: .mac(owner, entry.key))
            result.ips = desired.bridges[owner]?.macs[entry.key]?.ips ?? []
        } else {
            result.ageSeconds = Int(entry.ageSeconds)
        }
        if let bridge = desired.bridges[owner], let tunnel = bridge.tunnels[name] {
            result.remoteIP = tunnel.remoteIP
            if case .fixed(let vni) = bridge.vni(of: tunnel) { result.vni = vni }
        }
        return result
    }
}

extension ForwardingEntry {
    fileprivate var key: StationKey { StationKey(address, vlan: Int(vlan)) }
}

extension MACEntry {
    /// What was written of it, or would have to be written for it.
    var spec: StaticMAC { StaticMAC(port: port, ips: ips ?? []) }
}

extension API.Counters {
    init(_ snapshot: CounterSnapshot) {
        self.init()
        rxPackets = Int(clamping: snapshot[.rxPackets])
        rxBytes = Int(clamping: snapshot[.rxBytes])
        rxDropped = Int(clamping: snapshot.receiveDropTotal)
        txPackets = Int(clamping: snapshot[.txPackets])
        txBytes = Int(clamping: snapshot[.txBytes])
        txDropped = Int(clamping: snapshot.transmitDropTotal)
        rxForwarded = Int(clamping: snapshot[.rxForwarded])
        rxCopies = Int(clamping: snapshot[.rxCopies])
        icmpGenerated = Int(clamping: snapshot[.icmpGenerated])
        neighAnswered = Int(clamping: snapshot[.neighAnswered])
        punted = Int(clamping: snapshot[.punted])
        originated = Int(clamping: snapshot[.originated])
        for reason in DropReason.allCases {
            let count = snapshot.receiveDrops(reason) + snapshot.transmitDrops(reason)
            if count > 0 { drops[reason.name] = Int(clamping: count) }
        }
    }
}
