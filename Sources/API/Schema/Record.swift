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
