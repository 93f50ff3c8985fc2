// Owns: counter rows and the names of drops.

import Testing
import Wire

@testable import Datapath

@Suite("counters")
struct CountersTests {
    @Test("every reason has a number, a name of its own and a sentence")
    func reasons() {
        #expect(DropReason.allCases.count == DropReason.count)
        #expect(DropReason.allCases.map { Int($0.rawValue) } == Array(0..<DropReason.count))
        #expect(Set(DropReason.allCases.map(\.name)).count == DropReason.count)
        #expect(Set(DropReason.allCases.map(\.explanation)).count == DropReason.count)
        for reason in DropReason.allCases {
            #expect(reason.name.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" }, "\(reason.name)")
        }
    }

    @Test("each word of a row is a word of its own")
    func words() {
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        let row = rows.row(0)
        #expect(row.snapshot == .zero)
        for counter in Counter.allCases { row.add(counter, counter.rawValue + 1) }
        for reason in DropReason.allCases {
            for _ in 0...reason.rawValue { row.dropReceived(reason) }
            for _ in 0..<Int(reason.rawValue) + 100 { row.dropTransmit(reason) }
        }
        let snapshot = row.snapshot
        for counter in Counter.allCases {
            #expect(row.value(counter) == UInt64(counter.rawValue + 1))
            #expect(snapshot[counter] == row.value(counter))
        }
        for reason in DropReason.allCases {
            #expect(row.receiveDrops(reason) == UInt64(reason.rawValue) + 1)
            #expect(row.transmitDrops(reason) == UInt64(reason.rawValue) + 100)
            #expect(snapshot.receiveDrops(reason) == row.receiveDrops(reason))
            #expect(snapshot.transmitDrops(reason) == row.transmitDrops(reason))
        }
        let count = UInt64(DropReason.count)
        #expect(snapshot.receiveDropTotal == count * (count + 1) / 2)
        #expect(snapshot.transmitDropTotal == count * (count - 1) / 2 + 100 * count)
    }

    @Test("packets are counted with their bytes, and snapshots add up word by word")
    func sums() {
        let rows = CounterRows.allocate()
        defer { rows.deallocate() }
        let row = rows.row(0)
        row.received(byteCount: 100)
        row.transmitted(byteCount: 60)
        row.transmitted(byteCount: 0)
        let sum = row.snapshot + row.snapshot + .zero
        #expect(sum[.rxPackets] == 2 && sum[.rxBytes] == 200)
        #expect(sum[.txPackets] == 4 && sum[.txBytes] == 120 && sum[.rxForwarded] == 0)
    }

    @Test("each worker has a row on cache lines of its own; what is read is their sum")
    func rows() {
        let rows = CounterRows.allocate(count: 3)
        defer { rows.deallocate() }
        #expect(rows.snapshot == .zero && rows.count == 3)
        for worker in 0..<3 {
            let row = rows.row(worker)
            #expect(UInt(bitPattern: row.words) % 64 == 0)
            row.received(worker + 1, byteCount: 10)
            row.dropTransmit(.badOffload, 1 << worker)
        }
        let distance = UnsafeRawPointer(rows.row(1).words) - UnsafeRawPointer(rows.row(0).words)
        #expect(distance >= Counters.wordCount * 8)
        #expect((0..<3).map { rows.row($0).value(.rxPackets) } == [1, 2, 3])
        #expect(rows.snapshot[.rxPackets] == 6 && rows.snapshot[.rxBytes] == 30)
        #expect(rows.snapshot.transmitDrops(.badOffload) == 7 && rows.snapshot.transmitDropTotal == 7)
    }

    @Test("two workers that count into their rows at once lose nothing")
    func atOnce() async {
        let rows = CounterRows.allocate(count: 2)
        defer { rows.deallocate() }
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<2 {
                group.addTask { for _ in 0..<200_000 { rows.row(worker).received(byteCount: 3) } }
            }
        }
        #expect(rows.snapshot[.rxPackets] == 400_000 && rows.snapshot[.rxBytes] == 1_200_000)
    }
}
