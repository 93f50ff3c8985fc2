// The steps from one desired state to another: the only way anything running is changed. Pure.
//
// Order: what is new is made before what is old is broken, so that traffic has a way at every moment.

internal import API
internal import Wire

/// One step.
enum Action: Equatable, Sendable {
    case createBridge(Name)
    case changeBridge(Name)
    case createPort(Name, Name)
    case changePort(Name, Name)
    case createTunnel(Name, Name)
    case changeTunnel(Name, Name)
    case pinMAC(Name, MACAddress)
    case unpinMAC(Name, MACAddress)
    case deleteTunnel(Name, Name)
    case deletePort(Name, Name)
    case deleteBridge(Name)

    /// Whether it adds or changes, as opposed to takes away.
    var makes: Bool {
        switch self {
        case .unpinMAC, .deleteTunnel, .deletePort, .deleteBridge: false
        default: true
        }
    }
}

/// Empty exactly when both states are equal.
func plan(_ old: DesiredState, _ new: DesiredState) -> [Action] {
    var actions: [Action] = []
    for (name, bridge) in new.bridges.sorted(by: { $0.key < $1.key }) where old.bridges[name] != bridge {
        let before = old.bridges[name]
        if before == nil {
            actions.append(.createBridge(name))
        } else if before?.spec != bridge.spec {
            actions.append(.changeBridge(name))
        }
        actions += planMembers(name, before ?? DesiredBridge(), bridge)
    }
    for name in old.bridges.keys.sorted() where new.bridges[name] == nil {
        actions.append(.deleteBridge(name))
    }
    // Stable: within makes and breaks the order above holds.
    return actions.filter(\.makes) + actions.filter { !$0.makes }
}

private func planMembers(_ bridge: Name, _ old: DesiredBridge, _ new: DesiredBridge) -> [Action] {
    var actions: [Action] = []
    for (name, port) in new.ports.sorted(by: { $0.key < $1.key }) where old.ports[name] != port {
        actions.append(old.ports[name] == nil ? .createPort(bridge, name) : .changePort(bridge, name))
    }
    for (name, tunnel) in new.tunnels.sorted(by: { $0.key < $1.key }) where old.tunnels[name] != tunnel {
        actions.append(old.tunnels[name] == nil ? .createTunnel(bridge, name) : .changeTunnel(bridge, name))
    }
    for (mac, entry) in new.macs.sorted(by: { $0.key < $1.key }) where old.macs[mac] != entry {
        actions.append(.pinMAC(bridge, mac))
    }
    for mac in old.macs.keys.sorted() where new.macs[mac] == nil { actions.append(.unpinMAC(bridge, mac)) }
    for name in old.tunnels.keys.sorted() where new.tunnels[name] == nil {
        actions.append(.deleteTunnel(bridge, name))
    }
    for name in old.ports.keys.sorted() where new.ports[name] == nil {
        actions.append(.deletePort(bridge, name))
    }
    return actions
}
