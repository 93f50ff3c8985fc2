// One step from any state to any other, as a batch of writes would take it.

import API

@testable import Agent

extension AgentCore {
    /// Drives the agent to an edited state.
    func transition(_ edit: (inout DesiredState) throws(Problem) -> Void) throws(Problem) {
        var wanted = desired
        try edit(&wanted)
        let changes = wanted.changes(from: desired, at: Set(desired.ids + wanted.ids))
        guard !changes.isEmpty else { return }
        do throws(Refusal) {
            try wanted.check(changes)
            try transition(to: wanted, changes)
        } catch {
            throw error.problem
        }
    }
}
