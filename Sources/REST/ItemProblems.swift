// What is wrong with the items of one request, gathered into one problem that points at each of them.

public import API

public struct ItemProblems: Sendable {
    private var first: Problem?
    private var errors: [FieldError] = []
    private var count = 0

    public init() {}

    public mutating func add(_ problem: Problem) {
        if first == nil { first = problem }
        count += 1
        errors += problem.errors.prefix(max(0, Findings.errorLimit - errors.count))
    }

    /// Throws them all under the code of the first.
    public func check() throws(Problem) {
        guard var problem = first else { return }
        problem.errors = errors
        if count > 1 { problem.detail += " (and \(count - 1) more)" }
        throw problem
    }
}
