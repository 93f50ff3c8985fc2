// The socket underlay's descriptors. A listener per (family, UDP port) takes VXLAN in. Senders are pools: a
// datagram cannot choose its source port, so each kind of tunnel has a fixed number of sockets on ports
// spread over the configured range, and the inner flow's hash picks one (RFC 7348 §5).

internal import CLinux
internal import Datapath
internal import Glibc
public import Wire

/// A UDP port that receives VXLAN, by one socket for each worker. The kernel gives all datagrams with the same
/// addresses and ports to the same socket, so that a flow stays with one worker.
public final class UDPListener {
    /// One per worker.
    public let descriptors: [Int32]
    public let port: UInt16
    public let isIPv4: Bool

    /// Bytes the kernel may queue while the worker is busy: 60 superframes of 64 KiB with their overhead.
    static let bufferByteCount: Int32 = 8 << 20

    /// `trains`: take equal-sized datagrams of a flow together (UDP_GRO). EADDRINUSE when somebody else has
    /// the port: the first socket wants it for itself and lets the others join when it has it.
    public init(port: UInt16, isIPv4: Bool, trains: Bool = true, count: Int = 1) throws(LinuxError) {
        let any: IPAddress = isIPv4 ? .v4(IPv4Address(rawValue: 0)) : .v6(IPv6Address(high: 0, low: 0))
        var endpoint = clx_endpoint(any, port: port)
        let what = "listen on UDP port \(port) (\(isIPv4 ? "IPv4" : "IPv6"))"
        let flags = UInt32(CLX_UDP_RECEIVER) | (trains ? UInt32(CLX_UDP_TRAINS) : 0)
        var opened: [Int32] = []
        do throws(LinuxError) {
            for number in 0..<count {
                if number == 1 { _ = try check(clx_udp_share(opened[0]), what) }
                let join = number == 0 ? 0 : UInt32(CLX_UDP_JOIN)
                opened.append(
                    try check(clx_udp_open(&endpoint, flags | join, UDPListener.bufferByteCount), what))
            }
        } catch {
            for descriptor in opened { close(descriptor) }
            throw error
        }
        descriptors = opened
        self.port = port
        self.isIPv4 = isIPv4
    }

    /// Goes on with sockets that are open already, with what is queued in them; nil, and they are closed, when they
    /// are not the ones that would be opened. Their options are as they are: who hands them over says with which.
    public init?(adopting sockets: [Int32], port: UInt16, isIPv4: Bool, count: Int) {
        let isRight =
            sockets.count == count
            && sockets.allSatisfy {
                clx_udp_family($0) == (isIPv4 ? AF_INET : AF_INET6) && clx_udp_port($0) == Int32(port)
            }
        descriptors = sockets
        self.port = port
        self.isIPv4 = isIPv4
        guard isRight else { return nil }
    }

    deinit { for descriptor in descriptors { close(descriptor) } }

    /// Datagrams the kernel dropped here: full queue, bad checksum, bad length.
    public var droppedCount: Int { descriptors.reduce(0) { $0 + Int(max(0, clx_socket_drops($1))) } }
}

/// The options that belong to a sending socket rather than to a datagram.
public struct SenderKind: Hashable, Sendable {
    public var isIPv4: Bool
    public var doNotFragment: Bool
    public var checksum: Bool

    public init(isIPv4: Bool, doNotFragment: Bool, checksum: Bool) {
        self.isIPv4 = isIPv4
        self.doNotFragment = doNotFragment
        self.checksum = checksum
    }

    /// Kinds there can be.
    static let count = 8
    /// Stays what it is from version to version.
    public var index: Int { (isIPv4 ? 4 : 0) + (doNotFragment ? 2 : 0) + (checksum ? 1 : 0) }

    /// Of the kind with this index.
    static func hasChecksum(_ index: Int) -> Bool { index & 1 != 0 }

    static func index(_ tunnel: TunnelEntry) -> Int {
        (tunnel.remote.isIPv4 ? 4 : 0) + (tunnel.doNotFragment ? 2 : 0) + (tunnel.checksum ? 1 : 0)
    }
}

/// Sixteen sockets of one kind, on sixteen source ports.
public final class SenderPool {
    /// Source ports per kind: enough for underlay ECMP and receive hashing to spread flows.
    public static let socketCount = 16
    static let bufferByteCount: Int32 = 4 << 20

    public let descriptors: [Int32]

    /// Goes on with sockets that are open already; nil, and they are closed, when they are not the ones that would be
    /// opened.
    public init?(adopting sockets: [Int32], _ kind: SenderKind, ports range: ClosedRange<UInt16>) {
        let isRight =
            sockets.count == SenderPool.socketCount
            && sockets.allSatisfy {
                let port = clx_udp_port($0)
                return clx_udp_family($0) == (kind.isIPv4 ? AF_INET : AF_INET6) && port > 0
                    && range.contains(UInt16(truncatingIfNeeded: port))
            }
        descriptors = sockets
        guard isRight else { return nil }
    }

    /// Binds ports of `range`, spread evenly from a random start, passing over those in use.
    public init(_ kind: SenderKind, ports range: ClosedRange<UInt16>) throws(LinuxError) {
        let any: IPAddress = kind.isIPv4 ? .v4(IPv4Address(rawValue: 0)) : .v6(IPv6Address(high: 0, low: 0))
        var flags: UInt32 = 0
        if kind.doNotFragment { flags |= UInt32(CLX_UDP_DO_NOT_FRAGMENT) }
        if !kind.checksum { flags |= UInt32(CLX_UDP_NO_CHECKSUM) }
        let width = Int(range.upperBound) - Int(range.lowerBound) + 1
        let step = max(1, width / SenderPool.socketCount)
        var candidate = Int.random(in: 0..<width)
        var opened: [Int32] = []
        // Ports in use since the last success: a full round of them means that none is left.
        var passedOver = 0
        do throws(LinuxError) {
            while opened.count < SenderPool.socketCount {
                var endpoint = clx_endpoint(any, port: range.lowerBound + UInt16(candidate))
                let result = clx_udp_open(&endpoint, flags, SenderPool.bufferByteCount)
                if result == -EADDRINUSE, passedOver + 1 < width {
                    passedOver += 1
                    candidate = (candidate + 1) % width
                    continue
                }
                passedOver = 0
                opened.append(
                    try check(result, "open \(SenderPool.socketCount) UDP source ports in \(range)"))
                candidate = (candidate + step) % width
            }
        } catch {
            for descriptor in opened { close(descriptor) }
            throw error
        }
        descriptors = opened
    }

    deinit { for descriptor in descriptors { close(descriptor) } }
}

/// The senders the worker may use, as one flat array; immutable, replaced whole.
public final class SenderSockets: @unchecked Sendable {
    // Unchecked: the array is written only by `init`. The pools keep the descriptors open.
    let descriptors: UnsafeMutablePointer<Int32>
    /// The source port of each.
    let ports: UnsafeMutablePointer<UInt16>
    public let pools: [SenderKind: SenderPool]

    public init(_ pools: [SenderKind: SenderPool]) {
        self.pools = pools
        let count = SenderKind.count * SenderPool.socketCount
        descriptors = .allocate(capacity: count)
        descriptors.initialize(repeating: -1, count: count)
        ports = .allocate(capacity: count)
        ports.initialize(repeating: 0, count: count)
        for (kind, pool) in pools {
            for (position, descriptor) in pool.descriptors.enumerated() {
                let index = kind.index * SenderPool.socketCount + position
                descriptors[index] = descriptor
                ports[index] = UInt16(truncatingIfNeeded: max(0, clx_udp_port(descriptor)))
            }
        }
    }

    deinit {
        descriptors.deallocate()
        ports.deallocate()
    }

    public func has(_ kind: SenderKind) -> Bool { pools[kind] != nil }
    /// Only the pools of these kinds; nil when there are no others.
    public func keeping(_ kinds: Set<SenderKind>) -> SenderSockets? {
        let kept = pools.filter { kinds.contains($0.key) }
        return kept.count == pools.count ? nil : SenderSockets(kept)
    }

    /// These and one more pool.
    public func adding(_ pool: SenderPool, of kind: SenderKind) -> SenderSockets {
        SenderSockets(pools.merging([kind: pool]) { _, new in new })
    }
}

/// Questions about the way to a remote VTEP, answered by the kernel's routing.
public enum UnderlayRoute {
    /// MTU of the way to `remote` as far as the kernel knows it, bytes.
    public static func mtu(to remote: IPAddress, from local: IPAddress?) throws(LinuxError) -> Int {
        var target = clx_endpoint(remote, port: 9)
        var source = local.map { clx_endpoint($0, port: 0) } ?? clx_endpoint()
        return Int(try check(clx_route_mtu(&target, &source), "find the route to \(remote)"))
    }
}
