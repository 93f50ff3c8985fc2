// Random lives of a fleet: what is kept up equals what is worked out anew, and pushes lead there.

import API
import JSON
import Testing
import Wire

@testable import Controller

@Suite("desired states, at random")
struct DesiredStatesPropertyTests {
    /// An agent, and what its controller knows of it.
    private struct Pushed {
        var agent = NaiveAgent()
        var paths: Set<StatePath> = []
        /// Nil until the first push.
        var base: StateBase?
    }

    @Test(
        "kept up by changes, they are what a compilation from scratch gives",
        arguments: 1...25 as ClosedRange<UInt64>)
    func incremental(_ seed: UInt64) throws {
        var writes = RandomWrites(random: Seeded(seed))
        var chance = Seeded(seed &+ 1000)
        var fleet = Fleet(range: "10-14")
        var states = DesiredStates()
        var hosts: [Name: Pushed] = [:]
        var applied = 0
        for step in 1...150 {
            let batch = writes.batch()
            let before = fleet
            guard let tried = try? fleet.apply(batch, dryRun: true) else {
                #expect(fleet == before)
                #expect(throws: Problem.self) { try fleet.apply(batch) }
                #expect(fleet == before)
                continue
            }
            #expect(fleet == before)
            let outcome = try fleet.apply(batch)
            #expect(outcome.changes == tried.changes)
            applied += outcome.changes.isEmpty ? 0 : 1
            for effect in states.update(outcome.changes, fleet) {
                hosts[effect.host, default: Pushed()].paths.formUnion(effect.paths)
                try check(effect, before, fleet)
            }
            for name in hosts.keys where fleet.hosts[name] == nil { hosts[name] = nil }
            for name in fleet.hosts.keys {
                let naive = NaiveAgent(resources: fleet.naiveState(of: name))
                // Some are asked for after several changes only.
                if chance.chance(50) { #expect(states.digest(of: name) == naive.digest) }
                #expect(states.count(of: name) == naive.resources.count)
                #expect(fleet.index.hosts[name]?.resourceCount ?? 0 == naive.resources.count)
                guard chance.chance(30) else { continue }
                try push(&states, to: &hosts[name, default: Pushed()], name, step, &chance)
                #expect(hosts[name]?.agent.resources == naive.resources)
            }
        }
        #expect(applied > 30)
        try fleet.checkIndex()
        var anew = DesiredStates(fleet)
        for name in fleet.hosts.keys { #expect(anew.digest(of: name) == states.digest(of: name)) }
    }

    private func push(
        _ states: inout DesiredStates, to pushed: inout Pushed, _ host: Name, _ step: Int,
        _ chance: inout Seeded
    ) throws {
        let digest = states.digest(of: host)
        let head = PushHead(controller: "fleet1", epoch: 1, generation: step, digest: digest)
        if let base = pushed.base, !chance.chance(10) {
            try pushed.agent.patch(states.deltaBody(of: host, head, on: base, pushed.paths))
        } else {
            try pushed.agent.put(states.completeBody(of: host, head))
        }
        pushed.base = StateBase(epoch: 1, generation: step, digest: digest)
        pushed.paths = []
    }

    /// Every path that differs is told; those that gain and lose ports are known.
    private func check(_ effect: HostEffect, _ before: Fleet, _ after: Fleet) throws {
        let (old, new) = (before.naiveState(of: effect.host), after.naiveState(of: effect.host))
        let told = Set(effect.paths.map { "\($0)" })
        for path in Set(old.keys).union(new.keys) where old[path] != new[path] {
            #expect(told.contains(path))
        }
        let isPort = { (path: String) in path.contains("/ports/") }
        let gains = new.keys.contains { isPort($0) && old[$0] == nil }
        let loses = old.keys.contains { isPort($0) && new[$0] == nil }
        #expect((effect.phase == .gains) == gains)
        if loses, !gains { #expect(effect.phase == .loses) }
        if effect.phase == .changes { #expect(told.contains { new[$0] != nil }) }
    }
}
