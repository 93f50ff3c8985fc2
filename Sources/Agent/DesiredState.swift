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
    var macs: [MACAddress: StaticMAC] = [:]

    /// The VNI a tunnel uses: its own, or the bridge's.
    func vni(of tunnel: Tunnel) -> TunnelVNI { tunnel.vni ?? .fixed(spec.vni) }
}

/// Everything written.
struct DesiredState: Equatable, Sendable {
    var bridges: [Name: DesiredBridge] = [:]

    /// Rebuilds what was stored. A document that today's rules refuse is an error that names it, never
    /// skipped; kinds that are no resource are left alone.
    init(_ documents: [StoredDocument]) throws(Problem) {
        let isBridge = { (document: StoredDocument) in document.kind == Bridge.kind.singular }
        for document in documents.filter(isBridge) + documents.filter({ !isBridge($0) }) {
            do throws(Problem) {
                try add(document)
            } catch {
                throw Problem(.storageFailed, "stored \(document.kind) \(document.key): \(error.detail)")
            }
        }
    }

    init() {}

    private mutating func add(_ document: StoredDocument) throws(Problem) {
        let body = Array(document.body.utf8)
        switch document.kind {
        case Bridge.kind.singular:
            bridges[try Bridge.kind.name(in: document.key), default: DesiredBridge()].spec =
                try Bridge.parse(body)
        case API.Port.kind.singular:
            let (bridge, key) = try owner(of: document)
            bridges[bridge]?.ports[try API.Port.kind.name(in: key)] = try API.Port.parse(body)
        case Tunnel.kind.singular:
            let (bridge, key) = try owner(of: document)
            bridges[bridge]?.tunnels[try Tunnel.kind.name(in: key)] = try Tunnel.parse(body)
        case StaticMAC.kind.singular:
            let (bridge, key) = try owner(of: document)
            bridges[bridge]?.macs[try StaticMAC.kind.mac(in: key)] = try StaticMAC.parse(body)
        default: break
        }
    }

    /// The bridge a document belongs to, and its key there.
    private func owner(of document: StoredDocument) throws(Problem) -> (Name, String) {
        let keys = document.key.split(separator: "/", maxSplits: 1).map(String.init)
        guard keys.count == 2, let bridge = Name(keys[0]), bridges[bridge] != nil else {
            throw Problem(.storageFailed, "it belongs to no stored bridge")
        }
        return (bridge, keys[1])
    }

    /// The documents this state is stored as.
    var documents: [String: StoredDocument] {
        var result: [String: StoredDocument] = [:]
        func add<R: Resource>(_ resource: R, _ key: String) {
            let kind = R.kind.singular
            let body = String(decoding: JSONValue.object(resource.json).canonicalBytes, as: UTF8.self)
            result["\(kind) \(key)"] = StoredDocument(kind: kind, key: key, body: body)
        }
        for (name, bridge) in bridges {
            add(bridge.spec, "\(name)")
            for (port, spec) in bridge.ports { add(spec, "\(name)/\(port)") }
            for (tunnel, spec) in bridge.tunnels { add(spec, "\(name)/\(tunnel)") }
            for (mac, spec) in bridge.macs { add(spec, "\(name)/\(mac)") }
        }
        return result
    }

    /// What to write so that the stored state becomes this one. Only bridges that differ are looked at.
    func storeChanges(from old: DesiredState) -> [StoreChange] {
        var before = DesiredState()
        var after = DesiredState()
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
