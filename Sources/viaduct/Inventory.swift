// Everything an agent has, read once: what `show`, `get`, `apply`, `status` and `top` look at.

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
        /// Static entries: address and spec.
        var macs: [(mac: String, spec: JSONObject)] = []

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
                    entry.macs = try await staticMACs(of: bridge.name, client)
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

    private static func staticMACs(
        of bridge: String, _ client: AgentClient
    ) async throws(CommandError) -> [(mac: String, spec: JSONObject)] {
        let entries = try await client.list(
            StaticMAC.kind.target([bridge]), where: [("type", MACEntryType.static.rawValue)])
        return entries.compactMap { entry in
            guard let mac = entry["mac"]?.stringValue, let port = entry["port"] else { return nil }
            return (mac, ["port": port])
        }
    }

    /// The specs alone.
    var state: StateDocument {
        var state = StateDocument()
        for bridge in bridges {
            state.specs[.bridge(bridge.name)] = bridge.bridge.spec
            for member in bridge.members {
                state.specs[ResourceID(type: member.type, keys: [bridge.name, member.name])] = member.spec
            }
            for (mac, spec) in bridge.macs {
                state.specs[ResourceID(type: .mac, keys: [bridge.name, mac])] = spec
            }
        }
        return state
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
