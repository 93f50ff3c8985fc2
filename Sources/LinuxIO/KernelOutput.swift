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
    /// Datagrams per sendmmsg.
    static let queueCapacity = 64
    /// Header memory per batch: 32 superframes of 45 segments with 128 bytes of headers, and change.
    static let arenaByteCount = 256 << 10
    static let socketCount = SenderKind.count * SenderPool.socketCount

    /// A datagram's account.
    struct Account: BitwiseCopyable {
        var counters: Counters
        var byteCount: Int
    }

    var senders: SenderSockets
    private let messages: UnsafeMutablePointer<clx_message>
    private let accounts: UnsafeMutablePointer<Account>
    private let lengths: UnsafeMutablePointer<Int>
    /// Sockets with something queued, in order of first use.
    private let busy: UnsafeMutablePointer<Int>
    private var busyCount = 0
    /// Two arenas in turn: what was reserved before a forced flush stays valid through the next.
    private let arenas: UnsafeMutableRawPointer
    private var arena = 0
    private var arenaUsed = 0
    /// Set when the kernel said a datagram exceeds the path MTU: the control plane must look again.
    private(set) var sawPathMTUChange = false

    init(senders: SenderSockets) {
        self.senders = senders
        messages = .allocate(capacity: KernelOutput.socketCount * KernelOutput.queueCapacity)
        accounts = .allocate(capacity: KernelOutput.socketCount * KernelOutput.queueCapacity)
        lengths = .allocate(capacity: KernelOutput.socketCount)
        lengths.initialize(repeating: 0, count: KernelOutput.socketCount)
        busy = .allocate(capacity: KernelOutput.socketCount)
        arenas = .allocate(byteCount: 2 * KernelOutput.arenaByteCount, alignment: 64)
    }

    deinit {
        messages.deallocate()
        accounts.deallocate()
        lengths.deallocate()
        busy.deallocate()
        arenas.deallocate()
    }

    mutating func takePathMTUChange() -> Bool {
        defer { sawPathMTUChange = false }
        return sawPathMTUChange
    }

    // MARK: Local ports

    mutating func write(_ frame: Superframe, to port: PortEntry) {
        var header = clx_vnet_header(frame)
        let written = withUnsafeMutableBytes(of: &header) { header in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
                parts[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
                parts[1] = iovec(iov_base: frame.base, iov_len: frame.byteCount)
                return writev(port.descriptor, parts.baseAddress, 2)
            }
        }
        if written >= 0 {
            port.counters.transmitted(byteCount: frame.byteCount)
        } else {
            port.counters.dropTransmit(KernelOutput.localReason(errno))
        }
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
        let position = Int(envelope.flowHash) % SenderPool.socketCount
        let socket = SenderKind.index(tunnel) * SenderPool.socketCount + position
        guard tunnel.isUsable, senders.descriptors[socket] >= 0 else {
            port.counters.dropTransmit(.tunnelDown)
            return
        }
        if lengths[socket] == KernelOutput.queueCapacity { flush(socket) }
        if lengths[socket] == 0 { noteBusy(socket) }
        let slot = socket * KernelOutput.queueCapacity + lengths[socket]
        lengths[socket] += 1
        accounts[slot] = Account(
            counters: port.counters, byteCount: header.count + payload.count - VXLANView.byteCount)
        var message = clx_message()
        message.parts.0 = iovec(iov_base: header.baseAddress, iov_len: header.count)
        message.parts.1 = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
        message.destination = clx_endpoint(tunnel.remote, port: tunnel.destinationPort)
        if tunnel.local != .none { message.source = clx_endpoint(tunnel.local, port: 0) }
        message.tos = envelope.typeOfService
        // 64 is what the sockets were opened with; saying so again would cost a route lookup each.
        message.ttl = envelope.timeToLive == 64 ? 0 : envelope.timeToLive
        (messages + slot).initialize(to: message)
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
        arenaUsed = 0
    }

    private mutating func flush(_ socket: Int) {
        let descriptor = senders.descriptors[socket]
        let start = socket * KernelOutput.queueCapacity
        let count = lengths[socket]
        var done = 0
        while done < count {
            let result = Int(clx_udp_send(descriptor, messages + start + done, UInt32(count - done)))
            if result > 0 {
                for slot in (start + done)..<(start + done + result) {
                    accounts[slot].counters.transmitted(byteCount: accounts[slot].byteCount)
                }
                done += result
            } else if result != -Int(EINTR) {
                accounts[start + done].counters.dropTransmit(underlayReason(Int32(-result)))
                done += 1
            }
        }
        lengths[socket] = 0
    }

    private mutating func underlayReason(_ code: Int32) -> DropReason {
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
