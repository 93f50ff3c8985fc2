// One request on its way to a handler: the keys of its path and its body, decoded with the API's own words.

internal import API
internal import HTTP
internal import JSON
internal import Wire

/// A request that has found its operation.
struct Call: Sendable {
    let request: HTTPRequest
    let operation: API.Operation
    let parameters: [String: String]

    /// The name in the path segment of a kind.
    func name(_ kind: Kind) throws(Problem) -> Name {
        try kind.name(in: parameters[kind.singular] ?? "")
    }

    func mac(_ kind: Kind) throws(Problem) -> MACAddress { try kind.mac(in: parameters[kind.singular] ?? "") }

    /// The body as a resource.
    func body<R: Record>(_ type: R.Type) throws(Problem) -> R {
        if let sent = request.header("Content-Type"), !Call.accepts(mediaType: sent) {
            throw Problem(.unsupportedMediaType, "Content-Type: wanted application/json, found \(sent)")
        }
        return try R.parse(request.body)
    }

    /// JSON, and what `curl -d` says when it is not told otherwise. Browsers ask before a cross-site PUT or
    /// DELETE whatever its type, and are refused, so this lets no other site write.
    private static func accepts(mediaType: String) -> Bool {
        let type = mediaType.prefix { $0 != ";" }.lowercased().filter { $0 != " " }
        return type == "application/json" || type == "application/x-www-form-urlencoded"
    }

    /// Refuses a query parameter the operation does not know: one that was meant to hold the agent back must
    /// not be passed over.
    func checkQuery() throws(Problem) {
        let known = operation.query.map(\.name)
        for parameter in request.query where !known.contains(parameter.name) {
            let wanted = known.isEmpty ? "none" : known.joined(separator: ", ")
            throw Problem(.malformedRequest, "query parameter: wanted \(wanted), found \(parameter.name)")
        }
    }

    /// Refuses a request whose Accept header has no room for the answer.
    func checkAccept() throws(Problem) {
        guard let accept = request.header("Accept"), let answer = operation.answers.first else { return }
        let wanted: String
        switch answer.body {
        case .empty: return
        case .json, .anyJSON: wanted = "application/json"
        case .text: wanted = "text/plain"
        }
        let ranges = accept.split(separator: ",").map {
            $0.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
        }
        let family = wanted.prefix { $0 != "/" } + "/*"
        guard ranges.isEmpty || ranges.contains(where: { $0 == "*/*" || $0 == family || $0 == wanted }) else {
            throw Problem(.notAcceptable, "Accept: wanted room for \(wanted), found \(accept)")
        }
    }
}

extension HTTPResponse {
    /// A document: JSON indented for people, the same for programs.
    static func document(_ object: JSONObject, status: Int = 200) -> HTTPResponse {
        HTTPResponse(
            status: status, headers: [("Content-Type", "application/json")],
            body: JSONValue.object(object).serialized(pretty: true) + [UInt8(ascii: "\n")])
    }

    static var noContent: HTTPResponse { HTTPResponse(status: 204) }

    static func problem(_ problem: Problem, headers: [(name: String, value: String)] = []) -> HTTPResponse {
        HTTPResponse(
            status: problem.status, headers: [("Content-Type", Problem.mediaType)] + headers,
            body: JSONValue.object(problem.json).serialized(pretty: true) + [UInt8(ascii: "\n")])
    }
}
