// The four sorts of thing an agent is told to have, as values: what the document and the commands walk over.
// Names, parsing and validation are the schema's; nothing about a field is repeated here.

import API
import JSON

enum ResourceType: String, CaseIterable, Sendable, Comparable {
    // Parents before children, and what a MAC entry points to before it.
    case bridge, port, tunnel, mac

    var kind: Kind {
        switch self {
        case .bridge: Bridge.kind
        case .port: Port.kind
        case .tunnel: Tunnel.kind
        case .mac: StaticMAC.kind
        }
    }

    /// The sorts that live in a bridge.
    static var children: [ResourceType] { allCases.filter { $0 != .bridge } }

    /// The spec as the agent would store it: every default written, every address in its one spelling.
    func normalized(_ spec: JSONValue) throws(Problem) -> JSONObject {
        switch self {
        case .bridge: try Bridge.schema.decode(spec).json
        case .port: try Port.schema.decode(spec).json
        case .tunnel: try Tunnel.schema.decode(spec).json
        case .mac: try StaticMAC.schema.decode(spec).json
        }
    }

    /// JSON Schema of the spec.
    private var jsonSchema: JSONObject {
        switch self {
        case .bridge: Bridge.schema.jsonSchema
        case .port: Port.schema.jsonSchema
        case .tunnel: Tunnel.schema.jsonSchema
        case .mac: StaticMAC.schema.jsonSchema
        }
    }

    var properties: JSONObject { ResourceType.allProperties[self] ?? [:] }

    /// Made once: a plan of ten thousand resources asks for each of them.
    private static let allProperties = Dictionary(
        uniqueKeysWithValues: allCases.map { ($0, $0.jsonSchema["properties"]?.objectValue ?? [:]) })

    /// The key in the one spelling the agent uses, or what is wrong with it.
    func key(_ text: String) throws(Problem) -> String {
        switch kind.key {
        case .name: try kind.name(in: text).description
        case .mac: try kind.mac(in: text).description
        }
    }

    /// Without the members that say what would be so anyway.
    func withoutDefaults(_ spec: JSONObject) -> JSONObject {
        let properties = properties
        return JSONObject(spec.members.filter { properties[$0.key]?["default"] != $0.value })
    }

    static func < (left: ResourceType, right: ResourceType) -> Bool { left.rank < right.rank }

    private var rank: Int { ResourceType.allCases.firstIndex(of: self) ?? 0 }
}

/// Which one: a sort and the keys of its path, outermost first.
struct ResourceID: Hashable, Sendable, Comparable {
    var type: ResourceType
    var keys: [String]

    static func bridge(_ name: String) -> ResourceID { ResourceID(type: .bridge, keys: [name]) }

    var bridge: String { keys.first ?? "" }

    /// "/v1/bridges/br0/tunnels/vxlan1"
    var path: String { type.kind.path(keys) }

    /// As plans print it: "br0/tunnels/vxlan1".
    var title: String {
        type == .bridge ? bridge : "\(bridge)/\(type.kind.plural)/\(keys.dropFirst().joined(separator: "/"))"
    }

    /// Its place in a state document.
    var pointer: JSONPointer {
        zip(type.kind.lineage, keys).reduce(JSONPointer()) { $0.appending($1.0.plural).appending($1.1) }
    }

    /// Nil for a path that is no resource's.
    init?(path: String) {
        let segments = path.split(separator: "/").map(String.init)
        for type in ResourceType.allCases where segments.count == 1 + 2 * type.kind.lineage.count {
            let plurals = stride(from: 1, to: segments.count, by: 2).map { segments[$0] }
            guard segments.first == "v1", plurals == type.kind.lineage.map(\.plural) else { continue }
            self.init(type: type, keys: stride(from: 2, to: segments.count, by: 2).map { segments[$0] })
            return
        }
        return nil
    }

    init(type: ResourceType, keys: [String]) {
        self.type = type
        self.keys = keys
    }

    /// Bridge by bridge, each with what is in it.
    static func < (left: ResourceID, right: ResourceID) -> Bool {
        if left.bridge != right.bridge { return left.bridge < right.bridge }
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
        case .array(let items): joined(items.map { Cell.text($0) }, by: ",")
        case .object(let object): joined(object.members.map { "\($0.key)=\(Cell.text($0.value))" }, by: ",")
        case .some(let value): value.description
        }
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
