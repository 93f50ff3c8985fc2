// What the HTTP server refuses by itself.

import API
import HTTP
import REST
import Testing

@Suite struct FailureTests {
    static let failures: [(HTTPFailure, Int)] = [
        (.malformedRequest("x"), 400), (.ambiguousLength("x"), 400), (.unsupportedTransferEncoding("x"), 400),
        (.tooManyHeaders(limit: 1), 400), (.uriTooLong(limit: 1), 414), (.bodyTooLarge(limit: 1), 413),
        (.handlerTimeout(seconds: 1), 504), (.unavailable, 503),
    ]

    @Test("what the server refuses by itself is a problem document too", arguments: failures)
    func render(failure: HTTPFailure, status: Int) throws {
        let answer = HTTPResponse.failure(failure)
        let problem = try Problem.parse(answer.body)
        #expect(answer.status == status && problem.status == status)
        #expect(header("Content-Type", answer) == "application/problem+json")
        #expect(problem.detail == failure.message)
        #expect(header("Retry-After", answer) == (status == 503 ? "1" : nil))
    }

    private func header(_ name: String, _ answer: HTTPResponse) -> String? {
        answer.headers.first { $0.name == name }?.value
    }
}
