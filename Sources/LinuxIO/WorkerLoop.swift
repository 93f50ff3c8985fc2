// The breath: wait, take in a batch from whatever is ready, forward, flush. Lives on the worker's stack;
// nothing else touches it. Buffers are allocated once.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

/// A worker's own state.
struct WorkerLoop: ~Copyable {
    /// Descriptors epoll names at a time.
    static let readyCount: Int32 = 64
    /// Frames or datagrams taken from one descriptor before the next gets its turn.
    static let batchCount = 32
    /// A receive buffer: room for a restored VLAN tag in front, and the largest superframe.
    static let headroom = 64
    /// Copies handed on at which a breath is cut short, and what is left of it waits for the next: the control plane
    /// has its turn between two, and a flood to a thousand ports, each microseconds of the kernel's time, must not
    /// keep it waiting. A datagram is forwarded whole, all those of its train included.
    static let copyLimit = 4096
    /// Payload queued at which a batch is cut short: what a core's cache keeps from reading to sending.
    static let flushByteCount = 60_000
    static let bufferByteCount = (headroom + 8 + Superframe.maximumByteCount + 63) & ~63
    /// Largest outer frame: a 64 KiB IP packet behind its Ethernet header.
    static let outerByteCount = EthernetView.byteCount + 65_575
    /// Longest sleep: the MAC tables are swept and the heartbeat kept about once a second.
    static let sleepMilliseconds: UInt64 = 500
    static let sweepMilliseconds: UInt64 = 1000
    /// Epoll tokens: what it is in the upper half, its number in the lower.
    static let wakeupToken: UInt64 = 0
    static let portToken: UInt64 = 1 << 32
    static let listenerToken: UInt64 = 2 << 32
    static let uplinkToken: UInt64 = 3 << 32

    private(set) var nowMilliseconds = clx_monotonic_ms()
    var engine: Engine
    private let flowMemory: ZeroedMemory
    private let holdMemory: ZeroedMemory
    var output: KernelOutput
    private var patience: Patience
    private let epoll: Int32
    private let events: WorkerEvents
    private let ready: UnsafeMutablePointer<clx_event>
    /// Those of `ready` that are still to be served.
    private var waiting = 0..<0
    /// Of the socket with this token, these buffers have what is still to be forwarded. No other call receives
    /// meanwhile.
    private var received: (token: UInt64, indices: Range<Int>) = (0, 0..<0)
    private let buffers: UnsafeMutableRawPointer
    private let frames: UnsafeMutablePointer<clx_raw_frame>
    private let datagrams: UnsafeMutablePointer<clx_datagram>
    private var lastSweep: UInt64 = 0
    /// Frames and datagrams taken in by the last breath.
    private(set) var takenCount = 0
    private var takenByteCount = 0

    init(
        epoll: Int32, events: WorkerEvents, settings: WorkerSettings, flowMemory: ZeroedMemory,
        holdMemory: ZeroedMemory, punts: PuntBox
    ) {
        patience = Patience(limitNanoseconds: UInt64(settings.spinMicroseconds) * 1000)
        output = KernelOutput(
            senders: SenderSockets([:]), packs: settings.offload.udpSegmentation, punts: punts)
        self.epoll = epoll
        self.events = events
        self.flowMemory = flowMemory
        self.holdMemory = holdMemory
        engine = Engine(
            flows: FlowCache(
                zeroed: flowMemory.base, capacity: settings.flowCapacity, seed: .random(in: .min ... .max)),
            coalescing: settings.offload.coalescing, holdMemory: holdMemory.base)
        ready = .allocate(capacity: Int(WorkerLoop.readyCount))
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
        if waiting.isEmpty, received.indices.isEmpty {
            let count = patience.wait(
                epoll, ready, WorkerLoop.readyCount, sleepMilliseconds: Int32(WorkerLoop.sleepMilliseconds),
                takenByteCount: takenByteCount)
            waiting = 0..<Int(max(0, count))
        }
        nowMilliseconds = clx_monotonic_ms()
        output.nowMilliseconds = nowMilliseconds
        output.copyCount = 0
        takenCount = 0
        takenByteCount = 0
        // Before newer frames.
        if engine.holdsFrames { releaseHeld() }
        forwardReceived()
        var hasMail = false
        while !waiting.isEmpty, hasRoom {
            let token = ready[waiting.lowerBound].token
            waiting.removeFirst()
            let number = UInt32(truncatingIfNeeded: token)
            switch token & ~0xffff_ffff {
            case WorkerLoop.portToken: serve(port: number)
            case WorkerLoop.listenerToken: serve(listener: number)
            case WorkerLoop.uplinkToken: serve(uplink: number)
            default: hasMail = true
            }
        }
        if nowMilliseconds &- lastSweep >= WorkerLoop.sweepMilliseconds {
            lastSweep = nowMilliseconds
            engine.sweep(nowMilliseconds: nowMilliseconds)
        }
        if output.takePathMTUChange() { events.pathMTUChanged() }
        if output.takeWantedNeighbor() { events.neighborWanted() }
        if output.takeUrgentPunt() { events.punted() }
        return hasMail
    }

    /// Whether this breath may go on.
    private var hasRoom: Bool { output.copyCount < WorkerLoop.copyLimit }

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
        for _ in 0..<WorkerLoop.batchCount where hasRoom {
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
        received = (WorkerLoop.portToken | UInt64(number), 0..<Int(count))
        forwardReceived()
    }

    private mutating func serve(listener number: UInt32) {
        let listener = engine.program.listener(Int(number))
        for index in 0..<WorkerLoop.batchCount {
            datagrams[index].data = buffer(index)
            datagrams[index].capacity = UInt32(Superframe.maximumByteCount + 8)
        }
        let count = clx_udp_receive(listener.descriptor, datagrams, UInt32(WorkerLoop.batchCount))
        // A pending ICMP error is reported once and means nothing to a listener.
        received = (WorkerLoop.listenerToken | UInt64(number), 0..<Int(max(0, count)))
        forwardReceived()
    }

    /// Forwards what the last call has received as far as this breath has room.
    private mutating func forwardReceived() {
        guard !received.indices.isEmpty else { return }
        let number = UInt32(truncatingIfNeeded: received.token)
        let isOfPort = received.token & ~0xffff_ffff == WorkerLoop.portToken
        while let index = received.indices.first, hasRoom {
            received.indices.removeFirst()
            takenCount += 1
            if isOfPort { forward(frames[index], number) } else { receive(datagrams[index], number) }
        }
        output.flush()
    }

    /// Forwards all that was received, before nobody does any more.
    mutating func finish() {
        while !received.indices.isEmpty {
            output.copyCount = 0
            forwardReceived()
        }
    }

    private mutating func forward(_ raw: clx_raw_frame, _ number: UInt32) {
        guard raw.truncated == 0, let data = raw.data else {
            let counters = engine.program.port(Int(number)).counters
            counters.received(byteCount: Int(raw.length))
            counters.dropReceived(.badOffload)
            return
        }
        takenByteCount += Int(raw.length)
        let frame = Superframe(base: data, byteCount: Int(raw.length), offload: Offload(raw.offload))
        engine.forward(frame, ingress: number, nowMilliseconds: nowMilliseconds, to: &output)
    }

    private mutating func receive(_ raw: clx_datagram, _ number: UInt32) {
        guard let data = raw.data else { return }
        takenByteCount += Int(raw.length)
        let datagram = Datagram(
            base: data, byteCount: Int(raw.length), segmentByteCount: Int(raw.segment),
            isTruncated: raw.truncated != 0, typeOfService: UInt8(truncatingIfNeeded: raw.tos),
            source: raw.source.packed, sourcePort: raw.source.port,
            destination: raw.destination.packed)
        engine.see(datagram, listener: number, &output)
        engine.receive(datagram, listener: number, nowMilliseconds: nowMilliseconds, to: &output)
    }

    /// Like a TAP's, but of whole outer frames.
    private mutating func serve(uplink number: UInt32) {
        let uplink = engine.program.uplink(Int(number))
        for index in 0..<WorkerLoop.batchCount where hasRoom {
            let base = buffer(index)
            var header = clx_tunnel_header()
            let count = withUnsafeMutableBytes(of: &header) { header in
                withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
                    parts[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
                    parts[1] = iovec(iov_base: base, iov_len: WorkerLoop.outerByteCount)
                    return readv(uplink.descriptor, parts.baseAddress, 2)
                }
            }
            guard count >= 0 else {
                if errno == EBADFD || errno == ENODEV {
                    clx_epoll_remove(epoll, uplink.descriptor)
                    events.portTroubled(uplink.identity)
                }
                break
            }
            takenCount += 1
            takenByteCount += count
            let byteCount = max(0, count - MemoryLayout<clx_tunnel_header>.size)
            engine.receive(
                OuterFrame(base: base, byteCount: byteCount, header), uplink: number,
                nowMilliseconds: nowMilliseconds, to: &output)
        }
        output.flush()
    }

    /// Polls sent before they are handed to the kernel: few, so that the times noted are those they leave at.
    static let pollCount = 8

    /// Sends frames of the agent's own.
    mutating func send(_ batch: OriginatedBatch) {
        for (index, departure) in batch.departures.enumerated() {
            let poll = index - batch.pollStart
            if poll >= 0, poll % WorkerLoop.pollCount == 0 { output.flush() }
            if poll >= 0 { batch.noteSent(index) }
            engine.originate(
                batch.frame(index), egress: departure.number, identity: departure.identity,
                nowMilliseconds: nowMilliseconds, to: &output)
        }
        output.flush()
    }

    /// Lets go what waits for next hops that are known by now.
    mutating func releaseHeld() {
        engine.releaseHeld(nowMilliseconds: nowMilliseconds, to: &output)
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

    // MARK: Captures

    /// Gives frames to these captures from now on, and to no others.
    mutating func capture(_ taps: [CaptureTap]) {
        output.taps.set(taps)
        engine.isObserved = !taps.isEmpty
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
        // Whose number is of something else now is named once more; the others come before who had its turn already.
        var count = 0
        for index in waiting {
            let token = ready[index].token
            guard token == WorkerLoop.wakeupToken || before[token] != nil, before[token] == after[token]
            else { continue }
            ready[count] = ready[index]
            count += 1
        }
        waiting = 0..<count
        // What has been received goes with its socket, whatever its number is now.
        if let socket = before[received.token], let now = after.first(where: { $0.value == socket })?.key {
            received.token = now
        } else {
            received.indices = 0..<0
        }
        engine.adopt(program)
        patience.looksOnInBulk = (0..<program.uplinkCount).contains { program.uplink($0).isTAP }
        output.senders = senders
        releaseHeld()
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
        for number in 0..<program.uplinkCount {
            let uplink = program.uplink(number)
            guard uplink.isTAP else { continue }
            result[uplinkToken | UInt64(number)] = Watched(
                descriptor: uplink.descriptor, identity: uplink.identity)
        }
        return result
    }
}

/// A descriptor in epoll; the identity tells a reused descriptor number from an unchanged one.
struct Watched: Equatable {
    var descriptor: Int32
    var identity: UInt64
}
