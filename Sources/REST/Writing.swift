// What writing a resource is, whatever the service and the kind: an address and what shall be there. PUT, PATCH,
// DELETE and a batch are all made of it.

public import API
public import JSON

/// Where a resource of a service is.
public protocol ResourceAddress: Hashable, Sendable {
    /// What can be written there.
    associatedtype Spec: Sendable

    /// Every kind that can be written.
    static var kinds: [Kind] { get }
    var kind: Kind { get }
    /// What the path of a write must be, for refusals: "the path of a bridge or port".
    static var wantedPath: String { get }

    /// The resource of `kind` with these keys, outermost first; `malformed_request` for a key that is none.
    init(_ kind: Kind, _ keys: [String]) throws(Problem)
    /// "/v1/bridges/br0/ports/web1"
    var path: String { get }
    /// Decodes a body as a resource of this kind; pointers start at the body.
    func spec(_ value: JSONValue) throws(Problem) -> Spec
}

/// A resource before and after a write; nil where it does not exist.
public protocol WrittenChange: Sendable {
    var path: String { get }
    var before: JSONObject? { get }
    var after: JSONObject? { get }
}

/// One resource to be written; nil removes it.
public struct ResourceWrite<ID: ResourceAddress>: Sendable {
    public var id: ID
    public var spec: ID.Spec?
    /// Where it is in a request of many, for pointers in problems.
    public var item: WriteItem?

    public init(id: ID, spec: ID.Spec? = nil, item: WriteItem? = nil) {
        self.id = id
        self.spec = spec
        self.item = item
    }

    /// "/operations/3"; nil for a request of its own.
    public var place: JSONPointer? { item?.pointer }
}

/// One of a list in a body.
public struct WriteItem: Sendable {
    /// The list's name.
    public var list: String
    public var number: Int

    public init(list: String = "operations", number: Int) {
        self.list = list
        self.number = number
    }

    public var pointer: JSONPointer { JSONPointer().appending(list).appending(number) }
}

/// What a request's writes did, or would do.
public struct Outcome<Change: WrittenChange>: Sendable {
    /// By path; empty when everything was as it should be already.
    public var changes: [Change]
    /// For each write, whether its resource is new.
    public var areNew: [Bool]

    public init(changes: [Change], areNew: [Bool]) {
        self.changes = changes
        self.areNew = areNew
    }

    public var plan: PlanDocument {
        var plan = PlanDocument()
        for change in changes {
            var item = PlanItem()
            item.path = change.path
            item.from = change.before
            item.to = change.after
            switch (item.from, item.to) {
            case (nil, _): plan.add.append(item)
            case (_, nil): plan.remove.append(item)
            default: plan.change.append(item)
            }
        }
        return plan
    }
}

extension ResourceWrite {
    /// The operations of a batch with their bodies decoded; problems point into the batch.
    public static func all(of batch: Batch) throws(Problem) -> [ResourceWrite] {
        var writes: [ResourceWrite] = []
        writes.reserveCapacity(batch.operations.count)
        for (index, operation) in batch.operations.enumerated() {
            writes.append(try ResourceWrite(WriteItem(number: index), operation.path, operation.body))
        }
        return writes
    }

    /// One of many, its body decoded; problems point at it.
    public init(_ item: WriteItem, _ path: String, _ body: JSONObject?) throws(Problem) {
        self.item = item
        id = try ResourceWrite.resource(at: path, item)
        if body == nil, id.kind.isSingleton {
            throw Problem(
                .invalidResource, "\(item.pointer): wanted PUT of \(path), which always exists, found DELETE",
                errors: [
                    FieldError(
                        at: item.pointer, .notAllowed, wanted: "PUT of \(path), which always exists",
                        found: "DELETE")
                ])
        }
        do throws(Problem) {
            spec = if let body { try id.spec(.object(body)) } else { nil }
        } catch {
            throw error.moved(below: item.pointer.appending("body"))
        }
    }

    private static func resource(at path: String, _ item: WriteItem) throws(Problem) -> ID {
        let wanted = ID.wantedPath
        var detail = "wanted \(wanted), found \(path)"
        do throws(Problem) {
            if let id = try resource(at: path) { return id }
        } catch {
            detail = error.detail
        }
        let pointer = item.pointer.appending("path")
        throw Problem(
            .invalidResource, "\(pointer): \(detail)",
            errors: [FieldError(at: pointer, .invalidValue, wanted: wanted, found: path)])
    }

    /// Nil when no kind has such paths.
    private static func resource(at path: String) throws(Problem) -> ID? {
        // By bytes: finding the characters of a text takes several times as long.
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { String(Substring($0)) }
        guard parts.count >= 3, parts[0].isEmpty, parts[1] == "v1" else { return nil }
        for kind in ID.kinds {
            if let keys = kind.keys(in: parts[2...]) { return try ID(kind, keys) }
        }
        return nil
    }
}

extension Problem {
    /// The same problem with the operation of a batch it is about; one that points there already stays as it is.
    public func about<ID>(_ write: ResourceWrite<ID>) -> Problem {
        guard let place = write.place, errors.isEmpty else { return self }
        var problem = self
        problem.detail = "\(place): \(detail)"
        problem.errors = [
            FieldError(at: place, .notAllowed, wanted: "an operation that can be done", found: detail)
        ]
        return problem
    }
}
