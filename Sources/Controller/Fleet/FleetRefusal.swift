// Why writes of the fleet are refused, gathered into one problem that points at each thing that is wrong.

internal import API
internal import JSON

/// One reason, and the resource whose write it is about.
struct FleetRefusal: Error, Equatable {
    var code: ProblemCode
    var id: FleetID
    /// The field of the resource; nil when it is about the write itself.
    var field: JSONPointer?
    var wanted: String
    /// A sentence that names everything it is about by its path.
    var detail: String

    init(_ code: ProblemCode, _ id: FleetID, at field: String..., wanted: String, _ detail: String) {
        self.code = code
        self.id = id
        self.field = field.isEmpty ? nil : field.reduce(JSONPointer()) { $0.appending($1) }
        self.wanted = wanted
        self.detail = detail
    }
}

struct FleetRefusals {
    private(set) var all: [FleetRefusal] = []
    private var places: [JSONPointer?] = []

    var isEmpty: Bool { all.isEmpty }

    /// - Parameter write: the one it is about; its place is where pointers start.
    mutating func add(_ refusal: FleetRefusal, of write: FleetWrite?) {
        all.append(refusal)
        places.append(write?.place)
    }

    /// Throws them all under the code of the first.
    func check() throws(Problem) {
        guard let first = all.first else { return }
        var errors: [FieldError] = []
        for (refusal, place) in zip(all, places).prefix(Findings.errorLimit) {
            var pointer = place
            if let field = refusal.field {
                pointer = field.tokens.reduce(place?.appending("body") ?? JSONPointer()) { $0.appending($1) }
            }
            // A request for one resource has no place to point at but its fields.
            guard let pointer else { continue }
            errors.append(
                FieldError(
                    at: pointer, refusal.code == .invalidResource ? .invalidValue : .notAllowed,
                    wanted: refusal.wanted, found: refusal.detail))
        }
        var detail = first.detail
        if let pointer = errors.first?.pointer, !pointer.tokens.isEmpty { detail = "\(pointer): \(detail)" }
        if all.count > 1 { detail += " (and \(all.count - 1) more)" }
        throw Problem(first.code, detail, errors: errors)
    }
}
