// What `viaduct show` prints of a fleet.
//
//     blue  vni 4096  mtu 1450  2 of 2 hosts in sync
//       subnets     192.0.2.0/24
//       attachment  NAME  HOST    MAC                IPS         STATE
//                   web1  host-a  02:00:00:00:00:0b  192.0.2.11  applied
//     hosts
//       NAME    STATE    AGENT                  VTEP      NETWORKS  ATTACHMENTS
//       host-a  in_sync  http://10.0.0.1:8640   10.0.0.1         1            1

import API
import JSON

struct FleetView {
    let terminal: Terminal

    func text(_ fleet: FleetInventory) -> String {
        let members = Dictionary(grouping: fleet.attachments, by: FleetInventory.network)
        let networks = fleet.networks.map { network($0, members[FleetInventory.name($0)] ?? []) }
        let all = networks + [hosts(fleet.hosts)]
        return (fleet.networks.isEmpty ? "no networks\n" : "") + all.joined(separator: "\n")
    }

    private func network(_ network: JSONValue, _ attachments: [JSONValue]) -> String {
        let (spec, status) = (network["spec"], network["status"])
        let block = LabelledBlock(labelWidth: 12, terminal: terminal)
        var head = [FleetInventory.name(network), "vni \(Cell.text(status?["vni"]))"]
        if let mtu = spec?["mtu"] { head.append("mtu \(Cell.text(mtu))") }
        if spec?["flooding"] == .string(Flooding.disabled.rawValue) { head.append("no flooding") }
        let (ready, all) = (Cell.text(status?["hosts_in_sync"]), Cell.text(status?["hosts"]))
        head.append("\(ready) of \(all) hosts in sync")
        var text = head.joined(separator: "  ") + "\n"
        if let subnets = spec?["subnets"]?.arrayValue, !subnets.isEmpty {
            text += block.line("subnets", subnets.map { Cell.text($0) }.joined(separator: ", "))
        }
        guard !attachments.isEmpty else { return text }
        var table = Table(["NAME", "HOST", "TYPE", "MAC", "IPS", "STATE"])
        table.states = ["STATE"]
        table.rows = attachments.map { item in
            [
                FleetInventory.name(item), Cell.text(item["spec"]?["host"]), Cell.text(item["spec"]?["type"]),
                Cell.text(item["status"]?["mac"]), Cell.text(item["spec"]?["ips"]),
                Cell.text(item["status"]?["state"]),
            ]
        }
        return text + block.table("attachment", table)
    }

    private func hosts(_ hosts: [JSONValue]) -> String {
        guard !hosts.isEmpty else { return "no hosts" }
        var table = Table(["NAME", "STATE", "AGENT", "VTEP", "NETWORKS", "ATTACHMENTS", "ERROR"])
        table.states = ["STATE"]
        table.rightAligned = ["NETWORKS", "ATTACHMENTS"]
        table.rows = hosts.map { host in
            let status = host["status"]
            return [
                FleetInventory.name(host), Cell.text(status?["state"]),
                Cell.text(host["spec"]?["agent_url"]), Cell.text(host["spec"]?["vtep_ips"]),
                Cell.text(status?["networks"]), Cell.text(status?["attachments"]),
                Cell.text(status?["last_error"]?["detail"]),
            ]
        }
        return "hosts\n" + LabelledBlock(labelWidth: 0, terminal: terminal).table("", table)
    }

    /// Everything, as the controller said it.
    static func json(_ version: JSONValue, _ fleet: FleetInventory) -> JSONValue {
        let members = Dictionary(grouping: fleet.attachments, by: FleetInventory.network)
        let networks = fleet.networks.map { network in
            var object = network.objectValue ?? [:]
            object["attachments"] = .array(members[FleetInventory.name(network)] ?? [])
            return JSONValue.object(object)
        }
        return ["version": version, "hosts": .array(fleet.hosts), "networks": .array(networks)]
    }
}
