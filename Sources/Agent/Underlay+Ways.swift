// A tunnel's way: by which driver, interfaces and next hops, and how large a packet may be.

internal import API
internal import Datapath
internal import LinuxIO
internal import Wire

extension Underlay {
    /// One of equal ways.
    struct Hop: Equatable {
        var next: NeighborKey
        var source: IPAddress
        /// Share among the others.
        var weight: Int
    }

    /// The way to a tunnel's remote.
    struct Way: Equatable {
        var driver = DriverInUse.socket
        /// Of the first hop, as the gateway and the MTU.
        var ifname: String?
        var gateway: IPAddress?
        /// What route and interface allow, bytes.
        var mtu: Int?
        /// Of native.
        var hops: [Hop] = []
        /// Why native has no way now, and what frames are dropped for.
        var error: String?
        var refusal = DropReason.tunnelDown
    }

    /// Places of a tunnel in the program's path array: weights are brought down to these.
    static let pathLimit = 64

    /// Finds the way to `remote`; whatever it needs, an uplink and its next hops' cells, is there when this returns.
    func way(to remote: IPAddress, from local: IPAddress?) -> Way {
        let found = monitor.withState { state in
            Finding(state, remote, local, isNative: choice.driver == .native)
        }
        var way = found.way
        guard choice.driver == .native else { return way }
        way.driver = .native
        if found.hops.isEmpty {
            guard found.isBeyond, !choice.isStrict else { return way }
            return leaveToSockets(way)
        }
        for hop in found.hops {
            guard uplinks.uplink(hop.next.index, choice.output) != nil else {
                way.error = "uplink of \(way.ifname ?? ""): \(uplinks.faults[hop.next.index] ?? "gone")"
                continue
            }
            guard hold(hop.next, source: hop.source) else {
                way.error = "there are \(NeighborTable.defaultCapacity) next hops already"
                continue
            }
            way.hops.append(hop)
        }
        if way.hops.isEmpty { return choice.isStrict ? way : leaveToSockets(way) }
        way.error = nil
        return way
    }

    private func leaveToSockets(_ way: Way) -> Way {
        var way = way
        way.driver = .socket
        way.error = nil
        return way
    }

    /// What a path may carry, and how that is known.
    func pathMTU(to remote: IPAddress, from local: IPAddress?, routeMTU: Int) -> PathMTU.Value {
        pathMTUs.value(
            UnderlayPath(remote: remote, local: local), routeMTU: routeMTU, now: Worker.nowMilliseconds)
    }

    /// A tunnel's places in the path array; empty when none of its hops can be sent by.
    func paths(of way: Way, _ positions: [Int32: UInt32]) -> [PathEntry] {
        zip(way.hops, Underlay.shares(way.hops.map(\.weight))).flatMap { hop, share -> [PathEntry] in
            guard let uplink = positions[hop.next.index], let cell = pins[hop.next] else { return [] }
            let entry = PathEntry(uplink: uplink, source: PackedAddress(hop.source), neighbor: cell)
            return Array(repeating: entry, count: share)
        }
    }

    /// How many places ways of these weights have in the path array: about `pathLimit` at most, but each has one.
    static func shares(_ weights: [Int]) -> [Int] {
        let total = weights.reduce(0, +)
        return total <= pathLimit ? weights : weights.map { max(1, $0 * pathLimit / total) }
    }
}

/// What routes and addresses say of a way.
private struct Finding: Sendable {
    var way = Underlay.Way()
    var hops: [Underlay.Hop] = []
    /// There is a way, but not one that native can take.
    var isBeyond = false

    init(_ state: borrowing UnderlayState, _ remote: IPAddress, _ local: IPAddress?, isNative: Bool) {
        let match = state.match(remote)
        if let hop = match.nextHops.first {
            let link = state.links[hop.interface]
            way.ifname = link?.name ?? "\(hop.interface)"
            way.gateway = hop.gateway
            let own = match.route.map { Int($0.mtu) } ?? 0
            way.mtu = own > 0 ? min(own, link?.mtu ?? own) : link?.mtu
        }
        guard isNative else { return }
        if let local, !state.addresses.contains(local) {
            refuse("local_ip \(local) is no address of this host", .underlayNoRoute)
            return
        }
        let destination = match.route.map { "\($0.prefix)" } ?? ""
        switch match.verdict {
        case .unicast: takeHops(state, match, remote, local)
        case .local: refuse("\(remote) is an address of this host", .tunnelDown)
        case .blackhole: refuse("the route to \(destination) is a blackhole", .underlayBlackhole)
        case .unreachable, .prohibit: refuse("the route to \(destination) is unreachable", .underlayNoRoute)
        case .none: refuse("no route to \(remote)", .underlayNoRoute)
        }
    }

    private mutating func refuse(_ error: String, _ reason: DropReason) {
        way.error = error
        way.refusal = reason
    }

    private mutating func takeHops(
        _ state: borrowing UnderlayState, _ match: Datapath.RouteMatch, _ remote: IPAddress,
        _ local: IPAddress?
    ) {
        refuse("no route to \(remote)", .underlayNoRoute)
        for hop in match.nextHops {
            guard let link = state.links[hop.interface] else { continue }
            guard link.isEthernet, !hop.flags.contains(.encapsulated) else {
                isBeyond = true
                refuse(
                    "the route to \(remote) leaves by \(link.name), which native cannot send by",
                    .underlayNoRoute)
                continue
            }
            guard let source = local ?? state.source(to: remote, by: match, hop) else {
                refuse("this host has no source address for \(remote)", .underlayNoRoute)
                continue
            }
            hops.append(
                Underlay.Hop(
                    next: NeighborKey(index: hop.interface, address: hop.gateway ?? remote), source: source,
                    weight: Int(hop.weight)))
        }
        // Headers are of one family, whatever the router's.
        hops = hops.filter { $0.source.isIPv4 == remote.isIPv4 }
    }
}
