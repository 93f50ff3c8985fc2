// The breath: wait, take in a batch from whatever is ready, forward, flush. Lives on the worker's stack;
// nothing else touches it. Buffers are allocated once.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

/// A worker's own state.
struct WorkerLoop: ~Copyable {
    /// Frames or datagrams taken from one descriptor before the next gets its turn.
    static let batchCount = 32
    /// A receive buffer: room for a restored VLAN tag in front, and the largest superframe.
    static let headroom = 64
    /// Payload queued at which a batch is cut short: what a core's cache keeps from reading to sending.
    static let flushByteCount = 60_000
    static let bufferByteCount = (headroom + 8 + Superframe.maximumByteCount + 63) & ~63
    /// Longest sleep: the MAC tables are swept and the heartbeat kept about once a second.
    static let sleepMilliseconds: UInt64 = 500
    static let sweepMilliseconds: UInt64 = 1000
    /// Epoll tokens: what it is in the upper half, its number in the lower.
    static let wakeupToken: UInt64 = 0
    static let portToken: UInt64 = 1 << 32
    static let listenerToken: UInt64 = 2 << 32

    private(set) var nowMilliseconds = clx_monotonic_ms()
    private var engine: Engine
    private let flowMemory: ZeroedMemory
    private var output: KernelOutput
    private var patience: Patience
    private let epoll: Int32
    private let events: WorkerEvents
    private let ready: UnsafeMutablePointer<clx_event>
    private let buffers: UnsafeMutableRawPointer
    private let frames: UnsafeMutablePointer<clx_raw_frame>
    private let datagrams: UnsafeMutablePointer<clx_datagram>
    private var lastSweep: UInt64 = 0
    /// Frames and datagrams taken in by the last breath.
    private(set) var takenCount = 0
    private var takenByteCount = 0

    init(epoll: Int32, events: WorkerEvents, settings: WorkerSettings, flowMemory: ZeroedMemory) {
        patience = Patience(limitNanoseconds: UInt64(settings.spinMicroseconds) * 1000)
        output = KernelOutput(senders: SenderSockets([:]), packs: settings.offload.udpSegmentation)
        self.epoll = epoll
        self.events = events
        self.flowMemory = flowMemory
        engine = Engine(
            flows: FlowCache(
                zeroed: flowMemory.base, capacity: settings.flowCapacity, seed: .random(in: .min ... .max)),
            coalescing: settings.offload.coalescing)
        ready = .allocate(capacity: 64)
        buffers = .allocate(byteCount: WorkerLoop.batchCount * WorkerLoop.bufferByteCount, alignment: 64)
        frames = .allocate(capacity: WorkerLoop.batchCount)
        datagrams = .allocate(capacity: WorkerLoop.batchCount)
        frames.initialize(repeating: clx_raw_frame(), count: WorkerLoop.batchCount)
        datagrams.initialize(repeating: clx_datagram(), count: WorkerLoop.batchCount)
    }

    deinit {
        ready.deallocate()
        buffers.deallocate()
        frames.deallocate()
        datagrams.deallocate()
    }

    /// One breath. True when the control plane has left a request.
    mutating func breathe() -> Bool {
        let count = patience.wait(
            epoll, ready, 64, sleepMilliseconds: Int32(WorkerLoop.sleepMilliseconds),
            takenByteCount: takenByteCount)
        nowMilliseconds = clx_monotonic_ms()
        output.nowMilliseconds = nowMilliseconds
        takenCount = 0
        takenByteCount = 0
        var hasMail = false
        for index in 0..<Int(max(0, count)) {
            let token = ready[index].token
            let number = UInt32(truncatingIfNeeded: token)
            switch token & ~0xffff_ffff {
            case WorkerLoop.portToken: serve(port: number)
            case WorkerLoop.listenerToken: serve(listener: number)
            default: hasMail = true
            }
        }
        if nowMilliseconds &- lastSweep >= WorkerLoop.sweepMilliseconds {
            lastSweep = nowMilliseconds
            engine.sweep(nowMilliseconds: nowMilliseconds)
        }
        if output.takePathMTUChange() { events.pathMTUChanged() }
        return hasMail
    }

    private func buffer(_ index: Int) -> UnsafeMutableRawPointer {
        buffers + index * WorkerLoop.bufferByteCount + WorkerLoop.headroom
    }

    // MARK: Receiving

    private mutating func serve(port number: UInt32) {
        let port = engine.program.port(Int(number))
        switch port.kind {
        case .tap: serveTAP(number, port)
        case .packetSocket: servePacketSocket(number, port)
        case .absent, .tunnel: break
        }
        output.flush()
    }

    /// A TAP gives one frame per call (it is no socket), so frames are forwarded as they come and their
    /// datagrams sent together; superframes before the next is read into the same, still cached, memory.
    private mutating func serveTAP(_ number: UInt32, _ port: PortEntry) {
        var index = 0
        for _ in 0..<WorkerLoop.batchCount {
            if output.queuedByteCount >= WorkerLoop.flushByteCount {
                output.flush()
                index = 0
            }
            let base = buffer(index)
            index += 1
            var header = clx_vnet_header()
            let count = withUnsafeMutableBytes(of: &header) { header in
                withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
                    parts[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
                    parts[1] = iovec(iov_base: base, iov_len: Superframe.maximumByteCount)
                    return readv(port.descriptor, parts.baseAddress, 2)
                }
            }
            guard count >= 0 else {
                if errno != EAGAIN, errno != EINTR { trouble(number, port, errno) }
                return
            }
            takenCount += 1
            takenByteCount += count
            let frame = Superframe(
                base: base, byteCount: max(0, count - MemoryLayout<clx_vnet_header>.size),
                offload: Offload(header))
            engine.forward(frame, ingress: number, nowMilliseconds: nowMilliseconds, to: &output)
        }
    }

    private mutating func servePacketSocket(_ number: UInt32, _ port: PortEntry) {
        for index in 0..<WorkerLoop.batchCount {
            frames[index].data = buffer(index)
            frames[index].capacity = UInt32(Superframe.maximumByteCount)
        }
        let count = clx_packet_receive(port.descriptor, frames, UInt32(WorkerLoop.batchCount))
        guard count >= 0 else {
            if count != -EAGAIN, count != -EINTR { trouble(number, port, -count) }
            return
        }
        takenCount += Int(count)
        for index in 0..<Int(count) {
            let raw = frames[index]
            guard raw.truncated == 0, let data = raw.data else {
                port.counters.received(byteCount: Int(raw.length))
                port.counters.dropReceived(.badOffload)
                continue
            }
            takenByteCount += Int(raw.length)
            let frame = Superframe(base: data, byteCount: Int(raw.length), offload: Offload(raw.offload))
            engine.forward(frame, ingress: number, nowMilliseconds: nowMilliseconds, to: &output)
        }
    }

    private mutating func serve(listener number: UInt32) {
        let listener = engine.program.listener(Int(number))
        for index in 0..<WorkerLoop.batchCount {
            datagrams[index].data = buffer(index)
            datagrams[index].capacity = UInt32(Superframe.maximumByteCount + 8)
        }
        let count = clx_udp_receive(listener.descriptor, datagrams, UInt32(WorkerLoop.batchCount))
        takenCount += Int(max(0, count))
        // A pending ICMP error is reported once and means nothing to a listener.
        for index in 0..<Int(max(0, count)) {
            let raw = datagrams[index]
            guard let data = raw.data else { continue }
            takenByteCount += Int(raw.length)
            let datagram = Datagram(
                base: data, byteCount: Int(raw.length), segmentByteCount: Int(raw.segment),
                isTruncated: raw.truncated != 0, typeOfService: UInt8(truncatingIfNeeded: raw.tos),
                source: raw.source.packed,
                destination: raw.destination.packed)
            engine.receive(datagram, listener: number, nowMilliseconds: nowMilliseconds, to: &output)
        }
        output.flush()
    }

    /// An error instead of a frame. An interface that is gone would say so for ever: its descriptor is no
    /// longer watched, and the control plane is told. One that is down says ENETDOWN once. Anything else is
    /// about a frame the kernel could not hand over, such as one with a segmentation type that virtio-net has
    /// no word for.
    private mutating func trouble(_ number: UInt32, _ port: PortEntry, _ code: Int32) {
        switch code {
        case EBADF, EBADFD, ENXIO, ENODEV:
            clx_epoll_remove(epoll, port.descriptor)
            events.portTroubled(port.identity)
        case ENETDOWN:
            events.portTroubled(port.identity)
        default:
            // A TAP on its way out says EIO or EFAULT before it says EBADFD.
            guard case .packetSocket = port.kind else { return }
            port.counters.received(byteCount: 0)
            port.counters.dropReceived(.badOffload)
        }
    }

    // MARK: Adopting

    /// This worker's flows, for its own thread.
    var flows: FlowCache { engine.flows }

    mutating func adopt(_ program: Program, _ senders: SenderSockets) {
        let before = WorkerLoop.watched(by: engine.program)
        let after = WorkerLoop.watched(by: program)
        // All removals first: a descriptor whose number among its kind has changed is removed and added.
        for (token, old) in before where after[token] != old { clx_epoll_remove(epoll, old.descriptor) }
        for (token, new) in after where before[token] != new { clx_epoll_add(epoll, new.descriptor, token) }
        engine.adopt(program)
        output.senders = senders
    }

    /// What a program wants to hear of, by epoll token.
    private static func watched(by program: Program) -> [UInt64: Watched] {
        var result: [UInt64: Watched] = [:]
        for number in 0..<program.portCount {
            let port = program.port(number)
            guard port.isReadHere, port.descriptor >= 0 else { continue }
            result[portToken | UInt64(number)] = Watched(descriptor: port.descriptor, identity: port.identity)
        }
        for number in 0..<program.listenerCount {
            let listener = program.listener(number)
            result[listenerToken | UInt64(number)] = Watched(
                descriptor: listener.descriptor, identity: listener.identity)
        }
        return result
    }
}

/// A descriptor in epoll; the identity tells a reused descriptor number from an unchanged one.
struct Watched: Equatable {
    var descriptor: Int32
    var identity: UInt64
}
