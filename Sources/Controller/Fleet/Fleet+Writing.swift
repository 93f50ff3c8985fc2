// Writing the fleet: one resource or twenty thousand, for real or to see what would happen. All writes of a
// request are one change: edited in order, checked as they are in the end, kept or put back.

internal import API
internal import JSON
internal import Store
internal import Wire

/// Edits that may have to be put back.
struct FleetEdit {
    /// A resource before the first edit of it.
    struct Original {
        var spec: FleetSpec?
        /// Of a network.
        var vni: VNI?
    }

    fileprivate(set) var originals: [FleetID: Original] = [:]
    fileprivate(set) var areNew: [Bool] = []
    fileprivate(set) var refusals = FleetRefusals()
    /// The last write of each resource.
    fileprivate var writes: [FleetID: FleetWrite] = [:]

    mutating func refuse(_ refusal: FleetRefusal) { refusals.add(refusal, of: writes[refusal.id]) }
}

extension Fleet {
    /// Carries out all writes in order, or none; with `dryRun` checks them as strictly and changes nothing.
    /// What clashes is judged by how things are in the end, so that two attachments may change places.
    ///
    /// - Throws: `not_found`, `conflict`, `limit_exceeded` or `invalid_resource`, with an error for each thing that
    ///   is wrong.
    mutating func apply(_ writes: [FleetWrite], dryRun: Bool = false) throws(Problem) -> FleetOutcome {
        var edit = FleetEdit()
        write(writes, &edit)
        let changes = changes(of: edit).sorted { $0.id < $1.id }
        let transfer = check(changes, &edit)
        do throws(Problem) {
            try edit.refusals.check()
        } catch {
            undo(edit)
            throw error
        }
        let outcome = FleetOutcome(
            changes: changes, areNew: edit.areNew, storeChanges: storeChanges(changes, edit))
        if dryRun { undo(edit) } else { index.carryOut(transfer) }
        return outcome
    }

    /// The same for what was stored: nothing of it is to be stored again, or told.
    ///
    /// - Parameter vnis: of networks that have none of their own.
    mutating func restore(_ writes: [FleetWrite], vnis: [Name: VNI] = [:]) throws(FleetRefusal) {
        var edit = FleetEdit()
        write(writes, &edit)
        for case .network(let name) in writes.lazy.map(\.id) {
            guard networks[name]?.spec.vni == nil else { continue }
            guard let vni = vnis[name] else {
                throw FleetRefusal(.storageFailed, .network(name), wanted: "a VNI", "it has no VNI")
            }
            edit.originals[.network(name)]?.vni = vni
        }
        let transfer = check(changes(of: edit), &edit)
        if let refusal = edit.refusals.all.first { throw refusal }
        index.carryOut(transfer)
    }

    /// Does the writes one after the other.
    private mutating func write(_ writes: [FleetWrite], _ edit: inout FleetEdit) {
        for write in writes {
            edit.writes[write.id] = write
            let before = self[write.id]
            if let refusal = refusal(of: write, before) {
                edit.refuse(refusal)
                continue
            }
            edit.areNew.append(before == nil)
            note(write.id, before, &edit)
            // They go even when a later write brings the network back.
            if write.spec == nil {
                for id in dependants(of: write.id) { note(id, self[id], &edit) }
            }
            self[write.id] = write.spec
        }
    }

    private func note(_ id: FleetID, _ spec: FleetSpec?, _ edit: inout FleetEdit) {
        guard edit.originals[id] == nil else { return }
        var vni: VNI?
        if case .network(let name) = id { vni = networks[name]?.vni }
        edit.originals[id] = FleetEdit.Original(spec: spec, vni: vni)
    }

    private mutating func undo(_ edit: FleetEdit) {
        let isNetwork = { (id: FleetID) in id.kind == Network.kind }
        for (id, original) in edit.originals where isNetwork(id) {
            self[id] = original.spec
            if case .network(let name) = id, let vni = original.vni { setVNI(vni, of: name) }
        }
        for (id, original) in edit.originals where !isNetwork(id) { self[id] = original.spec }
    }

    /// What differs, in no order.
    private func changes(of edit: FleetEdit) -> [FleetChange] {
        edit.originals.compactMap { id, original in
            let spec = self[id]
            return spec == original.spec ? nil : FleetChange(id: id, from: original.spec, to: spec)
        }
    }

    /// What can be said of a write before the others are known.
    private func refusal(of write: FleetWrite, _ before: FleetSpec?) -> FleetRefusal? {
        if case .attachment(let network, _) = write.id, networks[network] == nil {
            return FleetRefusal(
                .notFound, write.id, wanted: "a network that exists", "there is no network \(network)")
        }
        guard write.spec == nil, before == nil else { return nil }
        let detail =
            switch write.id {
            case .host(let name): "there is no host \(name)"
            case .network(let name): "there is no network \(name)"
            case .attachment(let network, let name): "network \(network) has no attachment \(name)"
            }
        return FleetRefusal(.notFound, write.id, wanted: "a resource that exists", detail)
    }

    /// Judges what the edit has led to, gives networks their VNIs, and works out what the index is to be.
    private mutating func check(_ changes: [FleetChange], _ edit: inout FleetEdit) -> FleetIndex.Transfer {
        var refusals: [FleetRefusal] = []
        var transfer = FleetIndex.Transfer()
        count(changes, &transfer)
        release(changes, edit, &transfer)
        number(edit, &transfer, &refusals)
        take(changes, &transfer, &refusals)
        let changed = Set(changes.lazy.map(\.id))
        for change in changes { check(change, changed, transfer, &refusals) }
        checkPlaces(changes, transfer, &refusals)
        for refusal in refusals { edit.refuse(refusal) }
        return transfer
    }
}
