// The engine's way out: frames are written to TAPs and packet sockets at once, datagrams are gathered in one
// queue per sending socket and handed to the kernel by sendmmsg at the end of a batch. Each copy is accounted
// for exactly once, when the kernel has answered.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Synchronization
internal import Wire

/// Used by the worker's thread alone.
struct KernelOutput: EngineOutput, ~Copyable {
    /// Header memory per batch: 32 superframes of 45 segments with 128 bytes of headers, and change.
    static let arenaByteCount = 256 << 10
    static let socketCount = SenderKind.count * SenderPool.socketCount
    /// A frame as the kernel takes it: virtio-net header, headers, and the payload of a train's frames.
    static let partCapacity = 2 + 64

    var senders: SenderSockets
    private let queues: UnsafeMutablePointer<SendQueue>
    /// Sockets with something queued, in order of first use.
    private let busy: UnsafeMutablePointer<Int>
    private var busyCount = 0
    /// Two arenas in turn: what was reserved before a forced flush stays valid through the next.
    private let arenas: UnsafeMutableRawPointer
    private var arena = 0
    private var arenaUsed = 0
    let parts: UnsafeMutablePointer<iovec>
    /// Whether datagrams are packed for the kernel to cut, and checksums left to it.
    let packs: Bool
    /// What leaves by uplinks, by flow hash.
    let uplinkQueues: UnsafeMutablePointer<UplinkQueue>
    var busyUplinkQueues: UInt32 = 0
    /// What captures want.
    var taps = CaptureTaps()
    /// Of the next outer IPv4 header that routers may fragment.
    var identification = UInt16.random(in: .min ... .max)
    private var plainRoutes = PlainRoutes()
    /// Set when the kernel said a datagram exceeds the path MTU: the control plane must look again.
    private(set) var sawPathMTUChange = false
    /// Set when a frame waits for its next hop: the resolver is to be told.
    private(set) var sawWantedNeighbor = false
    /// Nil where nobody takes frames for the agent itself.
    private let punts: PuntBox?
    private var sawUrgentPunt = false
    /// Frames and datagrams handed on or queued, copies of one counted each; set to 0 by the loop.
    var copyCount = 0
    /// Payload bytes queued since the last flush.
    var queuedByteCount = 0
    /// Monotonic; set by the loop before each batch.
    var nowMilliseconds: UInt64 = 0

    init(senders: SenderSockets, packs: Bool = true, punts: PuntBox? = nil) {
        self.senders = senders
        self.punts = punts
        self.packs = packs
        queues = .allocate(capacity: KernelOutput.socketCount)
        for index in 0..<KernelOutput.socketCount { (queues + index).initialize(to: SendQueue()) }
        busy = .allocate(capacity: KernelOutput.socketCount)
        arenas = .allocate(byteCount: 2 * KernelOutput.arenaByteCount, alignment: 64)
        parts = .allocate(capacity: KernelOutput.partCapacity)
        uplinkQueues = .allocate(capacity: KernelOutput.uplinkQueueCount)
        for index in 0..<KernelOutput.uplinkQueueCount {
            (uplinkQueues + index).initialize(to: UplinkQueue())
        }
    }

    deinit {
        queues.deinitialize(count: KernelOutput.socketCount)
        queues.deallocate()
        busy.deallocate()
        arenas.deallocate()
        parts.deallocate()
        uplinkQueues.deinitialize(count: KernelOutput.uplinkQueueCount)
        uplinkQueues.deallocate()
    }

    mutating func takePathMTUChange() -> Bool {
        defer { sawPathMTUChange = false }
        return sawPathMTUChange
    }

    mutating func takeWantedNeighbor() -> Bool {
        defer { sawWantedNeighbor = false }
        return sawWantedNeighbor
    }

    mutating func noteWanted() { sawWantedNeighbor = true }

    mutating func takeUrgentPunt() -> Bool {
        defer { sawUrgentPunt = false }
        return sawUrgentPunt
    }

    mutating func punt(_ frame: Superframe, _ port: PortEntry) -> Bool {
        guard let (isTaken, isUrgent) = punts?.put(frame, by: port.identity) else { return false }
        if isUrgent { sawUrgentPunt = true }
        return isTaken
    }

    // MARK: Local ports

    mutating func write(_ frame: Superframe, to port: PortEntry) {
        copyCount &+= 1
        let code = hand(frame, to: port.descriptor)
        if code == 0 {
            port.counters.transmitted(frame.frameCount, byteCount: frame.accountedByteCount)
            seeWritten(frame, port)
        } else if code == EINVAL, frame.isTrain, !frame.train.isChanged {
            writeEach(frame, to: port)
        } else if code == EINVAL, let plan = SegmentPlan(frame, FrameShape(frame)) {
            writeSegments(frame, plan, to: port)
        } else {
            dropFrame(frame, port, KernelOutput.localReason(code), frame.frameCount)
        }
    }

    /// Kernels have had bugs that refuse superframes they should take (Linux 6.6.44, 6.10.3): a train's frames
    /// are still there as they came.
    private mutating func writeEach(_ frame: Superframe, to port: PortEntry) {
        var one = frame.first
        for index in 0..<frame.frameCount {
            if index + 1 == frame.frameCount {
                let before = index * (one.byteCount - frame.train.headerByteCount)
                one.byteCount = frame.byteCount - before
            }
            let code = hand(one, to: port.descriptor)
            if code == 0 {
                port.counters.transmitted(byteCount: one.byteCount)
                seeWritten(one, port)
            } else {
                dropFrame(one, port, KernelOutput.localReason(code), 1)
            }
            one.base += frame.train.strideByteCount
        }
    }

    /// The same for a superframe that came whole, as kernels before 6.2 refuse those of UDP: it is cut here. It is
    /// one copy still, sent when all of it was.
    private mutating func writeSegments(_ frame: Superframe, _ plan: SegmentPlan, to port: PortEntry) {
        let header = reserve(plan.headerByteCount)
        for index in 0..<plan.count {
            plan.emitHeader(index, of: frame, to: header)
            parts[1] = iovec(iov_base: header, iov_len: plan.headerByteCount)
            parts[2] = iovec(
                iov_base: plan.payload(of: index, in: frame),
                iov_len: plan.byteCount(of: index))
            let code = gather(clx_vnet_header(), 3, port.descriptor)
            guard code == 0 else {
                dropFrame(frame, port, KernelOutput.localReason(code), frame.frameCount)
                return
            }
        }
        port.counters.transmitted(frame.frameCount, byteCount: frame.accountedByteCount)
        seeWritten(frame, port)
    }

    /// Writes a virtio-net header and `parts[1..<count]`. 0, or errno.
    private func gather(_ header: clx_vnet_header, _ count: Int, _ descriptor: Int32) -> Int32 {
        var header = header
        return withUnsafeMutableBytes(of: &header) { header in
            parts[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
            return writev(descriptor, parts, Int32(count)) < 0 ? errno : 0
        }
    }

    /// 0, or errno.
    private func hand(_ frame: Superframe, to descriptor: Int32) -> Int32 {
        guard frame.isTrain else {
            parts[1] = iovec(iov_base: frame.base, iov_len: frame.byteCount)
            return gather(clx_vnet_header(frame), 2, descriptor)
        }
        let train = frame.train
        parts[1] = iovec(iov_base: frame.base, iov_len: train.headerByteCount)
        let segment = Int(frame.offload.segmentByteCount)
        var payload = train.payload
        var left = frame.byteCount - train.headerByteCount
        var count = 2
        while left > 0, count < KernelOutput.partCapacity {
            parts[count] = iovec(iov_base: payload, iov_len: min(segment, left))
            payload += train.strideByteCount
            left -= segment
            count += 1
        }
        return gather(clx_vnet_header(frame), count, descriptor)
    }

    static func localReason(_ code: Int32) -> DropReason {
        switch code {
        case EIO, ENETDOWN: .portDown
        case EBADF, EBADFD, ENXIO, ENODEV: .portGone
        case EAGAIN, ENOBUFS, ENOMEM: .portQueueFull
        default: .portError
        }
    }

    // MARK: Tunnels

    mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let rounded = (byteCount + 15) & ~15
        if arenaUsed + rounded > KernelOutput.arenaByteCount {
            flush()
            arena = 1 - arena
        }
        defer { arenaUsed += rounded }
        return arenas + arena * KernelOutput.arenaByteCount + arenaUsed
    }

    mutating func send(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry
    ) {
        copyCount &+= 1
        let position = Int(envelope.flowHash) % SenderPool.socketCount
        let socket = SenderKind.index(tunnel) * SenderPool.socketCount + position
        guard tunnel.isUsable, senders.descriptors[socket] >= 0 else {
            dropSent(header, payload, port, tunnel.isUsable ? .tunnelDown : tunnel.refusal)
            return
        }
        if queues[socket].isFull { flush(socket) }
        if queues[socket].isEmpty { noteBusy(socket) }
        queuedByteCount += payload.count
        queues[socket].append(
            header: header, payload: payload, envelope, tunnel, port,
            // The kernel cuts nothing that is to go without a checksum.
            isPackable: packs && tunnel.checksum && !plainRoutes.contains(tunnel.remote, nowMilliseconds))
    }

    /// A queue may be flushed and filled again within a batch: it is listed once.
    private mutating func noteBusy(_ socket: Int) {
        for index in 0..<busyCount where busy[index] == socket { return }
        busy[busyCount] = socket
        busyCount += 1
    }

    /// Hands everything queued to the kernel and frees the header memory.
    mutating func flush() {
        for index in 0..<busyCount { flush(busy[index]) }
        busyCount = 0
        flushUplinks()
        arenaUsed = 0
        queuedByteCount = 0
    }

    private mutating func flush(_ socket: Int) {
        let descriptor = senders.descriptors[socket]
        let messages = queues[socket].messages
        let accounts = queues[socket].accounts
        let count = queues[socket].messageCount
        var done = 0
        while done < count {
            let result = Int(clx_udp_send(descriptor, messages + done, UInt32(count - done)))
            if result > 0 {
                for index in done..<(done + result) {
                    let account = accounts[index]
                    account.port.counters.transmitted(account.count, byteCount: account.byteCount)
                    seeSent(messages[index], account, socket)
                }
                done += result
            } else if result != -Int(EINTR) {
                refuse(socket, messages[done], accounts[done], Int32(-result))
                done += 1
            }
        }
        queues[socket].removeAll()
    }

    /// The kernel does not take a message. One datagram is dropped; several are sent one by one, because some
    /// may fit, and because a way that cannot have them cut (EIO: no checksum offload, a transform) can still
    /// carry them.
    private mutating func refuse(
        _ socket: Int, _ message: clx_message, _ account: SendQueue.Account, _ code: Int32
    ) {
        guard message.segment > 0 else {
            dropSent(message.parts, account.port, underlayReason(code))
            return
        }
        if code == EIO || code == EINVAL {
            plainRoutes.insert(message.destination.packed, nowMilliseconds)
        }
        let descriptor = senders.descriptors[socket]
        var one = message
        one.segment = 0
        one.part_count = 2
        for index in 0..<account.count {
            one.parts = message.parts + 2 * index
            let byteCount = one.parts[0].iov_len + one.parts[1].iov_len - VXLANView.byteCount
            var result = clx_udp_send(descriptor, &one, 1)
            while result == -EINTR { result = clx_udp_send(descriptor, &one, 1) }
            if result > 0 {
                account.port.counters.transmitted(byteCount: byteCount)
                seeSent(one, account, socket)
            } else {
                dropSent(one.parts, account.port, underlayReason(-result))
            }
        }
    }

    mutating func underlayReason(_ code: Int32) -> DropReason {
        switch code {
        case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL: return .underlayNoRoute
        case EMSGSIZE:
            sawPathMTUChange = true
            return .underlayMTUExceeded
        case EAGAIN, ENOBUFS, ENOMEM: return .underlayQueueFull
        case EPERM, EACCES: return .underlayDenied
        default: return .underlayError
        }
    }
}

/// Peers whose route does not take messages to be cut: what goes there is sent datagram by datagram for a
/// while.
struct PlainRoutes {
    /// Routes remembered; the oldest makes room.
    static let capacity = 8
    static let milliseconds: UInt64 = 60_000

    private var routes: InlineArray<8, PackedAddress> = .init(repeating: .none)
    private var deadlines: InlineArray<8, UInt64> = .init(repeating: 0)
    private var next = 0
    private var latestDeadline: UInt64 = 0

    func contains(_ remote: PackedAddress, _ now: UInt64) -> Bool {
        guard now < latestDeadline else { return false }
        for index in 0..<PlainRoutes.capacity
        where now < deadlines[index] && routes[index].high == remote.high && routes[index].low == remote.low {
            return true
        }
        return false
    }

    mutating func insert(_ remote: PackedAddress, _ now: UInt64) {
        latestDeadline = now + PlainRoutes.milliseconds
        if contains(remote, now) { return }
        routes[next] = remote
        deadlines[next] = latestDeadline
        next = (next + 1) % PlainRoutes.capacity
    }
}
