// What of the desired state a controller has pushed. Pure; stored with the resources, in the same transactions:
// a pushed resource's document is called "pushed tunnel" instead of "tunnel", and one more holds the head.

internal import API
internal import JSON
internal import Store

struct PushedState: Equatable, Sendable {
    static let kindPrefix = "pushed "
    static let headKind = "state"

    /// The last push that was accepted; nil until then.
    var head: StateHead?
    private(set) var ids: Set<ResourceID> = []
    private var lines = StateDigest()
    /// Of the resources at `ids`, as of the last `seal`.
    private(set) var digest = SHA256(of: [])

    /// Whether the resources are those that were pushed: they are, unless the state file was changed by others.
    var isInSync: Bool { head.map { $0.digest == digest } ?? ids.isEmpty }

    /// Takes these resources of a state for all that were pushed.
    mutating func hold(_ ids: [ResourceID], of state: DesiredState) {
        self.ids = Set(ids)
        lines = StateDigest(
            ids.lazy.compactMap { id in state[id].map { (path: id.path, resource: $0.jsonWithoutDefaults) } })
        seal()
    }

    /// Takes note of what a push wrote at an address; nil: it is gone.
    mutating func note(_ spec: Spec?, at id: ResourceID) {
        if spec == nil, ids.remove(id) == nil { return }
        if spec != nil { ids.insert(id) }
        lines.note(spec?.jsonWithoutDefaults, at: id.path)
    }

    /// After the last note: hashes the lines of the bridges it was about.
    mutating func seal() { digest = lines.value }

    func storeChanges(from old: PushedState) -> [StoreChange] {
        guard let head, head != old.head else { return [] }
        let body = String(decoding: JSONValue.object(head.json).canonicalBytes, as: UTF8.self)
        return [.put(StoredDocument(kind: PushedState.headKind, key: "held", body: body))]
    }
}

extension DesiredState {
    /// "local", or the name of a controller.
    func manager(of id: ResourceID) -> String {
        pushed.ids.contains(id) ? pushed.head?.controller ?? "unknown" : Manager.local
    }
}
