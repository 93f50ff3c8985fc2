// A rate that frames may have: one atomic word that all workers share (the generic cell rate algorithm, ITU-T I.371).
// The word is the moment at which what was let through would have been sent at exactly the rate.

public import Synchronization

/// A handle on one meter; `none` lets everything through. Belongs to the control plane, which frees it once no program
/// refers to it.
@frozen
public struct Meter: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the memory is one atomic word.
    @usableFromInline let word: UnsafeMutablePointer<Atomic<UInt64>>?
    /// Time one unit takes at the rate, in ticks of 1/64 ns, times 65,536.
    @usableFromInline let ticksPerUnit: UInt64
    /// How far ahead of now the word may be, ticks.
    @usableFromInline let burstTicks: UInt64

    @inlinable static var ticksPerMillisecond: UInt64 { @_noLocks get { 64_000_000 } }
    /// Some two years.
    @inlinable static var maximumBurstTicks: UInt64 { @_noLocks get { 1 &<< 62 } }

    private init(word: UnsafeMutablePointer<Atomic<UInt64>>?, unitsPerSecond: Double, burst: Double) {
        self.word = word
        let ticks = Double(Meter.ticksPerMillisecond) * 1000 / unitsPerSecond
        ticksPerUnit = UInt64(ticks * 65_536)
        // The clock goes by milliseconds: what the rate allows in one must fit, beside what was left of the one before,
        // or the rate would never be reached.
        let least = 2 * Double(Meter.ticksPerMillisecond)
        burstTicks = UInt64(min(max(ticks * burst, least), Double(Meter.maximumBurstTicks)))
    }

    public static var none: Meter { Meter(word: nil, unitsPerSecond: 1, burst: 0) }

    private static func makeWord() -> UnsafeMutablePointer<Atomic<UInt64>> {
        let word = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: 1)
        word.initialize(to: Atomic(0))
        return word
    }

    /// Its units are bytes; rate in kbit/s, burst in kbit, both above 0.
    public static func bandwidth(kilobitsPerSecond: Int, burstKilobits: Int) -> Meter {
        Meter(
            word: makeWord(), unitsPerSecond: Double(kilobitsPerSecond) * 125,
            burst: Double(burstKilobits) * 125)
    }

    /// Its units are frames; both above 0.
    public static func frames(perSecond: Int, burst: Int) -> Meter {
        Meter(word: makeWord(), unitsPerSecond: Double(perSecond), burst: Double(burst))
    }

    /// An atomic word needs no ending.
    public func deallocate() { word?.deallocate() }

    @inlinable public var isSet: Bool { @_noLocks get { word != nil } }

    /// Whether `units` would be let through, without taking them.
    @_noLocks
    @inlinable
    public func wouldAdmit(_ units: Int, nowMilliseconds: UInt64) -> Bool {
        guard let word else { return true }
        let now = nowMilliseconds &* Meter.ticksPerMillisecond
        return isInTime(max(word.pointee.load(ordering: .relaxed), now), cost(units), now)
    }

    /// Takes `units` or only asks, as for a frame that is only tried.
    @_noLocks
    @inlinable
    func admits(_ units: Int, nowMilliseconds: UInt64, takes: Bool) -> Bool {
        takes
            ? admits(units, nowMilliseconds: nowMilliseconds)
            : wouldAdmit(units, nowMilliseconds: nowMilliseconds)
    }

    @inlinable
    func cost(_ units: Int) -> UInt64 { (UInt64(truncatingIfNeeded: units) &* ticksPerUnit) &>> 16 }

    @inlinable
    func isInTime(_ start: UInt64, _ cost: UInt64, _ now: UInt64) -> Bool {
        start == now || start &- now &+ cost <= burstTicks
    }

    /// Takes `units`; false when that would be too much now. What is more than the burst passes when nothing has for
    /// so long that the whole burst is free.
    @_noLocks
    @inlinable
    public func admits(_ units: Int, nowMilliseconds: UInt64) -> Bool {
        guard let word else { return true }
        let now = nowMilliseconds &* Meter.ticksPerMillisecond
        let cost = cost(units)
        var due = word.pointee.load(ordering: .relaxed)
        while true {
            let start = max(due, now)
            guard isInTime(start, cost, now) else { return false }
            let result = word.pointee.weakCompareExchange(
                expected: due, desired: start &+ cost, ordering: .relaxed)
            if result.exchanged { return true }
            due = result.original
        }
    }
}
