// The steps from one desired state to another: the only way anything running is changed. Pure.
//
// Order: what is new is made before what is old is broken, so that traffic has a way at every moment. The one
// thing two resources cannot have meanwhile is an interface name: where one passes from one resource to another,
// the interface that loses it is renamed out of the way first, which can be taken back like every make.

internal import API
internal import Wire

/// One step.
enum Action: Equatable, Sendable {
    /// A port's interface, or the local one of the bridge of that name, gives up its name; it goes on
    /// forwarding until it is replaced or deleted.
    case setAside(Name, Name)
    case createBridge(Name)
    case changeBridge(Name)
    case createPort(Name, Name)
    case changePort(Name, Name)
    case createTunnel(Name, Name)
    case changeTunnel(Name, Name)
    case pinMAC(Name, StationKey)
    case unpinMAC(Name, StationKey)
    case setRule(Name, Name)
    case unsetRule(Name, Name)
    case setMirror(Name, Name)
    case unsetMirror(Name, Name)
    case deleteTunnel(Name, Name)
    case deletePort(Name, Name)
    case deleteBridge(Name)
    case setUnderlay
    case setRoute(Name)
    case unsetRoute(Name)
    case setNeighbor(NeighborID)
    case unsetNeighbor(NeighborID)

    /// Whether it adds or changes, as opposed to takes away.
    var makes: Bool {
        switch self {
        case .unpinMAC, .deleteTunnel, .deletePort, .deleteBridge, .unsetRule, .unsetMirror, .unsetRoute,
            .unsetNeighbor:
            false
        default: true
        }
    }

    /// Whether it changes nothing but tables.
    var isAboutEntry: Bool {
        switch self {
        case .pinMAC, .unpinMAC: true
        default: false
        }
    }

    /// Whether interfaces may have other settings afterwards.
    var isAboutInterfaces: Bool {
        switch resource {
        case .bridge, .port, .tunnel: true
        case .mac, .rule, .mirror, .underlay, .route, .neighbor: false
        }
    }

    /// Whether tunnels may have other ways afterwards.
    var isAboutUnderlay: Bool {
        switch resource {
        case .underlay, .route, .neighbor: true
        case .bridge, .port, .tunnel, .mac, .rule, .mirror: false
        }
    }

    /// What it is about.
    var resource: ResourceID {
        switch self {
        case .createBridge(let name), .changeBridge(let name), .deleteBridge(let name): .bridge(name)
        case .setAside(let bridge, let name): name == bridge ? .bridge(bridge) : .port(bridge, name)
        case .createPort(let bridge, let name), .changePort(let bridge, let name),
            .deletePort(let bridge, let name):
            .port(bridge, name)
        case .createTunnel(let bridge, let name), .changeTunnel(let bridge, let name),
            .deleteTunnel(let bridge, let name):
            .tunnel(bridge, name)
        case .pinMAC(let bridge, let mac), .unpinMAC(let bridge, let mac): .mac(bridge, mac)
        case .setRule(let bridge, let name), .unsetRule(let bridge, let name): .rule(bridge, name)
        case .setMirror(let bridge, let name), .unsetMirror(let bridge, let name): .mirror(bridge, name)
        case .setUnderlay: .underlay
        case .setRoute(let name), .unsetRoute(let name): .route(name)
        case .setNeighbor(let id), .unsetNeighbor(let id): .neighbor(id)
        }
    }

    /// The bridge a step belongs to; nil for what is of the whole host.
    var bridge: Name? { resource.bridge }

    /// What sort of step, for metrics.
    enum Sort: String, CaseIterable {
        case setAside = "set_aside"
        case createBridge = "create_bridge"
        case changeBridge = "change_bridge"
        case createPort = "create_port"
        case changePort = "change_port"
        case createTunnel = "create_tunnel"
        case changeTunnel = "change_tunnel"
        case pinMAC = "pin_mac"
        case unpinMAC = "unpin_mac"
        case setRule = "set_rule"
        case unsetRule = "unset_rule"
        case setMirror = "set_mirror"
        case unsetMirror = "unset_mirror"
        case deleteTunnel = "delete_tunnel"
        case deletePort = "delete_port"
        case deleteBridge = "delete_bridge"
        case setUnderlay = "set_underlay"
        case setRoute = "set_route"
        case unsetRoute = "unset_route"
        case setNeighbor = "set_neighbor"
        case unsetNeighbor = "unset_neighbor"
    }

    var sort: Sort {
        switch self {
        case .setAside: .setAside
        case .createBridge: .createBridge
        case .changeBridge: .changeBridge
        case .createPort: .createPort
        case .changePort: .changePort
        case .createTunnel: .createTunnel
        case .changeTunnel: .changeTunnel
        case .pinMAC: .pinMAC
        case .unpinMAC: .unpinMAC
        case .setRule: .setRule
        case .unsetRule: .unsetRule
        case .setMirror: .setMirror
        case .unsetMirror: .unsetMirror
        case .deleteTunnel: .deleteTunnel
        case .deletePort: .deletePort
        case .deleteBridge: .deleteBridge
        case .setUnderlay: .setUnderlay
        case .setRoute: .setRoute
        case .unsetRoute: .unsetRoute
        case .setNeighbor: .setNeighbor
        case .unsetNeighbor: .unsetNeighbor
        }
    }
}

/// Empty exactly when both states are equal.
func plan(_ old: DesiredState, _ new: DesiredState) -> [Action] {
    plan(new.changes(from: old, at: old.ids + new.ids))
}

/// The steps of some changes that are all there are. What is of the whole host is there before bridges need it,
/// and goes after them.
func plan(_ changes: [ResourceChange]) -> [Action] {
    let goneBridges = Set(changes.filter { $0.to == nil && $0.id.kind == Bridge.kind }.map(\.id.bridge))
    let steps = changes.compactMap { change -> Step? in
        let isWholeBridge = change.id.kind != Bridge.kind && goneBridges.contains(change.id.bridge)
        return isWholeBridge ? nil : Step(change)
    }.sorted { $0.order < $1.order }
    let underlay = changes.compactMap(underlayAction)
    return underlay.filter(\.makes) + setAsides(changes) + steps.map(\.action)
        + underlay.filter { !$0.makes }
}

/// The step of a change that is of the whole host.
private func underlayAction(_ change: ResourceChange) -> Action? {
    let isGone = change.to == nil
    return switch change.id {
    case .underlay: .setUnderlay
    case .route(let name): isGone ? .unsetRoute(name) : .setRoute(name)
    case .neighbor(let id): isGone ? .unsetNeighbor(id) : .setNeighbor(id)
    case .bridge, .port, .tunnel, .mac, .rule, .mirror: nil
    }
}

/// A step and its place among the others.
private struct Step {
    let action: Action
    /// Makes before breaks, and bridges last to go; then bridge by bridge, then by kind, then by key.
    let order: (Int, Name, Int, String)

    /// Nil for a change that is of no bridge.
    init?(_ change: ResourceChange) {
        let (isNew, isGone) = (change.from == nil, change.to == nil)
        let rank: Int
        var key = ""
        switch change.id {
        case .bridge(let name):
            action = isNew ? .createBridge(name) : isGone ? .deleteBridge(name) : .changeBridge(name)
            rank = 0
        case .port(let bridge, let name):
            action =
                isNew
                ? .createPort(bridge, name) : isGone ? .deletePort(bridge, name) : .changePort(bridge, name)
            (rank, key) = (isGone ? 3 : 1, "\(name)")
        case .tunnel(let bridge, let name):
            action =
                isNew
                ? .createTunnel(bridge, name)
                : isGone ? .deleteTunnel(bridge, name) : .changeTunnel(bridge, name)
            (rank, key) = (2, "\(name)")
        case .mac(let bridge, let mac):
            action = isGone ? .unpinMAC(bridge, mac) : .pinMAC(bridge, mac)
            (rank, key) = (isGone ? 1 : 3, "\(mac)")
        case .rule(let bridge, let name):
            action = isGone ? .unsetRule(bridge, name) : .setRule(bridge, name)
            (rank, key) = (isGone ? 1 : 3, "\(name)")
        case .mirror(let bridge, let name):
            action = isGone ? .unsetMirror(bridge, name) : .setMirror(bridge, name)
            (rank, key) = (isGone ? 1 : 3, "\(name)")
        case .underlay, .route, .neighbor: return nil
        }
        guard let bridge = change.id.bridge else { return nil }
        let phase = !isGone ? 0 : rank == 0 ? 2 : 1
        order = (phase, bridge, rank, key)
    }
}

/// Interfaces whose names pass to others.
private func setAsides(_ changes: [ResourceChange]) -> [Action] {
    var wanted: Set<InterfaceName> = []
    for change in changes {
        let (before, after) = (change.from?.interface(of: change.id), change.to?.interface(of: change.id))
        if let after, after != before { wanted.insert(after) }
    }
    guard !wanted.isEmpty else { return [] }
    return changes.compactMap { change -> Action? in
        let (before, after) = (change.from?.interface(of: change.id), change.to?.interface(of: change.id))
        guard let before, before != after, wanted.contains(before) else { return nil }
        switch change.id {
        case .bridge(let name): return .setAside(name, name)
        // An interface that is only attached is not ours to rename.
        case .port(let bridge, let name):
            if case .port(let port)? = change.from, port.type == .system { return nil }
            return .setAside(bridge, name)
        case .tunnel, .mac, .rule, .mirror, .underlay, .route, .neighbor: return nil
        }
    }
}

/// An interface, by where it is and what it is called there.
struct InterfaceName: Hashable {
    var namespace: String?
    var name: String
}

extension Spec {
    /// The interface a resource has; nil when its kind has none.
    func interface(of id: ResourceID) -> InterfaceName? {
        switch (id, self) {
        case (.bridge(let name), _): InterfaceName(namespace: nil, name: "\(name)")
        case (.port(_, let name), .port(let port)):
            InterfaceName(namespace: port.netns, name: port.ifname ?? "\(name)")
        default: nil
        }
    }
}
