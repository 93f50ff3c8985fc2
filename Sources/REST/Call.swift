// One request on its way to a handler: the keys of its path and its body, decoded with the API's own words.

public import API
public import HTTP
public import JSON

/// A request that has found its operation.
public struct Call: Sendable {
    public let request: HTTPRequest
    public let operation: API.Operation
    /// The keys of the path, decoded, by their names in the template.
    public let parameters: [String: String]

    /// The name in the path segment of a kind.
    public func name(_ kind: Kind) throws(Problem) -> Name {
        try kind.name(in: parameters[kind.singular] ?? "")
    }

    /// The value of a query parameter, nil when it is not there.
    public func query(_ name: String) -> String? { request.query.first { $0.name == name }?.value }

    /// What a filter asks for, nil when it is not there.
    public func value<Value>(of filter: Filter<Value>) throws(Problem) -> Value? {
        guard let text = query(filter.name) else { return nil }
        return try filter.parse(text)
    }

    /// Whether the caller only wants to know.
    public func isDryRun() throws(Problem) -> Bool { try flag("dry_run") }

    /// The value of a query parameter that is true or false; without one it is true.
    public func flag(_ name: String) throws(Problem) -> Bool {
        switch query(name) {
        case nil, "false": return false
        case "true", "": return true
        case let other?: throw Problem(parameter: name, wanted: "true or false", found: other)
        }
    }

    /// The body, parsed and of a media type the operation reads.
    public func body(limits: JSONLimits = JSONLimits()) throws(Problem) -> JSONValue {
        let sent = request.header("Content-Type")
        guard sent.map(accepts(mediaType:)) ?? (operation.method != .post) else {
            throw Problem(
                .unsupportedMediaType,
                "Content-Type: wanted \(operation.bodyMediaType), found \(sent ?? "none")")
        }
        do {
            return try JSONValue.parse(request.body, limits: limits)
        } catch {
            throw Problem(from: error)
        }
    }

    /// JSON, and what `curl -d` says when it is not told otherwise; but not for POST, which a browser would
    /// send across sites with a form's type, or none, without asking. PUT, PATCH and DELETE it asks for, and
    /// is refused.
    private func accepts(mediaType sent: String) -> Bool {
        let type = sent.prefix { $0 != ";" }.lowercased().filter { $0 != " " }
        if type == "application/json" || type == operation.bodyMediaType { return true }
        return operation.method != .post && type == "application/x-www-form-urlencoded"
    }

    /// Refuses a query parameter the operation does not know: one that was meant to hold a write back must
    /// not be passed over.
    func checkQuery() throws(Problem) {
        let known = operation.query.map(\.name)
        var seen: Set<String> = []
        for parameter in request.query {
            guard known.contains(parameter.name) else {
                let wanted = known.isEmpty ? "none" : known.joined(separator: ", ")
                throw Problem(.malformedRequest, "query parameter: wanted \(wanted), found \(parameter.name)")
            }
            guard seen.insert(parameter.name).inserted else {
                throw Problem(
                    .malformedRequest, "query parameter \(parameter.name): wanted it once, found it twice")
            }
        }
    }

    /// Refuses a request whose Accept header has no room for the answer.
    func checkAccept() throws(Problem) {
        guard let accept = request.header("Accept"), let answer = operation.answers.first else { return }
        let wanted: [String]
        switch answer.body {
        case .empty: return
        case .json, .either, .anyJSON: wanted = ["application/json"]
        case .text: wanted = ["text/plain", "application/openmetrics-text"]
        case .bytes(let type): wanted = [type]
        case .jsonOrText(_, let other): wanted = ["application/json", other]
        }
        let families = wanted.map { $0.prefix { $0 != "/" } + "/*" }
        let ranges = Call.ranges(accept)
        let fits = ranges.contains { $0 == "*/*" || families.contains(Substring($0)) || wanted.contains($0) }
        guard ranges.isEmpty || fits else {
            let types = wanted.joined(separator: " or ")
            throw Problem(.notAcceptable, "Accept: wanted room for \(types), found \(accept)")
        }
    }

    /// Whether text for people is asked for, and not JSON.
    public var wantsText: Bool { accepts(exactly: Operations.plainMediaType) }

    /// Whether a media type is asked for by name, not by a wildcard.
    func accepts(exactly mediaType: String) -> Bool {
        Call.ranges(request.header("Accept") ?? "").contains(mediaType)
    }

    /// The media ranges of an Accept header. One with `q=0` is excluded; other weights do not matter to an
    /// operation that has one form per type.
    private static func ranges(_ accept: String) -> [String] {
        accept.split(separator: ",").compactMap { range in
            let parts = range.split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
            let isExcluded = parts.dropFirst().contains {
                ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains($0)
            }
            return isExcluded ? nil : parts.first
        }
    }
}
