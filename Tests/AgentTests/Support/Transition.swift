// One step from any state to any other, as a batch of writes would take it.

import API

@testable import Agent

extension DesiredState {
    /// Every resource of the state.
    var ids: [ResourceID] { bridges.keys.flatMap { [.bridge($0)] + dependants(of: .bridge($0)) } }
}

extension AgentCore {
    /// Drives the agent to an edited state.
    func transition(_ edit: (inout DesiredState) throws(Problem) -> Void) throws(Problem) {
        var wanted = desired
        try edit(&wanted)
        let changes = wanted.changes(from: desired, at: Set(desired.ids + wanted.ids))
        guard !changes.isEmpty else { return }
        try wanted.checkConsistency()
        try transition(to: wanted, changes)
    }
}
