// Owns: one MAC table under several workers at once: what each sees meanwhile, and what is left in the end.

import Synchronization
import Testing
import Wire

@testable import Datapath

extension ForwardingTable {
    /// What contradicts what in lists, counts, index and places; empty when nothing does. For a table at rest.
    var contradictions: [String] {
        var found: [String] = []
        func expect(_ condition: Bool, _ what: @autoclosure () -> String) {
            if !condition { found.append(what()) }
        }
        let it = header.pointee
        var used: Set<UInt32> = []
        for entry in stride(from: UInt32(1), through: it.highWater, by: 1)
        where it.entries[Int(entry)].word != 0 {
            used.insert(entry)
            let address = it.entries[Int(entry)].key
            expect(find(address) == entry, "place \(entry) is not found by its address")
        }
        expect(used.count == Int(it.count), "\(used.count) places used, \(it.count) counted")
        var free = it.firstFree
        var freeCount = 0
        while free != 0, freeCount <= Int(it.highWater) {
            expect(!used.contains(free), "place \(free) is used and free")
            free = it.entries[Int(free)].newer
            freeCount += 1
        }
        expect(freeCount + used.count == Int(it.highWater), "\(freeCount) free of \(it.highWater)")
        let pointed = (0...Int(it.indexMask)).map { it.index[$0] }.filter { $0 != 0 }
        expect(Set(pointed) == used && pointed.count == used.count, "the index has \(pointed.count)")
        var listed = 0
        for number in 0..<256 {
            let member = it.members[number]
            var (entry, older, length) = (member.oldest, UInt32(0), 0)
            while entry != 0, length <= Int(it.capacity) {
                let place = it.entries[Int(entry)]
                expect(place.member == UInt32(number) && place.older == older, "list of \(number)")
                (older, entry, length) = (entry, place.newer, length + 1)
            }
            expect(member.newest == older && length == Int(member.count), "count of \(number)")
            listed += length
        }
        expect(listed == Int(it.count - it.staticCount), "\(listed) listed")
        let most = (0..<256).map { it.members[$0].count }.max() ?? 0
        expect(most == it.largestCount, "the largest is \(most), not \(it.largestCount)")
        expect(it.lock.pointee.load(ordering: .relaxed) == 0, "the lock is taken")
        return found
    }
}

/// Counted by several threads.
private final class Tally: Sendable {
    let count = Atomic<Int>(0)
}

@Suite("a MAC table that workers share")
struct SharedTableTests {
    @Test(
        "workers learn, move, look up and sweep at random at once: nothing is torn, and all of it is consistent",
        arguments: [(2, 40, 200), (3, 64, 60), (4, 8, 300)] as [(Int, Int, Int)])
    func hammer(size: (workers: Int, capacity: Int, addresses: Int)) async {
        let owned = OwnedTable(capacity: size.capacity, ageing: 3, isShared: true)
        let table = owned.table
        let pinned = mac(1)
        table.setStatic(pinned, port: 1, member: 1)
        let torn = Tally()
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<size.workers {
                group.addTask {
                    var generator = SeededGenerator(seed: UInt64(worker) + 7)
                    for round in 0..<150_000 {
                        // An address lives on port 2a or 2a+1 only: any other port would be another address's.
                        let number = 2 + generator.below(size.addresses)
                        let port = UInt32(number % 60 * 2 + generator.below(2))
                        let now = UInt32(100 + round / 10_000)
                        if generator.chance(50) {
                            _ = table.learn(mac(number), port: port, member: port + 1, nowSeconds: now)
                        } else {
                            let found = table.lookup(mac(number), nowSeconds: now)
                            if found != .max, Int(found) / 2 != number % 60 {
                                torn.count.add(1, ordering: .relaxed)
                            }
                            // A static entry may be hidden while the index is closed up, not be elsewhere.
                            let fixed = table.lookup(pinned, nowSeconds: now)
                            if fixed != .max, fixed != 1 { torn.count.add(1, ordering: .relaxed) }
                        }
                        if round % 997 == 0 { table.sweep(nowSeconds: now, limit: 16) }
                    }
                }
            }
        }
        #expect(torn.count.load(ordering: .relaxed) == 0, "an address was seen on a port it never had")
        #expect(table.contradictions == [])
        #expect(table.lookup(pinned, nowSeconds: 200) == 1)
        let counts = table.statistics
        #expect(counts.statics == 1 && counts.learned <= size.capacity - 1)
        #expect(counts.moves > 0)
        if size.addresses > 2 * size.capacity { #expect(counts.evictions > 0) }
    }

    @Test("while one worker changes the table another learns nothing new, still looks up, and learns later")
    func postponed() {
        let owned = OwnedTable(capacity: 8, isShared: true)
        let table = owned.table
        #expect(table.learn(mac(1), port: 1, member: 1, nowSeconds: 10) == .added)
        #expect(table.learn(mac(2), port: 1, member: 1, nowSeconds: 10) == .added)
        #expect(table.tryLock() && !table.tryLock())
        #expect(table.learn(mac(3), port: 1, member: 1, nowSeconds: 10) == .postponed)
        #expect(table.learn(mac(1), port: 2, member: 2, nowSeconds: 10) == .postponed, "a move waits, too")
        #expect(table.lookup(mac(1), nowSeconds: 10) == 1 && table.lookup(mac(3), nowSeconds: 10) == .max)
        // What is known is refreshed all the same; only the order of eviction has to wait.
        #expect(table.learn(mac(1), port: 1, member: 1, nowSeconds: 12) == .refreshed)
        #expect(table.entry(mac(1), nowSeconds: 12)?.ageSeconds == 0)
        #expect(table.addresses(of: 1) == [mac(1), mac(2)])
        table.sweep(nowSeconds: 10_000, limit: 8)
        #expect(table.statistics.learned == 2)
        table.unlock()
        #expect(table.learn(mac(1), port: 1, member: 1, nowSeconds: 13) == .refreshed)
        #expect(table.addresses(of: 1) == [mac(2), mac(1)])
        #expect(table.learn(mac(3), port: 1, member: 1, nowSeconds: 13) == .added)
        #expect(table.contradictions == [])
    }

    @Test("a worker whose clock is behind takes nothing that was just heard for old, and turns no clock back")
    func clocks() {
        let owned = OwnedTable(capacity: 8, ageing: 5, isShared: true)
        let table = owned.table
        _ = table.learn(mac(1), port: 1, member: 1, nowSeconds: 101)
        #expect(table.lookup(mac(1), nowSeconds: 100) == 1)
        #expect(table.learn(mac(1), port: 1, member: 1, nowSeconds: 100) == .refreshed)
        table.sweep(nowSeconds: 100, limit: 8)
        #expect(table.lookup(mac(1), nowSeconds: 105) == 1 && table.lookup(mac(1), nowSeconds: 106) == .max)
    }

    @Test(
        "whatever may have hidden an address for a moment counts as an addition, so no flow floods for ever")
    func additions() {
        for isShared in [false, true] {
            let owned = OwnedTable(capacity: 8, isShared: isShared)
            let table = owned.table
            for number in 1...4 { _ = table.learn(mac(number), port: 1, member: 1, nowSeconds: 0) }
            let before = table.additions
            _ = table.learn(mac(1), port: 2, member: 2, nowSeconds: 0)
            #expect((table.additions != before) == isShared)
            let moved = table.additions
            #expect(table.forget(mac(2)))
            #expect((table.additions != moved) == isShared)
        }
    }
}
