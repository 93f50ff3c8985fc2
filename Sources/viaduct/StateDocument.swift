// The file that `get` writes and `apply` reads: a host's resources, or a fleet's, nested as they belong together.
//
//     bridges:                                    hosts:
//       br0:                                        host-a: {agent_url: 'http://10.0.0.1:8640', vtep_ips: [10.0.0.1]}
//         addresses: [192.0.2.1/24]               networks:
//         vni: 100                                  blue:
//         ports:                                      subnets: [192.0.2.0/24]
//           web1: {type: tap, netns: web1}            attachments:
//         tunnels:                                      web1: {host: host-a, ips: [192.0.2.11]}
//           vxlan1: {remote_ip: 10.0.0.2}
//         macs:
//           "02:00:00:00:00:09": {port: vxlan1}
//         rules:
//           no-telnet: {match: {ip_proto: tcp, ip_dst: 10.0.0.0/8, tp_dst: 23}, actions: [{drop: true}]}
//     underlay: {driver: native}
//     routes:
//       backbone: {destination: 10.0.0.0/8, gateway: 192.0.2.1}
//     neighbors:
//       eth0:
//         192.0.2.1: {mac: "02:00:00:00:00:01"}
//
// A bridge's own fields stand beside `ports`, `tunnels`, `macs`, `rules` and `mirrors`, which no field of a bridge is
// called; so do a network's beside `attachments`. What is left out has its default. Pure: text and values in, values
// and text out.

import API
import JSON

/// What a file, an agent or a controller says there is: every resource with its whole spec.
struct StateDocument: Sendable, Equatable {
    /// Whose resources they are.
    var service = Role.agent
    var specs: [ResourceID: JSONObject] = [:]
    /// The sorts of which it says everything there is to be.
    var tops: Set<ResourceType> = []
    /// Those that a controller pushed to an agent, and its name: not for a document to remove.
    var pushed: [ResourceID: String] = [:]

    /// Mappings around one port, tunnel or MAC entry: the document, the bridges, the bridge, the collection.
    static let memberDepth = 4

    /// The format in words, for the help of `get` and `apply`.
    static let help = """
        The document is YAML or JSON. That of a host maps the names of its "bridges" to their fields, and beside them \
        "ports", "tunnels", "macs", "rules" and "mirrors" map a name (for macs, the address) to the fields of one:

          bridges:
            br0:
              addresses: [192.0.2.1/24]
              vni: 100
              ports:
                web1: {type: tap, netns: web1}
              tunnels:
                vxlan1: {remote_ip: 10.0.0.2}
              macs:
                "02:00:00:00:00:09": {port: vxlan1}
              rules:
                no-telnet: {match: {ip_proto: tcp, ip_dst: 10.0.0.0/8, tp_dst: 23}, actions: [{drop: true}]}

        Beside "bridges" it may have "underlay", the fields of one, "routes" by name, and "neighbors" by interface \
        and address:

          underlay: {driver: native}
          routes:
            backbone: {destination: 10.0.0.0/8, gateway: 192.0.2.1}
          neighbors:
            eth0:
              192.0.2.1: {mac: "02:00:00:00:00:01"}

        That of a fleet, which is the controller's, has "hosts" and "networks", and in each network "attachments":

          hosts:
            host-a: {agent_url: "http://10.0.0.1:8640", vtep_ips: [10.0.0.1]}
          networks:
            blue:
              subnets: [192.0.2.0/24]
              attachments:
                web1: {host: host-a, netns: web1, ips: [192.0.2.11]}

        A field that is left out has its default.
        """

    // MARK: - From a document

    /// Finds every mistake of the document before it throws.
    static func decode(_ value: JSONValue) throws(DocumentFaults) -> StateDocument {
        var decoder = Decoder()
        decoder.document(value)
        guard decoder.faults.isEmpty else { throw DocumentFaults(faults: decoder.faults) }
        return decoder.state
    }

    struct DocumentFaults: Error, Equatable {
        var faults: [FieldFault]
    }

    private struct Decoder {
        var state = StateDocument()
        var faults: [FieldFault] = []

        mutating func document(_ value: JSONValue) {
            let root = JSONPointer()
            guard let document = object(value, at: root) else { return }
            let known = ResourceType.tops.map(\.kind.plural)
            for key in document.keys where !known.contains(key) {
                add(
                    at: root.appending(key),
                    wanted:
                        "only \"bridges\", \"underlay\", \"routes\" and \"neighbors\", or \"hosts\" and "
                        + "\"networks\", at the top",
                    found: "\"\(key)\"")
            }
            let tops = ResourceType.tops.filter { document[$0.kind.plural] != nil }
            // An empty or truncated file must not be taken for a host without bridges.
            guard let service = tops.first?.service else {
                return add(
                    at: root, wanted: "bridges, if only {}, or hosts and networks", found: "neither")
            }
            guard tops.allSatisfy({ $0.service == service }) else {
                return add(
                    at: root,
                    wanted:
                        "bridges, underlay, routes and neighbors, which are an agent's, or hosts and networks, "
                        + "which are a controller's",
                    found: "both")
            }
            (state.service, state.tops) = (service, Set(tops))
            for type in tops {
                let plural = type.kind.plural
                top(type, [], document[plural] ?? .null, at: root.appending(plural))
            }
        }

        /// One thing once all its keys are found, each of which is a mapping deeper.
        private mutating func top(
            _ type: ResourceType, _ keys: [String], _ value: JSONValue, at pointer: JSONPointer
        ) {
            guard keys.count == type.kind.keys.count else {
                for (key, item) in object(value, at: pointer)?.members ?? [] {
                    top(type, keys + [key], item, at: pointer.appending(key))
                }
                return
            }
            guard let whole = object(value, at: pointer) else { return }
            let collections = type.children.map(\.kind.plural)
            let own = whole.members.filter { !collections.contains($0.key) }
            add(ResourceID(type: type, keys: keys), JSONObject(own), at: pointer)
            for child in type.children {
                guard let members = whole[child.kind.plural] else { continue }
                let below = pointer.appending(child.kind.plural)
                for (key, member) in object(members, at: below)?.members ?? [] {
                    guard let spec = object(member, at: below.appending(key)) else { continue }
                    add(ResourceID(type: child, keys: keys + [key]), spec, at: below.appending(key))
                }
            }
        }

        private mutating func add(_ id: ResourceID, _ spec: JSONObject, at pointer: JSONPointer) {
            do throws(Problem) {
                var id = id
                id.keys = try id.type.kind.canonical(id.keys)
                guard state.specs[id] == nil else {
                    return add(at: pointer, wanted: "each \(id.type.kind.singular) once", found: "it again")
                }
                state.specs[id] = try id.type.normalized(.object(spec))
            } catch {
                faults += error.errors.map { FieldFault($0, below: pointer) }
                if error.errors.isEmpty {
                    let parts = error.detail.split(separator: "wanted ", maxSplits: 1).last ?? ""
                    add(at: pointer, wanted: String(parts.prefix(while: { $0 != "\"" })), found: "this key")
                }
            }
        }

        /// An object, or nothing at all: YAML's `br0:` is a bridge with every default.
        private mutating func object(_ value: JSONValue, at pointer: JSONPointer) -> JSONObject? {
            if value.isNull { return [:] }
            if let object = value.objectValue { return object }
            add(at: pointer, wanted: "an object", found: value.kindName)
            return nil
        }

        private mutating func add(at pointer: JSONPointer, wanted: String, found: String) {
            faults.append(FieldFault(pointer: pointer.description, wanted: wanted, found: found))
        }
    }

    // MARK: - To a document

    /// Without what a controller pushed. Where that is around something local it stays, with no field of its own.
    var local: StateDocument {
        var local = self
        let places = Set(specs.keys.filter { pushed[$0] == nil }.map(\.top))
        for id in pushed.keys {
            local.specs[id] = places.contains(id) ? try? id.type.normalized([:]) : nil
        }
        return local
    }

    /// Sorted by name. Without `defaults`, members that say what would be so anyway are left out.
    func document(defaults: Bool) -> JSONValue {
        func shown(_ id: ResourceID) -> JSONObject {
            let spec = specs[id] ?? [:]
            return defaults ? spec : id.type.withoutDefaults(spec)
        }
        let groups = Dictionary(grouping: specs.keys, by: \.top)
        var document = JSONObject()
        for type in ResourceType.tops where tops.contains(type) {
            var items = JSONValue.object([:])
            for (id, all) in groups.filter({ $0.key.type == type }).sorted(by: { $0.key < $1.key }) {
                var item = shown(id)
                for child in type.children {
                    let members = all.filter { $0.type == child }.sorted()
                    guard !members.isEmpty else { continue }
                    item[child.kind.plural] = .object(
                        JSONObject(members.map { ($0.keys.last ?? "", .object(shown($0))) }))
                }
                items.set(.object(item), at: id.keys[...])
            }
            document[type.kind.plural] = items
        }
        return .object(document)
    }

    // MARK: - From a service

    /// Everything it has.
    static func read(_ client: AgentClient, _ service: Role) async throws(CommandError) -> StateDocument {
        switch service {
        case .agent: try await Inventory.read(client, entries: true).state
        case .controller: try await FleetInventory.read(client).state
        }
    }
}

extension JSONValue {
    /// Puts a value below objects, which are made where there are none.
    fileprivate mutating func set(_ value: JSONValue, at keys: ArraySlice<String>) {
        guard let key = keys.first else {
            self = value
            return
        }
        var object = objectValue ?? [:]
        var member = object[key] ?? .object([:])
        member.set(value, at: keys.dropFirst())
        object[key] = member
        self = .object(object)
    }
}
