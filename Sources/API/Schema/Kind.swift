// Where the resources of one sort live, and what the keys in their paths are: names mostly, and what else an
// address in the network or in the kernel is made of.

import JSON
public import Wire

/// `bridge` at `/v1/bridges/{bridge}`, `port` below it; `neighbor` under two keys, an interface and an address;
/// `underlay` under none, since there is one.
public struct Kind: Sendable, Hashable {
    /// One segment of a path that says which.
    public struct Key: Sendable, Hashable {
        public enum Form: Sendable, Hashable {
            case name
            /// A MAC address, and the VLAN it is in where it is in one.
            case station
            case interface
            case ip
        }

        /// As the path parameter: "bridge".
        public let parameter: String
        public let form: Form
        /// As the documentation shows it.
        public let example: String
        /// Texts of the form that mean something else in this place.
        let reserved: [String]

        public init(_ parameter: String, _ form: Form, example: String, reserved: [String] = []) {
            self.parameter = parameter
            self.form = form
            self.example = example
            self.reserved = reserved
        }
    }

    /// In sentences: "bridge".
    public let singular: String
    /// In the path and as the OpenAPI tag: "bridges".
    public let plural: String
    /// Of its own, without its ancestors'. None for the one of its kind, which always exists.
    public let ownKeys: [Key]
    /// Outermost first; empty for a kind at the top.
    public let ancestors: [Kind]
    /// The ancestors' keys and its own.
    public let keys: [Key]
    /// What stands before each key in a path: "/v1/bridges/", "/ports/".
    private let segments: [String]

    public init(_ singular: String, plural: String, keys own: [Key], under parent: Kind? = nil) {
        self.singular = singular
        self.plural = plural
        ownKeys = own
        ancestors = parent.map { $0.ancestors + [$0] } ?? []
        keys = (parent?.keys ?? []) + own
        segments =
            (parent?.segments ?? [])
            + own.indices.map { $0 == 0 ? (parent == nil ? "/v1" : "") + "/\(plural)/" : "/" }
    }

    /// A kind with one key that is called as it is.
    public init(
        _ singular: String, plural: String, key: Key.Form = .name, example: String, reserved: [String] = [],
        under parent: Kind? = nil
    ) {
        let key = Key(singular, key, example: example, reserved: reserved)
        self.init(singular, plural: plural, keys: [key], under: parent)
    }

    public var parent: Kind? { ancestors.last }

    /// There is one, under no key, and it can be neither made nor removed.
    public var isSingleton: Bool { ownKeys.isEmpty }

    /// Some text in the place of a key is another path.
    var hasReservedKeys: Bool { !ownKeys.allSatisfy(\.reserved.isEmpty) }

    /// The last key as the documentation shows it; the kind's own name where there is none.
    public var example: String { ownKeys.last?.example ?? singular }

    /// "/v1/bridges/{bridge}/ports"
    public var collectionPath: String { path((parent?.keys ?? []).map { "{\($0.parameter)}" }) }

    /// "/v1/bridges/{bridge}/ports/{port}"
    public var itemPath: String { path(keys.map { "{\($0.parameter)}" }) }

    /// The path with the keys filled in, outermost first. All of them name an item; without its own it is the
    /// collection.
    public func path(_ keys: [String]) -> String {
        var path = ""
        for (segment, key) in zip(segments, keys) {
            path += segment
            path += key
        }
        if isSingleton { return path + "/v1/\(plural)" }
        if keys.count < segments.count { path += segments[keys.count].dropLast() }
        return path
    }

    /// The keys in a path's segments behind "/v1/"; nil when it is of another kind.
    public func keys(in path: some Sequence<String>) -> [String]? {
        var rest = path.makeIterator()
        var keys: [String] = []
        for kind in ancestors + [self] {
            guard rest.next() == kind.plural else { return nil }
            for _ in kind.ownKeys {
                guard let key = rest.next() else { return nil }
                keys.append(key)
            }
        }
        return rest.next() == nil ? keys : nil
    }

    /// Kinds are told apart by their names.
    public static func == (left: Kind, right: Kind) -> Bool { left.singular == right.singular }
    public func hash(into hasher: inout Hasher) { hasher.combine(singular) }
}

// MARK: - Keys in path segments

extension Kind {
    /// The name in the last segment, or `malformed_request` saying what a name is.
    public func name(in segment: String) throws(Problem) -> Name {
        guard let key = ownKeys.last, let name = Name(segment), !key.reserved.contains(segment) else {
            throw .badKey(segment, ownKeys.last)
        }
        return name
    }

    /// The station in the last segment, or `malformed_request` saying what one is.
    public func station(in segment: String) throws(Problem) -> StationKey {
        guard let station = StationKey(segment) else { throw .badKey(segment, ownKeys.last) }
        return station
    }

    /// The address in the last segment, or `malformed_request` saying what one is.
    public func ip(in segment: String) throws(Problem) -> IPAddress {
        guard let address = IPAddress(segment), address.isNeighbor else {
            throw .badKey(segment, ownKeys.last)
        }
        return address
    }

    /// All keys of a path in their one spelling, or `malformed_request` about the outermost that is none.
    public func canonical(_ segments: [String]) throws(Problem) -> [String] {
        var canonical: [String] = []
        for (key, segment) in zip(keys, segments) {
            guard let text = key.canonical(segment) else { throw .badKey(segment, key) }
            canonical.append(text)
        }
        return canonical
    }
}

extension Kind.Key {
    /// What the form wants, in words.
    var wanted: String {
        let wanted =
            switch form {
            case .name: Name.codec.wanted
            case .station: StationKey.codec.wanted
            case .interface: TextRule.interfaceName.wanted
            case .ip: Codec<IPAddress>.interface.wanted
            }
        return reserved.isEmpty ? wanted : "\(wanted), nor \(reserved.joined(separator: " or "))"
    }

    var jsonSchema: JSONObject {
        var schema =
            switch form {
            case .name: Name.codec.jsonSchema
            case .station: StationKey.codec.jsonSchema
            case .interface: TextRule.interfaceName.jsonSchema
            case .ip: Codec<IPAddress>.interface.jsonSchema
            }
        if !reserved.isEmpty {
            let others = schema["not"]?["enum"]?.arrayValue ?? []
            schema["not"] = .object(["enum": .array(others + reserved.map { .string($0) })])
        }
        return schema
    }

    /// In its one spelling; nil for a text that is no such key.
    func canonical(_ text: String) -> String? {
        guard !reserved.contains(text) else { return nil }
        return switch form {
        case .name: Name(text).map { "\($0)" }
        case .station: StationKey(text).map { "\($0)" }
        case .interface: TextRule.interfaceName.accepts(text) ? text : nil
        case .ip: IPAddress(text).flatMap { $0.isNeighbor ? "\($0)" : nil }
        }
    }
}

extension Problem {
    /// A path segment that cannot be such a key; nil: the path has no key.
    static func badKey(_ text: String, _ key: Kind.Key?) -> Problem {
        let found = FieldError.excerpt(of: .string(text))
        return Problem(
            .malformedRequest,
            "\(key?.parameter ?? "key") in the path: wanted \(key?.wanted ?? "none"), found \(found)")
    }
}
