// Writing the fleet: one resource or twenty thousand at once, for real or to see what would happen. All of a
// request's writes are one change: one check, one transaction, one wave of pushes.
//
//   PUT ─▶ consistent? ─▶ store ─▶ fleet ─▶ what each host is to have ─▶ pushers ─▶ 2xx
//              │ no          │ fails
//              ▼             ▼
//           problem      problem, nothing has changed
//
// A 2xx therefore means durable and on its way to the hosts; whether it has arrived, their status says.

internal import API
internal import JSON
internal import Logging
internal import REST
internal import Store

extension ControllerCore {
    /// Carries out all writes, or none; with `dryRun` checks them as strictly and does nothing.
    func write(
        _ writes: [ResourceWrite<FleetID>], _ preconditions: Preconditions = .none, dryRun: Bool = false
    ) async throws(Problem) -> Outcome<FleetChange> {
        await takeTurn()
        defer { turn.give() }
        let term = try await leading()
        if !preconditions.areNone {
            for write in writes {
                try preconditions.check(fleet[write.id].map { EntityTag($0.json) }, write.id.path)
            }
        }
        return try await carryOut(writes, term, dryRun: dryRun)
    }

    /// A merge patch (RFC 7396) of what is written.
    func patch(
        _ id: FleetID, _ patch: JSONValue, _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> Outcome<FleetChange> {
        await takeTurn()
        defer { turn.give() }
        let term = try await leading()
        guard let current = fleet[id] else { throw Problem(.notFound, "there is no \(id.title)") }
        try preconditions.check(EntityTag(current.json), id.path)
        let spec = try id.spec(.object(current.json).merging(patch))
        return try await carryOut([ResourceWrite(id: id, spec: spec)], term, dryRun: dryRun)
    }

    /// The same for a batch, whose preconditions are about everything that is written.
    func batch(
        _ writes: [ResourceWrite<FleetID>], _ preconditions: Preconditions, dryRun: Bool
    ) async throws(Problem) -> (Outcome<FleetChange>, EntityTag) {
        await takeTurn()
        defer { turn.give() }
        let term = try await leading()
        try preconditions.check(fleetTag, Batch.path)
        let outcome = try await carryOut(writes, term, dryRun: dryRun)
        return (outcome, fleetTag)
    }

    private func takeTurn() async {
        guard !turn.take() else { return }
        await withCheckedContinuation { turn.wait($0) }
    }

    private func carryOut(
        _ writes: [ResourceWrite<FleetID>], _ term: Term, dryRun: Bool
    ) async throws(Problem) -> Outcome<FleetChange> {
        // Its caller has had an answer by now, which said that nothing was done.
        guard !Task.isCancelled else {
            throw Problem(.unavailable, "it took too long until it was its turn")
        }
        let writes = writes.map { FleetWrite(id: $0.id, spec: $0.spec, place: $0.place) }
        let outcome = try fleet.apply(writes, dryRun: true)
        let answer = Outcome(changes: outcome.changes, areNew: outcome.areNew)
        guard !dryRun, !outcome.changes.isEmpty else { return answer }
        let start = ContinuousClock.now
        do throws(StoreError) {
            try await store.commit(outcome.storeChanges, under: term.leadership)
        } catch {
            throw problem(error)
        }
        storeDurations.observe(ContinuousClock.now - start)
        // Another term may have begun meanwhile: it has read what was committed.
        guard self.term?.epoch == term.epoch else { return answer }
        _ = try fleet.apply(writes)
        revision += 1
        lastChange = RFC3339.wallMilliseconds
        follow(outcome.changes)
        report(outcome.changes)
        return answer
    }

    private func problem(_ error: StoreError) -> Problem {
        switch error.kind {
        case .notLeader: Problem(.notLeader, "the lead was lost meanwhile: \(error.detail)")
        case .full: Problem(.storageFull, error.detail)
        default: Problem(.storageFailed, error.detail)
        }
    }

    /// Everything that was written, in one tag: another one after every change.
    var fleetTag: EntityTag { EntityTag(of: "\(term?.epoch ?? 0) \(revision)".utf8) }

    private func report(_ changes: [FleetChange]) {
        events.append(changes.flatMap(\.events), at: RFC3339.wallMilliseconds)
    }
}

extension FleetChange {
    /// Created, changed or deleted; and moved, when an attachment has another host now.
    var events: [EventDraft] {
        let verb =
            switch (from, to) {
            case (nil, _): "created"
            case (_, nil): "deleted"
            default: "changed"
            }
        var drafts: [EventDraft] = []
        if let type = EventType(rawValue: "\(id.kind.singular).\(verb)") {
            drafts.append(
                EventDraft(type: type, resource: id.path, data: to.map { ["spec": .object($0.json)] } ?? [:]))
        }
        if case .attachment(let before) = from, case .attachment(let after) = to, before.host != after.host {
            let data: JSONObject = ["from": .string("\(before.host)"), "to": .string("\(after.host)")]
            drafts.append(EventDraft(type: .attachmentMoved, resource: id.path, data: data))
        }
        return drafts
    }
}
