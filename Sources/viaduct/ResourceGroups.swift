// The sorts of resource as command groups: what names one, and which columns its table has.

import API
import ArgumentParser
import JSON

struct BridgeCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.bridge
    static let filter = "state=degraded"
    static let columns = [
        "name", "status.state", "status.link", "status.mtu", "spec.vni", "spec.addresses", "status.ports",
        "status.tunnels", "status.macs.learned", "status.macs.static", "status.error",
    ]
    static let example = "Example: viaduct bridge set br0 addresses=192.0.2.1/24,2001:db8::1/64 vni=100"

    struct Key: ResourceKey {
        @Argument(help: "Name of the bridge.", completion: Completion.names(.bridge)) var bridge: String
        var keys: [String] { [bridge] }
    }

    static let configuration = CommandConfiguration(
        commandName: "bridge", abstract: "Bridges: learning switches of this host.",
        subcommands: [
            ListCommand<BridgeCommand>.self, GetOneCommand<BridgeCommand>.self,
            SetCommand<BridgeCommand>.self, DeleteCommand<BridgeCommand>.self,
        ])
}

struct PortCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.port
    static let filter = "state=degraded or type=tap"
    static let columns = [
        "name", "spec.type", "status.ifname", "status.netns", "status.state", "status.link", "status.mtu",
        "spec.addresses", "status.error",
    ]
    static let example = "Example: viaduct port set br0 web1 type=tap netns=web1 addresses=192.0.2.11/24"

    struct Key: ResourceKey {
        @Argument(help: "Name of the bridge.", completion: Completion.names(.bridge)) var bridge: String
        @Argument(help: "Name of the port.", completion: Completion.members(.port))
        var port: String
        var keys: [String] { [bridge, port] }
    }

    static let configuration = CommandConfiguration(
        commandName: "port", abstract: "Ports: interfaces attached to a bridge.",
        subcommands: [
            ListCommand<PortCommand>.self, GetOneCommand<PortCommand>.self, SetCommand<PortCommand>.self,
            DeleteCommand<PortCommand>.self,
        ])
}

struct TunnelCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.tunnel
    static let filter = "state=degraded or remote_ip=10.0.0.2"
    static let columns = [
        "name", "spec.remote_ip", "status.local_ip", "status.vni", "spec.dst_port", "status.state",
        "status.mtu", "status.error",
    ]
    static let example = "Example: viaduct tunnel set br0 vxlan1 remote_ip=10.0.0.2 vni=100"

    struct Key: ResourceKey {
        @Argument(help: "Name of the bridge.", completion: Completion.names(.bridge)) var bridge: String
        @Argument(help: "Name of the tunnel.", completion: Completion.members(.tunnel))
        var tunnel: String
        var keys: [String] { [bridge, tunnel] }
    }

    static let configuration = CommandConfiguration(
        commandName: "tunnel", abstract: "Tunnels: VXLAN from a bridge to one remote VTEP each.",
        subcommands: [
            ListCommand<TunnelCommand>.self, GetOneCommand<TunnelCommand>.self,
            SetCommand<TunnelCommand>.self, DeleteCommand<TunnelCommand>.self,
        ])
}

struct MACCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.mac
    static let filter = "type=static or port=vxlan1"
    static var columns: [String] { MACEntry.schema.fields.map(\.name) }
    static let example = "Example: viaduct mac set br0 02:00:00:00:00:09 port=vxlan1"

    struct Key: ResourceKey {
        @Argument(help: "Name of the bridge.", completion: Completion.names(.bridge)) var bridge: String
        @Argument(help: "The MAC address.", completion: Completion.members(.mac))
        var mac: String
        var keys: [String] { [bridge, mac] }
    }

    static let configuration = CommandConfiguration(
        commandName: "mac", abstract: "MAC tables: learned entries, and static ones that are written.",
        subcommands: [
            ListCommand<MACCommand>.self, GetOneCommand<MACCommand>.self, SetCommand<MACCommand>.self,
            DeleteCommand<MACCommand>.self, FlushCommand.self,
        ])
}

struct FlushCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush", abstract: "Forget every learned entry of a bridge; static ones stay.")

    @Argument(help: "Name of the bridge.", completion: Completion.names(.bridge)) var bridge: String
    @OptionGroup var options: AgentOptions

    func run(_ session: Session) async throws(CommandError) {
        _ = try await session.client.delete(StaticMAC.kind.target([bridge]))
    }
}

/// Items as a table or as the list a script reads, those that are in something with what they are in.
enum ResourceList {
    private static let states: Set<String> = ["STATE", "LINK"]
    private static let words: Set<String> = ["NAME", "TYPE", "ERROR", "ADDRESSES", "IFNAME", "NETNS"]

    static func table(
        _ items: [(parent: String, item: JSONValue)], columns: [String], _ parent: Kind?
    ) -> Table {
        let titles = columns.map(title)
        var table = Table((parent.map { [$0.singular.uppercased()] } ?? []) + titles)
        table.states = states
        let numeric = titles.indices.filter { column in
            let values = items.map { member(columns[column], of: $0.item) }
            return values.contains { $0?.integerValue != nil }
        }
        table.rightAligned = Set(numeric.map { titles[$0] }).subtracting(words)
        for (name, item) in items {
            table.rows.append(
                (parent == nil ? [] : [name]) + columns.map { Cell.text(member($0, of: item)) })
        }
        return table
    }

    /// The server's list, with the bridge or network beside each item that is in one.
    static func json(_ items: [(parent: String, item: JSONValue)], _ parent: Kind?) -> JSONValue {
        let all = items.map { name, item in
            guard let parent, let object = item.objectValue else { return item }
            return .object(JSONObject([(parent.singular, .string(name))] + object.members))
        }
        return ["items": .array(all)]
    }

    /// "status.macs.learned" → "LEARNED"
    private static func title(_ path: String) -> String {
        (path.split(separator: ".").last.map(String.init) ?? path).uppercased()
    }

    private static func member(_ path: String, of item: JSONValue) -> JSONValue? {
        path.split(separator: ".").reduce(item) { value, name in value?[String(name)] }
    }
}

extension AgentClient {
    /// Of all things of a sort at the top.
    func names(_ type: ResourceType) async throws(CommandError) -> [String] {
        try await list(type.kind.path([])).compactMap { $0["name"]?.stringValue }
    }
}
