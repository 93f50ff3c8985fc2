// The name of a bridge, a port or a tunnel, chosen by whoever writes it.

import JSON

/// Valid by construction: 1 to 15 bytes of `[A-Za-z0-9][A-Za-z0-9_.-]*`, not "lo", "all" or "default". Two words
/// and no text: names are keys everywhere, by the ten thousand, and compare, hash and copy as numbers.
public struct Name: Hashable, Sendable, Comparable, LosslessStringConvertible {
    /// The bytes, first one highest, zeros behind the last: as numbers in the order of the text.
    private let high: UInt64
    private let low: UInt64

    public init?(_ text: String) {
        guard TextRule.name.accepts(text) else { return nil }
        self.init(unchecked: text)
    }

    private init(unchecked text: String) {
        var (high, low) = (UInt64(0), UInt64(0))
        for (index, byte) in text.utf8.enumerated() {
            if index < 8 {
                high |= UInt64(byte) &<< UInt64(56 - index * 8)
            } else {
                low |= UInt64(byte) &<< UInt64(120 - index * 8)
            }
        }
        (self.high, self.low) = (high, low)
    }

    public var description: String {
        let words = (high.bigEndian, low.bigEndian)
        return withUnsafeBytes(of: words) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    public static func < (left: Name, right: Name) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }

    /// Of the one there is.
    public static let underlay = Name(unchecked: "underlay")

    /// What stands in a document before it is decoded.
    static let prototype = Name(unchecked: "unnamed")
}

extension Name: FieldValue {
    public static var codec: Codec<Name> {
        .text(
            wanted: TextRule.name.wanted, jsonSchema: TextRule.name.jsonSchema, example: "br0",
            parse: { Name($0) }, print: \.description)
    }
}
