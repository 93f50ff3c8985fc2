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
    case mac(Name, StationKey)
    case rule(Name, Name)
    case mirror(Name, Name)
    /// There is one.
    case underlay
    case route(Name)
    case neighbor(NeighborID)

    var kind: Kind {
        switch self {
        case .bridge: Bridge.kind
        case .port: API.Port.kind
        case .tunnel: Tunnel.kind
        case .mac: StaticMAC.kind
        case .rule: API.Rule.kind
        case .mirror: API.Mirror.kind
        case .underlay: API.Underlay.kind
        case .route: StaticRoute.kind
        case .neighbor: API.Neighbor.kind
        }
    }

    static let kinds = [
        Bridge.kind, API.Port.kind, Tunnel.kind, StaticMAC.kind, API.Rule.kind, API.Mirror.kind,
        API.Underlay.kind, StaticRoute.kind, API.Neighbor.kind,
    ]
    static let wantedPath =
        "the path of a bridge, port, tunnel, static MAC entry, rule, mirror, static route, static neighbor or the "
        + "underlay"

    /// The bridge it is or belongs to; nil for what is of the whole host.
    var bridge: Name? {
        switch self {
        case .bridge(let name), .port(let name, _), .tunnel(let name, _), .mac(let name, _),
            .rule(let name, _), .mirror(let name, _):
            name
        case .underlay, .route, .neighbor: nil
        }
    }

    /// Outermost first.
    var keys: [String] {
        switch self {
        case .bridge(let name): ["\(name)"]
        case .port(let bridge, let name), .tunnel(let bridge, let name), .rule(let bridge, let name),
            .mirror(let bridge, let name):
            ["\(bridge)", "\(name)"]
        case .mac(let bridge, let mac): ["\(bridge)", "\(mac)"]
        case .underlay: []
        case .route(let name): ["\(name)"]
        case .neighbor(let id): [id.ifname, "\(id.ip)"]
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
        case .rule(let bridge, let name): "rule \(name) of bridge \(bridge)"
        case .mirror(let bridge, let name): "mirror \(name) of bridge \(bridge)"
        case .underlay: "the underlay"
        case .route(let name): "route \(name)"
        case .neighbor(let id): "neighbor \(id.ip) of \(id.ifname)"
        }
    }

    /// The resource of `kind` with these keys.
    init(_ kind: Kind, _ keys: [String]) throws(Problem) {
        guard keys.count == kind.keys.count else {
            throw Problem(.malformedRequest, "wanted the path of a \(kind.singular)")
        }
        guard let first = keys.first, let last = keys.last else {
            self = .underlay
            return
        }
        switch kind {
        case StaticRoute.kind:
            self = .route(try kind.name(in: last))
            return
        case API.Neighbor.kind:
            self = .neighbor(NeighborID(ifname: try kind.canonical(keys)[0], ip: try kind.ip(in: last)))
            return
        default: break
        }
        let bridge = try Bridge.kind.name(in: first)
        switch kind {
        case API.Port.kind: self = .port(bridge, try kind.name(in: last))
        case Tunnel.kind: self = .tunnel(bridge, try kind.name(in: last))
        case StaticMAC.kind: self = .mac(bridge, try kind.station(in: last))
        case API.Rule.kind: self = .rule(bridge, try kind.name(in: last))
        case API.Mirror.kind: self = .mirror(bridge, try kind.name(in: last))
        default: self = .bridge(bridge)
        }
    }

    /// The resource a stored document is of; nil for a document of no resource.
    init?(_ document: StoredDocument) throws(Problem) {
        let singular = document.kind.trimmingPrefix(PushedState.kindPrefix)
        guard let kind = ResourceID.kinds.first(where: { $0.singular == singular }) else { return nil }
        let keys = document.key.split(separator: "/", maxSplits: max(0, kind.keys.count - 1)).map(String.init)
        try self.init(kind, keys)
    }

    /// Decodes a body as a resource of this kind; pointers start at `pointer`.
    func spec(_ value: JSONValue) throws(Problem) -> Spec {
        switch self {
        case .bridge: .bridge(try Bridge.schema.decode(value))
        case .port: .port(try API.Port.schema.decode(value))
        case .tunnel: .tunnel(try Tunnel.schema.decode(value))
        case .mac: .mac(try StaticMAC.schema.decode(value))
        case .rule: .rule(try API.Rule.schema.decode(value))
        case .mirror: .mirror(try API.Mirror.schema.decode(value))
        case .underlay: .underlay(try API.Underlay.schema.decode(value))
        case .route: .route(try StaticRoute.schema.decode(value))
        case .neighbor: .neighbor(try API.Neighbor.schema.decode(value))
        }
    }
}

/// Which neighbour of the underlay.
struct NeighborID: Hashable, Sendable {
    var ifname: String
    var ip: IPAddress
}

/// What was written of a resource.
enum Spec: Equatable, Sendable {
    case bridge(Bridge)
    case port(API.Port)
    case tunnel(Tunnel)
    case mac(StaticMAC)
    case rule(API.Rule)
    case mirror(API.Mirror)
    case underlay(API.Underlay)
    case route(StaticRoute)
    case neighbor(API.Neighbor)

    var json: JSONObject {
        switch self {
        case .bridge(let spec): spec.json
        case .port(let spec): spec.json
        case .tunnel(let spec): spec.json
        case .mac(let spec): spec.json
        case .rule(let spec): spec.json
        case .mirror(let spec): spec.json
        case .underlay(let spec): spec.json
        case .route(let spec): spec.json
        case .neighbor(let spec): spec.json
        }
    }

    /// What digests are made of.
    var jsonWithoutDefaults: JSONObject {
        switch self {
        case .bridge(let spec): Bridge.schema.encodeWithoutDefaults(spec)
        case .port(let spec): API.Port.schema.encodeWithoutDefaults(spec)
        case .tunnel(let spec): Tunnel.schema.encodeWithoutDefaults(spec)
        case .mac(let spec): StaticMAC.schema.encodeWithoutDefaults(spec)
        case .rule(let spec): API.Rule.schema.encodeWithoutDefaults(spec)
        case .mirror(let spec): API.Mirror.schema.encodeWithoutDefaults(spec)
        case .underlay(let spec): API.Underlay.schema.encodeWithoutDefaults(spec)
        case .route(let spec): StaticRoute.schema.encodeWithoutDefaults(spec)
        case .neighbor(let spec): API.Neighbor.schema.encodeWithoutDefaults(spec)
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
    /// What is written at an address. Setting nil removes it and everything below it, or takes the underlay back to
    /// its defaults; setting something below a bridge that does not exist does nothing.
    subscript(id: ResourceID) -> Spec? {
        get {
            switch id {
            case .bridge(let name): bridges[name].map { .bridge($0.spec) }
            case .port(let bridge, let name): bridges[bridge]?.ports[name].map(Spec.port)
            case .tunnel(let bridge, let name): bridges[bridge]?.tunnels[name].map(Spec.tunnel)
            case .mac(let bridge, let mac): bridges[bridge]?.macs[mac].map(Spec.mac)
            case .rule(let bridge, let name): bridges[bridge]?.rules[name].map(Spec.rule)
            case .mirror(let bridge, let name): bridges[bridge]?.mirrors[name].map(Spec.mirror)
            case .underlay: .underlay(underlay)
            case .route(let name): routes[name].map(Spec.route)
            case .neighbor(let id): neighbors[id].map(Spec.neighbor)
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
            case (.rule(let bridge, let name), .rule(let spec)?): bridges[bridge]?.rules[name] = spec
            case (.rule(let bridge, let name), _): bridges[bridge]?.rules[name] = nil
            case (.mirror(let bridge, let name), .mirror(let spec)?): bridges[bridge]?.mirrors[name] = spec
            case (.mirror(let bridge, let name), _): bridges[bridge]?.mirrors[name] = nil
            case (.underlay, .underlay(let spec)?): underlay = spec
            case (.underlay, _): underlay = API.Underlay()
            case (.route(let name), .route(let spec)?): routes[name] = spec
            case (.route(let name), _): routes[name] = nil
            case (.neighbor(let id), .neighbor(let spec)?): neighbors[id] = spec
            case (.neighbor(let id), _): neighbors[id] = nil
            }
        }
    }

    /// Every resource of the state; the underlay once it was set.
    var ids: [ResourceID] {
        bridges.keys.flatMap { [.bridge($0)] + dependants(of: .bridge($0)) }
            + (underlay == API.Underlay() ? [] : [.underlay]) + routes.keys.map { .route($0) }
            + neighbors.keys.map { .neighbor($0) }
    }

    /// The resources that go when one goes: a bridge's members; what names a port or tunnel, which would be of no
    /// use without it.
    func dependants(of id: ResourceID) -> [ResourceID] {
        guard let owner = id.bridge, let bridge = bridges[owner] else { return [] }
        func entries(to name: Name) -> [ResourceID] {
            let text = "\(name)"
            return bridge.macs.filter { $0.value.port == text }.keys.map { .mac(owner, $0) }
                + bridge.rules.filter { $0.value.names(text) }.keys.map { .rule(owner, $0) }
                + bridge.mirrors.filter { $0.value.ports.contains(text) }.keys.map { .mirror(owner, $0) }
        }
        switch id {
        case .bridge(let name):
            return bridge.ports.keys.map { .port(name, $0) } + bridge.tunnels.keys.map { .tunnel(name, $0) }
                + bridge.macs.keys.map { .mac(name, $0) } + bridge.rules.keys.map { .rule(name, $0) }
                + bridge.mirrors.keys.map { .mirror(name, $0) }
        case .port(_, let name), .tunnel(_, let name): return entries(to: name)
        case .mac, .rule, .mirror, .underlay, .route, .neighbor: return []
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
        let text = "\(member)"
        if macs.contains(where: { $0.value.port == text }) { macs = macs.filter { $0.value.port != text } }
        if rules.contains(where: { $0.value.names(text) }) { rules = rules.filter { !$0.value.names(text) } }
        mirrors = mirrors.filter { !$0.value.ports.contains(text) }
    }
}
