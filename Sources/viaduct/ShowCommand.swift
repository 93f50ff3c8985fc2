// `viaduct show`: the whole host at a glance, or the whole fleet (FleetView).
//
//     br0  ok  up  mtu 1450  vni 100  mac 02:9c:…
//       address  192.0.2.1/24
//       macs     2 learned, 0 static of 8192
//       port     PORT  TYPE  INTERFACE  STATE  LINK  MTU
//                web1  tap   web1/eth0  ok     up    1450
//       tunnel   TUNNEL  REMOTE          VNI  STATE
//                vxlan1  10.0.0.2:4789   100  ok
//       drops    unknown_vni 3

import API
import ArgumentParser
import JSON

struct ShowCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show the whole host at a glance, or with --controller the whole fleet.",
        discussion: """
            Of an agent: each bridge with its addresses, MTU and MAC table, its ports and tunnels with their state, \
            and what was dropped and why, since the agent started. Of a controller: each network with its \
            attachments and where they are, and the hosts with their state.
            """)

    @OptionGroup var options: EitherOptions

    func run(_ session: Session) async throws(CommandError) {
        let version = try await session.client.get("/v1/version")
        let greeting = "viaduct \(Cell.text(version["version"])) at \(session.address)"
        guard version["role"] != .string(Role.controller.rawValue) else {
            let fleet = try await FleetInventory.read(session.client)
            session.json
                ? session.print(json: FleetView.json(version, fleet))
                : session.print(greeting + "\n" + FleetView(terminal: session.terminal).text(fleet))
            return
        }
        let inventory = try await Inventory.read(session.client)
        let listeners = try await session.client.list("/v1/listeners")
        if session.json {
            session.print(json: HostView.json(version, inventory, listeners))
            return
        }
        session.print(greeting)
        session.print(HostView(terminal: session.terminal).text(inventory, listeners))
    }
}

/// The host as text.
struct HostView {
    let terminal: Terminal
    private var under: LabelledBlock { LabelledBlock(labelWidth: 9, terminal: terminal) }

    func text(_ inventory: Inventory, _ listeners: [JSONValue]) -> String {
        let bridges = inventory.bridges.map(bridge)
        let underlay = underlay(inventory)
        guard !bridges.isEmpty else { return "no bridges" + (underlay.isEmpty ? "" : "\n" + underlay) }
        let drops = CounterSum.drops(listeners.map { $0["status"] })
        let socket = listeners.reduce(0) { $0 + ($1["status"]?["socket_drops"]?.integerValue ?? 0) }
        let all = drops + (socket > 0 ? [(reason: "full or bad at the socket", count: socket)] : [])
        let host = all.isEmpty ? "" : "\nlisteners\n" + under.line("drops", HostView.text(of: all))
        return bridges.joined(separator: "\n") + host + (underlay.isEmpty ? "" : "\n" + underlay)
    }

    /// The driver, where something was written of it, and the static routes.
    private func underlay(_ inventory: Inventory) -> String {
        let (document, routes) = (inventory.underlay, inventory.routes)
        let driver = document?["status"]?["driver"]
        let isPlain = document?["spec"]?["driver"] == .string(UnderlayDriver.auto.rawValue)
        guard !isPlain || driver != .string(DriverInUse.socket.rawValue) || !routes.isEmpty, let driver else {
            return ""
        }
        var text = "underlay\n" + under.line("driver", "\(Cell.text(driver)): \(reason(document))")
        guard !routes.isEmpty else { return text }
        var table = Table(["NAME", "DESTINATION", "GATEWAY", "INTERFACE", "METRIC", "TYPE", "ERROR"])
        table.rightAligned = ["METRIC"]
        table.rows = routes.map { route in
            [
                route.name, Cell.text(route.spec["destination"]), Cell.text(route.spec["gateway"]),
                Cell.text(route.status?["ifname"]), Cell.text(route.spec["metric"]),
                Cell.text(route.spec["type"]), Cell.text(route.status?["error"]),
            ]
        }
        text += under.table("route", table)
        return text
    }

    private func reason(_ underlay: JSONValue?) -> String { Cell.text(underlay?["status"]?["reason"]) }

    private func bridge(_ entry: Inventory.BridgeWithMembers) -> String {
        let (status, spec) = (entry.bridge.status, entry.bridge.spec)
        var head = [
            entry.name, terminal.painted(entry.bridge.state), link(status),
            "mtu \(Cell.text(status?["mtu"]))",
        ]
        if let vni = spec["vni"], vni != 0 { head.append("vni \(Cell.text(vni))") }
        head.append("mac \(Cell.text(status?["mac"]))")
        var text = head.joined(separator: "  ") + "\n"
        if status?["error"] != nil { text += under.line("error", HostView.error(status)) }
        let manager = HostView.manager(status)
        if manager != Table.absent { text += under.line("managed", "by \(manager)") }
        if let addresses = spec["addresses"]?.arrayValue, !addresses.isEmpty {
            text += under.line("address", addresses.map { Cell.text($0) }.joined(separator: ", "))
        }
        let macs = status?["macs"]
        text += under.line(
            "macs",
            "\(Cell.text(macs?["learned"])) learned, \(Cell.text(macs?["static"])) static of "
                + Cell.text(macs?["capacity"]))
        if !entry.ports.isEmpty { text += under.table("port", ports(entry.ports)) }
        if !entry.tunnels.isEmpty { text += under.table("tunnel", tunnels(entry.tunnels)) }
        let drops = CounterSum.drops(entry.all.map(\.status))
        if !drops.isEmpty { text += under.line("drops", HostView.text(of: drops)) }
        return text
    }

    private func link(_ status: JSONValue?) -> String {
        terminal.painted(Cell.text(status?["link"]))
    }

    private func ports(_ ports: [Inventory.Member]) -> Table {
        var table = Table([
            "NAME", "TYPE", "INTERFACE", "STATE", "LINK", "MTU", "ADDRESSES", "MANAGED BY", "ERROR",
        ])
        table.states = ["STATE", "LINK"]
        table.rightAligned = ["MTU"]
        table.rows = ports.map { port in
            let interface = Cell.text(port.status?["ifname"])
            let netns = port.status?["netns"].map { " in \(Cell.text($0))" } ?? ""
            return [
                port.name, Cell.text(port.spec["type"]), interface + netns, port.state,
                Cell.text(port.status?["link"]), Cell.text(port.status?["mtu"]),
                Cell.text(port.spec["addresses"]), HostView.manager(port.status),
                HostView.error(port.status),
            ]
        }
        return table
    }

    private func tunnels(_ tunnels: [Inventory.Member]) -> Table {
        var table = Table(["NAME", "REMOTE", "VNI", "LOCAL", "STATE", "MTU", "MANAGED BY", "ERROR"])
        table.states = ["STATE"]
        table.rightAligned = ["MTU", "VNI"]
        table.rows = tunnels.map { tunnel in
            [
                tunnel.name, HostView.endpoint(tunnel.spec), Cell.text(tunnel.status?["vni"]),
                Cell.text(tunnel.status?["local_ip"]), tunnel.state, Cell.text(tunnel.status?["mtu"]),
                HostView.manager(tunnel.status), HostView.error(tunnel.status),
            ]
        }
        return table
    }

    /// "10.0.0.2:4789", "[2001:db8::2]:4789"
    private static func endpoint(_ spec: JSONObject) -> String {
        let address = Cell.text(spec["remote_ip"])
        return (address.contains(":") ? "[\(address)]" : address) + ":" + Cell.text(spec["dst_port"])
    }

    /// Who manages it, if it was not written to this agent.
    private static func manager(_ status: JSONValue?) -> String {
        guard let manager = status?["managed_by"], manager != .string(Manager.local) else {
            return Table.absent
        }
        return Cell.text(manager)
    }

    /// Why something is degraded, and since when.
    private static func error(_ status: JSONValue?) -> String {
        guard let error = status?["error"] else { return Table.absent }
        let since = status?["since"]?.stringValue.map { " (since \($0))" } ?? ""
        return Cell.text(error) + since
    }

    private static func text(of drops: [(reason: String, count: Int64)]) -> String {
        drops.map { "\($0.reason) \($0.count)" }.joined(separator: ", ")
    }

    /// Everything, as the agent said it.
    static func json(_ version: JSONValue, _ inventory: Inventory, _ listeners: [JSONValue]) -> JSONValue {
        let bridges = inventory.bridges.map { entry in
            var object = entry.bridge.document.objectValue ?? [:]
            object["ports"] = .array(entry.ports.map(\.document))
            object["tunnels"] = .array(entry.tunnels.map(\.document))
            return JSONValue.object(object)
        }
        var all: JSONObject = [
            "version": version, "bridges": .array(bridges), "listeners": .array(listeners),
        ]
        all["underlay"] = inventory.underlay
        if inventory.underlay != nil { all["routes"] = .array(inventory.routes.map(\.document)) }
        return .object(all)
    }
}
