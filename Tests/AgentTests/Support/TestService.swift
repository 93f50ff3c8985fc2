// A service without HTTP, driven by requests as the server would hand them over. Every answer is checked against what
// the API declares, whichever test asked. The controller's tests have this file too.

import API
import HTTP
import JSON
import REST
import Testing

protocol TestService: Sendable {
    associatedtype Service: APIService
    static var operations: [API.Operation] { get }
    var api: Service { get }
}

extension TestService {
    /// One request, answered and checked against the contract.
    @discardableResult
    func ask(
        _ method: String, _ path: String, _ body: String = "",
        headers: [(String, String)] = [("Content-Type", "application/json")],
        query: [(name: String, value: String)] = [], at location: SourceLocation = #_sourceLocation
    ) async -> Answer {
        let request = HTTPRequest(
            method: method, rawPath: path,
            path: path.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(String.init),
            query: query, headers: headers.map { (name: $0.0, value: $0.1) }, body: Array(body.utf8),
            id: "request-1", remote: "test")
        let answer = Answer(await api.handle(request))
        Contract.check(request, answer, Self.operations, location)
        return answer
    }

    @discardableResult
    func get(_ path: String, at location: SourceLocation = #_sourceLocation) async -> Answer {
        await ask("GET", path, at: location)
    }

    @discardableResult
    func put(_ path: String, _ body: String = "{}", at location: SourceLocation = #_sourceLocation) async
        -> Answer
    {
        await ask("PUT", path, body, at: location)
    }

    @discardableResult
    func delete(_ path: String, at location: SourceLocation = #_sourceLocation) async -> Answer {
        await ask("DELETE", path, at: location)
    }

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
