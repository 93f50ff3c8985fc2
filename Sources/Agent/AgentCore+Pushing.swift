// A controller's pushes: what of them is to be written, once `StateFence` has let them pass. The writing itself is that
// of every other request.

internal import API
internal import JSON
internal import REST

/// A push, decoded.
struct Push: Sendable {
    enum Content: Sendable {
        case complete([Write], allowMassDelete: Bool)
        case delta([Write], base: StateBase)
    }

    /// As it is to be held, but for the time.
    var head: StateHead
    var content: Content
}

/// What a push did, and all that is there at that moment.
struct Acknowledgement: Sendable {
    var outcome: WriteOutcome
    var isFirst: Bool
    var state: DesiredState
    var tag: EntityTag
}

/// What has become of pushes in this agent's life.
struct PushRecord {
    /// By result: "applied", "unchanged" or the code of a refusal.
    var counts: [String: UInt64] = [:]
    /// Pushes of what is held that found the resources to be others.
    var repairs: UInt64 = 0
    /// Wall clock, since 1970; nil before the first.
    var acceptedMilliseconds: Int64?
    /// What the last push was refused for: one that is tried again and again is one event.
    fileprivate var refusal: (code: ProblemCode, epoch: Int?, generation: Int?)?
}

extension AgentCore {
    /// Carries a push out, or nothing of it, and says what is held then: nobody else's push comes between.
    func push(
        _ push: Push, _ preconditions: Preconditions, dryRun: Bool
    ) throws(Problem) -> Acknowledgement {
        try preconditions.check(stateTag, HostState.path)
        let isFirst = desired.pushed.head == nil
        let outcome = try carryOut(push, dryRun: dryRun)
        return Acknowledgement(outcome: outcome, isFirst: isFirst, state: desired, tag: stateTag)
    }

    /// What there was to do; nothing for a push that is held already.
    private func carryOut(_ push: Push, dryRun: Bool) throws(Problem) -> WriteOutcome {
        let isHeld = try StateFence.isHeld(push.head, desired.pushed.head)
        let isInSync = desired.pushed.isInSync
        if isHeld, isInSync {
            if !dryRun { accepted("unchanged") }
            return WriteOutcome(changes: [], areNew: [])
        }
        let writes = try writes(of: push, isInSync)
        var head = push.head
        let now = RFC3339.wallMilliseconds
        head.appliedAt = RFC3339.text(milliseconds: now)
        let outcome = try write(writes, by: .controller(head), dryRun: dryRun)
        guard !dryRun else { return outcome }
        if isHeld { pushes.repairs += 1 }
        accepted("applied")
        var data = head.json
        data["changes"] = .object(outcome.stateChanges.json)
        events.append([EventDraft(type: .stateApplied, resource: HostState.path, data: data)], at: now)
        log.notice(
            isHeld ? "state repaired" : "state applied",
            metadata: [
                "controller": "\(head.controller)", "epoch": "\(head.epoch)",
                "generation": "\(head.generation)", "digest": "\(head.digest)",
                "changes": "\(outcome.changes.count)",
            ])
        return outcome
    }

    private func accepted(_ result: String) {
        pushes.counts[result, default: 0] += 1
        pushes.acceptedMilliseconds = RFC3339.wallMilliseconds
        pushes.refusal = nil
    }

    /// Counts a push that was refused, wherever it was.
    ///
    /// - Parameter head: nil when the body said none.
    func refused(_ problem: Problem, _ head: StateHead?) {
        pushes.counts[problem.code.rawValue, default: 0] += 1
        let refusal = (code: problem.code, epoch: head?.epoch, generation: head?.generation)
        if let last = pushes.refusal, last == refusal { return }
        pushes.refusal = refusal
        var data = head?.json ?? [:]
        data["applied_at"] = nil
        data["code"] = .string(problem.code.rawValue)
        data["detail"] = .string(problem.detail)
        events.append(
            [EventDraft(type: .stateRefused, resource: HostState.path, data: data)],
            at: RFC3339.wallMilliseconds)
        log.warning(
            "state refused", metadata: ["code": "\(problem.code.rawValue)", "detail": "\(problem.detail)"])
    }

    private func writes(of push: Push, _ isInSync: Bool) throws(Problem) -> [Write] {
        switch push.content {
        case .complete(let writes, let allowMassDelete):
            let wanted = Set(writes.map(\.id))
            let removed = desired.pushed.ids.filter { !wanted.contains($0) }
            try StateFence.checkRemoval(
                of: removed.count, ofAll: desired.pushed.ids.count, isAllowed: allowMassDelete,
                desired.pushed.head)
            // What is removed goes first, innermost first, and everything wanted is written after it: a name
            // may pass from a tunnel to a port, and keep its entries.
            return removed.sorted { $0.rank > $1.rank }.map { Write(id: $0) }
                + writes.sorted { $0.id.rank < $1.id.rank }
        case .delta(let writes, let base):
            try StateFence.checkBase(base, desired.pushed.head, isInSync: isInSync)
            return writes
        }
    }

    // MARK: Reading

    /// Another one after any accepted push, and when what is there is not what was pushed.
    var stateTag: EntityTag {
        let head = desired.pushed.head
        return EntityTag(
            of:
                "\(head?.epoch ?? 0) \(head?.generation ?? 0) \(head?.appliedAt ?? "") \(desired.pushed.digest)"
                .utf8)
    }

    /// What it takes to answer, at one moment.
    func stateSnapshot() -> (DesiredState, EntityTag) { (desired, stateTag) }
}

extension DesiredState {
    /// Completes what a push has edited: each of its resources fits in, and together they are what it says.
    mutating func finish(_ head: StateHead, _ changes: [ResourceChange], _ writes: [Write]) throws(Problem) {
        pushed.head = head
        var refused = ItemProblems()
        for change in changes {
            do throws(Refusal) {
                try check(change)
            } catch {
                refused.add(error.problem(of: writes))
            }
        }
        try refused.check()
        pushed.seal()
        let digest = pushed.digest
        guard digest == head.digest else {
            throw Problem(
                .digestMismatch,
                "/digest: wanted \(digest), which these resources have, found \(head.digest)",
                errors: [
                    FieldError(
                        at: JSONPointer().appending("digest"), .invalidValue, wanted: "\(digest)",
                        found: "\(head.digest)")
                ])
        }
    }
}

extension WriteOutcome {
    var stateChanges: StateChanges {
        var result = StateChanges()
        for change in changes {
            switch (change.from, change.to) {
            case (nil, _): result.added += 1
            case (_, nil): result.removed += 1
            default: result.changed += 1
            }
            if change.to == nil, !change.isPushed { result.removedLocal.append(change.id.path) }
        }
        return result
    }
}

extension ResourceID {
    /// Bridges before what is below them, members before entries that lead to them. Nothing else is pushed.
    fileprivate var rank: Int {
        switch self {
        case .bridge, .underlay, .route, .neighbor: 0
        case .port, .tunnel: 1
        case .mac, .rule, .mirror: 2
        }
    }
}
