// Everything an agent has, read once: what `show`, `get`, `apply`, `status` and `top` look at. FleetInventory is
// the same of a controller.

import API
import JSON

struct Inventory: Sendable {
    struct Member: Sendable {
        var type: ResourceType
        /// `{"name":…,"spec":{…},"status":{…}}`
        var document: JSONValue

        var name: String { document["name"]?.stringValue ?? "" }
        var status: JSONValue? { document["status"] }
        var spec: JSONObject { document["spec"]?.objectValue ?? [:] }
        var state: String { Cell.text(status?["state"]) }
    }

    struct BridgeWithMembers: Sendable {
        var bridge: Member
        var ports: [Member]
        var tunnels: [Member]
        /// Static entries, as they were listed.
        var macs: [JSONValue] = []
        var rules: [Member] = []
        var mirrors: [Member] = []

        var name: String { bridge.name }
        var members: [Member] { ports + tunnels }
        var all: [Member] { [bridge] + members }
    }

    var bridges: [BridgeWithMembers] = []
    /// Nil where the agent has none of these.
    var underlay: JSONValue?
    var routes: [Member] = []
    /// Static ones, as they were listed.
    var neighbors: [JSONValue] = []

    var all: [Member] { bridges.flatMap(\.all) }

    /// - Parameter entries: read static MAC entries, rules and mirrors, of bridges that have some, and neighbors too.
    static func read(_ client: AgentClient, entries: Bool = false) async throws(CommandError) -> Inventory {
        var inventory = Inventory()
        for document in try await client.list(Bridge.kind.target([])) {
            let bridge = Member(type: .bridge, document: document)
            var entry = BridgeWithMembers(bridge: bridge, ports: [], tunnels: [])
            do throws(CommandError) {
                entry.ports = try await members(.port, of: bridge.name, client)
                entry.tunnels = try await members(.tunnel, of: bridge.name, client)
                if entries, bridge.status?["macs"]?["static"] != 0 {
                    entry.macs = try await client.list(
                        StaticMAC.kind.target([bridge.name]),
                        where: [("type", MACEntryType.static.rawValue)])
                }
                // An older agent has no such counts.
                func has(_ field: String) -> Bool { (bridge.status?[field]?.integerValue ?? 0) > 0 }
                if entries, has("rules") { entry.rules = try await members(.rule, of: bridge.name, client) }
                if entries, has("mirrors") {
                    entry.mirrors = try await members(.mirror, of: bridge.name, client)
                }
            } catch .refused(let refusal) where refusal.status == 404 {
                // Deleted since it was listed.
                continue
            }
            inventory.bridges.append(entry)
        }
        try await inventory.readUnderlay(client, neighbors: entries)
        return inventory
    }

    /// An older agent has none.
    private mutating func readUnderlay(
        _ client: AgentClient, neighbors isWhole: Bool
    ) async throws(CommandError) {
        do throws(CommandError) {
            underlay = try await client.get(Underlay.kind.target([]))
            routes = try await client.list(StaticRoute.kind.target([])).map {
                Member(type: .route, document: $0)
            }
            guard isWhole else { return }
            neighbors = try await client.list(
                Neighbor.kind.target([]), where: [("type", NeighborType.static.rawValue)])
        } catch .refused(let refusal) where refusal.status == 404 {
            return
        }
    }

    private static func members(
        _ type: ResourceType, of bridge: String, _ client: AgentClient
    ) async throws(CommandError) -> [Member] {
        try await client.list(type.kind.target([bridge])).map { Member(type: type, document: $0) }
    }

    /// The specs, and who pushed those that are not local.
    var state: StateDocument {
        var state = StateDocument(tops: [.bridge])
        func add(_ id: ResourceID, _ spec: JSONObject, managedBy manager: JSONValue?) {
            state.specs[id] = spec
            if let manager = manager?.stringValue, manager != Manager.local { state.pushed[id] = manager }
        }
        if let underlay {
            state.tops.formUnion([.underlay, .route, .neighbor])
            add(ResourceID(type: .underlay, keys: []), underlay["spec"]?.objectValue ?? [:], managedBy: nil)
        }
        for route in routes { add(ResourceID(type: .route, keys: [route.name]), route.spec, managedBy: nil) }
        for entry in neighbors {
            guard let ifname = entry["ifname"]?.stringValue, let ip = entry["ip"]?.stringValue,
                let spec = Inventory.spec(of: .neighbor, entry)
            else { continue }
            add(ResourceID(type: .neighbor, keys: [ifname, ip]), spec, managedBy: nil)
        }
        for bridge in bridges {
            for member in bridge.all + bridge.rules + bridge.mirrors {
                let keys = member.type.isTop ? [bridge.name] : [bridge.name, member.name]
                add(
                    ResourceID(type: member.type, keys: keys), member.spec,
                    managedBy: member.status?["managed_by"])
            }
            for entry in bridge.macs {
                guard let key = MACEntry.key(of: entry), let spec = Inventory.spec(of: .mac, entry) else {
                    continue
                }
                add(
                    ResourceID(type: .mac, keys: [bridge.name, key]), spec, managedBy: entry["managed_by"])
            }
        }
        return state
    }

    /// An entry of a table has the fields of what was written beside those of what is.
    private static func spec(of type: ResourceType, _ entry: JSONValue) -> JSONObject? {
        let written = entry.objectValue?.members.filter { type.properties[$0.key] != nil } ?? []
        return try? type.normalized(.object(JSONObject(written)))
    }
}

extension MACEntry {
    /// As it stands in paths, of an entry as it was listed: "02:00:00:00:00:09@20".
    static func key(of entry: JSONValue) -> String? {
        guard let mac = entry["mac"]?.stringValue else { return nil }
        return entry["vlan"]?.integerValue.map { "\(mac)@\($0)" } ?? mac
    }
}

/// The counters of one status.
enum CounterSum {
    /// Drops by reason, added up over several statuses.
    static func drops(_ statuses: [JSONValue?]) -> [(reason: String, count: Int64)] {
        var sums: [String: Int64] = [:]
        for status in statuses {
            for (reason, count) in status?["counters"]?["drops"]?.objectValue?.members ?? [] {
                sums[reason, default: 0] += count.integerValue ?? 0
            }
        }
        return sums.filter { $0.value > 0 }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { (reason: $0.key, count: $0.value) }
    }
}
