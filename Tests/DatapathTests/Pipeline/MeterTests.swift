// Owns: rates of bytes and frames over time, bursts, and several workers at one meter.

import Testing

@testable import Datapath

@Suite("meters")
struct MeterTests {
    /// What passes of frames of `units`, `perMillisecond` of them offered for `milliseconds`.
    private func passed(
        _ meter: Meter, _ units: Int, perMillisecond: Int, from start: UInt64 = 1_000_000,
        milliseconds: UInt64
    ) -> Int {
        var sum = 0
        for now in start..<start + milliseconds {
            for _ in 0..<perMillisecond where meter.admits(units, nowMilliseconds: now) { sum += units }
        }
        return sum
    }

    @Test(
        "in the long run exactly the rate passes, whatever the burst",
        arguments: [(64, 80), (1_000, 1), (10_000, 8_000), (1_000_000, 1)] as [(Int, Int)])
    func rate(kilobits: Int, burst: Int) {
        let meter = Meter.bandwidth(kilobitsPerSecond: kilobits, burstKilobits: burst)
        defer { meter.deallocate() }
        let perMillisecond = kilobits / 8 / 1500 * 2 + 4
        let bytes = passed(meter, 1500, perMillisecond: perMillisecond, milliseconds: 20_000)
        let wanted = kilobits * 125 * 20
        #expect(abs(bytes - wanted) <= burst * 125 + kilobits / 4 + 3000, "\(bytes) of \(wanted)")
    }

    @Test("frames are counted for a rate of frames, and a train for all of its own")
    func frames() {
        let meter = Meter.frames(perSecond: 500, burst: 10)
        defer { meter.deallocate() }
        #expect(abs(passed(meter, 1, perMillisecond: 3, milliseconds: 10_000) - 5_000) <= 11)
        #expect(abs(passed(meter, 5, perMillisecond: 3, from: 2_000_000, milliseconds: 10_000) - 5_000) <= 15)
    }

    @Test("after a pause the burst passes at once, and no more")
    func burst() {
        let meter = Meter.bandwidth(kilobitsPerSecond: 1_000, burstKilobits: 120)
        defer { meter.deallocate() }
        for start in [5_000, 60_000] as [UInt64] {
            #expect(passed(meter, 1_000, perMillisecond: 100, from: start, milliseconds: 1) == 15_000)
            #expect(!meter.admits(1_000, nowMilliseconds: start + 7))
            #expect(meter.admits(1_000, nowMilliseconds: start + 8))
        }
    }

    @Test("what is larger than the burst passes when nothing has for long enough")
    func large() {
        let meter = Meter.bandwidth(kilobitsPerSecond: 8_000, burstKilobits: 80)
        defer { meter.deallocate() }
        #expect(meter.admits(65_000, nowMilliseconds: 1_000))
        #expect(!meter.admits(1, nowMilliseconds: 1_001) && !meter.admits(65_000, nowMilliseconds: 1_064))
        #expect(meter.admits(65_000, nowMilliseconds: 1_065))
    }

    @Test("to ask is not to take")
    func asking() {
        let meter = Meter.frames(perSecond: 1, burst: 2)
        defer { meter.deallocate() }
        for _ in 0..<10 { #expect(meter.wouldAdmit(2, nowMilliseconds: 9)) }
        #expect(meter.admits(2, nowMilliseconds: 9))
        #expect(!meter.wouldAdmit(1, nowMilliseconds: 9) && !meter.admits(1, nowMilliseconds: 9))
        #expect(
            Meter.none.admits(.max, nowMilliseconds: 0) && Meter.none.wouldAdmit(.max, nowMilliseconds: 0))
        #expect(!Meter.none.isSet && meter.isSet)
    }

    @Test("the smallest and largest rates and bursts there are keep their word")
    func extremes() {
        let slow = Meter.bandwidth(kilobitsPerSecond: 1, burstKilobits: .max)
        #expect(passed(slow, 65_550, perMillisecond: 10, milliseconds: 100) == 65_550 * 1000)
        let fast = Meter.bandwidth(kilobitsPerSecond: 4_000_000_000, burstKilobits: 1)
        let bytes = passed(fast, 1 << 20, perMillisecond: 1000, milliseconds: 100)
        #expect(abs(bytes - 50_000_000_000) < 1_000_000_000, "\(bytes)")
        slow.deallocate()
        fast.deallocate()
    }

    @Test("a worker whose clock is behind takes nothing that is not there")
    func clocks() {
        let meter = Meter.frames(perSecond: 1000, burst: 5)
        defer { meter.deallocate() }
        var sum = 0
        for now in 1_000..<11_000 as Range<UInt64> {
            for late in [0, 3, 1] as [UInt64] where meter.admits(1, nowMilliseconds: now - late) { sum += 1 }
        }
        #expect(abs(sum - 10_000) <= 6, "\(sum)")
    }

    @Test("several workers together have one rate")
    func together() async {
        let meter = Meter.bandwidth(kilobitsPerSecond: 100_000, burstKilobits: 1_000)
        let bytes = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    (1_000..<3_000 as Range<UInt64>).reduce(0) { sum, now in
                        (0..<20).reduce(sum) { sum, _ in
                            meter.admits(1_000, nowMilliseconds: now) ? sum + 1_000 : sum
                        }
                    }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(bytes <= 25_000_000 + 125_000 + 1_000, "\(bytes)")
        meter.deallocate()
    }
}
