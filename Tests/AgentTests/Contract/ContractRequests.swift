// The requests of the contract's tests, in their words.

import JSON
import Testing

@testable import Agent

extension TestAgent {
    @discardableResult
    func patch(
        _ path: String, _ body: String, headers: [(String, String)] = [],
        at location: SourceLocation = #_sourceLocation
    ) async -> Answer {
        await ask("PATCH", path, body, headers: headers, at: location)
    }

    /// The same request, with nothing to be done about it.
    func dryRun(
        _ method: String, _ path: String, _ body: String = "", at location: SourceLocation = #_sourceLocation
    ) async -> Answer {
        await ask(method, path, body, query: [(name: "dry_run", value: "true")], at: location)
    }

    /// One batch of operations, each as it is written.
    @discardableResult
    func batch(
        _ operations: [String], isDryRun: Bool = false, at location: SourceLocation = #_sourceLocation
    ) async -> Answer {
        let body = #"{"operations":[\#(operations.joined(separator: ","))]}"#
        if isDryRun { return await dryRun("POST", "/v1/batch", body, at: location) }
        return await ask("POST", "/v1/batch", body, at: location)
    }

    /// Commits of the store since the agent started.
    var commits: UInt64 {
        get async { await core.storeDurations.snapshot.counts.reduce(0, +) }
    }

    /// The events after `since`, as GET shows them.
    func events(since: Int) async -> [JSONValue] {
        await ask("GET", "/v1/events", query: [(name: "since", value: "\(since)")]).items
    }

    /// The events after `since` as "type resource".
    func happened(since: Int) async -> [String] {
        await events(since: since).map {
            "\($0["type"]?.stringValue ?? "") \($0["resource"]?.stringValue ?? "")"
        }
    }
}

/// A PUT of a batch.
func putting(_ path: String, _ body: String = "{}") -> String {
    #"{"method":"PUT","path":"\#(path)","body":\#(body)}"#
}

/// A DELETE of a batch.
func deleting(_ path: String) -> String { #"{"method":"DELETE","path":"\#(path)"}"# }

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
