// The sorts of thing an agent and a controller are told to have, as values: what documents and commands walk
// over. Names, parsing and validation are the schema's; nothing about a field is repeated here.

import API
import JSON

struct ResourceType: Sendable {
    static let bridge = ResourceType(Bridge.self, .agent, rank: 0)
    static let port = ResourceType(Port.self, .agent, rank: 1, in: bridge)
    static let tunnel = ResourceType(Tunnel.self, .agent, rank: 2, in: bridge)
    static let mac = ResourceType(StaticMAC.self, .agent, rank: 3, in: bridge)
    static let rule = ResourceType(Rule.self, .agent, rank: 4, in: bridge)
    static let mirror = ResourceType(Mirror.self, .agent, rank: 5, in: bridge)
    static let underlay = ResourceType(Underlay.self, .agent, rank: 6)
    static let route = ResourceType(StaticRoute.self, .agent, rank: 7)
    static let neighbor = ResourceType(Neighbor.self, .agent, rank: 8)
    static let host = ResourceType(FleetHost.self, .controller, rank: 9)
    static let network = ResourceType(Network.self, .controller, rank: 10)
    static let attachment = ResourceType(Attachment.self, .controller, rank: 11, in: network)

    /// Of both services. Parents before children, and what others refer to before them.
    static let all = [
        bridge, port, tunnel, mac, rule, mirror, underlay, route, neighbor, host, network, attachment,
    ]
    /// Those that are in no other.
    static let tops = all.filter(\.isTop)

    let kind: Kind
    let service: Role
    /// Properties of the spec's JSON Schema. Made once: a plan of ten thousand resources asks for each of them.
    let properties: JSONObject
    /// Place in `all`.
    private let rank: Int
    private let topRank: Int
    private let decode: @Sendable (JSONValue) throws(Problem) -> JSONObject

    private init<R: Resource>(
        _ resource: R.Type, _ service: Role, rank: Int, in parent: ResourceType? = nil
    ) {
        kind = R.kind
        self.service = service
        self.rank = rank
        topRank = parent?.topRank ?? rank
        properties = R.schema.jsonSchema["properties"]?.objectValue ?? [:]
        decode = { value throws(Problem) in try R.schema.decode(value).json }
    }

    var isTop: Bool { topRank == rank }

    /// The sort that its things are in, or it itself.
    var top: ResourceType { ResourceType.all[topRank] }

    /// The sorts that live in one of these.
    var children: [ResourceType] { ResourceType.all.filter { !$0.isTop && $0.topRank == rank } }

    /// The spec as the service would store it: every default written, every address in its one spelling.
    func normalized(_ spec: JSONValue) throws(Problem) -> JSONObject { try decode(spec) }

    /// Without the members that say what would be so anyway.
    func withoutDefaults(_ spec: JSONObject) -> JSONObject {
        JSONObject(spec.members.filter { properties[$0.key]?["default"] != $0.value })
    }
}

extension ResourceType: Hashable, Comparable {
    static func == (left: ResourceType, right: ResourceType) -> Bool { left.rank == right.rank }
    static func < (left: ResourceType, right: ResourceType) -> Bool { left.rank < right.rank }
    func hash(into hasher: inout Hasher) { hasher.combine(rank) }
}

/// Which one: a sort and the keys of its path, outermost first.
struct ResourceID: Hashable, Sendable, Comparable {
    var type: ResourceType
    var keys: [String]

    static func bridge(_ name: String) -> ResourceID { ResourceID(type: .bridge, keys: [name]) }

    /// The bridge, the network or the host that it is in or is.
    var top: ResourceID {
        ResourceID(type: type.top, keys: Array(keys.prefix(type.top.kind.keys.count)))
    }

    /// "/v1/bridges/br0/tunnels/vxlan1"
    var path: String { type.kind.path(keys) }

    /// As plans print it: "br0/tunnels/vxlan1", "networks/blue/attachments/web1". What most of an agent's begin with
    /// is left out.
    var title: String {
        pointer.tokens.dropFirst(type.top == .bridge ? 1 : 0).joined(separator: "/")
    }

    /// Its place in a state document.
    var pointer: JSONPointer {
        var pointer = JSONPointer()
        var rest = keys[...]
        for kind in type.kind.ancestors + [type.kind] {
            pointer = pointer.appending(kind.plural)
            for key in rest.prefix(kind.ownKeys.count) { pointer = pointer.appending(key) }
            rest = rest.dropFirst(kind.ownKeys.count)
        }
        return pointer
    }

    /// Nil for a path that is no resource's.
    init?(path: String) {
        let segments = path.split(separator: "/").map(String.init)
        guard segments.first == "v1" else { return nil }
        for type in ResourceType.all {
            guard let keys = type.kind.keys(in: segments.dropFirst()) else { continue }
            self.init(type: type, keys: keys)
            return
        }
        return nil
    }

    init(type: ResourceType, keys: [String]) {
        self.type = type
        self.keys = keys
    }

    /// Bridge by bridge, or host by host and then network by network, each with what is in it.
    static func < (left: ResourceID, right: ResourceID) -> Bool {
        if left.type.top != right.type.top { return left.type.top < right.type.top }
        let (first, second) = (left.keys.first ?? "", right.keys.first ?? "")
        if first != second { return first < second }
        if left.type != right.type { return left.type < right.type }
        return left.keys.lexicographicallyPrecedes(right.keys)
    }
}

/// How JSON values stand in cells and lines.
enum Cell {
    /// "-" for nothing; lists with commas; members as `name=value`.
    static func text(_ value: JSONValue?) -> String {
        switch value {
        case nil, .null: Table.absent
        case .string(let text): printable(text)
        // Seconds to the millisecond are what anybody compares.
        case .real(let number): String((number * 1000).rounded() / 1000)
        case .array(let items): joined(items.map(Cell.item), by: ",")
        case .object(let object): joined(object.members.map { "\($0.key)=\(Cell.text($0.value))" }, by: ",")
        case .some(let value): value.description
        }
    }

    /// Steps of a rule, objects of one member, as they are typed: "normal", "output:vxlan1", "set_field(tp_dst=80)".
    private static func item(_ value: JSONValue) -> String {
        guard let members = value.objectValue?.members, members.count == 1 else { return text(value) }
        let (name, step) = members[0]
        if step == .bool(true) { return name }
        return step.objectValue == nil ? "\(name):\(text(step))" : "\(name)(\(text(step)))"
    }

    /// The members of a spec as they are typed after `set`: "remote_ip=10.0.0.2 vni=100".
    static func assignments(_ spec: JSONObject) -> String {
        joined(spec.members.map { "\($0.key)=\(Cell.text($0.value))" }, by: " ")
    }

    private static func joined(_ texts: [String], by separator: String) -> String {
        texts.isEmpty ? Table.absent : texts.joined(separator: separator)
    }

    /// An agent's words must not move the cursor.
    private static func printable(_ text: String) -> String {
        let isControl = { (scalar: Unicode.Scalar) in scalar.value < 0x20 || scalar.value == 0x7F }
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? " " : $0 }))
    }
}
