// Owns: the MAC table's promises one by one; ForwardingTableModelTests has the random ones.

import Testing
import Wire

@testable import Datapath

@Suite("the MAC table")
struct ForwardingTableTests {
    private func learn(_ table: ForwardingTable, _ address: Int, _ port: UInt32, _ now: UInt32 = 0)
        -> LearnOutcome
    {
        table.learn(mac(address), port: port, member: port, nowSeconds: now)
    }

    @Test("an empty table knows nobody, and says so for every address")
    func empty() {
        let owned = OwnedTable(capacity: 8)
        for address in [MACAddress.zero, .broadcast, mac(1)] {
            #expect(owned.table.lookup(address, nowSeconds: 0) == .max)
            #expect(owned.table.entry(address, nowSeconds: 0) == nil)
            #expect(!owned.table.forget(address) && !owned.table.removeStatic(address))
        }
        #expect(owned.table.entries(in: 0..<100, nowSeconds: 0).isEmpty && owned.table.placeCount == 0)
        owned.table.sweep(nowSeconds: 0, limit: 100)
        #expect(owned.table.flushLearned() == 0 && owned.table.capacity == 8)
    }

    @Test("the capacity is reached exactly, whatever it is", arguments: [1, 2, 3, 10, 63, 64, 65, 1000])
    func capacity(capacity: Int) {
        let owned = OwnedTable(capacity: capacity)
        for number in 0..<capacity { #expect(learn(owned.table, number + 1, 1) == .added) }
        #expect(owned.table.statistics.learned == capacity)
        for number in 0..<capacity { #expect(owned.table.lookup(mac(number + 1), nowSeconds: 0) == 1) }
        #expect(learn(owned.table, capacity + 1, 1) == .addedByEviction)
        #expect(owned.table.statistics.learned == capacity && owned.table.placeCount == capacity)
        #expect(owned.table.lookup(mac(1), nowSeconds: 0) == .max, "the first heard is the one that left")
    }

    @Test("a port that floods random sources evicts itself and nobody else")
    func fairness() {
        let owned = OwnedTable(capacity: 100)
        for number in 1...10 { _ = learn(owned.table, number, 1) }
        for number in 11...30 { _ = learn(owned.table, number, 2) }
        for number in 1000..<6000 { _ = learn(owned.table, number, 3, UInt32(number / 100)) }
        for number in 1...10 { #expect(owned.table.lookup(mac(number), nowSeconds: 60) == 1) }
        for number in 11...30 { #expect(owned.table.lookup(mac(number), nowSeconds: 60) == 2) }
        for number in 5930..<6000 { #expect(owned.table.lookup(mac(number), nowSeconds: 60) == 3) }
        #expect(owned.table.lookup(mac(5929), nowSeconds: 60) == .max)
        #expect(owned.table.statistics.evictions == 4930)
    }

    @Test("a newcomer on a quiet port takes the place of the port that holds most")
    func largestLoses() {
        let owned = OwnedTable(capacity: 10)
        for number in 1...6 { _ = learn(owned.table, number, 1) }
        for number in 7...10 { _ = learn(owned.table, number, 2) }
        #expect(learn(owned.table, 11, 3) == .addedByEviction)
        #expect(owned.table.addresses(of: 1) == (2...6).map { mac($0) })
        #expect(learn(owned.table, 12, 2) == .addedByEviction)
        #expect(owned.table.addresses(of: 1) == (3...6).map { mac($0) })
        // Port 2 holds five now: it is its own victim.
        #expect(learn(owned.table, 13, 2) == .addedByEviction)
        #expect(owned.table.addresses(of: 2) == [8, 9, 10, 12, 13].map { mac($0) })
        #expect(owned.table.addresses(of: 3) == [mac(11)])
    }

    @Test("eviction follows the order in which addresses were last heard, to the second")
    func evictionOrder() {
        let owned = OwnedTable(capacity: 4)
        for number in 1...4 { _ = learn(owned.table, number, 1, 0) }
        #expect(learn(owned.table, 1, 1, 0) == .refreshed, "again within the second: the order stays")
        #expect(learn(owned.table, 2, 1, 1) == .refreshed)
        #expect(learn(owned.table, 1, 1, 2) == .refreshed)
        #expect(owned.table.addresses(of: 1) == [3, 4, 2, 1].map { mac($0) })
        for (newcomer, victim) in [(5, 3), (6, 4), (7, 2), (8, 1), (9, 5)] {
            #expect(learn(owned.table, newcomer, 1, 3) == .addedByEviction)
            #expect(owned.table.lookup(mac(victim), nowSeconds: 3) == .max)
            #expect(owned.table.lookup(mac(newcomer), nowSeconds: 3) == 1)
        }
    }

    @Test("an address that moves is counted, belongs to its new port and loses its old one's flush")
    func moving() {
        let owned = OwnedTable(capacity: 8)
        _ = learn(owned.table, 1, 1)
        #expect(learn(owned.table, 1, 2) == .moved)
        #expect(owned.table.statistics.moves == 1)
        owned.table.flush(member: 1)
        #expect(owned.table.lookup(mac(1), nowSeconds: 0) == 2)
        owned.table.flush(member: 2)
        #expect(owned.table.lookup(mac(1), nowSeconds: 0) == .max)
        owned.table.flush(member: 7)
        #expect(owned.table.statistics.learned == 0 && owned.table.placeCount == 1)
    }

    @Test("an entry is there until its last second and gone from the next on")
    func ageing() {
        let owned = OwnedTable(capacity: 8, ageing: 300)
        _ = learn(owned.table, 1, 1, 1000)
        #expect(owned.table.lookup(mac(1), nowSeconds: 1299) == 1)
        #expect(owned.table.entry(mac(1), nowSeconds: 1299)?.ageSeconds == 299)
        #expect(owned.table.lookup(mac(1), nowSeconds: 1300) == .max)
        #expect(owned.table.entry(mac(1), nowSeconds: 1300) == nil)
        #expect(owned.table.entries(in: 0..<8, nowSeconds: 1300).isEmpty)
        #expect(learn(owned.table, 1, 2, 1300) == .added, "on another port after expiry: new, not moved")
        #expect(owned.table.statistics.moves == 0 && owned.table.statistics.expirations == 1)
        owned.table.setAgeing(seconds: 10)
        #expect(owned.table.lookup(mac(1), nowSeconds: 1310) == .max)
    }

    @Test("ages survive the wrap of the 32-bit clock")
    func clockWrap() {
        let owned = OwnedTable(capacity: 8, ageing: 300)
        _ = learn(owned.table, 1, 1, .max - 10)
        #expect(owned.table.lookup(mac(1), nowSeconds: 5) == 1)
        #expect(owned.table.entry(mac(1), nowSeconds: 5)?.ageSeconds == 16)
        #expect(owned.table.lookup(mac(1), nowSeconds: 289) == .max)
    }

    @Test("a sweep takes what expired, looks at no more places than it may, and goes on where it stopped")
    func sweeping() {
        let owned = OwnedTable(capacity: 100, ageing: 10)
        for number in 1...100 { _ = learn(owned.table, number, 1, number <= 60 ? 0 : 10) }
        owned.table.sweep(nowSeconds: 10, limit: 25)
        #expect(owned.table.statistics.learned == 75)
        owned.table.sweep(nowSeconds: 10, limit: 25)
        owned.table.sweep(nowSeconds: 10, limit: 25)
        #expect(owned.table.statistics.learned == 40 && owned.table.statistics.expirations == 60)
        for number in 200..<260 { #expect(learn(owned.table, number, 1, 10) == .added) }
        #expect(owned.table.placeCount == 100, "the places were used again")
    }

    @Test("a static entry wins over what was learned, never ages, never moves and is never evicted")
    func staticEntries() {
        let owned = OwnedTable(capacity: 4, ageing: 10)
        _ = learn(owned.table, 1, 1)
        #expect(owned.table.setStatic(mac(1), port: 2, member: 2))
        #expect(owned.table.lookup(mac(1), nowSeconds: 1_000_000) == 2)
        #expect(learn(owned.table, 1, 1) == .refused && learn(owned.table, 1, 2) == .refreshed)
        #expect(owned.table.statistics.moves == 0 && owned.table.addresses(of: 1).isEmpty)
        for number in 10..<100 { _ = learn(owned.table, number, 3) }
        owned.table.flush(member: 2)
        owned.table.flush(member: 3)
        owned.table.sweep(nowSeconds: 1_000_000, limit: 100)
        #expect(owned.table.flushLearned() == 0 && !owned.table.forget(mac(1)))
        let expected = ForwardingEntry(address: mac(1), port: 2, isStatic: true, ageSeconds: 0)
        #expect(owned.table.entry(mac(1), nowSeconds: 99) == expected)
        #expect(owned.table.setStatic(mac(1), port: 3, member: 3))
        #expect(owned.table.lookup(mac(1), nowSeconds: 0) == 3 && owned.table.statistics.statics == 1)
        #expect(owned.table.removeStatic(mac(1)) && !owned.table.removeStatic(mac(1)))
        #expect(learn(owned.table, 1, 1) == .added)
    }

    @Test("static entries push learned ones out; a table full of them refuses both kinds")
    func allStatic() {
        let owned = OwnedTable(capacity: 3)
        for number in 1...3 { _ = learn(owned.table, number, 1) }
        for number in 11...13 { #expect(owned.table.setStatic(mac(number), port: 5, member: 5)) }
        #expect(owned.table.statistics.statics == 3 && owned.table.statistics.learned == 0)
        #expect(!owned.table.setStatic(mac(14), port: 5, member: 5))
        #expect(owned.table.setStatic(mac(13), port: 6, member: 6), "one that is pinned can be pinned anew")
        #expect(learn(owned.table, 1, 1) == .refused && owned.table.statistics.refusals == 1)
        for number in 11...13 { #expect(owned.table.lookup(mac(number), nowSeconds: 0) != .max) }
    }

    @Test("a smaller table keeps every static entry and of each port what was heard last")
    func shrinking() {
        let old = OwnedTable(capacity: 64, ageing: 300)
        for number in 1...5 { _ = learn(old.table, number, 1, 40) }
        for number in 11...40 { _ = learn(old.table, number, 2, UInt32(number)) }
        for number in 51...53 { old.table.setStatic(mac(number), port: 3, member: 3) }
        let new = OwnedTable(capacity: 16, ageing: 300, seed: 99)
        new.table.adopt(old.table)
        #expect(new.table.statistics.statics == 3 && new.table.statistics.learned == 13)
        for number in 51...53 { #expect(new.table.lookup(mac(number), nowSeconds: 50) == 3) }
        #expect(new.table.addresses(of: 1) == (1...5).map { mac($0) })
        #expect(new.table.addresses(of: 2) == (33...40).map { mac($0) })
        #expect(new.table.entry(mac(33), nowSeconds: 50)?.ageSeconds == 17, "ages go along")
    }

    @Test("a hundred thousand addresses fit a table of that size, and all are found")
    func large() {
        let owned = OwnedTable(capacity: 100_000)
        for number in 1...100_000 { _ = learn(owned.table, number, UInt32(number % 7) + 1) }
        let lost = (1...100_000).count { owned.table.lookup(mac($0), nowSeconds: 0) == .max }
        #expect(lost == 0 && owned.table.statistics.learned == 100_000)
        #expect(owned.table.statistics.evictions == 0)
    }
}
