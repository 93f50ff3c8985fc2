// A query parameter that narrows a collection: declared once, with the codec of the field it is about, so that a
// value no item can have is refused and not answered with an empty list.

internal import JSON

public struct Filter<Value: Sendable>: Sendable {
    public let name: String
    let doc: String
    private let codec: Codec<Value>

    init(_ name: String, as codec: Codec<Value>, _ doc: String) {
        self.name = name
        self.doc = doc
        self.codec = codec
    }

    var query: Operation.Query { Operation.Query(name: name, doc: doc, schema: codec.jsonSchema) }

    /// The refusal where it is not there and has to be.
    public var missing: Problem { Problem(parameter: name, wanted: codec.wanted, excerpt: "nothing") }

    /// What the text stands for. A number is a number here although a query has only text.
    public func parse(_ text: String) throws(Problem) -> Value {
        var findings = Findings()
        if let value = codec.decode(.string(text), JSONPointer(), &findings) { return value }
        let isDecimal = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        if isDecimal, let number = Int64(text),
            let value = codec.decode(.integer(number), JSONPointer(), &findings)
        {
            return value
        }
        throw Problem(parameter: name, wanted: codec.wanted, found: text)
    }
}

extension Filter where Value: FieldValue {
    init(_ name: String, _ doc: String) { self.init(name, as: Value.codec, doc) }
}

extension Filter<Health> {
    /// By `status.state`.
    public static var state: Filter { Filter("state", "ok or degraded.") }
}

extension Problem {
    /// A query parameter that cannot have this value.
    public init(parameter: String, wanted: String, found: String) {
        self.init(parameter: parameter, wanted: wanted, excerpt: FieldError.excerpt(of: .string(found)))
    }

    fileprivate init(parameter: String, wanted: String, excerpt: String) {
        var error = FieldError(at: JSONPointer(), .invalidValue, wanted: wanted, found: excerpt)
        error.parameter = parameter
        self.init(
            .malformedRequest, "query parameter \(parameter): wanted \(wanted), found \(excerpt)",
            errors: [error])
    }
}
