// What a worker has seen, on its way to whoever reads it: one ring of memory per capture and worker, one writer, one
// reader, neither of whom waits for the other. A ring that is full loses what comes, counted.
//
//   worker ── reserve, fill, commit ──▶ | record | record | … | skip | ──▶ reader: next, release
//                 │ no room: lost + 1            └─ header, bytes, padding to 8
//                 └ the reader sleeps: its eventfd is rung, once

internal import CLinux
public import Datapath
internal import Glibc
internal import Synchronization

/// What stands before a frame's bytes in a ring.
public struct CaptureRecord: BitwiseCopyable, Sendable {
    /// Bytes of it that are in the ring, and that it has.
    public var byteCount: UInt32 = 0
    public var originalByteCount: UInt32 = 0
    /// Real time, since 1970: when the worker saw this frame, not when its batch began.
    public var nanoseconds: UInt64 = 0
    public var observation: Observation
    /// The same wherever one frame is seen at ports, tunnels and as dropped; on the underlay one for each.
    public var packet: UInt64 = 0
    /// Lost in this ring before it, ever.
    public var lostCount: UInt64 = 0
    /// Of the frame; offsets are from its own first byte.
    public var offload = Offload.none
    /// Frames that were put together to this one; 1 when it came whole.
    public var frameCount: UInt16 = 1
    /// Outer Ethernet, IP and UDP headers in front; 0 without.
    public var outerByteCount: UInt16 = 0
    /// Of a train of datagrams: UDP payload of each but the last; 0: none.
    public var trainByteCount: UInt16 = 0
    /// The outer checksum is still to be completed.
    public var isOuterPartial = false
    /// The outer headers are made up: the kernel makes the real ones.
    public var isOuterMadeUp = false

    init(_ observation: Observation) { self.observation = observation }

    @inlinable public var isWhole: Bool { byteCount == originalByteCount }
}

/// The ring as its writer has it. `CaptureRing` owns the memory.
struct CaptureRingWriter: BitwiseCopyable {
    fileprivate let base: UnsafeMutableRawPointer
    fileprivate let bell: Int32

    /// Words, each with a cache line of its own in front of the records.
    fileprivate enum Word: Int {
        case head, tail, lost, isAsleep
    }

    fileprivate func word(_ word: Word) -> UnsafeMutablePointer<Atomic<UInt64>> {
        (base + word.rawValue * 64).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    fileprivate var records: UnsafeMutableRawPointer { base + CaptureRing.controlByteCount }

    /// Counts what could not be kept.
    private func lose() {
        let lost = word(.lost)
        lost.pointee.store(lost.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
    }

    /// Puts a record and the first `record.byteCount` bytes of `parts` in; what does not fit is lost.
    func put(_ record: CaptureRecord, _ parts: UnsafeMutablePointer<iovec>, _ partCount: Int) {
        let need = CaptureRing.byteCount(of: record)
        let head = word(.head).pointee.load(ordering: .relaxed)
        let tail = word(.tail).pointee.load(ordering: .acquiring)
        let position = Int(head % UInt64(CaptureRing.capacity))
        let toEnd = CaptureRing.capacity - position
        let total = need <= toEnd ? need : toEnd + need
        guard Int(head &- tail) + total <= CaptureRing.capacity else { return lose() }
        if need > toEnd { (records + position).storeBytes(of: CaptureRing.skip, as: UInt32.self) }
        let target = records + (need <= toEnd ? position : 0)
        var stored = record
        stored.lostCount = word(.lost).pointee.load(ordering: .relaxed)
        target.storeBytes(of: stored, as: CaptureRecord.self)
        copy(parts, partCount, to: target + CaptureRing.headerByteCount, Int(record.byteCount))
        word(.head).pointee.store(head &+ UInt64(total), ordering: .sequentiallyConsistent)
        guard word(.isAsleep).pointee.load(ordering: .sequentiallyConsistent) != 0 else { return }
        if word(.isAsleep).pointee.exchange(0, ordering: .sequentiallyConsistent) != 0 {
            clx_eventfd_signal(bell)
        }
    }

    private func copy(
        _ parts: UnsafeMutablePointer<iovec>, _ partCount: Int, to target: UnsafeMutableRawPointer,
        _ count: Int
    ) {
        var filled = 0
        for index in 0..<partCount where filled < count {
            let length = min(parts[index].iov_len, count - filled)
            memcpy(target + filled, parts[index].iov_base, length)
            filled += length
        }
    }
}

/// A ring's memory and its reader's end. Freed only when its writer has been taken from its worker.
public final class CaptureRing: @unchecked Sendable {
    // Unchecked: one thread writes, one reads; what they share is atomic words.

    /// Bytes of records: 64 superframes, or 20,000 heads of frames.
    public static let capacity = 4 << 20
    static let controlByteCount = 4096
    static let headerByteCount = (MemoryLayout<CaptureRecord>.size + 15) & ~15
    /// In place of a record's first word: the next one is at the start.
    static let skip = UInt32.max

    private let memory: ZeroedMemory
    let writer: CaptureRingWriter

    /// `bell`: an eventfd that is rung when something comes while the reader `sleeps`.
    public init(bell: Int32) throws(LinuxError) {
        memory = try ZeroedMemory(byteCount: CaptureRing.controlByteCount + CaptureRing.capacity)
        writer = CaptureRingWriter(base: memory.base, bell: bell)
        for word in [CaptureRingWriter.Word.head, .tail, .lost, .isAsleep] {
            writer.word(word).initialize(to: Atomic(0))
        }
    }

    static func byteCount(of record: CaptureRecord) -> Int {
        headerByteCount + (Int(record.byteCount) + 15) & ~15
    }

    /// Frames that found the ring full, so far.
    public var lostCount: UInt64 { writer.word(.lost).pointee.load(ordering: .relaxed) }

    /// Calls `body` with the oldest record and its bytes, then frees its place; false when there is none.
    public func next(_ body: (CaptureRecord, UnsafeMutableRawBufferPointer) -> Void) -> Bool {
        let head = writer.word(.head).pointee.load(ordering: .acquiring)
        var tail = writer.word(.tail).pointee.load(ordering: .relaxed)
        guard head != tail else { return false }
        var position = Int(tail % UInt64(CaptureRing.capacity))
        if (writer.records + position).load(as: UInt32.self) == CaptureRing.skip {
            tail &+= UInt64(CaptureRing.capacity - position)
            position = 0
        }
        let place = writer.records + position
        let record = place.load(as: CaptureRecord.self)
        body(
            record,
            UnsafeMutableRawBufferPointer(
                start: place + CaptureRing.headerByteCount, count: Int(record.byteCount)))
        writer.word(.tail).pointee.store(
            tail &+ UInt64(CaptureRing.byteCount(of: record)), ordering: .releasing)
        return true
    }

    /// Says that the reader is about to sleep. False when it must not: there is something.
    public func sleep() -> Bool {
        writer.word(.isAsleep).pointee.store(1, ordering: .sequentiallyConsistent)
        let head = writer.word(.head).pointee.load(ordering: .sequentiallyConsistent)
        return head == writer.word(.tail).pointee.load(ordering: .relaxed)
    }

    /// The reader is awake.
    public func wake() { writer.word(.isAsleep).pointee.store(0, ordering: .sequentiallyConsistent) }
}
