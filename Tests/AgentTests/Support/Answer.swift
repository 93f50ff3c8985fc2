// What a service answers, in the words of tests, and the writes of a batch. The controller's tests have this file too.

import HTTP
import JSON
import Testing

/// What came back.
struct Answer: Sendable {
    let status: Int
    let headers: [(name: String, value: String)]
    let text: String

    init(_ response: HTTPResponse) {
        status = response.status
        headers = response.headers
        text = String(decoding: response.body, as: UTF8.self)
    }

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// Null when the body is no JSON.
    var json: JSONValue {
        (try? JSONValue.parse(Array(text.utf8), limits: JSONLimits(memberCount: 100_000))) ?? .null
    }
    var items: [JSONValue] { json["items"]?.arrayValue ?? [] }
    var code: String? { json["code"]?.stringValue }
    var detail: String { json["detail"]?.stringValue ?? "" }
    /// Of the resource: "ok" or "degraded".
    var health: String? { json["status"]?["state"]?.stringValue }
    var error: String? { json["status"]?["error"]?.stringValue }
}

extension Answer {
    var tag: String? { header("ETag") }
    /// Where the body is wrong.
    var pointers: [String] {
        (json["errors"]?.arrayValue ?? []).compactMap { $0["pointer"]?.stringValue }
    }
    /// Paths of a dry run's plan: "add", "change" or "remove".
    func planned(_ verb: String) -> [String] {
        (json["plan"]?[verb]?.arrayValue ?? []).compactMap { $0["path"]?.stringValue }
    }
}

/// A PUT of a batch.
func putting(_ path: String, _ body: String = "{}") -> String {
    #"{"method":"PUT","path":"\#(path)","body":\#(body)}"#
}

/// A DELETE of a batch.
func deleting(_ path: String) -> String { #"{"method":"DELETE","path":"\#(path)"}"# }

/// Polls until `condition` holds; records an issue when it does not within twenty seconds.
func eventually(
    _ what: Comment, at location: SourceLocation = #_sourceLocation, _ condition: () async throws -> Bool
) async throws {
    for _ in 0..<2000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record(what, sourceLocation: location)
}
