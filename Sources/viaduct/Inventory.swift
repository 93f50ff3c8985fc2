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

        var name: String { bridge.name }
        var members: [Member] { ports + tunnels }
        var all: [Member] { [bridge] + members }
    }

    var bridges: [BridgeWithMembers] = []

    var all: [Member] { bridges.flatMap(\.all) }

    /// - Parameter macs: read the static MAC entries too, of bridges that have some.
    static func read(_ client: AgentClient, macs: Bool = false) async throws(CommandError) -> Inventory {
        var inventory = Inventory()
        for document in try await client.list(Bridge.kind.target([])) {
            let bridge = Member(type: .bridge, document: document)
            var entry = BridgeWithMembers(bridge: bridge, ports: [], tunnels: [])
            do throws(CommandError) {
                entry.ports = try await members(.port, of: bridge.name, client)
                entry.tunnels = try await members(.tunnel, of: bridge.name, client)
                if macs, bridge.status?["macs"]?["static"] != 0 {
                    entry.macs = try await client.list(
                        StaticMAC.kind.target([bridge.name]),
                        where: [("type", MACEntryType.static.rawValue)])
                }
            } catch .refused(let refusal) where refusal.status == 404 {
                // Deleted since it was listed.
                continue
            }
            inventory.bridges.append(entry)
        }
        return inventory
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
        for bridge in bridges {
            for member in bridge.all {
                let keys = member.type.isTop ? [bridge.name] : [bridge.name, member.name]
                add(
                    ResourceID(type: member.type, keys: keys), member.spec,
                    managedBy: member.status?["managed_by"])
            }
            for entry in bridge.macs {
                guard let mac = entry["mac"]?.stringValue, let spec = Inventory.spec(ofMAC: entry) else {
                    continue
                }
                add(
                    ResourceID(type: .mac, keys: [bridge.name, mac]), spec, managedBy: entry["managed_by"])
            }
        }
        return state
    }

    /// An entry of a MAC table has the fields of what was written beside those of what is.
    private static func spec(ofMAC entry: JSONValue) -> JSONObject? {
        let written = entry.objectValue?.members.filter { ResourceType.mac.properties[$0.key] != nil } ?? []
        return try? ResourceType.mac.normalized(.object(JSONObject(written)))
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
