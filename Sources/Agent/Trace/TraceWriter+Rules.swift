// What rules do, in the words of the API's actions.

internal import Datapath
internal import Wire

extension TraceWriter {
    func words(of action: RuleAction) -> String {
        switch action {
        case .normal: "normal"
        case .output(let port): "output \(name(number: port))"
        case .setTunnel(let vni, let via):
            "set_tunnel vni=\(vni.rawValue)" + (via.map { " by \(name(number: $0))" } ?? "")
        case .setEtherSource(let address): "set_field eth_src=\(address)"
        case .setEtherDestination(let address): "set_field eth_dst=\(address)"
        case .pushVLAN(let vlan, let priority): "push_vlan vid=\(vlan) pcp=\(priority)"
        case .popVLAN: "pop_vlan"
        case .setVLAN(let vlan): "set_field vlan_vid=\(vlan)"
        case .setVLANPriority(let priority): "set_field vlan_pcp=\(priority)"
        case .setNetworkSource(let address): "set_field ip_src=\(address.text)"
        case .setNetworkDestination(let address): "set_field ip_dst=\(address.text)"
        case .setDSCP(let value): "set_field ip_dscp=\(value)"
        case .setTimeToLive(let value): "set_field ip_ttl=\(value)"
        case .decrementTimeToLive: "dec_ttl"
        case .setSourcePort(let port): "set_field tp_src=\(port)"
        case .setDestinationPort(let port): "set_field tp_dst=\(port)"
        case .mirror(let port): "mirror \(name(number: port))"
        case .police: "police"
        case .goToTable(let table): "goto_table \(table)"
        case .drop: "drop"
        }
    }
}
