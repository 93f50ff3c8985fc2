// What the underlay answers: its status, that of a static route, lookups with their reasons, neighbours.

internal import API
internal import Datapath
internal import LinuxIO
internal import Wire

extension Underlay {
    var status: UnderlayStatus {
        var status = UnderlayStatus()
        status.driver = choice.driver
        status.output = choice.driver == .native ? choice.output : nil
        status.reason = choice.reason
        status.uplinks = uplinkStatuses
        monitor.withState { state in
            status.routes.ipv4 = state.routes.ipv4Count
            status.routes.ipv6 = state.routes.ipv6Count
        }
        status.routes.static = routes.count
        let learned = resolver.snapshot().entries.filter { $0.state != .permanent }
        status.neighbors.learned = learned.count
        status.neighbors.failed = learned.count { $0.state == .failed }
        status.neighbors.static = neighbors.count
        return status
    }

    private var uplinkStatuses: [UplinkStatus] {
        let running = uplinks.running.values.sorted { $0.interface < $1.interface }
        let links = monitor.withState { state in running.map { state.links[$0.interface] } }
        return zip(running, links).map { uplink, link in
            var status = UplinkStatus()
            status.ifname = link?.name ?? "\(uplink.interface)"
            status.output = uplink.output
            if case .tap(let tap) = uplink.device { status.tap = tap.name }
            status.mtu = link?.mtu ?? 0
            status.mac = link?.mac
            status.carrier = link?.hasCarrier ?? false
            status.error = uplinks.faults[uplink.interface]
            status.counters = API.Counters(uplink.counters.snapshot)
            return status
        }
    }

    /// Names of the interfaces that uplinks are beside, by identity.
    var uplinkNames: [UInt64: String] {
        monitor.withState { state in
            Dictionary(
                uplinks.running.values.map { uplink in
                    (uplink.identity, state.links[uplink.interface]?.name ?? "interface \(uplink.interface)")
                }
            ) { first, _ in first }
        }
    }

    // MARK: Routes

    func status(of route: StaticRoute, _ name: Name) -> RouteStatus {
        var status = RouteStatus()
        monitor.withState { state in
            switch state.conditions["\(name)"] {
            case .active(let interface):
                status.active = true
                status.ifname = state.links[interface]?.name
            case .noSuchInterface: status.error = "there is no interface \(route.ifname ?? "")"
            case .interfaceDown: status.error = "interface \(route.ifname ?? "") is down"
            case .gatewayNotOnLink:
                let link = route.ifname.map { "not on the link of \($0)" } ?? "on no link of this host"
                status.error = "gateway \(route.gateway.map { "\($0)" } ?? "") is \(link)"
            case nil: status.error = "not in force yet"
            }
        }
        return status
    }

    func lookUp(_ destination: IPAddress, from source: IPAddress?) -> RouteLookup {
        monitor.withState { state in
            let match = state.match(destination)
            var answer = RouteLookup(destination: destination)
            answer.verdict = RouteVerdict(match.verdict)
            answer.route = match.route.map { RouteSummary($0) }
            answer.nextHops = (match.route?.nextHops ?? []).map { hop in
                var shown = RouteHop()
                shown.ifname = state.name(of: hop.interface)
                shown.gateway = hop.gateway
                shown.weight = Int(hop.weight)
                shown.usable = match.nextHops.contains(hop)
                return shown
            }
            if let hop = match.nextHops.first {
                answer.ifname = state.name(of: hop.interface)
                answer.gateway = hop.gateway
                answer.source = source ?? state.source(to: destination, by: match, hop)
                answer.mtu = state.mtu(of: match, hop)
            }
            var reason = answer.sentence(match)
            if let source, !state.addresses.contains(source) {
                reason += "; source \(source) is no address of this host"
            }
            if state.hasPolicyRules {
                reason += "; this host has ip rules of its own, by which the kernel may choose otherwise"
            }
            answer.reason = reason
            return answer
        }
    }

    // MARK: Neighbours

    /// Those nobody wrote.
    func learned() -> [API.NeighborEntry] {
        let entries = resolver.snapshot().entries.filter { $0.state != .permanent }
        return monitor.withState { state in
            entries.compactMap { entry in
                state.links[entry.key.index].map { API.NeighborEntry(entry, $0.name) }
            }
        }
    }

    /// The station of a way's first next hop, if the resolver was asked for it.
    func neighbor(of way: Way) -> PathNeighbor? {
        guard let key = way.hops.first?.next,
            let entry = resolver.entry(key)
        else { return nil }
        var neighbor = PathNeighbor()
        neighbor.mac = entry.mac
        neighbor.state = API.NeighborState(entry.state)
        return neighbor
    }

    /// One that was written.
    func entry(_ id: NeighborID, _ written: API.Neighbor) -> API.NeighborEntry {
        var entry = API.NeighborEntry(ifname: id.ifname, ip: id.ip, state: .permanent)
        entry.type = .static
        entry.mac = written.mac
        entry.error = monitor.withState { state in
            guard let link = state.link(named: id.ifname) else { return "there is no interface \(id.ifname)" }
            if !link.isEthernet { return "interface \(id.ifname) has no neighbors with MAC addresses" }
            return link.isUp ? nil : "interface \(id.ifname) is down"
        }
        return entry
    }

    func name(of index: Int32) -> String? { monitor.withState { $0.links[index]?.name } }
}

extension UnderlayState {
    fileprivate func name(of interface: Int32) -> String { links[interface]?.name ?? "\(interface)" }

    fileprivate func mtu(of match: Datapath.RouteMatch, _ hop: NextHop) -> Int? {
        let own = match.route.map { Int($0.mtu) } ?? 0
        return own > 0 ? own : links[hop.interface]?.mtu
    }
}

extension RouteLookup {
    /// Why it came to this.
    fileprivate func sentence(_ match: Datapath.RouteMatch) -> String {
        guard let route else { return "no route matches" }
        let title = route.name.map { "static route \($0)" } ?? "the route of table \(route.table)"
        let longest = "\(title) to \(route.destination) is the longest match"
        switch verdict {
        case .unicast:
            let dead = nextHops.count { !$0.usable }
            let ways = nextHops.count - dead
            let shared = ways > 1 ? "; flows are shared among \(ways) next hops" : ""
            return longest + shared + (dead > 0 ? "; \(dead) of its next hops cannot be used" : "")
        case .local: return "\(destination) is an address of this host"
        case .blackhole: return "\(longest), and drops"
        case .unreachable, .prohibit: return "\(longest), and refuses"
        case .none: return "\(longest), and is no way for a tunnel"
        }
    }
}

extension RouteVerdict {
    fileprivate init(_ verdict: Datapath.RouteMatch.Verdict) {
        self =
            switch verdict {
            case .unicast: .unicast
            case .local: .local
            case .blackhole: .blackhole
            case .unreachable: .unreachable
            case .prohibit: .prohibit
            case .none: .none
            }
    }
}

extension RouteSummary {
    /// As /etc/iproute2/rt_protos names them.
    private static let protocols: [UInt8: String] = [
        1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp", 42: "babel", 186: "bgp",
        187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
    ]

    fileprivate init(_ route: IPRoute) {
        self.init()
        destination = route.prefix
        table = "\(route.table)"
        metric = Int(route.metric)
        proto = RouteSummary.protocols[route.protocolNumber] ?? "\(route.protocolNumber)"
        name = route.name
    }
}

extension API.NeighborState {
    fileprivate init(_ state: Datapath.NeighborState) {
        self =
            switch state {
            case .incomplete: .incomplete
            case .reachable: .reachable
            case .stale: .stale
            case .probe: .probe
            case .failed: .failed
            case .permanent: .permanent
            }
    }
}

extension API.NeighborEntry {
    fileprivate init(_ entry: Datapath.NeighborEntry, _ ifname: String) {
        self.init(ifname: ifname, ip: entry.key.address, state: API.NeighborState(entry.state))
        mac = entry.mac
        ageSeconds = entry.confirmedMilliseconds.map { Int($0 / 1000) }
        usedSeconds = entry.usedMilliseconds.map { Int($0 / 1000) }
        probes = Int(clamping: entry.questionCount)
    }
}
