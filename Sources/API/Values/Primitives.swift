// JSON forms of Swift's own types, and of enums that are words.

import JSON

extension Bool: FieldValue {
    public static var codec: Codec<Bool> {
        Codec(
            wanted: "true or false", jsonSchema: ["type": "boolean"],
            decode: { value, pointer, findings in
                if case .bool(let flag) = value { return flag }
                findings.add(.wrongType, at: pointer, wanted: "true or false", found: value)
                return nil
            },
            encode: { .bool($0) })
    }
}

/// An enum of words is a field value by saying so: `enum LinkState: String, CaseIterable, FieldValue`.
extension FieldValue where Self: RawRepresentable & CaseIterable, RawValue == String {
    public static var codec: Codec<Self> {
        let words = allCases.map(\.rawValue)
        return .text(
            wanted: "one of " + words.map { "\"\($0)\"" }.joined(separator: ", "),
            jsonSchema: ["type": "string", "enum": .array(words.map { .string($0) })],
            parse: { Self(rawValue: $0) }, print: \.rawValue)
    }
}
