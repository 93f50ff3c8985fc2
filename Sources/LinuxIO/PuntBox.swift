// Frames for the agent itself on their way from a worker to the thread that takes them: a ring with one writer and one
// reader, neither of which waits. What does not fit is dropped, and counted by who put it.

internal import CLinux
internal import Datapath
internal import Synchronization

/// A handle on the ring's memory, like `Counters` on its row.
struct PuntBox: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the ends are atomic, and a slot belongs to one of them at a time.
    /// Frames that wait; a power of two. At half of it they are called for, urgent or not.
    static let capacity: UInt64 = 1024

    private struct Slot: BitwiseCopyable {
        var identity: UInt64
        var nanoseconds: UInt64
        var byteCount: Int
    }

    private static let slotByteCount = (MemoryLayout<Slot>.stride + BFDFrame.maximumByteCount + 63) & ~63
    private static let headByteCount = 128
    static let byteCount = headByteCount + Int(capacity) * slotByteCount

    private let base: UnsafeMutableRawPointer
    private let head: UnsafeMutablePointer<Atomic<UInt64>>
    private let tail: UnsafeMutablePointer<Atomic<UInt64>>

    /// `memory`: `byteCount` zeroed bytes, which outlive the handle; zero is an empty ring.
    init(_ memory: UnsafeMutableRawPointer) {
        base = memory + PuntBox.headByteCount
        head = memory.bindMemory(to: Atomic<UInt64>.self, capacity: 1)
        tail = (memory + 64).bindMemory(to: Atomic<UInt64>.self, capacity: 1)
    }

    private func slot(_ number: UInt64) -> UnsafeMutableRawPointer {
        base + Int(number % PuntBox.capacity) * PuntBox.slotByteCount
    }

    /// Puts a copy of a frame in, or of as much of it as anybody looks at.
    ///
    /// - Returns: whether it had room, and whether the reader is to be called.
    func put(_ frame: Superframe, by identity: UInt64) -> (isTaken: Bool, isUrgent: Bool) {
        let number = tail.pointee.load(ordering: .relaxed)
        let waiting = number &- head.pointee.load(ordering: .acquiring)
        guard waiting < PuntBox.capacity else { return (false, true) }
        let place = slot(number)
        let byteCount = min(frame.byteCount, BFDFrame.maximumByteCount)
        place.storeBytes(
            of: Slot(identity: identity, nanoseconds: clx_monotonic_ns(), byteCount: byteCount), as: Slot.self
        )
        (place + MemoryLayout<Slot>.stride).copyMemory(from: frame.base, byteCount: byteCount)
        tail.pointee.store(number &+ 1, ordering: .releasing)
        return (
            true,
            waiting >= PuntBox.capacity / 2 || BFDFrame.isUrgent(frame.base, count: frame.byteCount)
        )
    }

    /// Takes everything out, in order: the port's identity, when it came, and the frame.
    func drain(_ body: (UInt64, UInt64, UnsafeRawBufferPointer) -> Void) {
        let end = tail.pointee.load(ordering: .acquiring)
        var number = head.pointee.load(ordering: .relaxed)
        while number != end {
            let place = slot(number)
            let slot = place.load(as: Slot.self)
            body(
                slot.identity, slot.nanoseconds,
                UnsafeRawBufferPointer(start: place + MemoryLayout<Slot>.stride, count: slot.byteCount))
            number &+= 1
        }
        head.pointee.store(number, ordering: .releasing)
    }
}

/// Frames of the agent's own on their way to a worker, which notes when it sent each.
final class OriginatedBatch: @unchecked Sendable {
    // Unchecked: the frames are written before the batch is handed over; what is noted is atomic.
    /// In front of each, as every frame has it in a receive buffer.
    private static let headroom = 64
    private static let frameByteCount = headroom + (BFDFrame.byteCount + 63) & ~63

    /// Those with P last.
    let departures: [LivenessTable.Departure]
    /// Where they begin.
    let pollStart: Int
    private let memory: UnsafeMutableRawPointer
    private let times: UnsafeMutablePointer<Atomic<UInt64>>

    init(_ departures: [LivenessTable.Departure]) {
        let (polls, others) = (departures.filter(\.packet.isPoll), departures.filter { !$0.packet.isPoll })
        let departures = others + polls
        self.departures = departures
        pollStart = others.count
        memory = .allocate(byteCount: departures.count * OriginatedBatch.frameByteCount, alignment: 64)
        times = .allocate(capacity: departures.count)
        for (index, departure) in departures.enumerated() {
            (times + index).initialize(to: Atomic(0))
            BFDFrame.emit(departure.packet, departure.addresses, to: frame(index).base)
        }
    }

    deinit {
        memory.deallocate()
        times.deallocate()
    }

    func frame(_ index: Int) -> Superframe {
        Superframe(
            base: memory + (index * OriginatedBatch.frameByteCount + OriginatedBatch.headroom),
            byteCount: BFDFrame.byteCount)
    }

    func noteSent(_ index: Int) { times[index].store(clx_monotonic_ns(), ordering: .relaxed) }
    /// Nil until it was sent.
    func sentAt(_ index: Int) -> UInt64? {
        let time = times[index].load(ordering: .relaxed)
        return time == 0 ? nil : time
    }
}
