// Probes path MTUs: sends the echo requests that `PathMTUProbes` asks for, with DF and whatever path MTU the
// kernel believes in, and hands it the answers. One raw socket per family and one timer, on a dispatch queue;
// without paths there is neither, and with a thousand that are done, 17 packets a second.

internal import CLinux
public import Datapath
public import Dispatch
internal import Glibc
internal import Wire

/// Finds out how large packets to each remote may be.
public final class PathMTUProber: Sendable {
    private let queue: DispatchQueue
    private let work: Work

    /// `onFinding` runs on `queue`, which must be serial: at the end of each round of a path, also when the result
    /// is the same. The sockets belong to the network namespace of the calling thread. EPERM without CAP_NET_RAW;
    /// a host without IPv6 probes IPv4 alone.
    public convenience init(
        queue: DispatchQueue,
        onFinding: @escaping @Sendable (UnderlayPath, PathMTUSearch.Outcome) -> Void
    ) throws(LinuxError) {
        try self.init(queue: queue, in: nil, onFinding: onFinding)
    }

    /// The sockets belong to another namespace.
    init(
        queue: DispatchQueue, in namespace: String?,
        onFinding: @escaping @Sendable (UnderlayPath, PathMTUSearch.Outcome) -> Void
    ) throws(LinuxError) {
        self.queue = queue
        let (v4, v6) = try Namespace.run(in: namespace) { () throws(LinuxError) in
            try PathMTUProber.openSockets()
        }
        let work = Work(v4: v4, v6: v6, queue: queue, onFinding: onFinding)
        self.work = work
        queue.async { work.start() }
    }

    /// One per family, the second negative on a host without IPv6.
    private static func openSockets() throws(LinuxError) -> (v4: Int32, v6: Int32) {
        let v4 = try check(clx_icmp_open(AF_INET), "probe path MTUs (IPv4)")
        let v6 = clx_icmp_open(AF_INET6)
        guard v6 >= 0 || v6 == -EAFNOSUPPORT else {
            close(v4)
            throw LinuxError("probe path MTUs (IPv6)", code: -v6)
        }
        return (v4, v6)
    }

    deinit {
        let work = work
        queue.async { work.stop() }
    }

    /// Probes these paths and no others, from now on: each with the MTU of its route or link, in bytes. What is
    /// known of those that stay is kept.
    public func setPaths(_ paths: [UnderlayPath: Int]) {
        let work = work
        queue.async { work.setPaths(paths) }
    }
}

/// Everything that happens on the queue.
private final class Work: @unchecked Sendable {
    // Unchecked: after `init` only the queue's work items touch it.
    private let v4, v6: Int32
    private let sources: [any DispatchSourceRead]
    private let timer: any DispatchSourceTimer
    private let onFinding: @Sendable (UnderlayPath, PathMTUSearch.Outcome) -> Void
    private let buffer = UnsafeMutableRawPointer.allocate(byteCount: bufferByteCount, alignment: 8)
    private var probes = PathMTUProbes()
    private var generator = SystemRandomNumberGenerator()
    private var isStopped = false

    /// The largest packet there is.
    static let bufferByteCount = 65_536 + IPv6View.byteCount
    /// Messages taken in before others on the queue have their turn.
    static let batchCount = 64
    /// Timers that are further away than this may be late by a tenth of it.
    static let idleMilliseconds: UInt64 = 1000

    init(
        v4: Int32, v6: Int32, queue: DispatchQueue,
        onFinding: @escaping @Sendable (UnderlayPath, PathMTUSearch.Outcome) -> Void
    ) {
        self.v4 = v4
        self.v6 = v6
        self.onFinding = onFinding
        timer = DispatchSource.makeTimerSource(queue: queue)
        sources = [v4, v6].filter { $0 >= 0 }.map {
            DispatchSource.makeReadSource(fileDescriptor: $0, queue: queue)
        }
    }

    deinit { buffer.deallocate() }

    func start() {
        for (source, descriptor) in zip(sources, [v4, v6]) {
            source.setEventHandler { [weak self] in self?.receive(descriptor, isIPv4: descriptor == self?.v4)
            }
            source.setCancelHandler { close(descriptor) }
            source.activate()
        }
        timer.setEventHandler { [weak self] in self?.proceed() }
        timer.schedule(deadline: .distantFuture)
        timer.activate()
    }

    func stop() {
        isStopped = true
        for source in sources { source.cancel() }
        timer.cancel()
    }

    func setPaths(_ paths: [UnderlayPath: Int]) {
        guard !isStopped else { return }
        probes.setPaths(paths, now: clx_monotonic_ms(), using: &generator)
        proceed()
    }

    /// Sends what is due, tells what has been found, and sleeps until the next.
    private func proceed() {
        while let probe = probes.next(now: clx_monotonic_ms(), using: &generator) { send(probe) }
        for finding in probes.takeFindings() { onFinding(finding.path, finding.outcome) }
        guard let due = probes.nextDue else { return timer.schedule(deadline: .distantFuture) }
        let now = clx_monotonic_ms()
        let wait = due > now ? due - now : 0
        let leeway = wait > Work.idleMilliseconds ? wait / 10 : 1
        timer.schedule(
            deadline: .now() + .milliseconds(Int(wait)), leeway: .milliseconds(Int(leeway)))
    }

    private func send(_ probe: PathMTUProbes.Probe) {
        let descriptor = probe.path.remote.isIPv4 ? v4 : v6
        guard descriptor >= 0 else { return }
        var bytes = EchoProbe.request(probe)
        let result = bytes.withUnsafeMutableBytes { bytes in
            var part = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
            return withUnsafePointer(to: &part) { part in
                var message = clx_message()
                message.parts = part
                message.part_count = 1
                message.destination = clx_endpoint(probe.path.remote, port: 0)
                if let local = probe.path.local { message.source = clx_endpoint(local, port: 0) }
                return clx_udp_send(descriptor, &message, 1)
            }
        }
        // Whatever else is wrong with the way is the same to us as a loss.
        guard result == -EMSGSIZE else { return }
        probes.refused(
            to: probe.path.remote, identifier: probe.identifier, sequence: probe.sequence, size: probe.size,
            mtu: nil, now: clx_monotonic_ms())
    }

    private func receive(_ descriptor: Int32, isIPv4: Bool) {
        for _ in 0..<Work.batchCount {
            var datagram = clx_datagram()
            datagram.data = buffer
            datagram.capacity = UInt32(Work.bufferByteCount)
            // An error that the socket was waiting to tell is told once.
            guard clx_udp_receive(descriptor, &datagram, 1) == 1 else { break }
            let packet = UnsafeRawBufferPointer(start: buffer, count: Int(datagram.length))
            let remote = isIPv4 ? nil : datagram.source.ipAddress
            take(isIPv4 ? EchoAnswer(ipv4: packet) : remote.flatMap { EchoAnswer(ipv6: packet, from: $0) })
        }
        proceed()
    }

    private func take(_ answer: EchoAnswer?) {
        switch answer {
        case .reply(let remote, let identifier, let sequence, let cookie, let size):
            probes.answered(
                by: remote, identifier: identifier, sequence: sequence, cookie: cookie, size: size,
                now: clx_monotonic_ms())
        case .tooBig(let remote, let identifier, let sequence, let size, let mtu):
            probes.refused(
                to: remote, identifier: identifier, sequence: sequence, size: size, mtu: mtu,
                now: clx_monotonic_ms())
        case nil: break
        }
    }
}
