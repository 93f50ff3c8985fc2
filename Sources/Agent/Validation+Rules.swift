// What rules, mirrors and static entries name must be there, on their bridge, and there is only so much of them. Pure.

internal import API
internal import Datapath
internal import JSON
internal import Wire

extension AgentLimits {
    /// Rules per bridge.
    static let bridgeRules = RuleTable.capacity
    /// Mirrors per bridge.
    static let bridgeMirrors = MirrorTable.capacity
    /// Rows the rules of a bridge are compiled into: several for a rule with a range of ports or many tunnels.
    static let bridgeRuleTerms = RuleTable.termCapacity
}

/// A port or tunnel that a resource names, and where.
struct Reference {
    var name: String
    var pointer: JSONPointer
}

extension DesiredBridge {
    /// The ports and tunnels a resource names.
    func references(of id: ResourceID) -> [Reference] {
        let root = JSONPointer()
        switch id {
        case .mac(_, let key):
            return macs[key].map { [Reference(name: $0.port, pointer: root.appending("port"))] } ?? []
        case .rule(_, let name): return rules[name]?.references ?? []
        case .mirror(_, let name): return mirrors[name]?.references ?? []
        case .bridge, .port, .tunnel, .underlay, .route, .neighbor: return []
        }
    }

    /// Of a rule or a mirror.
    func checkReferences(of id: ResourceID, _ bridge: Name) throws(Refusal) {
        for reference in references(of: id) where member(named: reference.name, of: bridge) == nil {
            throw DesiredBridge.refusal(
                id, reference.pointer, wanted: "a port or tunnel of bridge \(bridge), or its own name",
                found: "\"\(reference.name)\", which is none")
        }
        if case .mirror(_, let name) = id, let mirror = mirrors[name], mirror.outputPort == "\(bridge)" {
            throw DesiredBridge.refusal(
                id, JSONPointer().appending("output_port"), wanted: "a port or tunnel of the bridge",
                found: "\"\(bridge)\", its local port")
        }
        guard case .rule(_, let name) = id, let rule = rules[name] else { return }
        for (index, action) in rule.actions.enumerated() {
            guard let remote = action.tunnel?.remoteIP, !hasFlowTunnel(to: remote) else { continue }
            throw DesiredBridge.refusal(
                id,
                JSONPointer().appending("actions").appending(index).appending("set_tunnel")
                    .appending("remote_ip"),
                wanted: "the remote_ip of a tunnel of bridge \(bridge) whose vni is \"flow\"",
                found: "\"\(remote)\"")
        }
    }

    private func hasFlowTunnel(to remote: IPAddress) -> Bool {
        tunnels.values.contains { $0.remoteIP == remote && vni(of: $0) == .flow }
    }

    private static func refusal(
        _ id: ResourceID, _ pointer: JSONPointer, wanted: String, found: String
    ) -> Refusal {
        Refusal(
            Problem(
                .conflict, "\(id.title), \(pointer): wanted \(wanted), found \(found)",
                errors: [FieldError(at: pointer, .notAllowed, wanted: wanted, found: found)]),
            about: [id])
    }

    /// What ranges of ports and tun_src multiply.
    private var ruleTermCount: Int {
        var remotes: [IPAddress: Int]?
        return rules.values.reduce(0) { count, rule in
            let it = rule.match
            var match = Datapath.RuleMatch()
            (match.sourcePorts, match.destinationPorts) = (it.sourcePorts?.range, it.destinationPorts?.range)
            guard let remote = it.tunnelSource else { return count + match.termCount }
            let known = remotes ?? Dictionary(grouping: tunnels.values, by: \.remoteIP).mapValues(\.count)
            remotes = known
            return count + match.termCount * (it.inPort == nil ? known[remote] ?? 0 : 1)
        }
    }

    func checkSteeringLimits(_ bridge: Name) throws(Refusal) {
        let limits = [
            ("rules", rules.count, AgentLimits.bridgeRules),
            ("mirrors", mirrors.count, AgentLimits.bridgeMirrors),
            ("rows of compiled rules", ruleTermCount, AgentLimits.bridgeRuleTerms),
        ]
        for (plural, count, limit) in limits where count > limit {
            throw Refusal(
                .limitExceeded, "bridge \(bridge): wanted at most \(limit) \(plural), found \(count)",
                about: .bridge(bridge))
        }
    }
}

extension API.Rule {
    fileprivate var references: [Reference] {
        var references: [Reference] = []
        if let port = match.inPort {
            references.append(
                Reference(name: port, pointer: JSONPointer().appending("match").appending("in_port")))
        }
        for (index, action) in actions.enumerated() {
            guard let port = action.port else { continue }
            let word = action.mirror == nil ? "output" : "mirror"
            references.append(
                Reference(
                    name: port, pointer: JSONPointer().appending("actions").appending(index).appending(word)))
        }
        return references
    }
}

extension API.Mirror {
    fileprivate var references: [Reference] {
        let lists = [
            ("select_src_port", selectSourcePorts), ("select_dst_port", selectDestinationPorts),
        ]
        return lists.flatMap { field, ports in
            ports.enumerated().map { index, port in
                Reference(name: port, pointer: JSONPointer().appending(field).appending(index))
            }
        } + [Reference(name: outputPort, pointer: JSONPointer().appending("output_port"))]
    }
}
