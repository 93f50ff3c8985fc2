// Which of a controller's pushes count: the rules of epoch, generation, digest and base, as an agent applies them.
//
//   (epoch, generation) against what is held
//        older ──▶ stale_state          another controller's, in the same epoch ──▶ state_conflict
//        the same ──▶ same digest? it is held already
//                     another one? state_conflict
//        newer ──▶ a complete state is to be written
//                  a delta: base is what is held? To be written. Else base_mismatch

public enum StateFence {
    /// Whether a push is the one that is held already; throws when it must not be carried out.
    public static func isHeld(_ new: StateHead, _ held: StateHead?) throws(Problem) -> Bool {
        guard let held, new.epoch <= held.epoch else { return false }
        func refuse(_ code: ProblemCode, _ wanted: String) -> Problem {
            var problem = Problem(
                code,
                "wanted \(wanted), found epoch \(new.epoch), generation \(new.generation), digest \(new.digest) of "
                    + "controller \(new.controller)")
            problem.held = held
            return problem
        }
        if new.epoch < held.epoch { throw refuse(.staleState, "epoch \(held.epoch) or later") }
        if new.controller != held.controller {
            throw refuse(
                .stateConflict, "an epoch after \(held.epoch), which is controller \(held.controller)'s")
        }
        if new.generation < held.generation {
            throw refuse(.staleState, "generation \(held.generation) of epoch \(held.epoch) or later")
        }
        guard new.generation == held.generation else { return false }
        if new.digest != held.digest {
            throw refuse(.stateConflict, "digest \(held.digest), which this generation has already")
        }
        return true
    }

    /// A delta is on what is held, and on nothing that differs from it.
    public static func checkBase(
        _ base: StateBase, _ held: StateHead?, isInSync: Bool
    ) throws(Problem) {
        guard held.map(StateBase.init) != base || !isInSync else { return }
        let found =
            isInSync ? held.map { "generation \($0.generation) of epoch \($0.epoch)" } : nil
        var problem = Problem(
            .baseMismatch,
            "base: wanted what is held, \(found ?? "which is nothing a delta can be on"): send the complete state"
        )
        problem.held = held
        throw problem
    }

    /// A complete state removes most of what is there only if it says so.
    ///
    /// - Parameter all: resources that are there.
    public static func checkRemoval(
        of count: Int, ofAll all: Int, isAllowed: Bool, _ held: StateHead?
    ) throws(Problem) {
        guard count > HostState.removalFloor, count * 2 > all, !isAllowed else { return }
        var problem = Problem(
            .massDelete,
            "wanted to remove at most half of \(all) pushed resources without allow_mass_delete, found \(count)"
        )
        problem.held = held
        throw problem
    }
}

extension StateBase {
    public init(_ head: StateHead) {
        self.init(epoch: head.epoch, generation: head.generation, digest: head.digest)
    }
}
