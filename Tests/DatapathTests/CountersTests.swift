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
        let row = Counters.allocate()
        defer { row.deallocate() }
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
        let row = Counters.allocate()
        defer { row.deallocate() }
        row.received(byteCount: 100)
        row.transmitted(byteCount: 60)
        row.transmitted(byteCount: 0)
        let sum = row.snapshot + row.snapshot + .zero
        #expect(sum[.rxPackets] == 2 && sum[.rxBytes] == 200)
        #expect(sum[.txPackets] == 4 && sum[.txBytes] == 120 && sum[.rxForwarded] == 0)
    }
}
