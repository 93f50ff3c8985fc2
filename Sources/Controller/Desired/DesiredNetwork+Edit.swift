// Following a change of the fleet within one network, and telling which paths of which hosts it has touched.

internal import API
internal import Wire

/// What a change of the fleet is to one network.
struct NetworkEdit {
    struct Move {
        var name: Name
        var from: Attachment?
        var to: Attachment?
    }

    var moves: [Move] = []
    /// The network itself before; nil when it is the same, or new.
    var before: Network?
    /// Hosts whose addresses are others.
    var readdressed: Set<Name> = []

    /// Whether a field of the network is another now.
    func changes<Value: Equatable>(_ field: KeyPath<Network, Value>, to spec: Network) -> Bool {
        before.map { $0[keyPath: field] != spec[keyPath: field] } ?? false
    }

    /// Whether all its tunnels are other ones now.
    func changesTunnels(to spec: Network) -> Bool { changes(\.dstPort, to: spec) || changes(\.bfd, to: spec) }
}

/// What has been touched on each host.
struct TouchedPaths {
    private struct Host {
        var paths: Set<StatePath> = []
        var getsPort = false
        var losesPort = false
        var isWritten = false
    }

    private var hosts: [Name: Host] = [:]

    mutating func note(_ path: StatePath, on host: Name, wasThere: Bool, isThere: Bool) {
        hosts[host, default: Host()].paths.insert(path)
        if isThere { hosts[host]?.isWritten = true }
        guard case .port = path, wasThere != isThere else { return }
        if isThere { hosts[host]?.getsPort = true } else { hosts[host]?.losesPort = true }
    }

    /// By name.
    var effects: [HostEffect] {
        hosts.map { name, host in
            let phase: HostEffect.Phase =
                host.getsPort ? .gains : host.losesPort || !host.isWritten ? .loses : .changes
            return HostEffect(host: name, paths: host.paths, phase: phase)
        }
        .sorted { $0.host < $1.host }
    }
}

/// The hosts of a network before and after a change.
private struct Membership {
    let hosts: Set<Name>
    let joined: Set<Name>
    let left: Set<Name>

    init(before: Set<Name>, after: Set<Name>) {
        hosts = after
        joined = after.subtracting(before)
        left = before.subtracting(after)
    }
}

extension DesiredNetwork {
    /// Of a network and everything on it.
    init(_ name: Name, _ network: FleetNetwork, _ fleet: Fleet) {
        self.init(name: name, bridge: Fragment(network.bridge()))
        var edit = NetworkEdit()
        edit.moves = network.attachments.map { NetworkEdit.Move(name: $0.key, to: $0.value) }
        let hosts = Set(fleet.hosts(of: name))
        rewrite(edit, network, fleet, Membership(before: [], after: hosts))
    }

    /// Follows an edit that the fleet has had.
    ///
    /// - Returns: the hosts that have joined and left.
    mutating func follow(
        _ edit: NetworkEdit, _ network: FleetNetwork, _ fleet: Fleet, _ touched: inout TouchedPaths
    ) -> (joined: Set<Name>, left: Set<Name>) {
        let members = Membership(before: Set(places.keys), after: Set(fleet.hosts(of: name)))
        let candidates = candidates(edit, network.spec, members)
        var before: [Name: [StatePath: Fragment]] = [:]
        for (host, paths) in candidates {
            for path in paths { before[host, default: [:]][path] = fragment(at: path, on: host) }
        }
        for host in members.left { forEach(on: host) { before[host, default: [:]][$0] = $1 } }
        rewrite(edit, network, fleet, members)

        let moved = Set(edit.moves.filter { $0.from?.host != $0.to?.host }.flatMap { macs(of: $0) })
        for (host, paths) in candidates {
            for path in paths {
                let (old, new) = (before[host]?[path], fragment(at: path, on: host))
                guard old != nil || new != nil else { continue }
                // An entry may lead to a port where it led to a tunnel of the same name: gone with the tunnel.
                guard old != new || moved.contains(path) else { continue }
                touched.note(path, on: host, wasThere: old != nil, isThere: new != nil)
            }
        }
        for host in members.left {
            for path in (before[host] ?? [:]).keys {
                touched.note(path, on: host, wasThere: true, isThere: false)
            }
        }
        for host in members.joined {
            forEach(on: host) { path, _ in
                touched.note(path, on: host, wasThere: false, isThere: true)
            }
        }
        forgetDigests()
        return (members.joined, members.left)
    }

    private func macs(of move: NetworkEdit.Move) -> [StatePath] {
        [move.from, move.to].compactMap { $0.map { .mac(name, $0.mac(as: move.name, in: name)) } }
    }

    /// The paths an edit may touch, on hosts that stay.
    private func candidates(
        _ edit: NetworkEdit, _ spec: Network, _ members: Membership
    ) -> [Name: Set<StatePath>] {
        var shared: Set<StatePath> = [.bridge(name)]
        for move in edit.moves { shared.formUnion(macs(of: move)) }
        let peers = members.joined.union(members.left).union(edit.readdressed)
        let all = members.hosts.union(members.left)
        var result: [Name: Set<StatePath>] = [:]
        for host in members.hosts.subtracting(members.joined) {
            let isChanged = edit.changesTunnels(to: spec) || edit.readdressed.contains(host)
            let tunnels = (isChanged ? all : peers).lazy.filter { $0 != host }
            result[host] = shared.union(tunnels.map { .tunnel(name, $0) })
            guard edit.changes(\.subnets, to: spec), let place = places[host] else { continue }
            result[host]?.formUnion(place.ports.map { .port(name, $0.name) })
        }
        for move in edit.moves {
            for host in [move.from?.host, move.to?.host].compactMap({ $0 }) {
                result[host]?.insert(.port(name, move.name))
            }
        }
        return result
    }

    /// Makes what the fleet has now of what it had.
    private mutating func rewrite(
        _ edit: NetworkEdit, _ network: FleetNetwork, _ fleet: Fleet, _ members: Membership
    ) {
        let bridge = Fragment(network.bridge())
        self.bridge = bridge
        for host in members.left { places[host] = nil }
        for host in members.joined { places[host] = DesiredPlace() }
        rewriteStations(edit)
        rewritePorts(edit, network)
        let isRewritten = edit.changesTunnels(to: network.spec)
        let others = members.joined.union(edit.readdressed)
        let gone = members.left.union(others)
        for host in members.hosts {
            guard let local = fleet.hosts[host] else { continue }
            let isWhole = isRewritten || others.contains(host)
            if isWhole {
                places[host]?.tunnels = []
            } else if !gone.isEmpty {
                places[host]?.tunnels.removeAll { gone.contains($0.name) }
            }
            let peers = isWhole ? members.hosts : others
            guard !peers.isEmpty else { continue }
            for peer in peers where peer != host {
                guard let remote = fleet.hosts[peer],
                    let tunnel = network.tunnel(from: (host, local), to: (peer, remote))
                else { continue }
                places[host]?.tunnels.append(DesiredMember(name: peer, fragment: Fragment(tunnel)))
            }
            places[host]?.tunnels.sort { $0.name < $1.name }
        }
    }

    private mutating func rewriteStations(_ edit: NetworkEdit) {
        let gone = Set(edit.moves.compactMap { move in move.from?.mac(as: move.name, in: name) })
        if !gone.isEmpty { stations.removeAll { gone.contains($0.mac) } }
        for move in edit.moves {
            guard let to = move.to else { continue }
            stations.append(
                DesiredStation(
                    mac: to.mac(as: move.name, in: name), host: to.host,
                    local: Fragment(StaticMAC(port: "\(move.name)", ips: to.ips)),
                    remote: Fragment(StaticMAC(port: "\(to.host)", ips: to.ips))))
        }
        stations.sort { $0.mac < $1.mac }
    }

    private mutating func rewritePorts(_ edit: NetworkEdit, _ network: FleetNetwork) {
        var moves = edit.moves
        if edit.changes(\.subnets, to: network.spec) {
            // Addresses of ports have the lengths of subnets.
            let known = Set(moves.map(\.name))
            moves += network.attachments.filter { !known.contains($0.key) }
                .map { NetworkEdit.Move(name: $0.key, from: $0.value, to: $0.value) }
        }
        for move in moves {
            guard let host = move.from?.host else { continue }
            places[host]?.ports.removeAll { $0.name == move.name }
        }
        var written: Set<Name> = []
        for move in moves {
            guard let to = move.to else { continue }
            let port = network.port(of: to, mac: to.mac(as: move.name, in: name))
            places[to.host]?.ports.append(DesiredMember(name: move.name, fragment: Fragment(port)))
            written.insert(to.host)
        }
        for host in written { places[host]?.ports.sort { $0.name < $1.name } }
    }
}
