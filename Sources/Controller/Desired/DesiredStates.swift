// What each host is to have, kept up with the fleet. Pure. A change costs the networks it is in: their
// entries once, and for each host that is asked for its digest afterwards that of one bridge.

internal import API
internal import JSON
internal import Wire

struct DesiredStates: Sendable {
    private var networks: [Name: DesiredNetwork] = [:]
    /// Networks of each host that has any, by name.
    private var hosts: [Name: [Name]] = [:]

    init() {}

    /// Of everything in a fleet.
    init(_ fleet: Fleet) {
        for (name, network) in fleet.networks {
            networks[name] = DesiredNetwork(name, network, fleet)
        }
        for host in fleet.hosts.keys {
            let networks = fleet.networks(of: host)
            if !networks.isEmpty { hosts[host] = networks }
        }
    }

    /// Follows changes that the fleet has had.
    ///
    /// - Returns: one for each host that is to have something else now and is still in the fleet, by name.
    mutating func update(_ changes: [FleetChange], _ fleet: Fleet) -> [HostEffect] {
        var edits: [Name: NetworkEdit] = [:]
        for change in changes {
            switch (change.id, change.from, change.to) {
            case (.attachment(let network, let name), let from, let to):
                let move = NetworkEdit.Move(name: name, from: from?.attachment, to: to?.attachment)
                edits[network, default: NetworkEdit()].moves.append(move)
            case (.network(let name), .network(let before)?, _):
                edits[name, default: NetworkEdit()].before = before
            case (.network(let name), _, _): edits[name] = edits[name] ?? NetworkEdit()
            case (.host(let name), .host(let before)?, .host(let after)?)
            where before.vtepIPs != after.vtepIPs:
                for network in fleet.networks(of: name) {
                    edits[network, default: NetworkEdit()].readdressed.insert(name)
                }
            default: break
            }
        }
        var touched = TouchedPaths()
        for (name, edit) in edits { follow(edit, of: name, fleet, &touched) }
        return touched.effects.filter { fleet.hosts[$0.host] != nil }
    }

    private mutating func follow(
        _ edit: NetworkEdit, of name: Name, _ fleet: Fleet, _ touched: inout TouchedPaths
    ) {
        let network =
            fleet.networks[name] ?? FleetNetwork(spec: edit.before ?? Network(), vni: VNI(truncating: 0))
        // In place: taken out and put back, so that nothing of it is copied.
        var desired =
            networks.removeValue(forKey: name)
            ?? DesiredNetwork(name: name, bridge: Fragment(network.bridge()))
        let (joined, left) = desired.follow(edit, network, fleet, &touched)
        if fleet.networks[name] != nil { networks[name] = desired }
        for host in left {
            hosts[host]?.removeAll { $0 == name }
            if hosts[host]?.isEmpty == true { hosts[host] = nil }
        }
        for host in joined {
            hosts[host, default: []].append(name)
            hosts[host]?.sort()
        }
    }

    /// Of the host's whole state, as `StateDigest` defines it; that of nothing for a host without attachments.
    mutating func digest(of host: Name) -> SHA256 {
        let names = hosts[host] ?? []
        var lines = DigestLines(count: names.count)
        for name in names {
            if let digest = networks[name]?.digest(on: host) { lines.append(digest, .bridge(name)) }
        }
        return lines.digest
    }

    /// Resources of a host.
    func count(of host: Name) -> Int { networks(of: host).reduce(0) { $0 + $1.count(on: host) } }

    /// What is at a path of a host; nil when nothing is.
    func fragment(at path: StatePath, on host: Name) -> Fragment? {
        networks[path.bridge]?.fragment(at: path, on: host)
    }

    /// Everything on a host, in order.
    func forEach(on host: Name, _ body: (StatePath, Fragment) -> Void) {
        for network in networks(of: host) { network.forEach(on: host, body) }
    }

    private func networks(of host: Name) -> [DesiredNetwork] {
        hosts[host]?.compactMap { networks[$0] } ?? []
    }

    /// A page of a host's resources, in order.
    ///
    /// - Parameter after: the path the page before ended with; nil for the first.
    func resources(of host: Name, after last: StatePath? = nil, limit: Int) -> [StateResource] {
        var page: [StateResource] = []
        for network in networks(of: host) where page.count < limit {
            if let last, network.name < last.bridge { continue }
            network.forEach(on: host) { path, fragment in
                if let last, path <= last { return }
                guard page.count < limit, let body = try? JSONValue.parse(fragment.body).objectValue else {
                    return
                }
                page.append(StateResource(path: "\(path)", body: body))
            }
        }
        return page
    }
}

extension FleetSpec {
    fileprivate var attachment: Attachment? {
        if case .attachment(let spec) = self { spec } else { nil }
    }
}
