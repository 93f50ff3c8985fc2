// The push protocol under everything that can go wrong at once, in virtual time. `make sim SEED=…` repeats a run and
// traces it, STEPS=… ends it early; `make sim SEEDS=…` runs as many.

import Foundation
import Testing

@testable import Controller

@Suite struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let seed = environment["SIM_SEED"].flatMap { UInt64($0) }
    private static let stepLimit = environment["SIM_STEPS"].flatMap { Int($0) } ?? .max
    /// As many at a time as make a test of some seconds.
    private static let batch: UInt64 = 25
    private static let count = environment["SIM_SEEDS"].flatMap { UInt64($0) } ?? 12 * batch
    private static let batches: [UInt64] = seed.map { [$0] } ?? Array(0..<(count + batch - 1) / batch)

    private static func violation(_ seed: UInt64, _ plants: Set<Plant> = []) -> Violation? {
        let world = World(seed: seed, plants: plants)
        do {
            try world.run()
            return nil
        } catch {
            return error as? Violation ?? Violation("\(error)")
        }
    }

    @Test(
        "whatever goes wrong, no agent goes back, none holds what nobody sent, and all are right in the end",
        arguments: batches)
    func everything(number: UInt64) throws {
        if let seed = SimulationTests.seed {
            return try World(seed: seed, isTraced: true).run(stepLimit: SimulationTests.stepLimit)
        }
        for seed in number * SimulationTests.batch..<(number + 1) * SimulationTests.batch {
            if let found = SimulationTests.violation(seed) {
                Issue.record("\(found.description); make sim SEED=\(seed)")
            }
        }
    }

    @Test("a seed is one run: the same twice")
    func same() throws {
        let worlds = [World(seed: 7), World(seed: 7)]
        for world in worlds { try world.run() }
        #expect(worlds[0].stepCount == worlds[1].stepCount)
        #expect(worlds[0].sent == worlds[1].sent && worlds[0].failures == worlds[1].failures)
    }

    @Test("a rule that is left out is found", arguments: Plant.allCases)
    func plants(plant: Plant) {
        let seeds = 0..<4 * SimulationTests.batch
        let found = seeds.lazy.compactMap { seed in
            SimulationTests.violation(seed, [plant]).map { (seed, $0) }
        }
        #expect(found.first != nil, "not within \(seeds.count) seeds")
    }
}
