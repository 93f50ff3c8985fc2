// The file that `get` writes and `apply` reads: a host's resources, nested as they belong together.
//
//     bridges:
//       br0:
//         addresses: [192.0.2.1/24]
//         vni: 100
//         ports:
//           web1: {type: tap, netns: web1}
//         tunnels:
//           vxlan1: {remote_ip: 10.0.0.2}
//         macs:
//           "02:00:00:00:00:09": {port: vxlan1}
//
// A bridge's own fields stand beside `ports`, `tunnels` and `macs`, which no field of a bridge is called.
// What is left out has its default. Pure: text and values in, values and text out.

import API
import JSON

/// What a file, or an agent, says there is: every resource with its whole spec.
struct StateDocument: Sendable, Equatable {
    var specs: [ResourceID: JSONObject] = [:]

    /// Mappings around one port, tunnel or MAC entry: the document, the bridges, the bridge, the collection.
    static let memberDepth = 4

    /// The format in words, for the help of `get` and `apply`.
    static let help = """
        The document is YAML or JSON: "bridges" maps each bridge's name to its fields, and beside them \
        "ports", "tunnels" and "macs" map a name (for macs, the address) to the fields of one:

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
            for key in document.keys where key != Bridge.kind.plural {
                add(at: root.appending(key), wanted: "only \"bridges\" at the top", found: "\"\(key)\"")
            }
            let pointer = root.appending(Bridge.kind.plural)
            // An empty or truncated file must not be taken for a host without bridges.
            guard let bridges = document[Bridge.kind.plural] else {
                add(at: pointer, wanted: "the bridges, if only {}", found: "nothing")
                return
            }
            for (name, bridge) in object(bridges, at: pointer)?.members ?? [] {
                self.bridge(name, bridge, at: pointer.appending(name))
            }
        }

        private mutating func bridge(_ name: String, _ value: JSONValue, at pointer: JSONPointer) {
            guard let whole = object(value, at: pointer) else { return }
            let collections = ResourceType.children.map(\.kind.plural)
            let own = whole.members.filter { !collections.contains($0.key) }
            add(.bridge(name), JSONObject(own), at: pointer)
            for type in ResourceType.children {
                guard let members = whole[type.kind.plural] else { continue }
                let below = pointer.appending(type.kind.plural)
                for (key, member) in object(members, at: below)?.members ?? [] {
                    guard let child = object(member, at: below.appending(key)) else { continue }
                    add(ResourceID(type: type, keys: [name, key]), child, at: below.appending(key))
                }
            }
        }

        private mutating func add(_ id: ResourceID, _ spec: JSONObject, at pointer: JSONPointer) {
            do throws(Problem) {
                var id = id
                for (index, kind) in id.type.kind.lineage.enumerated() {
                    guard let type = ResourceType.allCases.first(where: { $0.kind == kind }) else { continue }
                    id.keys[index] = try type.key(id.keys[index])
                }
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

    /// Sorted by name. Without `defaults`, members that say what would be so anyway are left out.
    func document(defaults: Bool) -> JSONValue {
        var bridges = JSONObject()
        let groups = Dictionary(grouping: specs.keys, by: \.bridge)
        for (name, ids) in groups.sorted(by: { $0.key < $1.key }) {
            func shown(_ id: ResourceID) -> JSONObject {
                let spec = specs[id] ?? [:]
                return defaults ? spec : id.type.withoutDefaults(spec)
            }
            var bridge = shown(.bridge(name))
            for type in ResourceType.children {
                let members = ids.filter { $0.type == type }.sorted()
                guard !members.isEmpty else { continue }
                bridge[type.kind.plural] = .object(
                    JSONObject(members.map { ($0.keys.last ?? "", .object(shown($0))) }))
            }
            bridges[name] = .object(bridge)
        }
        return ["bridges": .object(bridges)]
    }
}
