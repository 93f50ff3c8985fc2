// The envelopes of answers: one resource as it was written and as it is, and a collection of items.

import JSON

/// `{"name":"br0","spec":{…},"status":{…}}`: what GET and PUT of one resource answer.
public struct Document<Spec: Resource, Status: Record>: Record {
    public var name: Name
    /// As written, with defaults.
    public var spec: Spec
    public var status: Status

    public init(name: Name, spec: Spec, status: Status) {
        self.name = name
        self.spec = spec
        self.status = status
    }

    public init() { self.init(name: .prototype, spec: Spec(), status: Status()) }

    public static var schemaName: String { "\(Spec.schemaName)Document" }

    public static var schema: Schema<Self> {
        Schema(summary: "A \(Spec.kind.singular) as it was written and as it is.", .answer) {
            Field("name", \.name, doc: "The last segment of its path.", example: .string(Spec.kind.example))
            Field("spec", \.spec, as: .record, doc: "As written, with defaults.")
            Field("status", \.status, as: .record, doc: "As it is now.")
        }
    }
}

/// `{"items":[…]}`: what GET of a collection answers, in the order of the keys.
public struct List<Item: Record>: Record {
    public var items: [Item]
    /// For the next page; nil on the last.
    public var nextPageToken: String?

    public init(_ items: [Item], nextPageToken: String? = nil) {
        self.items = items
        self.nextPageToken = nextPageToken
    }

    public init() { self.init([]) }

    public static var schemaName: String {
        let suffix = "Document"
        let name = Item.schemaName
        return (name.hasSuffix(suffix) ? String(name.dropLast(suffix.count)) : name) + "List"
    }

    public static var schema: Schema<Self> {
        Schema(summary: "A collection, in the order of its keys.", .answer) {
            Field(
                "items", \.items, as: .answerList(of: .record), doc: "The items of this page; may be empty.")
            Field(
                "next_page_token", \.nextPageToken, as: .prose,
                doc: "page_token of the next page; absent on the last.", example: "3f0a7431")
        }
    }
}
