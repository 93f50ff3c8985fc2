// Owns: the cells by which workers and the resolver share next hops.

import Testing
import Wire

@testable import Datapath

@Suite("neighbour cells")
struct NeighborCellTests {
    private final class Memory {
        let base: UnsafeMutableRawPointer

        init(capacity: Int) {
            let byteCount = NeighborCells.byteCount(capacity: capacity)
            base = .allocate(byteCount: byteCount, alignment: 64)
            base.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
        }

        deinit { base.deallocate() }
    }

    private let memory = Memory(capacity: 3)

    private func cells() -> NeighborCells { NeighborCells(memory: memory.base, capacity: 3) }

    private func cell() throws -> NeighborCell {
        var cells = cells()
        let cell = cells.take()
        return try #require(cell)
    }

    @Test("a cell has an address, or has failed, or neither; never both")
    func address() throws {
        let cell = try cell()
        #expect(cell.load() == 0)
        cell.publish(mac("02:00:00:00:00:07"))
        #expect(cell.load() == 0x8000_0200_0000_0007)
        cell.withdraw(isFailed: true)
        #expect(cell.load() == 0x4000_0000_0000_0000)
        cell.withdraw(isFailed: false)
        #expect(cell.load() == 0)
        cell.publish(.broadcast)
        #expect(cell.load() == 0x8000_ffff_ffff_ffff, "an address does not reach the marks")
    }

    @Test("use is written once a second, and not by a clock that is behind")
    func use() throws {
        let cell = try cell()
        for (now, seen) in [
            (5000, 5000), (5999, 5000), (6000, 6000), (4000, 6000), (6500, 6000), (9000, 9000),
        ] as [(UInt64, UInt64)] {
            cell.noteUse(now)
            #expect(cell.lastUsed == seen, "at \(now)")
        }
    }

    @Test("the resolver is woken at first and then every 100 ms, and at once when an address is lost again")
    func wanted() throws {
        let cell = try cell()
        for (now, wakes) in [
            (50, true), (51, false), (149, false), (150, true), (151, false), (140, false), (250, true),
        ] as [(UInt64, Bool)] {
            #expect(cell.noteWanted(now) == wakes, "at \(now)")
        }
        #expect(cell.lastWanted == 250)
        cell.publish(mac(1))
        #expect(cell.lastWanted == 0)
        cell.withdraw(isFailed: false)
        #expect(cell.noteWanted(251))
    }

    @Test("no more cells are handed out than there are, and one that comes back is as new")
    func capacity() throws {
        var cells = cells()
        let taken = (0..<3).compactMap { _ in cells.take() }
        #expect(Set(taken).count == 3 && cells.count == 3 && cells.take() == nil)
        taken[1].publish(mac(1))
        taken[1].noteUse(5000)
        taken[2].publish(mac(2))
        cells.giveBack(taken[1])
        #expect(cells.count == 2)
        let returned = cells.take()
        let again = try #require(returned)
        #expect(again == taken[1] && again.load() == 0 && again.lastUsed == 0 && again.lastWanted == 0)
        #expect(taken[2].load() == NeighborCell.valid | mac(2).rawValue, "its neighbours are left alone")
        #expect(UnsafeMutableRawPointer(taken[2].words) - UnsafeMutableRawPointer(taken[1].words) == 64)
    }
}
