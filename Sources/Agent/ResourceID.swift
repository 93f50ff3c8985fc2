// One resource among all: its address in the API, in the store and in the desired state; and its contents
// whatever its kind. What writes resources (PUT, PATCH, DELETE, batch) works on these and on no kind in
// particular.

internal import API
internal import JSON
internal import REST
internal import Store
internal import Wire

/// Where a resource is.
enum ResourceID: ResourceAddress {
    case bridge(Name)
    case port(Name, Name)
    case tunnel(Name, Name)
    case mac(Name, MACAddress)

    var kind: Kind {
        switch self {
        case .bridge: Bridge.kind
        case .port: API.Port.kind
        case .tunnel: Tunnel.kind
        case .mac: StaticMAC.kind
        }
    }

    static let kinds = [Bridge.kind, API.Port.kind, Tunnel.kind, StaticMAC.kind]
    static let wantedPath = "the path of a bridge, port, tunnel or static MAC entry"

    var bridge: Name {
        switch self {
        case .bridge(let name), .port(let name, _), .tunnel(let name, _), .mac(let name, _): name
        }
    }

    /// Outermost first.
    var keys: [String] {
        switch self {
        case .bridge(let name): ["\(name)"]
        case .port(let bridge, let name), .tunnel(let bridge, let name): ["\(bridge)", "\(name)"]
        case .mac(let bridge, let mac): ["\(bridge)", "\(mac)"]
        }
    }

    /// "/v1/bridges/br0/ports/web1"
    var path: String { kind.path(keys) }

    /// "port web1 of bridge br0"
    var title: String {
        switch self {
        case .bridge(let name): "bridge \(name)"
        case .port(let bridge, let name): "port \(name) of bridge \(bridge)"
        case .tunnel(let bridge, let name): "tunnel \(name) of bridge \(bridge)"
        case .mac(let bridge, let mac): "static entry \(mac) of bridge \(bridge)"
        }
    }

    /// The resource of `kind` with these keys.
    init(_ kind: Kind, _ keys: [String]) throws(Problem) {
        guard keys.count == kind.ancestors.count + 1, let first = keys.first, let last = keys.last else {
            throw Problem(.malformedRequest, "wanted the path of a \(kind.singular)")
        }
        let bridge = try Bridge.kind.name(in: first)
        switch kind {
        case API.Port.kind: self = .port(bridge, try kind.name(in: last))
        case Tunnel.kind: self = .tunnel(bridge, try kind.name(in: last))
        case StaticMAC.kind: self = .mac(bridge, try kind.mac(in: last))
        default: self = .bridge(bridge)
        }
    }

    /// The resource a stored document is of; nil for a document of no resource.
    init?(_ document: StoredDocument) throws(Problem) {
        let singular = document.kind.trimmingPrefix(PushedState.kindPrefix)
        guard let kind = ResourceID.kinds.first(where: { $0.singular == singular }) else { return nil }
        let keys = document.key.split(separator: "/", maxSplits: kind.ancestors.count).map(String.init)
        try self.init(kind, keys)
    }

    /// Decodes a body as a resource of this kind; pointers start at `pointer`.
    func spec(_ value: JSONValue) throws(Problem) -> Spec {
        switch self {
        case .bridge: .bridge(try Bridge.schema.decode(value))
        case .port: .port(try API.Port.schema.decode(value))
        case .tunnel: .tunnel(try Tunnel.schema.decode(value))
        case .mac: .mac(try StaticMAC.schema.decode(value))
        }
    }
}

/// What was written of a resource.
enum Spec: Equatable, Sendable {
    case bridge(Bridge)
    case port(API.Port)
    case tunnel(Tunnel)
    case mac(StaticMAC)

    var json: JSONObject {
        switch self {
        case .bridge(let spec): spec.json
        case .port(let spec): spec.json
        case .tunnel(let spec): spec.json
        case .mac(let spec): spec.json
        }
    }

    /// What digests are made of.
    var jsonWithoutDefaults: JSONObject {
        switch self {
        case .bridge(let spec): Bridge.schema.encodeWithoutDefaults(spec)
        case .port(let spec): API.Port.schema.encodeWithoutDefaults(spec)
        case .tunnel(let spec): Tunnel.schema.encodeWithoutDefaults(spec)
        case .mac(let spec): StaticMAC.schema.encodeWithoutDefaults(spec)
        }
    }
}

extension ResourceChange: WrittenChange {
    var path: String { id.path }
    var before: JSONObject? { from?.json }
    var after: JSONObject? { to?.json }
}

extension EntityTag {
    init(_ spec: Spec) { self.init(spec.json) }
}

/// A resource before and after a write; nil where it does not exist.
struct ResourceChange: Equatable, Sendable {
    var id: ResourceID
    var from: Spec?
    var to: Spec?
    /// By a controller; this is never changed but by removing the resource.
    var isPushed = false

    /// The step of the store's transaction.
    var storeChange: StoreChange {
        let key = id.keys.joined(separator: "/")
        let kind = (isPushed ? PushedState.kindPrefix : "") + id.kind.singular
        guard let to else { return .delete(kind: kind, key: key) }
        let body = String(decoding: JSONValue.object(to.json).canonicalBytes, as: UTF8.self)
        return .put(StoredDocument(kind: kind, key: key, body: body))
    }
}

extension DesiredState {
    /// What is written at an address. Setting nil removes it and everything below it; setting something below
    /// a bridge that does not exist does nothing.
    subscript(id: ResourceID) -> Spec? {
        get {
            switch id {
            case .bridge(let name): bridges[name].map { .bridge($0.spec) }
            case .port(let bridge, let name): bridges[bridge]?.ports[name].map(Spec.port)
            case .tunnel(let bridge, let name): bridges[bridge]?.tunnels[name].map(Spec.tunnel)
            case .mac(let bridge, let mac): bridges[bridge]?.macs[mac].map(Spec.mac)
            }
        }
        set {
            switch (id, newValue) {
            case (.bridge(let name), .bridge(let spec)?): bridges[name, default: DesiredBridge()].spec = spec
            case (.bridge(let name), _): bridges[name] = nil
            case (.port(let bridge, let name), .port(let spec)?): bridges[bridge]?.ports[name] = spec
            case (.port(let bridge, let name), _):
                bridges[bridge]?.ports[name] = nil
                bridges[bridge]?.dropEntries(to: name)
            case (.tunnel(let bridge, let name), .tunnel(let spec)?): bridges[bridge]?.tunnels[name] = spec
            case (.tunnel(let bridge, let name), _):
                bridges[bridge]?.tunnels[name] = nil
                bridges[bridge]?.dropEntries(to: name)
            case (.mac(let bridge, let mac), .mac(let spec)?): bridges[bridge]?.macs[mac] = spec
            case (.mac(let bridge, let mac), _): bridges[bridge]?.macs[mac] = nil
            }
        }
    }

    /// Every resource of the state.
    var ids: [ResourceID] { bridges.keys.flatMap { [.bridge($0)] + dependants(of: .bridge($0)) } }

    /// The resources that go when one goes: a bridge's members, the static entries of a port or tunnel.
    func dependants(of id: ResourceID) -> [ResourceID] {
        guard let bridge = bridges[id.bridge] else { return [] }
        func entries(to name: Name) -> [ResourceID] {
            bridge.macs.filter { $0.value.port == "\(name)" }.keys.map { .mac(id.bridge, $0) }
        }
        switch id {
        case .bridge(let name):
            return bridge.ports.keys.map { .port(name, $0) } + bridge.tunnels.keys.map { .tunnel(name, $0) }
                + bridge.macs.keys.map { .mac(name, $0) }
        case .port(_, let name), .tunnel(_, let name): return entries(to: name)
        case .mac: return []
        }
    }

    /// What differs from `old` at some addresses and at those that depend on them, by path.
    func changes(from old: DesiredState, at ids: some Sequence<ResourceID>) -> [ResourceChange] {
        var looked = Set(ids)
        for id in looked where old[id] != nil && self[id] == nil { looked.formUnion(old.dependants(of: id)) }
        let changes = looked.compactMap { id -> (path: String, change: ResourceChange)? in
            let (from, to) = (old[id], self[id])
            guard from != to else { return nil }
            let isPushed = (to == nil ? old : self).pushed.ids.contains(id)
            return (id.path, ResourceChange(id: id, from: from, to: to, isPushed: isPushed))
        }
        return changes.sorted { $0.path < $1.path }.map { $0.change }
    }
}

extension DesiredBridge {
    mutating func dropEntries(to member: Name) {
        guard macs.contains(where: { $0.value.port == "\(member)" }) else { return }
        macs = macs.filter { $0.value.port != "\(member)" }
    }
}
