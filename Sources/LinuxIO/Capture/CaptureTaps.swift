// What captures want of a worker: the worker's end of each, looked at for every frame while there is any. Used by the
// worker's thread alone; changed between breaths.

internal import CLinux
internal import CPcap
public import Datapath
internal import Glibc

/// Which frames a capture wants. Immutable; its memory is lent to the workers.
public final class CaptureSelection: @unchecked Sendable {
    // Unchecked: the array is written only by `init`.
    public let points: Set<Observation.Point>
    /// In, out, or both when nil.
    public let isOutgoing: Bool?
    /// Of drops; nil for any.
    public let reason: DropReason?
    /// Bytes kept of each frame.
    public let snapLength: Int
    /// Identities of the ports and tunnels wanted, in order; nil for all there are and what belongs to none.
    public let owners: [UInt64]?
    fileprivate let ownerWords: UnsafeMutablePointer<UInt64>

    public init(
        points: Set<Observation.Point>, isOutgoing: Bool? = nil, reason: DropReason? = nil,
        snapLength: Int = 262_144, owners: Set<UInt64>? = nil
    ) {
        self.points = points
        self.isOutgoing = isOutgoing
        self.reason = reason
        self.snapLength = snapLength
        self.owners = owners?.sorted()
        let sorted = self.owners ?? []
        ownerWords = .allocate(capacity: max(1, sorted.count))
        for (index, owner) in sorted.enumerated() { (ownerWords + index).initialize(to: owner) }
    }

    deinit { ownerWords.deallocate() }

    /// The same of other ports and tunnels.
    public func of(owners: Set<UInt64>) -> CaptureSelection {
        CaptureSelection(
            points: points, isOutgoing: isOutgoing, reason: reason, snapLength: snapLength, owners: owners)
    }
}

/// One capture on one worker.
struct CaptureTap: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: what it points at is lent by the capture's attachment.
    let ring: CaptureRingWriter
    private let points: UInt8
    private let directions: UInt8
    private let reason: UInt8
    private let snapLength: Int
    private let owners: UnsafePointer<UInt64>
    /// Negative: all.
    private let ownerCount: Int
    let instructions: UnsafePointer<bpf_insn>?

    /// Any reason.
    private static let anyReason = UInt8.max

    init(_ selection: CaptureSelection, _ filter: CaptureFilter?, _ ring: CaptureRing) {
        self.ring = ring.writer
        points = selection.points.reduce(0) { $0 | 1 << $1.rawValue }
        directions = selection.isOutgoing.map { $0 ? 2 : 1 } ?? 3
        reason = selection.reason?.rawValue ?? CaptureTap.anyReason
        snapLength = selection.snapLength
        owners = UnsafePointer(selection.ownerWords)
        ownerCount = selection.owners?.count ?? -1
        instructions = filter?.instructions
    }

    func wants(_ observation: Observation) -> Bool {
        guard points & 1 << observation.point.rawValue != 0,
            directions & (observation.isOutgoing ? 2 : 1) != 0,
            reason == CaptureTap.anyReason || reason == observation.reason.rawValue
        else { return false }
        return ownerCount < 0 || has(observation.owner)
    }

    private func has(_ owner: UInt64) -> Bool {
        var (low, high) = (0, ownerCount)
        while low < high {
            let middle = (low + high) / 2
            if owners[middle] < owner { low = middle + 1 } else { high = middle }
        }
        return low < ownerCount && owners[low] == owner
    }

    func cut(_ count: Int) -> Int { min(count, snapLength) }
}

/// All captures on one worker, and the room to look at a frame in one piece.
struct CaptureTaps: ~Copyable {
    /// Captures at the same time.
    static let limit = 8
    /// An outer frame of 64 KiB and its headers.
    private static let scratchByteCount = 1 << 17
    /// The largest frame in pieces: headers and payload of 256 datagrams.
    static let partCapacity = 2 + 2 * 256

    private let taps: UnsafeMutablePointer<CaptureTap>
    private(set) var count = 0
    let parts: UnsafeMutablePointer<iovec>
    /// Untouched until something captures.
    private let scratch: UnsafeMutableRawPointer
    /// Headers that are made up.
    let headers: UnsafeMutableRawPointer
    private var serial: UInt64
    private var underlaySerial: UInt64

    init() {
        taps = .allocate(capacity: CaptureTaps.limit)
        parts = .allocate(capacity: CaptureTaps.partCapacity)
        scratch = .allocate(byteCount: CaptureTaps.scratchByteCount, alignment: 64)
        headers = .allocate(byteCount: 64, alignment: 64)
        // Workers' numbers do not meet, nor do those of frames and of the underlay.
        serial = UInt64.random(in: 0..<1 << 30) << 33
        underlaySerial = serial | 1 << 32
    }

    deinit {
        taps.deallocate()
        parts.deallocate()
        scratch.deallocate()
        headers.deallocate()
    }

    var isEmpty: Bool { count == 0 }

    mutating func set(_ wanted: [CaptureTap]) {
        count = min(wanted.count, CaptureTaps.limit)
        for index in 0..<count { (taps + index).initialize(to: wanted[index]) }
    }

    /// Gives the first `partCount` of `parts`, which are one frame, to all who want it.
    mutating func take(_ record: CaptureRecord, _ partCount: Int) {
        var record = record
        record.packet = number(record.observation)
        var total = 0
        for index in 0..<partCount { total += parts[index].iov_len }
        record.originalByteCount = UInt32(truncatingIfNeeded: total)
        var isGathered = partCount == 1
        for index in 0..<count where taps[index].wants(record.observation) {
            if let instructions = taps[index].instructions {
                if !isGathered { gather(partCount, total) }
                isGathered = true
                let base = partCount == 1 ? parts[0].iov_base : scratch
                let length = UInt32(min(total, CaptureTaps.scratchByteCount))
                guard let base,
                    bpf_filter(
                        instructions, base.assumingMemoryBound(to: UInt8.self), UInt32(total), length) != 0
                else { continue }
            }
            if record.nanoseconds == 0 { record.nanoseconds = clx_real_ns() }
            record.byteCount = UInt32(truncatingIfNeeded: taps[index].cut(total))
            taps[index].ring.put(record, parts, partCount)
        }
    }

    /// A frame's first place gives it its number.
    private mutating func number(_ observation: Observation) -> UInt64 {
        if observation.point == .underlay {
            underlaySerial &+= 1
            return underlaySerial
        }
        if !observation.isOutgoing, observation.point != .drop { serial &+= 1 }
        return serial
    }

    private func gather(_ partCount: Int, _ total: Int) {
        var filled = 0
        for index in 0..<partCount where filled < CaptureTaps.scratchByteCount {
            let length = min(parts[index].iov_len, CaptureTaps.scratchByteCount - filled)
            memcpy(scratch + filled, parts[index].iov_base, length)
            filled += length
        }
    }
}

/// A capture as the workers have it: what it wants, and a ring for each of them. Nothing of it may go while it is
/// attached (`WorkerSet.capture`).
public final class CaptureAttachment: Sendable {
    /// Captures at the same time.
    public static let limit = CaptureTaps.limit

    public let selection: CaptureSelection
    let filter: CaptureFilter?
    /// One per worker.
    public let rings: [CaptureRing]

    public init(_ selection: CaptureSelection, _ filter: CaptureFilter?, _ rings: [CaptureRing]) {
        self.selection = selection
        self.filter = filter
        self.rings = rings
    }

    /// The same capture of other frames.
    public func selecting(_ selection: CaptureSelection) -> CaptureAttachment {
        CaptureAttachment(selection, filter, rings)
    }

    fileprivate func tap(_ worker: Int) -> CaptureTap { CaptureTap(selection, filter, rings[worker]) }
}

extension WorkerSet {
    /// Gives frames to these captures from now on, and to no others. When this returns no worker uses anything of those
    /// before.
    public func capture(_ attachments: [CaptureAttachment]) {
        for (number, worker) in workers.enumerated() {
            worker.capture(attachments.map { $0.tap(number) })
        }
    }
}
