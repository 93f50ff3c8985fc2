// The one error that crosses the API's edge: RFC 9457 problem details with a stable code. The agent throws
// it, the server fills in `instance` and `requestID`, the command line decodes it with the same schema.

public import JSON

public struct Problem: Error, Record {
    /// `application/problem+json` (RFC 9457 §3).
    public static let mediaType = "application/problem+json"

    public var code: ProblemCode
    /// What is wrong this time, with names and numbers.
    public var detail: String
    /// For `invalid_resource`, and a repeated key: one per wrong field, in the order of the schema.
    public var errors: [FieldError]
    /// The request's path; the server adds it.
    public var instance: String?
    /// As in the log and the `X-Request-Id` header; the server adds it.
    public var requestID: String?
    /// For what is wrong with a push: what the agent holds.
    public var held: StateHead?

    public init(_ code: ProblemCode, _ detail: String, errors: [FieldError] = []) {
        self.code = code
        self.detail = detail
        self.errors = errors
    }

    public init() { self.init(.unavailable, "") }

    /// A URI that names the code. It is an identifier, not an address (RFC 9457 §3.1.1).
    public var type: String { "urn:viaduct:problem:\(code.rawValue)" }
    public var title: String { code.title }
    public var status: Int { code.status }

    public static let schema = Schema<Problem>(
        summary: "Why a request was refused (RFC 9457). Match on `code`; a refused write changed nothing.",
        .answer
    ) {
        Field(
            "type", computed: \.type, as: .prose, doc: "Identifies the code as a URI.",
            example: "urn:viaduct:problem:invalid_resource")
        Field(
            "title", computed: \.title, as: .prose, doc: "The code in words.",
            example: "The resource is invalid")
        Field("status", computed: \.status, as: .integer(400...599), doc: "The HTTP status.", example: 422)
        Field("code", \.code, doc: codeDoc, example: "invalid_resource")
        Field(
            "detail", \.detail, as: .prose, doc: "What is wrong this time.",
            example: "/mtu: wanted an integer from 68 to 65535, found 10")
        Field("errors", \.errors, as: .answerList(of: .record), doc: "One per wrong field; may be empty.")
        Field("instance", \.instance, as: .prose, doc: "The request's path.", example: "/v1/bridges/br0")
        Field(
            "request_id", \.requestID, as: .prose, doc: "As in the log and the X-Request-Id header.",
            example: "5f2c9a61d0e7")
        Field(
            "held", \.held, as: .record,
            doc: "The pushed state the agent holds; only in refusals of a push.")
    }

    private static var codeDoc: String {
        "A closed set. "
            + ProblemCode.allCases.map { "`\($0.rawValue)` (\($0.status)): \($0.doc)" }.joined(separator: " ")
    }
}

extension Problem {
    /// The same problem of a body that turns out to sit below `base` in the request's.
    public func moved(below base: JSONPointer) -> Problem {
        guard base != JSONPointer() else { return self }
        var moved = self
        moved.errors = errors.map { $0.moved(below: base) }
        moved.detail = "\(base): \(detail)"
        return moved
    }

    /// The outcome of a decode that found something. The detail carries the first error, so that a person
    /// with curl need not read further.
    init(invalid what: String, _ findings: Findings) {
        var detail = "The body is not a valid \(what)."
        if let first = findings.errors.first {
            let place = first.pointer.description.isEmpty ? "the body" : first.pointer.description
            detail = "\(place): wanted \(first.wanted), found \(first.found)"
            if findings.totalCount > 1 { detail += " (and \(findings.totalCount - 1) more)" }
        }
        self.init(.invalidResource, detail, errors: findings.errors)
    }

    /// A body the parser refused. A repeated key is also an error of the field kind.
    public init(from jsonError: JSONError) {
        switch jsonError.kind {
        case .tooLarge: self.init(.bodyTooLarge, jsonError.message)
        case .outOfMemory: self.init(.unavailable, jsonError.message)
        case .duplicateKey:
            let found = "line \(jsonError.line), column \(jsonError.column)"
            let error = FieldError(at: JSONPointer(), .duplicateField, wanted: "each key once", found: found)
            self.init(.malformedJSON, jsonError.description, errors: [error])
        case .syntax, .numberOutOfRange, .nulCharacter, .invalidUTF8, .tooDeep, .tooManyMembers,
            .stringTooLong:
            self.init(.malformedJSON, jsonError.description)
        }
    }
}
