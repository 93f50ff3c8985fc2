// Shared by the tables: a body that is refused, with everything the refusal must say about it, and the two
// functions that check good and bad bodies the same way for every record.

import API
import JSON
import Testing

/// A body with one thing wrong.
struct Bad: Sendable, CustomTestStringConvertible {
    let body: String
    let pointer: String
    let code: FieldErrorCode
    /// A part of what the error says was wanted.
    let wanted: String
    let found: String

    init(_ body: String, _ pointer: String, _ code: FieldErrorCode, wanted: String, found: String) {
        self.body = body
        self.pointer = pointer
        self.code = code
        self.wanted = wanted
        self.found = found
    }

    var testDescription: String { "\(body) at \(pointer)" }

    /// Refused with exactly this error.
    func check<R: Record>(as record: R.Type) {
        let problem = #expect(throws: Problem.self) { try R.parse(Array(body.utf8)) }
        #expect(problem?.code == .invalidResource)
        #expect(problem?.errors.count == 1)
        guard let error = problem?.errors.first else { return }
        #expect(error.pointer.description == pointer)
        #expect(error.code == code)
        #expect(error.wanted.contains(wanted))
        #expect(error.found == found)
        #expect(problem?.detail.contains("wanted \(error.wanted), found \(found)") == true)
    }
}

/// Accepted, and the same after it is written out and read again.
@discardableResult
func checkGood<R: Record>(_ body: String, as record: R.Type) throws -> R {
    let decoded = try R.parse(Array(body.utf8))
    let again = try R.schema.decode(.object(decoded.json))
    #expect(again == decoded)
    let fromText = try R.parse(JSONValue.object(decoded.json).serialized())
    #expect(fromText == decoded)
    return decoded
}
