// What every answer must be, whatever was asked: a declared status with a declared media type, or a declared
// problem with everything a problem carries. The controller's tests have this file too.

import API
import HTTP
import JSON
import Testing

enum Contract {
    /// The operation a request finds, by the declarations alone.
    static func operation(_ request: HTTPRequest, _ operations: [API.Operation]) -> API.Operation? {
        let method = request.method == "HEAD" ? "GET" : request.method
        // A path without parameters belongs to its own operations alone (OpenAPI 3.1 §4.8.8.2).
        let own = operations.filter { $0.path == "/" + request.path.joined(separator: "/") }
        return (own.isEmpty ? operations : own).first { operation in
            let template = operation.path.split(separator: "/")
            return operation.method.rawValue == method && template.count == request.path.count
                && zip(template, request.path).allSatisfy { $0.hasPrefix("{") && !$1.isEmpty || $0 == $1 }
        }
    }

    static func check(
        _ request: HTTPRequest, _ answer: Answer, _ operations: [API.Operation], _ location: SourceLocation
    ) {
        let what: Comment = "\(request.method) \(request.rawPath) \(answer.status): \(answer.text)"
        let operation = operation(request, operations)
        if answer.status < 300 {
            guard let operation else {
                #expect(request.method == "OPTIONS" && answer.status == 204, what, sourceLocation: location)
                return
            }
            let declared = operation.answers.first { $0.status == answer.status }
            #expect(declared != nil, what, sourceLocation: location)
            let types = declared.map(mediaTypes) ?? []
            #expect(types.contains(answer.header("Content-Type")), what, sourceLocation: location)
            #expect(answer.text.isEmpty || answer.text.hasSuffix("\n"), what, sourceLocation: location)
        } else if answer.status == 304 {
            #expect(answer.text.isEmpty && answer.header("ETag") != nil, what, sourceLocation: location)
        } else {
            checkProblem(request, answer, operation, what, location)
        }
    }

    private static func mediaTypes(_ answer: API.Operation.Answer) -> [String?] {
        switch answer.body {
        case .empty: [nil]
        case .json, .either, .anyJSON: ["application/json"]
        case .jsonOrText(_, let type): ["application/json", type, "\(type); charset=utf-8"]
        case .text(let type), .bytes(let type): [type]
        }
    }

    private static func checkProblem(
        _ request: HTTPRequest, _ answer: Answer, _ operation: API.Operation?, _ what: Comment,
        _ location: SourceLocation
    ) {
        #expect(
            answer.header("Content-Type") == "application/problem+json", what, sourceLocation: location)
        guard let problem = try? Problem.schema.decode(answer.json) else {
            Issue.record("no problem document: \(what)", sourceLocation: location)
            return
        }
        #expect(problem.status == answer.status, what, sourceLocation: location)
        #expect(answer.json["status"] == .integer(Int64(answer.status)), what, sourceLocation: location)
        #expect(problem.instance == request.rawPath, what, sourceLocation: location)
        #expect(problem.requestID == request.id, what, sourceLocation: location)
        #expect(!problem.detail.isEmpty, what, sourceLocation: location)
        if let operation {
            #expect(operation.problems.contains(problem.code), what, sourceLocation: location)
        } else {
            let expected: [ProblemCode] = [.notFound, .methodNotAllowed]
            #expect(expected.contains(problem.code), what, sourceLocation: location)
        }
        if problem.code == .invalidResource {
            #expect(!problem.errors.isEmpty, what, sourceLocation: location)
        }
    }
}
