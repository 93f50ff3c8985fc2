// One capture: a thread that takes frames out of the workers' rings, writes a pcapng file of them and puts that into an
// HTTP stream. What the reader of the stream does not take stays in the rings until they are full.

internal import Datapath
internal import Dispatch
internal import Glibc
internal import HTTP
internal import LinuxIO
internal import Proc
internal import Synchronization
internal import Wire

/// How a capture ends, and what it makes of frames.
struct CaptureSettings: Sendable {
    var filter: CaptureFilter?
    var snapLength = 262_144
    /// Frames in the file.
    var count: Int?
    var durationSeconds: Int?
    /// Superframes are cut, checksums completed.
    var isSplit = false
}

/// `@unchecked Sendable`: what changes is behind locks, is atomic, or is the thread's alone.
final class CaptureSession: @unchecked Sendable {
    /// Bytes that may wait for the reader of the file.
    static let streamByteCount = 1 << 20
    /// Given to the stream at a time.
    private static let pieceByteCount = 256 << 10
    /// Longest sleep, which the duration is kept to.
    private static let sleepMilliseconds: Int32 = 200
    /// Between looks at a stream that is full.
    private static let fullMilliseconds: Int32 = 5

    let stream: HTTPStream
    let target: CaptureTarget
    /// Changed while the captures' lock is held.
    private(set) var attachment: CaptureAttachment
    private let rings: [CaptureRing]
    private let settings: CaptureSettings
    private let bell: Bell
    private let names = Mutex<[UInt64: CaptureName]>([:])
    private let isOver = Atomic(false)
    private let hasEnded = DispatchSemaphore(value: 0)
    /// Frames written and bytes given to the stream.
    private let writtenFrames = Atomic<UInt64>(0)
    private let sentBytes = Atomic<UInt64>(0)

    // The thread's alone.
    private var writer = PcapNGWriter()
    private var pending: [UInt8] = []
    private var sent = 0
    private let cutter = CaptureCutter()
    private var interfaces: [UInt64: Interface] = [:]
    private var frameCount = 0
    private var ringLosses: [UInt64]
    private let start = CaptureClock.now

    private struct Interface {
        var number: UInt32
        var frames: UInt64 = 0
        var lost: UInt64 = 0
    }

    init(
        _ target: CaptureTarget, _ settings: CaptureSettings, workers: Int, members: CaptureMembers
    ) throws(LinuxError) {
        let bell = try Bell()
        var rings: [CaptureRing] = []
        for _ in 0..<workers { rings.append(try CaptureRing(bell: bell.descriptor)) }
        self.rings = rings
        self.target = target
        self.settings = settings
        self.bell = bell
        ringLosses = Array(repeating: 0, count: workers)
        // What is to be cut is kept whole.
        let kept = settings.isSplit ? CaptureSession.whole : settings.snapLength
        attachment = CaptureAttachment(target.selection(snapLength: kept, members), settings.filter, rings)
        stream = HTTPStream(queueByteCount: CaptureSession.streamByteCount)
        learn(members)
    }

    private static let whole = 262_144

    var frames: UInt64 { writtenFrames.load(ordering: .relaxed) }
    var bytes: UInt64 { sentBytes.load(ordering: .relaxed) }
    var lost: UInt64 { rings.reduce(0) { $0 + $1.lostCount } }

    /// Takes over names and, where they are told apart, which ports and tunnels are wanted. True when the workers
    /// have to be told.
    func follow(_ members: CaptureMembers) -> Bool {
        learn(members)
        guard let owners = target.owners(members), owners.sorted() != attachment.selection.owners else {
            return false
        }
        attachment = attachment.selecting(attachment.selection.of(owners: owners))
        return true
    }

    /// A name that is gone is kept: frames of it may still be in a ring.
    private func learn(_ members: CaptureMembers) {
        names.withLock { $0.merge(members.names) { _, new in new } }
    }

    // MARK: - The thread

    /// Starts; `detach` takes the capture from the workers, and is called once, on the thread.
    func run(_ detach: @escaping @Sendable (CaptureSession) -> Void) {
        stream.onClose { [weak self] in self?.end() }
        stream.onDrain { [bell] in bell.ring() }
        let code = OwnThread.start("viaduct-capture") { [self] in
            work()
            detach(self)
            finish()
            hasEnded.signal()
        }
        guard code != 0 else { return }
        detach(self)
        finish()
        hasEnded.signal()
    }

    /// Has it end soon, whatever it waits for.
    func end() {
        isOver.store(true, ordering: .releasing)
        bell.ring()
    }

    func awaitEnd() { hasEnded.wait() }

    private var isDone: Bool {
        if isOver.load(ordering: .acquiring) { return true }
        if let count = settings.count, frameCount >= count { return true }
        guard let seconds = settings.durationSeconds else { return false }
        return CaptureClock.now >= start + UInt64(seconds) * 1_000_000_000
    }

    private func work() {
        writer.section(
            hardware: "\(Kernel.machine)", system: "Linux \(Kernel.release)",
            application: "viaduct \(Agent.version)")
        while !isDone {
            let hasRoom = push()
            let moved = hasRoom && drain()
            if moved { continue }
            guard hasRoom else {
                bell.wait(milliseconds: CaptureSession.fullMilliseconds)
                continue
            }
            if rings.allSatisfy({ $0.sleep() }) {
                bell.wait(milliseconds: CaptureSession.sleepMilliseconds)
            }
            for ring in rings { ring.wake() }
        }
    }

    /// Takes some records of every ring; false when there were none.
    private func drain() -> Bool {
        var moved = false
        for (index, ring) in rings.enumerated() {
            while writer.byteCount < CaptureSession.pieceByteCount, !hasAll,
                ring.next({ record, bytes in add(record, bytes, ring: index) })
            {
                moved = true
            }
        }
        return moved
    }

    private var hasAll: Bool { settings.count.map { frameCount >= $0 } ?? false }

    /// Gives the stream what it has room for; false when something is left.
    private func push() -> Bool {
        if sent == pending.count { (pending, sent) = (writer.take(), 0) }
        while sent < pending.count {
            let room = CaptureSession.streamByteCount - stream.queuedByteCount
            let count = min(room, pending.count - sent, CaptureSession.pieceByteCount)
            guard count > 0, stream.write(Array(pending[sent..<sent + count])) else { return false }
            sentBytes.add(UInt64(count), ordering: .relaxed)
            sent += count
        }
        return true
    }

    private func add(_ record: CaptureRecord, _ bytes: UnsafeMutableRawBufferPointer, ring: Int) {
        let key = record.observation.interface
        var interface = interfaces[key] ?? introduce(key)
        let lost = record.lostCount &- ringLosses[ring]
        ringLosses[ring] = record.lostCount
        interface.lost += lost
        var packet = PcapNGWriter.Packet(
            interface: interface.number, nanoseconds: record.nanoseconds,
            originalByteCount: Int(record.originalByteCount), isOutgoing: record.observation.isOutgoing)
        packet.comments = record.comments(bytes, isCut: settings.isSplit)
        packet.lostCount = lost
        packet.identifier = record.packet
        guard settings.isSplit else {
            packet.isChecksumPartial = record.isPartial
            packet.isSegmentedLater = record.offload.isSegmented && !record.offload.isUDPSegmented
            write(
                packet, UnsafeRawBufferPointer(bytes), UnsafeRawBufferPointer(start: nil, count: 0),
                &interface)
            interfaces[key] = interface
            return
        }
        packet.isChecksumPartial = record.isPartial && !record.isWhole
        let isWhole = record.isWhole
        cutter.cut(record, bytes) { head, rest in
            guard !hasAll else { return }
            if isWhole { packet.originalByteCount = head.count + rest.count }
            let kept = min(head.count, settings.snapLength)
            write(
                packet, UnsafeRawBufferPointer(rebasing: head[0..<kept]),
                UnsafeRawBufferPointer(rebasing: rest[0..<min(rest.count, settings.snapLength - kept)]),
                &interface)
            packet.lostCount = 0
        }
        interfaces[key] = interface
    }

    private func write(
        _ packet: PcapNGWriter.Packet, _ head: UnsafeRawBufferPointer, _ rest: UnsafeRawBufferPointer,
        _ interface: inout Interface
    ) {
        writer.packet(packet, head, rest)
        interface.frames += 1
        frameCount += 1
        writtenFrames.add(1, ordering: .relaxed)
    }

    private func introduce(_ key: UInt64) -> Interface {
        let name = names.withLock { $0[key] } ?? CaptureName(of: key)
        return Interface(
            number: writer.interface(
                name: name.name, description: name.description, filter: settings.filter?.text,
                snapLength: settings.snapLength))
    }

    /// No worker writes any more: what is in the rings, and how it was.
    private func finish() {
        while push(), drain() {}
        let now = CaptureClock.now
        for (index, ring) in rings.enumerated() {
            // Lost behind the last frame that was kept.
            let lost = ring.lostCount &- ringLosses[index]
            if lost > 0, let key = interfaces.keys.first { interfaces[key]?.lost += lost }
        }
        for interface in interfaces.values.sorted(by: { $0.number < $1.number }) {
            writer.statistics(
                interface: interface.number, nanoseconds: now, start: start,
                received: interface.frames + interface.lost, lost: interface.lost)
        }
        // A reader that is there still takes it; one that does not is not waited for.
        let deadline = now + 2_000_000_000
        while !push() || writer.byteCount > 0, !stream.isClosed, CaptureClock.now < deadline {
            bell.wait(milliseconds: CaptureSession.fullMilliseconds)
        }
        stream.finish()
    }
}

enum CaptureClock {
    /// Nanoseconds since 1970.
    static var now: UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}
