// Datagrams on their way to one sending socket: gathered as iovecs, and where they follow one another to the
// same peer, packed into one message that the kernel cuts into datagrams again (UDP_SEGMENT): one pass through
// its UDP and IP code for up to 64 of them.

internal import CLinux
internal import Datapath
internal import Glibc
internal import Wire

/// Used by the worker's thread alone. Memory is allocated once.
struct SendQueue: ~Copyable {
    /// Messages per sendmmsg.
    static let messageCapacity = 64
    /// Datagrams in all those messages together; two iovecs each, headers and payload.
    static let datagramCapacity = 256
    /// What fits the 16-bit lengths of UDP over IPv4 (RFC 768, RFC 791), the smaller of the two families.
    static let maximumMessageByteCount = 65_507

    /// Whose datagrams a message carries, and how many.
    struct Account: BitwiseCopyable {
        var port: PortEntry
        var count: Int
        /// Frames, without VXLAN headers.
        var byteCount: Int
        /// Outer source as far as it is known.
        var source: PackedAddress
    }

    let messages: UnsafeMutablePointer<clx_message>
    let accounts: UnsafeMutablePointer<Account>
    private let parts: UnsafeMutablePointer<iovec>
    private(set) var messageCount = 0
    private var datagramCount = 0
    /// Bytes of the last message, and of its first datagram; whether another datagram may follow.
    private var lastByteCount = 0
    private var segmentByteCount = 0
    private var isLastOpen = false

    init() {
        messages = .allocate(capacity: SendQueue.messageCapacity)
        accounts = .allocate(capacity: SendQueue.messageCapacity)
        parts = .allocate(capacity: 2 * SendQueue.datagramCapacity)
    }

    deinit {
        messages.deallocate()
        accounts.deallocate()
        parts.deallocate()
    }

    var isEmpty: Bool { messageCount == 0 }
    var isFull: Bool {
        messageCount == SendQueue.messageCapacity || datagramCount == SendQueue.datagramCapacity
    }

    mutating func removeAll() {
        messageCount = 0
        datagramCount = 0
        isLastOpen = false
    }

    /// Queues one datagram; the queue must not be full. `isPackable`: it may share a message with others.
    mutating func append(
        header: UnsafeMutableRawBufferPointer, payload: UnsafeMutableRawBufferPointer, _ envelope: Envelope,
        _ tunnel: TunnelEntry, _ port: PortEntry, isPackable: Bool
    ) {
        let count = header.count + payload.count
        let part = parts + 2 * datagramCount
        part[0] = iovec(iov_base: header.baseAddress, iov_len: header.count)
        part[1] = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
        datagramCount += 1
        // 64 is what the sockets were opened with; saying so again would cost a route lookup each.
        let timeToLive = envelope.timeToLive == 64 ? 0 : envelope.timeToLive
        if isPackable, isLastOpen {
            let last = messageCount - 1
            if count <= segmentByteCount, lastByteCount + count <= SendQueue.maximumMessageByteCount,
                accounts[last].port.identity == port.identity,
                messages[last].tos == envelope.typeOfService, messages[last].ttl == timeToLive
            {
                messages[last].part_count += 2
                messages[last].segment = UInt32(segmentByteCount)
                accounts[last].count += 1
                accounts[last].byteCount += count - VXLANView.byteCount
                lastByteCount += count
                // Only the last datagram of a message may be shorter.
                isLastOpen =
                    count == segmentByteCount && accounts[last].count < Int(CLX_UDP_SEGMENTS)
                return
            }
        }
        var message = clx_message()
        message.parts = UnsafePointer(part)
        message.part_count = 2
        message.destination = clx_endpoint(tunnel.remote, port: tunnel.destinationPort)
        if tunnel.local != .none { message.source = clx_endpoint(tunnel.local, port: 0) }
        message.tos = envelope.typeOfService
        message.ttl = timeToLive
        (messages + messageCount).initialize(to: message)
        (accounts + messageCount).initialize(
            to: Account(
                port: port, count: 1, byteCount: count - VXLANView.byteCount, source: tunnel.source))
        messageCount += 1
        lastByteCount = count
        segmentByteCount = count
        isLastOpen = isPackable
    }
}
