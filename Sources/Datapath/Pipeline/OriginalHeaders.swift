// The headers of the frame that rules are changing, as they came: who sent it is told of what it sent, not of what
// became of it. One per worker, of one frame at a time.

internal import Wire

@usableFromInline
struct OriginalHeaders: ~Copyable {
    /// Bytes kept: longer chains of headers than anything cut here (`SegmentPlan`) are told as they are.
    private static var capacity: Int { @_noLocks get { 512 } }
    /// Bytes behind the kept ones that an answer may quote.
    private static var tailByteCount: Int { @_noLocks get { TooBig.maximumByteCount } }

    private struct Note: BitwiseCopyable {
        var shape: FrameShape
        /// The frame; of a train the first one.
        var byteCount: Int
        /// How much of it is kept; 0 for a train, whose frames are where they were received.
        var keptByteCount: Int
        var base: UnsafeMutableRawPointer
    }

    private let memory: UnsafeMutableRawPointer
    private let note: UnsafeMutablePointer<Note>

    @usableFromInline
    init() {
        memory = .allocate(byteCount: 2 * OriginalHeaders.capacity, alignment: 16)
        note = .allocate(capacity: 1)
    }

    deinit {
        memory.deallocate()
        note.deallocate()
    }

    /// Keeps what a frame is before it is changed for the first time.
    @_noLocks
    @usableFromInline
    func keep(_ frame: Superframe, _ shape: FrameShape) {
        let first = frame.first
        var kept = 0
        if !frame.isTrain {
            // As far as a rule reaches: the checksum of TCP, or addresses where extension headers are broken.
            let network = Int(shape.networkOffset)
            let end =
                shape.isIP
                ? max(network &+ IPv6View.byteCount, Int(shape.transportOffset) &+ 18) : network
            kept = min(min(end, first.byteCount), OriginalHeaders.capacity)
            copyBytes(from: UnsafeRawPointer(first.base), to: memory, count: kept)
        }
        note.initialize(
            to: Note(shape: shape, byteCount: first.byteCount, keptByteCount: kept, base: first.base))
    }

    /// Sets headers aside, or brings them back, while the memory they are in is given back; as many as are cut.
    @_noLocks
    @usableFromInline
    func park(_ headers: UnsafeRawPointer, _ count: Int) {
        copyBytes(
            from: headers, to: memory + OriginalHeaders.capacity, count: min(count, OriginalHeaders.capacity))
    }

    @_noLocks
    @usableFromInline
    func unpark(_ headers: UnsafeMutableRawPointer, _ count: Int) {
        copyBytes(
            from: UnsafeRawPointer(memory) + OriginalHeaders.capacity, to: headers,
            count: min(count, OriginalHeaders.capacity))
    }

    /// Bytes of memory that `answerTooBig` needs beside the answer's.
    @usableFromInline static var scratchByteCount: Int { capacity + tailByteCount }

    /// `TooBig.answer` to the frame that was kept and has become `frame`.
    @_noLocks
    @usableFromInline
    func answerTooBig(
        _ frame: Superframe, mtu: Int, _ scratch: UnsafeMutableRawPointer,
        into answer: UnsafeMutableRawPointer
    ) -> Int {
        let it = note.pointee
        guard it.keptByteCount > 0 else {
            let first = Superframe(base: it.base, byteCount: it.byteCount)
            return TooBig.answer(to: first, it.shape, mtu: mtu, into: answer)
        }
        copyBytes(from: UnsafeRawPointer(memory), to: scratch, count: it.keptByteCount)
        // Only what is in front has changed its length.
        let rest = it.byteCount &- it.keptByteCount
        copyBytes(
            from: UnsafeRawPointer(frame.base) + (frame.byteCount &- rest), to: scratch + it.keptByteCount,
            count: min(rest, OriginalHeaders.tailByteCount))
        let original = Superframe(base: scratch, byteCount: it.byteCount)
        return TooBig.answer(to: original, it.shape, mtu: mtu, into: answer)
    }
}
