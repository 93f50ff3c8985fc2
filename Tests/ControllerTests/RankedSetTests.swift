// The order of a ranked set, beside sorting.

import Testing

@testable import Controller

@Suite struct RankedSetTests {
    @Test("members come lowest rank first, whatever was ranked anew or removed between", arguments: 0..<20)
    func order(seed: UInt64) {
        var random = Seeded(seed)
        var ranked = RankedSet<Int, Int>()
        var model: [Int: Int] = [:]
        for _ in 0..<400 {
            let member = Int.random(in: 0..<60, using: &random)
            if random.chance(30) {
                #expect(ranked.remove(member) == (model.removeValue(forKey: member) != nil))
            } else {
                let rank = Int.random(in: 0..<1000, using: &random)
                ranked.set(member, rank)
                model[member] = rank
            }
            #expect(ranked.count == model.count && ranked.contains(member) == (model[member] != nil))
            #expect(ranked.first?.rank == model.values.min())
        }
        var drained: [Int] = []
        while let first = ranked.first {
            #expect(model[first.member] == first.rank)
            drained.append(first.rank)
            ranked.remove(first.member)
        }
        #expect(drained == model.values.sorted())
    }
}
