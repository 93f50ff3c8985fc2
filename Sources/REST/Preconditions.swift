// Conditional requests (RFC 9110 §13): entity tags name what was written, and a write or read may depend on
// them.

public import API
public import HTTP
public import JSON
internal import Wire

/// A strong entity tag: `"` and sixteen hex digits and `"`.
public struct EntityTag: Equatable, Sendable, CustomStringConvertible {
    public let description: String

    /// Of bytes, by FNV-1a and a finaliser: 64 bits tell two states of one resource apart.
    public init(of bytes: some Sequence<UInt8>) {
        var hash = FNV1a(bytes).value
        hash = (hash ^ hash >> 32) &* 0xd6e8_feb8_6659_fd93
        let digits = String(hash ^ hash >> 29, radix: 16)
        description = "\"" + String(repeating: "0", count: 16 - digits.count) + digits + "\""
    }

    /// Of what was written; status is not part of it.
    public init(_ object: JSONObject) { self.init(of: JSONValue.object(object).canonicalBytes) }

    /// Of a collection: every key and what was written under it, in any order.
    public init(collection: [(key: String, JSONObject)]) {
        let members = collection.sorted { $0.key < $1.key }.map {
            (key: $0.key, value: JSONValue.object($0.1))
        }
        self.init(JSONObject(members))
    }
}

/// `If-Match` and `If-None-Match` of one request.
public struct Preconditions: Sendable {
    /// A header's value.
    enum Tags: Sendable, Equatable {
        case any
        case list([String])

        /// Nil when it is no list of quoted tags. Weak tags never match strongly (RFC 9110 §8.8.3.2), so they
        /// are kept as written and match nothing.
        init?(_ text: String) {
            if text.trimmed == "*" {
                self = .any
                return
            }
            let tags = text.split(separator: ",").map { String($0).trimmed }
            let areTags = tags.allSatisfy {
                let opaque = $0.hasPrefix("W/") ? String($0.dropFirst(2)) : $0
                return opaque.count >= 2 && opaque.hasPrefix("\"") && opaque.hasSuffix("\"")
            }
            guard !tags.isEmpty, areTags else { return nil }
            self = .list(tags)
        }

        func matches(_ tag: EntityTag?) -> Bool {
            guard let tag else { return false }
            return switch self {
            case .any: true
            case .list(let tags): tags.contains(tag.description)
            }
        }
    }

    var ifMatch: Tags?
    var ifNoneMatch: Tags?

    public static let none = Preconditions()
    public var areNone: Bool { ifMatch == nil && ifNoneMatch == nil }

    private init() {}

    /// `malformed_request` for a header that is no list of tags.
    public init(_ request: HTTPRequest) throws(Problem) {
        ifMatch = try Preconditions.read("If-Match", request)
        ifNoneMatch = try Preconditions.read("If-None-Match", request)
    }

    private static func read(_ name: String, _ request: HTTPRequest) throws(Problem) -> Tags? {
        guard let text = request.header(name) else { return nil }
        guard let tags = Tags(text) else {
            throw Problem(.malformedRequest, "\(name): wanted * or quoted entity tags, found \(text)")
        }
        return tags
    }

    /// Refuses a write to a resource whose tag is `current` (nil: it does not exist): `precondition_failed`.
    public func check(_ current: EntityTag?, _ path: String) throws(Problem) {
        let state = current.map { "it is \($0.description) now" } ?? "it does not exist"
        if let ifMatch, !ifMatch.matches(current) {
            throw Problem(.preconditionFailed, "\(path): If-Match does not hold, \(state)")
        }
        if let ifNoneMatch, ifNoneMatch.matches(current) {
            throw Problem(.preconditionFailed, "\(path): If-None-Match does not hold, \(state)")
        }
    }
}

extension String {
    /// Without spaces and tabs at either end.
    var trimmed: String {
        let rest = drop { $0 == " " || $0 == "\t" }
        return String(rest.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
    }
}
