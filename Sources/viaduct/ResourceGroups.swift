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
        @Argument(
            help: "The MAC address, with @VLAN where it is in one.", completion: Completion.members(.mac))
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

struct RuleCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.rule
    static let filter = "table=1 or state=degraded"
    static let columns = [
        "name", "spec.table", "spec.priority", "status.n_packets", "status.n_bytes", "status.used",
        "spec.match", "spec.actions", "status.error",
    ]
    static let example = """
        A rule is written whole. match and actions are typed much as ovs-ofctl has them:

        Example: viaduct rule set br0 no-telnet priority=1000 match=tcp,ip_dst=10.0.0.0/8,tp_dst=23 actions=drop

        Example: viaduct rule set br0 to-proxy match=tcp,tp_dst=80 'actions=set_field(tp_dst=8080),output:proxy'
        """

    struct Key: ResourceKey {
        @Argument(help: "Name of the bridge.", completion: Completion.names(.bridge)) var bridge: String
        @Argument(help: "Name of the rule.", completion: Completion.members(.rule))
        var rule: String
        var keys: [String] { [bridge, rule] }
    }

    static let configuration = CommandConfiguration(
        commandName: "rule", abstract: "Rules: what a bridge does with frames in place of switching them.",
        subcommands: [
            ListCommand<RuleCommand>.self, GetOneCommand<RuleCommand>.self, SetCommand<RuleCommand>.self,
            DeleteCommand<RuleCommand>.self,
        ])
}

struct MirrorCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.mirror
    static let filter = ""
    static let columns = [
        "name", "spec.select_src_port", "spec.select_dst_port", "spec.select_all", "spec.select_vlan",
        "spec.output_port",
    ]
    static let example =
        "Example: viaduct mirror set br0 web1 select_src_port=web1 select_dst_port=web1 output_port=probe1"

    struct Key: ResourceKey {
        @Argument(help: "Name of the bridge.", completion: Completion.names(.bridge)) var bridge: String
        @Argument(help: "Name of the mirror.", completion: Completion.members(.mirror))
        var mirror: String
        var keys: [String] { [bridge, mirror] }
    }

    static let configuration = CommandConfiguration(
        commandName: "mirror", abstract: "Mirrors: copies of frames to a port or tunnel.",
        subcommands: [
            ListCommand<MirrorCommand>.self, GetOneCommand<MirrorCommand>.self,
            SetCommand<MirrorCommand>.self, DeleteCommand<MirrorCommand>.self,
        ])
}

struct RouteCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.route
    static let filter = ""
    static let columns = [
        "name", "spec.destination", "spec.gateway", "status.ifname", "spec.source", "spec.metric",
        "spec.type", "status.active", "status.error",
    ]
    static let example = "Example: viaduct route add backbone destination=10.0.0.0/8 gateway=192.0.2.1"

    struct Key: ResourceKey {
        @Argument(help: "Name of the route.", completion: Completion.names(.route)) var route: String
        var keys: [String] { [route] }
    }

    static let configuration = CommandConfiguration(
        commandName: "route", abstract: "Static routes of the underlay, and where its packets go.",
        subcommands: [
            ListCommand<RouteCommand>.self, GetOneCommand<RouteCommand>.self, SetCommand<RouteCommand>.self,
            DeleteCommand<RouteCommand>.self, LookupCommand.self,
        ])
}

struct NeighborCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.neighbor
    static let filter = "ifname=eth0, type=static or state=failed"
    static var columns: [String] { NeighborEntry.schema.fields.map(\.name) }
    static let example = "Example: viaduct neigh add eth0 192.0.2.1 mac=02:00:00:00:00:01"

    struct Key: ResourceKey {
        @Argument(help: "Name of the interface.", completion: Completion.names(.neighbor)) var ifname: String
        @Argument(help: "Address of the neighbor.", completion: Completion.members(.neighbor)) var ip: String
        var keys: [String] { [ifname, ip] }
    }

    static let configuration = CommandConfiguration(
        commandName: "neigh",
        abstract: "Neighbors of the underlay: learned ones, and static ones that are written.",
        subcommands: [
            ListCommand<NeighborCommand>.self, GetOneCommand<NeighborCommand>.self,
            SetCommand<NeighborCommand>.self, DeleteCommand<NeighborCommand>.self,
        ])
}

struct UnderlayCommand: ParsableCommand, CommandResource {
    typealias Options = AgentOptions
    static let type = ResourceType.underlay
    static let filter = ""
    static let columns: [String] = []
    static let example = "Example: viaduct underlay set driver=native pmtu_probe=true"

    struct Key: ResourceKey {
        var keys: [String] { [] }
    }

    static let configuration = CommandConfiguration(
        commandName: "underlay", abstract: "How tunnels' datagrams leave this host and come in.",
        subcommands: [GetOneCommand<UnderlayCommand>.self, SetCommand<UnderlayCommand>.self])
}

/// One line like that of `ip route get`, and why.
struct LookupCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "lookup", abstract: "Show which way packets of the underlay take to an address, and why."
    )

    @Argument(help: "The address.") var destination: String
    @Option(help: "Source address of the packets.") var source: String?
    @OptionGroup var options: AgentOptions

    func run(_ session: Session) async throws(CommandError) {
        var query = [(name: RouteLookup.destinationParameter.name, value: destination)]
        if let source { query.append((name: RouteLookup.sourceParameter.name, value: source)) }
        let answer = try await session.client.get(RouteLookup.path, query: query)
        session.json ? session.print(json: answer) : session.print(LookupCommand.text(answer))
    }

    static func text(_ answer: JSONValue) -> String {
        let isWay = answer["verdict"] == .string(RouteVerdict.unicast.rawValue)
        let words = [("via", "gateway"), ("dev", "ifname"), ("src", "source"), ("mtu", "mtu")]
            .compactMap { word, field in answer[field].map { "\(word) \(Cell.text($0))" } }
        let way = isWay ? words : [Cell.text(answer["verdict"])]
        return ([Cell.text(answer["destination"])] + way).joined(separator: " ") + "\n  "
            + Cell.text(answer["reason"])
    }
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
    private static let words: Set<String> = [
        "NAME", "TYPE", "ERROR", "MATCH", "ACTIONS", "ADDRESSES", "IFNAME", "NETNS",
    ]

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
