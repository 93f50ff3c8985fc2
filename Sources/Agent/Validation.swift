// What a single resource cannot know about itself: clashes with others, and the agent's limits. Pure; run on
// the state a write would lead to, before anything is touched.

internal import API
internal import Datapath
internal import JSON
internal import LinuxIO
internal import Wire

/// The agent's limits on resources; listed in the README.
enum AgentLimits {
    /// Bridges per agent.
    static let bridges = 4096
    /// Ports and tunnels per bridge together: the member numbers of a MAC table, less the local port.
    static let bridgeMembers = 65_000
    /// Static routes of the underlay.
    static let staticRoutes = 1024
    /// Static neighbours of the underlay.
    static let staticNeighbors = 4096
    /// Addresses of a bridge's static entries together.
    static let bridgeAddresses = Bindings.capacity
}

/// Why a change cannot be made, and which resources it is about.
struct Refusal: Error {
    var problem: Problem
    var resources: [ResourceID]

    init(_ problem: Problem, about resources: [ResourceID]) {
        self.problem = problem
        self.resources = resources
    }

    init(_ code: ProblemCode, _ detail: String, about resources: ResourceID...) {
        self.init(Problem(code, detail), about: resources)
    }
}

/// What only one resource may have at a time, and which one has it. Kept beside the desired state, so that a
/// change is compared with everything else at the cost of the change.
struct Claims {
    fileprivate enum Claim: Hashable {
        case interface(InterfaceName)
        case datagrams(TunnelIdentity)
        /// Within a bridge.
        case address(Name, IPAddress)
        case route(IPPrefix, metric: Int)
    }

    /// What a change gives up and takes.
    struct Transfer {
        fileprivate var released: [Claim] = []
        fileprivate var taken: [Claim: ResourceID] = [:]
    }

    private var owners: [Claim: ResourceID] = [:]

    /// Of a state that is known to be consistent.
    init(_ state: DesiredState = DesiredState()) {
        for id in state.ids {
            for claim in Claims.claims(of: id, state) { owners[claim] = id }
        }
    }

    private static func claims(of id: ResourceID, _ state: DesiredState) -> [Claim] {
        switch id {
        case .tunnel(let bridge, let name):
            guard let owner = state.bridges[bridge], let tunnel = owner.tunnels[name] else { return [] }
            return [.datagrams(TunnelIdentity(tunnel, owner.vni(of: tunnel)))]
        case .mac(let bridge, let mac):
            return (state.bridges[bridge]?.macs[mac]?.ips ?? []).map { .address(bridge, $0) }
        case .route(let name):
            return state.routes[name].map { [.route($0.destination, metric: $0.metric)] } ?? []
        case .rule, .mirror, .underlay, .neighbor: return []
        case .bridge, .port:
            guard let interface = state[id]?.interface(of: id) else { return [] }
            return [.interface(interface)]
        }
    }

    /// Throws `conflict` when two resources of `new` would have the same; only `changes` differ from `old`.
    func transfer(
        _ changes: [ResourceChange], from old: DesiredState, to new: DesiredState
    ) throws(Refusal) -> Transfer {
        var ids = changes.map(\.id)
        for change in changes {
            // A bridge's VNI is that of its tunnels that have none of their own.
            guard case (.bridge(let before)?, .bridge(let after)?) = (change.from, change.to),
                before.vni != after.vni, let owner = change.id.bridge, let bridge = new.bridges[owner]
            else { continue }
            let known = Set(ids)
            ids += bridge.tunnels.keys.sorted().map { .tunnel(owner, $0) }
                .filter { !known.contains($0) }
        }
        var transfer = Transfer()
        for id in ids {
            transfer.released += Claims.claims(of: id, old)
        }
        let released = Set(transfer.released)
        for id in ids {
            for claim in Claims.claims(of: id, new) {
                let other = transfer.taken[claim] ?? (released.contains(claim) ? nil : owners[claim])
                if let other { throw Claims.clash(claim, id, other) }
                transfer.taken[claim] = id
            }
        }
        return transfer
    }

    mutating func carryOut(_ transfer: Transfer) {
        for claim in transfer.released { owners[claim] = nil }
        owners.merge(transfer.taken) { _, new in new }
    }

    private static func clash(_ claim: Claim, _ one: ResourceID, _ other: ResourceID) -> Refusal {
        switch claim {
        case .interface(let interface):
            let place = interface.namespace.map { " in namespace \($0)" } ?? ""
            return Refusal(
                .conflict, "\(one.title) and \(other.title) both want interface \(interface.name)\(place)",
                about: one, other)
        case .route(let destination, let metric):
            return Refusal(
                .conflict,
                "\(one.title) and \(other.title) both lead to \(destination) with metric \(metric)",
                about: one, other)
        case .address(_, let address):
            return Refusal(
                .conflict, "\(one.title) and \(other.title) both have address \(address)", about: one, other)
        case .datagrams(let identity):
            return Refusal(
                .conflict,
                "\(one.title) and \(other.title) both claim \(identity): remote_ip, local_ip, vni and "
                    + "dst_port together must be unique",
                about: one, other)
        }
    }
}

extension DesiredState {
    /// Throws `conflict` or `limit_exceeded` when changes that led here break what holds within a bridge, or
    /// the agent's limits.
    func check(_ changes: [ResourceChange]) throws(Refusal) {
        let limits = [
            (Bridge.kind, "bridges", bridges.count, AgentLimits.bridges),
            (StaticRoute.kind, "static routes", routes.count, AgentLimits.staticRoutes),
            (API.Neighbor.kind, "static neighbors", neighbors.count, AgentLimits.staticNeighbors),
        ]
        for (kind, plural, count, limit) in limits where count > limit {
            throw Refusal(
                Problem(.limitExceeded, "wanted at most \(limit) \(plural)"),
                about: changes.map(\.id).filter { $0.kind == kind })
        }
        for change in changes { try check(change) }
        for name in Set(changes.compactMap(\.id.bridge)) { try bridges[name]?.checkLimits(name) }
    }

    /// The part of it that is about one resource.
    func check(_ change: ResourceChange) throws(Refusal) {
        guard change.to != nil, let owner = change.id.bridge, let bridge = bridges[owner] else { return }
        try bridge.check(change.id)
        if change.isPushed { try checkIsWhole(change.id) }
    }

    /// What a controller pushed refers to nothing else: what is written locally may go at any moment.
    private func checkIsWhole(_ id: ResourceID) throws(Refusal) {
        guard let name = id.bridge, let bridge = bridges[name] else { return }
        for reference in bridge.references(of: id) {
            let member: ResourceID? =
                switch bridge.member(named: reference.name, of: name) {
                case .port(let port): .port(name, port)
                case .tunnel(let tunnel): .tunnel(name, tunnel)
                case .local, nil: nil
                }
            guard let member, !pushed.ids.contains(member) else { continue }
            throw Refusal(
                .managedElsewhere,
                "\(id.title): \(member.title) is local, and what is pushed leads to pushed members",
                about: id)
        }
    }
}

extension DesiredBridge {
    fileprivate func checkLimits(_ name: Name) throws(Refusal) {
        let members = ports.count + tunnels.count
        guard members <= AgentLimits.bridgeMembers else {
            throw Refusal(
                .limitExceeded,
                "bridge \(name): wanted at most \(AgentLimits.bridgeMembers) ports and tunnels, "
                    + "found \(members)", about: .bridge(name))
        }
        guard macs.count <= spec.macTableSize else {
            throw Refusal(
                .limitExceeded,
                "bridge \(name): wanted at most mac_table_size (\(spec.macTableSize)) static entries, "
                    + "found \(macs.count)", about: .bridge(name))
        }
        try checkSteeringLimits(name)
        let addresses = macs.values.reduce(0) { $0 + $1.ips.count }
        guard addresses <= AgentLimits.bridgeAddresses else {
            throw Refusal(
                .limitExceeded,
                "bridge \(name): wanted at most \(AgentLimits.bridgeAddresses) addresses of static entries, "
                    + "found \(addresses)", about: .bridge(name))
        }
    }

    /// Members of a bridge have names of their own, and static entries lead to one of them.
    fileprivate func check(_ id: ResourceID) throws(Refusal) {
        switch id {
        case .port(let bridge, let name):
            if name == bridge {
                throw Refusal(.conflict, "\(id.title): the bridge's local port has that name", about: id)
            }
            if tunnels[name] != nil {
                throw Refusal(
                    .conflict, "\(id.title): a tunnel of the bridge has that name", about: id,
                    .tunnel(bridge, name))
            }
        case .tunnel(let bridge, let name):
            if name == bridge {
                throw Refusal(.conflict, "tunnel \(name): the bridge's local port has that name", about: id)
            }
            if ports[name] != nil {
                let port = ResourceID.port(bridge, name)
                throw Refusal(
                    .conflict, "\(port.title): a tunnel of the bridge has that name", about: id, port)
            }
        case .mac(let bridge, let mac):
            guard let entry = macs[mac] else { return }
            if mac.vlan != 0, !entry.ips.isEmpty {
                throw Refusal(
                    Problem(
                        field: "ips", wanted: "none in an entry of a VLAN",
                        found: "an array of \(entry.ips.count) items"), about: [id])
            }
            guard member(named: entry.port, of: bridge) == nil else { return }
            throw Refusal(
                .conflict,
                "static entry \(mac): bridge \(bridge) has no port or tunnel called \(entry.port)", about: id)
        case .rule(let bridge, _), .mirror(let bridge, _): try checkReferences(of: id, bridge)
        case .bridge, .underlay, .route, .neighbor: break
        }
    }
}

extension DesiredBridge {
    enum Member: Equatable {
        case local
        case port(Name)
        case tunnel(Name)
    }

    /// The port or tunnel of that name; the bridge's own name is its local port.
    func member(named text: String, of bridge: Name) -> Member? {
        guard let name = Name(text) else { return nil }
        if name == bridge { return .local }
        if ports[name] != nil { return .port(name) }
        return tunnels[name] != nil ? .tunnel(name) : nil
    }
}

/// What makes a tunnel's datagrams its own.
private struct TunnelIdentity: Hashable, CustomStringConvertible {
    var remote: IPAddress
    var local: IPAddress?
    var vni: TunnelVNI
    var port: Int

    init(_ tunnel: Tunnel, _ vni: TunnelVNI) {
        remote = tunnel.remoteIP
        local = tunnel.localIP
        self.vni = vni
        port = tunnel.dstPort
    }

    var description: String {
        let number = if case .fixed(let vni) = vni { "VNI \(vni)" } else { "any VNI" }
        return "\(number) from \(remote)" + (local.map { " to \($0)" } ?? "") + " on UDP port \(port)"
    }
}
