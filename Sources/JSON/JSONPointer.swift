/// A JSON pointer (RFC 6901): the place in a document that an error is about, `/addresses/0`.
///
/// Built downwards while a document is decoded; the root is the empty string.
public struct JSONPointer: Hashable, Sendable {
    /// The reference tokens, unescaped.
    public private(set) var tokens: [String]

    /// The whole document.
    public init() { tokens = [] }

    private init(tokens: [String]) { self.tokens = tokens }

    public func appending(_ key: String) -> JSONPointer { JSONPointer(tokens: tokens + [key]) }

    /// - Parameter index: of an array element, from 0.
    public func appending(_ index: Int) -> JSONPointer { appending(String(index)) }
}

extension JSONPointer: CustomStringConvertible {
    /// Each token after a slash, with `~` written `~0` and `/` written `~1` (RFC 6901 §3).
    public var description: String {
        var text = ""
        for token in tokens {
            text += "/"
            for scalar in token.unicodeScalars {
                switch scalar {
                case "~": text += "~0"
                case "/": text += "~1"
                default: text.unicodeScalars.append(scalar)
                }
            }
        }
        return text
    }
}
