// One thing wrong with one field of a body: where (a JSON pointer), what sort, what was wanted, what was
// found. `FieldErrorCode` is closed: scripts match on it.

public import JSON

public enum FieldErrorCode: String, CaseIterable, Sendable, FieldValue {
    case unknownField = "unknown_field"
    case duplicateField = "duplicate_field"
    case missingField = "missing_field"
    case wrongType = "wrong_type"
    case outOfRange = "out_of_range"
    case invalidValue = "invalid_value"
    case notAllowed = "not_allowed"
}

public struct FieldError: Record {
    /// RFC 6901, from the top of the body; empty for the body itself.
    public var pointer: JSONPointer
    public var code: FieldErrorCode
    /// Completes "wanted …".
    public var wanted: String
    /// The offending value as JSON, shortened.
    public var found: String
    /// The query parameter it is about; nil for the body.
    public var parameter: String?

    public init(at pointer: JSONPointer, _ code: FieldErrorCode, wanted: String, found: String) {
        self.pointer = pointer
        self.code = code
        self.wanted = wanted
        self.found = found
    }

    public init() { self.init(at: JSONPointer(), .invalidValue, wanted: "", found: "") }

    public static let schema = Schema<FieldError>(summary: "One thing wrong with one field.", .answer) {
        Field(
            "pointer", \.pointer, doc: "JSON pointer (RFC 6901) to the field; empty for the whole body.",
            example: "/mtu")
        Field("code", \.code, doc: "What sort of error; a closed set.", example: "out_of_range")
        Field(
            "wanted", \.wanted, as: .prose, doc: "What would have been accepted.",
            example: "an integer from 68 to 65535")
        Field("found", \.found, as: .prose, doc: "The offending value, shortened.", example: "10")
        Field(
            "parameter", \.parameter, as: .prose, doc: "The query parameter it is about, if not the body.",
            example: "vni")
    }

    /// Long enough for any address or path that is mistyped by a few characters.
    static let excerptScalarLimit = 64

    /// A scalar as JSON text, cut short; a container by its size, since its text would not help.
    static func excerpt(of value: JSONValue) -> String {
        switch value {
        case .array(let items): "an array of \(items.count) items"
        case .object(let object): "an object of \(object.members.count) fields"
        case .string(let text): JSONValue.string(shortened(text)).description
        default: value.description
        }
    }

    /// Counted in Unicode scalars: a single character may have thousands of them.
    static func shortened(_ text: String) -> String {
        let kept = text.unicodeScalars.prefix(excerptScalarLimit)
        return kept.endIndex == text.unicodeScalars.endIndex ? text : String(kept) + "…"
    }

    /// The same error of a record that turns out to sit below `base`.
    public func moved(below base: JSONPointer) -> FieldError {
        var moved = self
        moved.pointer = pointer.tokens.reduce(base) { $0.appending($1) }
        return moved
    }
}

extension JSONPointer: FieldValue {
    public static var codec: Codec<JSONPointer> {
        .text(
            wanted: "a JSON pointer", jsonSchema: ["type": "string", "format": "json-pointer"],
            parse: { JSONPointer(reading: $0) }, print: \.description)
    }

    /// RFC 6901 §3 and §4: tokens that each follow a slash, with ~1 for a slash and ~0 for a tilde. Works on
    /// bytes, because a combining mark may make one character of a slash and what follows it.
    init?(reading text: String) {
        self.init()
        guard let first = text.utf8.first else { return }
        guard first == UInt8(ascii: "/") else { return nil }
        let tokens = text.utf8.dropFirst().split(separator: first, omittingEmptySubsequences: false)
        for token in tokens { self = appending(JSONPointer.unescape(token)) }
    }

    private static func unescape(_ token: some Sequence<UInt8>) -> String {
        var bytes: [UInt8] = []
        var isEscaped = false
        for byte in token {
            switch (isEscaped, byte) {
            case (false, UInt8(ascii: "~")):
                isEscaped = true
                continue
            case (true, UInt8(ascii: "0")): bytes.append(UInt8(ascii: "~"))
            case (true, UInt8(ascii: "1")): bytes.append(UInt8(ascii: "/"))
            default: bytes.append(byte)
            }
            isEscaped = false
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
