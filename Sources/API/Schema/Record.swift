// What a type promises in order to be spoken over REST: `Record` (a JSON object with a schema) and
// `Resource` (a record that lives at a path under a key). Everything else, that is decoding, validation,
// columns and OpenAPI, follows from the schema.

public import JSON

/// A JSON object declared once. `init()` gives every default and is the prototype decoding starts from;
/// a required field's prototype value is never seen outside, since a body without it is refused.
public protocol Record: Equatable, Sendable {
    /// The name of its JSON Schema under `components.schemas`.
    static var schemaName: String { get }
    static var schema: Schema<Self> { get }
    init()
    /// What no single field can see: combinations. Called only when every field is valid by itself;
    /// pointers are relative to the record.
    func crossFieldErrors() -> [FieldError]
}

extension Record {
    public static var schemaName: String { "\(Self.self)" }
    public func crossFieldErrors() -> [FieldError] { [] }

    public var json: JSONObject { Self.schema.encode(self) }

    /// A whole body: parsed, then decoded, each as strictly as the other.
    public static func parse(_ body: [UInt8], limits: JSONLimits = JSONLimits()) throws(Problem) -> Self {
        let value: JSONValue
        do { value = try JSONValue.parse(body, limits: limits) } catch { throw Problem(from: error) }
        return try schema.decode(value)
    }
}

/// A record an operator writes with PUT at a path of its own.
public protocol Resource: Record {
    static var kind: Kind { get }
}

/// Where the resources of one sort live: `bridge` at `/v1/bridges/{bridge}`, `port` below it.
public struct Kind: Sendable, Hashable {
    /// What the last path segment is.
    public enum Key: Sendable, Hashable {
        case name
        case mac
    }

    /// In sentences and as the path parameter: "bridge".
    public let singular: String
    /// In the path and as the OpenAPI tag: "bridges".
    public let plural: String
    public let key: Key
    /// A key as the documentation shows it.
    public let example: String
    /// Outermost first; empty for a kind at the top.
    public let ancestors: [Kind]
    /// What stands before each key in a path: "/v1/bridges/", "/ports/".
    private let segments: [String]

    public init(
        _ singular: String, plural: String, key: Key = .name, example: String, under parent: Kind? = nil
    ) {
        self.singular = singular
        self.plural = plural
        self.key = key
        self.example = example
        self.ancestors = parent.map { $0.ancestors + [$0] } ?? []
        segments = (parent?.segments ?? []) + [(parent == nil ? "/v1" : "") + "/\(plural)/"]
    }

    public var parent: Kind? { ancestors.last }

    /// The kinds whose keys an item's path has, outermost first, this one last.
    public var lineage: [Kind] { ancestors + [self] }

    /// "/v1/bridges/{bridge}/ports"
    public var collectionPath: String { path(ancestors.map { "{\($0.singular)}" }) }

    /// "/v1/bridges/{bridge}/ports/{port}"
    public var itemPath: String { path(lineage.map { "{\($0.singular)}" }) }

    /// The path with the keys filled in, outermost first. One key per kind of the lineage names an item;
    /// without the last one it is the collection.
    public func path(_ keys: [String]) -> String {
        var path = ""
        for (segment, key) in zip(segments, keys) {
            path += segment
            path += key
        }
        if keys.count < segments.count { path += segments[keys.count].dropLast() }
        return path
    }

    /// Kinds are told apart by their names.
    public static func == (left: Kind, right: Kind) -> Bool { left.singular == right.singular }
    public func hash(into hasher: inout Hasher) { hasher.combine(singular) }
}
