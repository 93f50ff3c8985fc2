// The fleet as documents of the store. A resource's document is what was written; the VNI of a network that
// gives none is a document of its own, because nobody wrote it.

internal import API
internal import JSON
internal import Store
internal import Wire

extension Fleet {
    /// Kind of the documents that hold allocated VNIs; the key is the network's.
    static let vniKind = "allocated_vni"
    /// Attachments restored at a time: what is gathered for the checks stays small.
    private static let restoredAtOnce = 1024

    /// Rebuilds what was stored. A document that today's rules refuse is an error that names it, never skipped;
    /// kinds that are no resource are left alone.
    init(_ documents: [StoredDocument], vniRange: VNIRange) throws(Problem) {
        self.init(vniRange: vniRange)
        var vnis: [Name: VNI] = [:]
        var attachments: [FleetWrite] = []
        var others: [FleetWrite] = []
        for document in documents {
            do throws(Problem) {
                if document.kind == Fleet.vniKind {
                    let (name, vni) = try Fleet.vni(document)
                    vnis[name] = vni
                } else if let write = try Fleet.write(document) {
                    if write.id.kind == Attachment.kind {
                        attachments.append(write)
                    } else {
                        others.append(write)
                    }
                }
            } catch {
                throw Problem(.storageFailed, "stored \(document.kind) \(document.key): \(error.detail)")
            }
        }
        do throws(FleetRefusal) {
            try restore(others, vnis: vnis)
            for first in stride(from: 0, to: attachments.count, by: Fleet.restoredAtOnce) {
                let last = min(first + Fleet.restoredAtOnce, attachments.count)
                try restore(Array(attachments[first..<last]))
            }
        } catch {
            throw Problem(.storageFailed, "stored \(error.id.title): \(error.detail)")
        }
    }

    /// Nil for a document of no resource.
    private static func write(_ document: StoredDocument) throws(Problem) -> FleetWrite? {
        let kinds = [FleetHost.kind, Network.kind, Attachment.kind]
        guard let kind = kinds.first(where: { $0.singular == document.kind }) else { return nil }
        let keys = document.key.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let id = try FleetID(kind, keys)
        return FleetWrite(id: id, spec: try id.spec(try json(document)))
    }

    private static func vni(_ document: StoredDocument) throws(Problem) -> (Name, VNI) {
        let name = try Network.kind.name(in: document.key)
        guard let number = try json(document)["vni"]?.integerValue, let vni = VNI(Int(number)) else {
            throw Problem(.storageFailed, "wanted a VNI, found \(document.body)")
        }
        return (name, vni)
    }

    private static func json(_ document: StoredDocument) throws(Problem) -> JSONValue {
        do throws(JSONError) {
            return try JSONValue.parse(Array(document.body.utf8))
        } catch {
            throw Problem(from: error)
        }
    }

    /// What to write for changes that have been made.
    func storeChanges(_ changes: [FleetChange], _ edit: FleetEdit) -> [StoreChange] {
        var result: [StoreChange] = []
        for change in changes {
            result.append(Fleet.storeChange(change.id.kind.singular, change.id, change.to?.json))
            guard case .network(let name) = change.id else { continue }
            let before = Fleet.allocated(change.from, edit.originals[change.id]?.vni)
            let after = Fleet.allocated(change.to, networks[name]?.vni)
            if before != after {
                let body = after.map { ["vni": .integer(Int64($0.rawValue))] as JSONObject }
                result.append(Fleet.storeChange(Fleet.vniKind, change.id, body))
            }
        }
        return result
    }

    private static func allocated(_ spec: FleetSpec?, _ vni: VNI?) -> VNI? {
        guard case .network(let network)? = spec, network.vni == nil else { return nil }
        return vni
    }

    private static func storeChange(_ kind: String, _ id: FleetID, _ body: JSONObject?) -> StoreChange {
        let key = id.keys.joined(separator: "/")
        guard let body else { return .delete(kind: kind, key: key) }
        let text = String(decoding: JSONValue.object(body).canonicalBytes, as: UTF8.self)
        return .put(StoredDocument(kind: kind, key: key, body: text))
    }
}
