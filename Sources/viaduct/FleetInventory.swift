// Everything a controller has, read once: what `show`, `get` and `apply` look at.

import API
import JSON

struct FleetInventory: Sendable {
    /// `{"name":…,"spec":{…},"status":{…}}` each.
    var hosts: [JSONValue] = []
    var networks: [JSONValue] = []
    /// Of all networks; the status says of which.
    var attachments: [JSONValue] = []

    static func read(_ client: AgentClient) async throws(CommandError) -> FleetInventory {
        var fleet = FleetInventory()
        fleet.hosts = try await client.list(FleetHost.kind.path([]))
        fleet.networks = try await client.list(Network.kind.path([]))
        fleet.attachments = try await client.list(Attachment.fleetPath)
        return fleet
    }

    static func name(_ document: JSONValue) -> String { document["name"]?.stringValue ?? "" }

    static func network(of attachment: JSONValue) -> String {
        attachment["status"]?["network"]?.stringValue ?? ""
    }

    /// The specs alone.
    var state: StateDocument {
        var state = StateDocument(service: .controller, tops: [.host, .network])
        func add(_ type: ResourceType, _ keys: [String], _ document: JSONValue) {
            state.specs[ResourceID(type: type, keys: keys)] = document["spec"]?.objectValue ?? [:]
        }
        let names = Set(networks.map(FleetInventory.name))
        for host in hosts { add(.host, [FleetInventory.name(host)], host) }
        for network in networks { add(.network, [FleetInventory.name(network)], network) }
        for attachment in attachments {
            // Of a network that was made since the networks were listed: it comes with the next reading.
            let network = FleetInventory.network(of: attachment)
            guard names.contains(network) else { continue }
            add(.attachment, [network, FleetInventory.name(attachment)], attachment)
        }
        return state
    }
}
