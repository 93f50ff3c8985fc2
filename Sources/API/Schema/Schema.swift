// The single description of a record. Decoding, encoding, JSON Schema, examples and command-line columns
// are all read off the same list of fields, so none of them can drift from another.

public import JSON

public struct Schema<R: Record>: Sendable {
    /// Who writes the record, and so how strictly it is read.
    public enum Role: Sendable {
        /// Written by an operator: an unknown or missing field is an error.
        case request
        /// Written by an agent: readers ignore what they do not know and default what is missing, so an old
        /// command line understands a new agent and the other way round.
        case answer
    }

    /// One sentence; the OpenAPI description.
    public let summary: String
    public let role: Role
    public let fields: [Field<R>]
    /// How many of the fields a body may have; nil: any number.
    public let memberCount: ClosedRange<Int>?
    private let givenExample: JSONObject?
    /// Of the fields, in their order.
    private let names: [String]

    /// - Parameter example: where the fields' own do not go together.
    public init(
        summary: String, _ role: Role = .request, memberCount: ClosedRange<Int>? = nil,
        example: JSONObject? = nil, @SchemaBuilder<R> fields: () -> [Field<R>]
    ) {
        self.summary = summary
        self.role = role
        self.memberCount = memberCount
        givenExample = example
        self.fields = fields()
        names = self.fields.map { $0.name }
    }

    // MARK: - JSON to value and back

    /// Strict: finds every error of the body before it throws `invalid_resource`.
    public func decode(_ value: JSONValue) throws(Problem) -> R {
        var findings = Findings()
        if let record = decode(value, at: JSONPointer(), into: &findings) { return record }
        throw Problem(invalid: R.schemaName, findings)
    }

    /// Nil when anything was found wrong at or below `pointer`.
    func decode(_ value: JSONValue, at pointer: JSONPointer, into findings: inout Findings) -> R? {
        guard case .object(let object) = value else {
            findings.add(.wrongType, at: pointer, wanted: "an object", found: value)
            return nil
        }
        let countBefore = findings.totalCount
        if let memberCount, !memberCount.contains(object.members.count) {
            let wanted = memberCount == 1...1 ? "exactly one" : "at least \(memberCount.lowerBound)"
            findings.add(
                .invalidValue, at: pointer, wanted: "\(wanted) of " + names.joined(separator: ", "),
                found: object.members.isEmpty ? "none" : object.keys.joined(separator: ", "))
            return nil
        }
        var record = R()
        if role == .request { findUnknown(in: object, at: pointer, into: &findings) }
        for field in fields {
            if let value = object[field.name] {
                field.decode(value, pointer.appending(field.name), &findings, &record)
            } else if field.isRequired, role == .request {
                findings.add(
                    .missingField, at: pointer.appending(field.name), wanted: field.wanted, found: "nothing")
            }
        }
        guard findings.totalCount == countBefore else { return nil }
        for error in record.crossFieldErrors() { findings.add(error.moved(below: pointer)) }
        return findings.totalCount == countBefore ? record : nil
    }

    private func findUnknown(in object: JSONObject, at pointer: JSONPointer, into findings: inout Findings) {
        for (key, _) in object.members where !names.contains(key) {
            findings.add(
                .unknownField, at: pointer.appending(FieldError.shortened(key)),
                wanted: "one of " + names.joined(separator: ", "),
                found: .string(key))
        }
    }

    /// In declaration order, defaults written out, nil left out.
    public func encode(_ record: R) -> JSONObject {
        var object = JSONObject(reserving: fields.count)
        for field in fields {
            if let value = field.encode(record) { object[field.name] = value }
        }
        return object
    }

    /// The same without the fields that equal their default: a form that stays the same when a later version
    /// has fields this one does not know.
    public func encodeWithoutDefaults(_ record: R) -> JSONObject {
        let prototype = R()
        var object = JSONObject(reserving: fields.count)
        for field in fields {
            guard let value = field.encode(record), field.isRequired || value != field.encode(prototype)
            else {
                continue
            }
            object[field.name] = value
        }
        return object
    }

    // MARK: - Documentation

    /// JSON Schema 2020-12, as OpenAPI 3.1 wants it under `components.schemas`.
    public var jsonSchema: JSONObject {
        let prototype = R()
        var properties = JSONObject()
        for field in fields {
            var property = field.valueSchema
            property["description"] = .string(field.doc)
            if role == .request, !field.isRequired, let value = field.encode(prototype) {
                property["default"] = value
            }
            if let example = field.example, field.references.isEmpty {
                property["examples"] = .array([example])
            }
            properties[field.name] = .object(property)
        }
        let required = fields.filter { role == .answer ? !$0.isOptional : $0.isRequired }
        var schema: JSONObject = [
            "type": "object", "description": .string(summary), "properties": .object(properties),
        ]
        if !required.isEmpty { schema["required"] = .array(required.map { .string($0.name) }) }
        if role == .request { schema["additionalProperties"] = false }
        if let memberCount {
            schema["minProperties"] = .integer(Int64(memberCount.lowerBound))
            if memberCount.upperBound < fields.count {
                schema["maxProperties"] = .integer(Int64(memberCount.upperBound))
            }
        }
        return schema
    }

    /// A whole body put together from the fields' examples.
    public var example: JSONObject {
        if let givenExample { return givenExample }
        var object = JSONObject()
        for field in fields {
            if let example = field.example { object[field.name] = example }
        }
        return object
    }

    /// The named schemas the fields refer to.
    public var references: [SchemaReference] { fields.flatMap(\.references) }

    // MARK: - Command line

    /// One per field that fits a table cell; nested objects have tables of their own.
    public var columns: [Column<R>] {
        fields.filter { $0.references.isEmpty }.map { field in
            Column(title: field.name.uppercased()) { record in
                field.encode(record).map(Column<R>.cell) ?? "-"
            }
        }
    }
}

/// One column of a command-line table.
public struct Column<R: Record>: Sendable {
    /// "REMOTE_IP"
    public let title: String
    /// The cell of one record; "-" when it has no value.
    public let text: @Sendable (R) -> String

    static func cell(_ value: JSONValue) -> String {
        switch value {
        case .string(let text): text
        case .array(let items): items.isEmpty ? "-" : items.map(cell).joined(separator: ",")
        case .object(let object):
            object.members.isEmpty
                ? "-" : object.members.map { "\($0.key)=\(cell($0.value))" }.joined(separator: ",")
        default: value.description
        }
    }
}
