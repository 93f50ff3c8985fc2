// Writing resources, whatever their kind: one or twenty thousand at once, for real or to see what would
// happen. All of a request's writes are one change: one check, one transaction, one program.

internal import API
internal import JSON
internal import REST
internal import Wire

typealias Write = ResourceWrite<ResourceID>
typealias WriteOutcome = Outcome<ResourceChange>

/// Who writes.
enum Writer: Sendable {
    case local
    /// A controller, with what it wants to be held afterwards.
    case controller(StateHead)
}

extension AgentCore {
    /// Carries out all writes, or none; with `dryRun` checks them as strictly and does nothing.
    func write(
        _ writes: [Write], _ preconditions: Preconditions = .none, by writer: Writer = .local,
        dryRun: Bool = false
    ) throws(Problem) -> WriteOutcome {
        var wanted = desired
        let (touched, areNew) = try edit(&wanted, writes, preconditions, writer)
        let changes = wanted.changes(from: desired, at: touched)
        if case .controller(let head) = writer {
            try wanted.finish(head, changes, writes)
        } else if changes.isEmpty {
            return WriteOutcome(changes: [], areNew: areNew)
        }
        do throws(Refusal) {
            try wanted.check(changes)
            if dryRun {
                _ = try claims.transfer(changes, from: desired, to: wanted)
                try host.checkMakeable(plan(changes), wanted)
            } else {
                try transition(to: wanted, changes)
            }
        } catch {
            throw error.problem(of: writes)
        }
        if !dryRun {
            report(changes)
            noteConditions(of: changes)
        }
        return WriteOutcome(changes: changes, areNew: areNew)
    }

    /// Does the writes to a state, one after the other. A controller is told everything that is wrong, since it
    /// sends thousands; a batch, the first.
    private func edit(
        _ wanted: inout DesiredState, _ writes: [Write], _ preconditions: Preconditions, _ writer: Writer
    ) throws(Problem) -> (touched: Set<ResourceID>, areNew: [Bool]) {
        var areNew: [Bool] = []
        var touched = Set(writes.map(\.id))
        var refused = ItemProblems()
        for write in writes {
            let before = wanted[write.id]
            // What a delta came to does not depend on it, and its digest is compared.
            if case .controller = writer, write.spec == nil, before == nil {
                areNew.append(false)
                continue
            }
            do throws(Problem) {
                try checkManager(of: write, before, wanted, writer)
                try check(write, before, preconditions, wanted)
            } catch {
                guard case .controller = writer else { throw error.about(write) }
                refused.add(error.about(write))
                continue
            }
            areNew.append(before == nil)
            // They go even when a later write brings the resource back.
            let gone = write.spec == nil ? wanted.dependants(of: write.id) : []
            touched.formUnion(gone)
            wanted[write.id] = write.spec
            guard case .controller = writer else { continue }
            for id in gone { wanted.pushed.note(nil, at: id) }
            if before != write.spec || !wanted.pushed.ids.contains(write.id) {
                wanted.pushed.note(write.spec, at: write.id)
            }
        }
        try refused.check()
        return (touched, areNew)
    }

    /// Local writes keep off what a controller pushed, and the other way round. What a local port or entry is
    /// attached to may go, and takes it along: it would be of no use without.
    private func checkManager(
        of write: Write, _ before: Spec?, _ wanted: DesiredState, _ writer: Writer
    ) throws(Problem) {
        switch writer {
        case .local:
            guard !desired.pushed.ids.isEmpty else { return }
            let gone = write.spec == nil ? desired.dependants(of: write.id) : []
            guard let id = ([write.id] + gone).first(where: desired.pushed.ids.contains) else { return }
            throw Problem(
                .managedElsewhere,
                "\(id.title) is managed by controller \(desired.manager(of: id)): change it there")
        case .controller:
            if desired[write.id] != nil, !desired.pushed.ids.contains(write.id) {
                throw Problem(
                    .managedElsewhere,
                    "\(write.id.title) is managed locally: delete it here or push another name")
            }
            guard let bridge = write.id.bridge else {
                throw Problem(
                    .managedElsewhere,
                    "\(write.id.title) is managed locally: a controller pushes bridges and what belongs to them"
                )
            }
            let owner = ResourceID.bridge(bridge)
            guard owner != write.id, wanted[owner] != nil, !wanted.pushed.ids.contains(owner) else { return }
            throw Problem(
                .managedElsewhere,
                "\(owner.title) is managed locally: a pushed \(write.id.kind.singular) belongs to a pushed bridge"
            )
        }
    }

    /// The same for a batch, whose precondition is about everything that is written.
    func batch(
        _ writes: [Write], _ preconditions: Preconditions, dryRun: Bool
    ) throws(Problem) -> (WriteOutcome, EntityTag) {
        try preconditions.check(collectionTag, "everything written")
        let outcome = try write(writes, dryRun: dryRun)
        return (outcome, collectionTag)
    }

    /// What can be said of a write before the others are known.
    private func check(
        _ write: Write, _ before: Spec?, _ preconditions: Preconditions, _ state: DesiredState
    ) throws(Problem) {
        if !preconditions.areNone { try preconditions.check(before.map(EntityTag.init), write.id.path) }
        try checkParent(of: write.id, state)
        guard let spec = write.spec else {
            if before == nil { throw missing(write.id) }
            return
        }
        guard spec != before else { return }
        do throws(Problem) {
            // Compared with what runs, not with what an earlier write of the batch leaves of it.
            try host.checkPossible(write.id, desired[write.id], spec)
        } catch {
            throw error.moved(below: write.place?.appending("body") ?? JSONPointer())
        }
    }

    /// Reads, changes and writes one resource in one step: RFC 7396's merge patch.
    func patch(
        _ id: ResourceID, _ patch: JSONValue, _ preconditions: Preconditions, dryRun: Bool
    ) throws(Problem) -> WriteOutcome {
        guard let before = desired[id] else { throw missing(id) }
        let merged = JSONValue.object(before.json).merging(patch)
        return try write([Write(id: id, spec: try id.spec(merged))], preconditions, dryRun: dryRun)
    }

    private func checkParent(of id: ResourceID, _ state: DesiredState) throws(Problem) {
        guard id.kind != Bridge.kind, let bridge = id.bridge, state.bridges[bridge] == nil else { return }
        throw Problem(.notFound, "there is no bridge \(bridge)")
    }

    private func missing(_ id: ResourceID) -> Problem {
        switch id {
        case .bridge(let name): Problem(.notFound, "there is no bridge \(name)")
        case .port(let bridge, let name): Problem(.notFound, "bridge \(bridge) has no port \(name)")
        case .tunnel(let bridge, let name): Problem(.notFound, "bridge \(bridge) has no tunnel \(name)")
        case .mac(let bridge, let mac): Problem(.notFound, "bridge \(bridge) does not know \(mac)")
        case .rule(let bridge, let name): Problem(.notFound, "bridge \(bridge) has no rule \(name)")
        case .mirror(let bridge, let name): Problem(.notFound, "bridge \(bridge) has no mirror \(name)")
        case .underlay, .route, .neighbor: Problem(.notFound, "there is no \(id.title)")
        }
    }

    /// Tells the events of what was written.
    private func report(_ changes: [ResourceChange]) {
        let drafts = changes.compactMap { change -> EventDraft? in
            let verb = change.from == nil ? "created" : change.to == nil ? "deleted" : "changed"
            guard let type = EventType(rawValue: "\(change.id.kind.singular).\(verb)") else { return nil }
            let spec = change.to.map { ["spec": JSONValue.object($0.json)] as JSONObject }
            return EventDraft(type: type, resource: change.id.path, data: spec ?? [:])
        }
        events.append(drafts, at: RFC3339.wallMilliseconds)
    }
}

extension Refusal {
    /// The problem, with the one of the writes it is about.
    func problem(of writes: [Write]) -> Problem {
        let write =
            writes.last { resources.contains($0.id) }
            ?? writes.last { write in
                write.id.bridge.map { bridge in resources.contains { $0.bridge == bridge } } ?? false
            }
        guard let write else { return problem }
        // What points into the resource points into its body in a batch.
        return problem.errors.isEmpty
            ? problem.about(write) : problem.moved(below: write.place?.appending("body") ?? JSONPointer())
    }
}
