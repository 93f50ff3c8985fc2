// The name of a bridge, a port or a tunnel, chosen by whoever writes it.

import JSON

/// Valid by construction: 1 to 15 bytes of `[A-Za-z0-9][A-Za-z0-9_.-]*`, not "lo", "all" or "default".
public struct Name: Hashable, Sendable, Comparable, LosslessStringConvertible {
    public let description: String

    public init?(_ text: String) {
        guard TextRule.name.accepts(text) else { return nil }
        description = text
    }

    private init(unchecked text: String) { description = text }

    /// What stands in a document before it is decoded.
    static let prototype = Name(unchecked: "unnamed")

    public static func < (left: Name, right: Name) -> Bool { left.description < right.description }
}

extension Name: FieldValue {
    public static var codec: Codec<Name> {
        .text(
            wanted: TextRule.name.wanted, jsonSchema: TextRule.name.jsonSchema, example: "br0",
            parse: { Name($0) }, print: \.description)
    }
}
