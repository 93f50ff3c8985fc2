// How one value crosses JSON: what is wanted in words, its JSON Schema, and both directions. A codec is a
// value, so a field narrows its type's codec (`.integer(68...65535)`) without a type per range.
// The building blocks are here and in CodecBlocks.swift; codecs of the domain's types are in Values/.

public import JSON

/// A type whose JSON form needs no further parameters.
public protocol FieldValue: Equatable, Sendable {
    static var codec: Codec<Self> { get }
}

public struct Codec<Value: Sendable>: Sendable {
    /// Completes "wanted …": "an integer from 68 to 65535".
    public let wanted: String
    /// JSON Schema 2020-12 of the value, without description, default and examples.
    public let jsonSchema: JSONObject
    /// Shown in the documentation for a field that gives no example of its own.
    public let example: JSONValue?
    /// Schemas that `jsonSchema` refers to by `$ref`.
    public let references: [SchemaReference]
    /// Nil when the value was refused; the reasons are then in the findings.
    let decode: @Sendable (JSONValue, JSONPointer, inout Findings) -> Value?
    let encode: @Sendable (Value) -> JSONValue

    init(
        wanted: String, jsonSchema: JSONObject, example: JSONValue? = nil, references: [SchemaReference] = [],
        decode: @escaping @Sendable (JSONValue, JSONPointer, inout Findings) -> Value?,
        encode: @escaping @Sendable (Value) -> JSONValue
    ) {
        self.wanted = wanted
        self.jsonSchema = jsonSchema
        self.example = example
        self.references = references
        self.decode = decode
        self.encode = encode
    }

    /// The same JSON for another Swift type: `there` gives nil for a value the new type cannot hold.
    func map<Other: Sendable>(
        there: @escaping @Sendable (Value) -> Other?, back: @escaping @Sendable (Other) -> Value
    ) -> Codec<Other> {
        Codec<Other>(
            wanted: wanted, jsonSchema: jsonSchema, example: example, references: references,
            decode: { [decode, wanted] value, pointer, findings in
                guard let narrow = decode(value, pointer, &findings) else { return nil }
                if let other = there(narrow) { return other }
                findings.add(.invalidValue, at: pointer, wanted: wanted, found: value)
                return nil
            },
            encode: { [encode] other in encode(back(other)) })
    }
}

/// A named schema of `components.schemas`, and the reason it is there.
public struct SchemaReference: Sendable, Hashable {
    public let name: String
    let jsonSchema: @Sendable () -> JSONObject
    let references: @Sendable () -> [SchemaReference]
    let example: @Sendable () -> JSONValue?

    init(
        name: String, jsonSchema: @escaping @Sendable () -> JSONObject,
        references: @escaping @Sendable () -> [SchemaReference], example: @escaping @Sendable () -> JSONValue?
    ) {
        self.name = name
        self.jsonSchema = jsonSchema
        self.references = references
        self.example = example
    }

    /// The schema of a record.
    public init<R: Record>(_ record: R.Type) {
        name = R.schemaName
        jsonSchema = { R.schema.jsonSchema }
        references = { R.schema.references }
        example = { .object(R.schema.example) }
    }

    /// `{"$ref":"#/components/schemas/Bridge"}`
    public var reference: JSONObject { ["$ref": .string("#/components/schemas/\(name)")] }

    public static func == (left: Self, right: Self) -> Bool { left.name == right.name }
    public func hash(into hasher: inout Hasher) { hasher.combine(name) }
}
