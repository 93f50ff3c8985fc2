// The forms an answer has: a document, nothing, a problem.

public import API
public import HTTP
public import JSON

extension HTTPResponse {
    /// A document: JSON indented for people, the same for programs.
    public static func document(_ object: JSONObject, status: Int = 200, tag: EntityTag? = nil)
        -> HTTPResponse
    {
        HTTPResponse(
            status: status,
            headers: [("Content-Type", "application/json")] + (tag.map { [("ETag", $0.description)] } ?? []),
            body: JSONValue.object(object).serialized(pretty: true) + [UInt8(ascii: "\n")])
    }

    /// Text for people.
    public static func text(_ text: String) -> HTTPResponse {
        HTTPResponse(
            headers: [("Content-Type", "\(Operations.plainMediaType); charset=utf-8")], body: Array(text.utf8)
        )
    }

    public static var noContent: HTTPResponse { HTTPResponse(status: 204) }

    /// A problem document with the status of its code.
    public static func problem(_ problem: Problem, headers: [(name: String, value: String)] = [])
        -> HTTPResponse
    {
        HTTPResponse(
            status: problem.status, headers: [("Content-Type", Problem.mediaType)] + headers,
            body: JSONValue.object(problem.json).serialized(pretty: true) + [UInt8(ascii: "\n")])
    }

    /// Problem documents for what the server refuses by itself.
    public static func failure(_ failure: HTTPFailure) -> HTTPResponse {
        let code: ProblemCode =
            switch failure {
            case .malformedRequest, .ambiguousLength, .unsupportedTransferEncoding, .tooManyHeaders:
                .malformedRequest
            case .uriTooLong: .uriTooLong
            case .bodyTooLarge: .bodyTooLarge
            case .handlerTimeout: .timeout
            case .unavailable, .tooManyLargeBodies, .tooManyStreams: .unavailable
            }
        let headers = code == .unavailable ? [(name: "Retry-After", value: "1")] : []
        return .problem(Problem(code, failure.message), headers: headers)
    }
}
