// What operators have written: the value the agent drives the host towards. Pure; the same value compared,
// validated, stored and compiled everywhere.

internal import API
internal import JSON
internal import Store
internal import Wire

/// A bridge with everything below it.
struct DesiredBridge: Equatable, Sendable {
    var spec = Bridge()
    var ports: [Name: API.Port] = [:]
    var tunnels: [Name: Tunnel] = [:]
    var macs: [StationKey: StaticMAC] = [:]
    var rules: [Name: API.Rule] = [:]
    var mirrors: [Name: API.Mirror] = [:]

    /// The VNI a tunnel uses: its own, or the bridge's.
    func vni(of tunnel: Tunnel) -> TunnelVNI { tunnel.vni ?? .fixed(spec.vni) }

    /// What the bridge, which is called `name`, answers for. The kernel answers for the local port's addresses.
    func bindings(of name: Name) -> [(address: IPAddress, station: MACAddress)] {
        guard spec.neighSuppress else { return [] }
        let own = Set(spec.addresses.map(\.address))
        return macs.filter { $0.value.port != "\(name)" }.flatMap { key, entry in
            entry.ips.filter { !own.contains($0) }.map { (address: $0, station: key.mac) }
        }
    }
}

/// Everything written.
struct DesiredState: Equatable, Sendable {
    var bridges: [Name: DesiredBridge] = [:]
    var underlay = API.Underlay()
    /// Of the underlay, static.
    var routes: [Name: StaticRoute] = [:]
    /// Of the underlay, static.
    var neighbors: [NeighborID: API.Neighbor] = [:]
    /// Which of it a controller pushed.
    var pushed = PushedState()

    /// Rebuilds what was stored. A document that today's rules refuse is an error that names it, never
    /// skipped; kinds that are no resource are left alone.
    init(_ documents: [StoredDocument]) throws(Problem) {
        var resources: [(id: ResourceID, document: StoredDocument)] = []
        for document in documents {
            try DesiredState.reading(document) { () throws(Problem) in
                if document.kind == PushedState.headKind {
                    pushed.head = try StateHead.parse(Array(document.body.utf8))
                } else if let id = try ResourceID(document) {
                    resources.append((id, document))
                }
            }
        }
        let isBridge = { (id: ResourceID) in id.kind == Bridge.kind }
        for (id, document) in resources.filter({ isBridge($0.id) }) + resources.filter({ !isBridge($0.id) }) {
            try DesiredState.reading(document) { () throws(Problem) in
                guard isBridge(id) || id.bridge.map({ bridges[$0] != nil }) ?? true else {
                    throw Problem(.storageFailed, "it belongs to no stored bridge")
                }
                let body: JSONValue
                do throws(JSONError) {
                    body = try JSONValue.parse(Array(document.body.utf8))
                } catch {
                    throw Problem(from: error)
                }
                self[id] = try id.spec(body)
            }
        }
        let isPushed = { (document: StoredDocument) in document.kind.hasPrefix(PushedState.kindPrefix) }
        pushed.hold(resources.filter { isPushed($0.document) }.map(\.id), of: self)
    }

    private static func reading(
        _ document: StoredDocument, _ body: () throws(Problem) -> Void
    ) throws(Problem) {
        do throws(Problem) {
            try body()
        } catch {
            throw Problem(.storageFailed, "stored \(document.kind) \(document.key): \(error.detail)")
        }
    }

    init() {}

    /// The documents this state is stored as.
    var documents: [String: StoredDocument] {
        var result: [String: StoredDocument] = [:]
        for id in ids {
            let change = ResourceChange(id: id, to: self[id], isPushed: pushed.ids.contains(id))
            if case .put(let document) = change.storeChange {
                result["\(document.kind) \(document.key)"] = document
            }
        }
        return result
    }

    /// What to write so that the stored state becomes this one. Only bridges that differ are looked at.
    func storeChanges(from old: DesiredState) -> [StoreChange] {
        var (before, after) = (old, self)
        (before.bridges, after.bridges) = ([:], [:])
        for name in Set(bridges.keys).union(old.bridges.keys) where bridges[name] != old.bridges[name] {
            before.bridges[name] = old.bridges[name]
            after.bridges[name] = bridges[name]
        }
        let (was, willBe) = (before.documents, after.documents)
        let deletions = was.filter { willBe[$0.key] == nil }.values
            .map { StoreChange.delete(kind: $0.kind, key: $0.key) }
        return deletions + willBe.filter { was[$0.key] != $0.value }.values.map(StoreChange.put)
    }
}
