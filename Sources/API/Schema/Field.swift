// One member of a record: its JSON name, where it lives in the Swift value, and how it crosses. A field is
// declared by one line in the record's schema.

public import JSON

/// An object, since there is one for a member of a type, and looking at it for every value of every body must not
/// copy it.
public final class Field<R: Record>: Sendable {
    /// Where the value lives in the record.
    public typealias Path<V> = any WritableKeyPath<R, V> & Sendable

    public let name: String
    /// One or two sentences, with units; the OpenAPI description.
    public let doc: String
    /// A body without it is refused.
    public let isRequired: Bool
    /// The Swift property is optional: nil is left out of the JSON and there is no default to show.
    public let isOptional: Bool
    public let example: JSONValue?
    public let references: [SchemaReference]
    /// Completes "wanted …".
    public let wanted: String
    let valueSchema: JSONObject
    let decode: @Sendable (JSONValue, JSONPointer, inout Findings, inout R) -> Void
    let encode: @Sendable (R) -> JSONValue?

    /// What a text from elsewhere than JSON, such as the environment, says: a number or a boolean where the
    /// field has one and the text is one, else the text, for `decode` to judge.
    public func value(of text: String) -> JSONValue {
        switch valueSchema["type"] {
        case .string("integer"): Int64(text).map(JSONValue.integer) ?? .string(text)
        case .string("boolean"): Bool(text).map(JSONValue.bool) ?? .string(text)
        default: .string(text)
        }
    }

    private init<V>(
        _ name: String, _ codec: Codec<V>, doc: String, example: JSONValue?, isRequired: Bool = false,
        isOptional: Bool = false,
        get: @escaping @Sendable (R) -> V?, set: @escaping @Sendable (inout R, V) -> Void
    ) {
        self.name = name
        self.doc = doc
        self.isRequired = isRequired
        self.isOptional = isOptional
        self.example = example ?? codec.example
        self.references = codec.references
        self.wanted = codec.wanted
        self.valueSchema = codec.jsonSchema
        self.decode = { value, pointer, findings, record in
            if let decoded = codec.decode(value, pointer, &findings) { set(&record, decoded) }
        }
        self.encode = { record in get(record).map(codec.encode) }
    }

    /// A field that always has a value, with a codec narrower than its type's.
    public convenience init<V>(
        _ name: String, _ path: Path<V>, as codec: Codec<V>, doc: String,
        example: JSONValue? = nil, required: Bool = false
    ) {
        self.init(
            name, codec, doc: doc, example: example, isRequired: required,
            get: { $0[keyPath: path] }, set: { $0[keyPath: path] = $1 })
    }

    /// A field that may be absent, with a codec narrower than its type's.
    public convenience init<V>(
        _ name: String, _ path: Path<V?>, as codec: Codec<V>, doc: String,
        example: JSONValue? = nil
    ) {
        self.init(
            name, codec, doc: doc, example: example, isOptional: true,
            get: { $0[keyPath: path] }, set: { $0[keyPath: path] = $1 })
    }

    /// A field that always has a value.
    public convenience init<V: FieldValue>(
        _ name: String, _ path: Path<V>, doc: String, example: JSONValue? = nil,
        required: Bool = false
    ) {
        self.init(name, path, as: V.codec, doc: doc, example: example, required: required)
    }

    /// A field that may be absent.
    public convenience init<V: FieldValue>(
        _ name: String, _ path: Path<V?>, doc: String, example: JSONValue? = nil
    ) {
        self.init(name, path, as: V.codec, doc: doc, example: example)
    }

    /// An integer in a range.
    public convenience init(
        _ name: String, _ path: Path<Int>, range: ClosedRange<Int>, doc: String,
        example: JSONValue? = nil, required: Bool = false
    ) {
        self.init(name, path, as: .integer(range), doc: doc, example: example, required: required)
    }

    /// An integer in a range that may be absent.
    public convenience init(
        _ name: String, _ path: Path<Int?>, range: ClosedRange<Int>, doc: String,
        example: JSONValue? = nil
    ) {
        self.init(name, path, as: .integer(range), doc: doc, example: example)
    }

    /// A field of answers that follows from the others.
    convenience init<V>(
        _ name: String, computed path: any KeyPath<R, V> & Sendable, as codec: Codec<V>, doc: String,
        example: JSONValue? = nil
    ) {
        self.init(
            name, codec, doc: doc, example: example,
            get: { $0[keyPath: path] }, set: { _, _ in })
    }
}

@resultBuilder
public enum SchemaBuilder<R: Record> {
    public static func buildExpression(_ field: Field<R>) -> [Field<R>] { [field] }
    public static func buildExpression(_ fields: [Field<R>]) -> [Field<R>] { fields }
    public static func buildBlock(_ fields: [Field<R>]...) -> [Field<R>] { fields.flatMap { $0 } }
}
