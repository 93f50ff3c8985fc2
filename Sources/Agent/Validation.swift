// What a single resource cannot know about itself: clashes with others, and the agent's limits. Pure; run on
// the state a write would lead to, before anything is touched.

internal import API
internal import JSON
internal import LinuxIO
internal import Wire

/// The agent's limits on resources; listed in the README.
enum AgentLimits {
    /// Bridges per agent.
    static let bridges = 4096
    /// Ports and tunnels per bridge together: the member numbers of a MAC table, less the local port.
    static let bridgeMembers = 65_000
}

extension DesiredState {
    /// Throws `conflict` or `limit_exceeded`, naming the other party, when the state contradicts itself.
    func checkConsistency() throws(Problem) {
        guard bridges.count <= AgentLimits.bridges else {
            throw Problem(.limitExceeded, "wanted at most \(AgentLimits.bridges) bridges")
        }
        var interfaces: [Interface: String] = [:]
        var tunnels: [TunnelIdentity: String] = [:]
        for (name, bridge) in bridges.sorted(by: { $0.key < $1.key }) {
            try claim(Interface(namespace: nil, name: "\(name)"), "bridge \(name)", &interfaces)
            try check(name, bridge, &interfaces)
            for (tunnel, spec) in bridge.tunnels.sorted(by: { $0.key < $1.key }) {
                let identity = TunnelIdentity(spec, bridge.vni(of: spec))
                let owner = "tunnel \(tunnel) of bridge \(name)"
                if let other = tunnels.updateValue(owner, forKey: identity) {
                    throw Problem(
                        .conflict,
                        "\(owner) and \(other) both claim \(identity): remote_ip, local_ip, vni and dst_port "
                            + "together must be unique")
                }
            }
        }
    }

    /// An interface, by where it is and what it is called there.
    private struct Interface: Hashable {
        var namespace: String?
        var name: String
    }

    private func claim(_ interface: Interface, _ owner: String, _ taken: inout [Interface: String])
        throws(Problem)
    {
        if let other = taken.updateValue(owner, forKey: interface) {
            let place = interface.namespace.map { " in namespace \($0)" } ?? ""
            throw Problem(.conflict, "\(owner) and \(other) both want interface \(interface.name)\(place)")
        }
    }

    private func check(
        _ name: Name, _ bridge: DesiredBridge, _ interfaces: inout [Interface: String]
    ) throws(Problem) {
        let members = bridge.ports.count + bridge.tunnels.count
        guard members <= AgentLimits.bridgeMembers else {
            throw Problem(
                .limitExceeded,
                "bridge \(name): wanted at most \(AgentLimits.bridgeMembers) ports and tunnels, found \(members)"
            )
        }
        guard bridge.macs.count <= bridge.spec.macTableSize else {
            throw Problem(
                .limitExceeded,
                "bridge \(name): wanted at most mac_table_size (\(bridge.spec.macTableSize)) static entries, "
                    + "found \(bridge.macs.count)")
        }
        for (port, spec) in bridge.ports.sorted(by: { $0.key < $1.key }) {
            let owner = "port \(port) of bridge \(name)"
            if port == name {
                throw Problem(.conflict, "\(owner): the bridge's local port has that name")
            }
            if bridge.tunnels[port] != nil {
                throw Problem(.conflict, "\(owner): a tunnel of the bridge has that name")
            }
            try claim(Interface(namespace: spec.netns, name: spec.ifname ?? "\(port)"), owner, &interfaces)
        }
        if bridge.tunnels[name] != nil {
            throw Problem(.conflict, "tunnel \(name): the bridge's local port has that name")
        }
        for (mac, entry) in bridge.macs where bridge.member(named: entry.port, of: name) == nil {
            throw Problem(
                .conflict, "static entry \(mac): bridge \(name) has no port or tunnel called \(entry.port)")
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
