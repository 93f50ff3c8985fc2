/// A JSON pointer (RFC 6901): the place in a document that an error is about, `/addresses/0`.
///
/// Built downwards while a document is decoded, once for every value of it and nearly always for nothing: so going
/// down costs one small object, which the places further down share. The root is the empty string.
public struct JSONPointer: Sendable {
    private final class Step: Sendable {
        let parent: Step?
        let token: String

        init(_ parent: Step?, _ token: String) {
            self.parent = parent
            self.token = token
        }
    }

    /// Nil for the whole document.
    private let last: Step?

    /// The whole document.
    public init() { last = nil }

    private init(_ last: Step) { self.last = last }

    /// The reference tokens, unescaped.
    public var tokens: [String] {
        var tokens: [String] = []
        var step = last
        while let current = step {
            tokens.append(current.token)
            step = current.parent
        }
        return tokens.reversed()
    }

    public func appending(_ key: String) -> JSONPointer { JSONPointer(Step(last, key)) }

    /// - Parameter index: of an array element, from 0.
    public func appending(_ index: Int) -> JSONPointer { appending(String(index)) }
}

extension JSONPointer: Hashable {
    public static func == (left: JSONPointer, right: JSONPointer) -> Bool { left.tokens == right.tokens }
    public func hash(into hasher: inout Hasher) { hasher.combine(tokens) }
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
