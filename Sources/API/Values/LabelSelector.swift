// What a filter says about labels.

import JSON

/// "rack=r12", or "rack" for whatever value.
public struct LabelSelector: Hashable, Sendable, LosslessStringConvertible, FieldValue {
    public let key: String
    /// Nil: any.
    public let value: String?

    public init?(_ text: String) {
        let equals = text.firstIndex(of: "=")
        key = String(text[..<(equals ?? text.endIndex)])
        value = equals.map { String(text[text.index(after: $0)...]) }
        guard TextRule.labelKey.accepts(key), value.map(TextRule.labelValue.accepts) ?? true else {
            return nil
        }
    }

    public var description: String { value.map { "\(key)=\($0)" } ?? key }

    public func matches(_ labels: [String: String]) -> Bool {
        guard let found = labels[key] else { return false }
        return value == nil || value == found
    }

    public static var codec: Codec<LabelSelector> {
        .text(
            wanted: "a label KEY=VALUE, or KEY for any value",
            jsonSchema: ["type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_./-]{0,62}(=[ -~]{0,63})?$"],
            example: "rack=r12", parse: { LabelSelector($0) }, print: \.description)
    }
}
