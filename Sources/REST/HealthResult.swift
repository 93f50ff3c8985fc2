// The answers of /livez, /readyz and /healthz, made from the results of a service's named checks.

internal import API
internal import HTTP

/// What a check says.
public struct HealthResult: Sendable {
    /// The check's name, the last segment of its path.
    public let check: String
    /// Nil when it passes.
    public let failure: String?

    public init(_ check: String, failure: String?) {
        self.check = check
        self.failure = failure
    }
}

extension [HealthResult] {
    /// "ok", or every check with `?verbose`; `unavailable` when one fails.
    func answer(_ call: Call) throws(Problem) -> HTTPResponse {
        let lines = try lines()
        return .text(call.query("verbose") == nil ? "ok\n" : lines)
    }

    /// The line of the check in the path.
    func answerOne(_ call: Call) throws(Problem) -> HTTPResponse {
        let name = call.parameters["check"] ?? ""
        let asked = filter { $0.check == name }
        guard !asked.isEmpty else {
            let wanted = map(\.check).joined(separator: ", ")
            throw Problem(.notFound, "there is no such check: wanted \(wanted), found \(name)")
        }
        return .text(try asked.lines())
    }

    private func lines() throws(Problem) -> String {
        let failures = compactMap { result in result.failure.map { "\(result.check): \($0)" } }
        guard failures.isEmpty else { throw Problem(.unavailable, failures.joined(separator: "; ")) }
        return map { "[+]\($0.check) ok\n" }.joined()
    }
}
