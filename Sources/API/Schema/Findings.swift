// The errors of one body, gathered while it is decoded. Bounded: a hostile body of a million wrong items
// costs a million comparisons, not a million error objects.

import JSON

public struct Findings {
    /// More than anybody reads at once, small enough that an answer stays under 64 KiB.
    public static let errorLimit = 64

    private(set) var errors: [FieldError] = []
    /// Including those past the limit.
    private(set) var totalCount = 0

    mutating func add(_ error: FieldError) {
        totalCount += 1
        if errors.count < Findings.errorLimit { errors.append(error) }
    }

    mutating func add(
        _ code: FieldErrorCode, at pointer: JSONPointer, wanted: String, found: @autoclosure () -> String
    ) {
        totalCount += 1
        guard errors.count < Findings.errorLimit else { return }
        errors.append(FieldError(at: pointer, code, wanted: wanted, found: found()))
    }

    mutating func add(_ code: FieldErrorCode, at pointer: JSONPointer, wanted: String, found: JSONValue) {
        add(code, at: pointer, wanted: wanted, found: FieldError.excerpt(of: found))
    }
}
