// One resource of the fleet: its address in the API, in the store and in the value; and its contents whatever
// its kind. What writes the fleet (PUT, PATCH, DELETE, batch) works on these and on no kind in particular.

internal import API
internal import JSON
internal import Store
internal import Wire

/// Where a resource is.
enum FleetID: Hashable, Comparable, Sendable {
    case host(Name)
    case network(Name)
    /// Of a network, by name.
    case attachment(Name, Name)

    var kind: Kind {
        switch self {
        case .host: FleetHost.kind
        case .network: Network.kind
        case .attachment: Attachment.kind
        }
    }

    /// Outermost first.
    var keys: [String] {
        switch self {
        case .host(let name), .network(let name): ["\(name)"]
        case .attachment(let network, let name): ["\(network)", "\(name)"]
        }
    }

    /// "/v1/networks/blue/attachments/web1"
    var path: String { kind.path(keys) }

    /// Hosts, then networks, each before its attachments; by name.
    static func < (left: FleetID, right: FleetID) -> Bool {
        switch (left, right) {
        case (.host(let left), .host(let right)), (.network(let left), .network(let right)): left < right
        case (.host, _): true
        case (_, .host): false
        case (.network(let left), .attachment(let right, _)): left <= right
        case (.attachment(let left, _), .network(let right)): left < right
        case (.attachment(let leftNetwork, let left), .attachment(let rightNetwork, let right)):
            leftNetwork == rightNetwork ? left < right : leftNetwork < rightNetwork
        }
    }

    /// "attachment web1 of network blue"
    var title: String {
        switch self {
        case .host(let name): "host \(name)"
        case .network(let name): "network \(name)"
        case .attachment(let network, let name): "attachment \(name) of network \(network)"
        }
    }

    /// The resource of `kind` with these keys.
    init(_ kind: Kind, _ keys: [String]) throws(Problem) {
        guard keys.count == kind.keys.count, let first = keys.first, let last = keys.last else {
            throw Problem(.malformedRequest, "wanted the path of a \(kind.singular)")
        }
        switch kind {
        case FleetHost.kind: self = .host(try kind.name(in: last))
        case Attachment.kind: self = .attachment(try Network.kind.name(in: first), try kind.name(in: last))
        default: self = .network(try Network.kind.name(in: last))
        }
    }

    /// Decodes a body as a resource of this kind.
    func spec(_ value: JSONValue) throws(Problem) -> FleetSpec {
        switch self {
        case .host: .host(try FleetHost.schema.decode(value))
        case .network: .network(try Network.schema.decode(value))
        case .attachment: .attachment(try Attachment.schema.decode(value))
        }
    }
}

/// What was written of a resource.
enum FleetSpec: Equatable, Sendable {
    case host(FleetHost)
    case network(Network)
    case attachment(Attachment)

    var json: JSONObject {
        switch self {
        case .host(let spec): spec.json
        case .network(let spec): spec.json
        case .attachment(let spec): spec.json
        }
    }
}

/// A resource before and after a write; nil where it does not exist.
struct FleetChange: Equatable, Sendable {
    var id: FleetID
    var from: FleetSpec?
    var to: FleetSpec?
}

/// One resource to be written; nil removes it, and a network's attachments with it.
struct FleetWrite: Sendable {
    var id: FleetID
    var spec: FleetSpec?
    /// Where it is in a request of many ("/operations/3"), for pointers in problems.
    var place: JSONPointer?
}

/// What a request's writes did, or would do.
struct FleetOutcome: Sendable {
    /// In order, with what went along; empty when everything was as it should be already.
    var changes: [FleetChange]
    /// For each write, whether its resource is new.
    var areNew: [Bool]
    /// What to commit for it, in one transaction.
    var storeChanges: [StoreChange]
}
