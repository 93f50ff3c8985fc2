// Owns: one rtnetlink socket that hears of links, addresses, routes and rules, and the state that is kept by it.
// It works on a queue of its own; others read the state at any moment, between two messages.

internal import CLinux
internal import Dispatch
internal import Glibc
internal import Synchronization
internal import Wire

/// Keeps an `UnderlayState` of the network namespace it was made in, and tells what changes.
/// `@unchecked Sendable`: nothing but what is in a `Mutex` changes after `init`, and Dispatch lets any thread cancel a
/// source.
public final class UnderlayMonitor: @unchecked Sendable {
    /// Under churn a change is delivered so often; after quiet at once.
    public static let coalescingMilliseconds: UInt64 = 50
    /// Asked of the kernel for messages that wait: some 25,000.
    static let bufferByteCount: Int32 = 32 << 20
    /// Datagrams taken before others on the queue, and timers, have a turn.
    private static let batchCount = 512

    private struct Timing {
        var lastDelivery: UInt64 = 0
        var nextWake: UInt64 = .max
    }

    private let intake = Mutex(UnderlayIntake())
    private let timing = Mutex(Timing())
    private let queue = DispatchQueue(label: "underlay")
    private let source: any DispatchSourceRead
    private let socket: Int32
    private let onChange: @Sendable (UnderlayChange) -> Void

    /// Returns at once: the first call of `onChange` says that the first dumps are complete. It is called on the
    /// monitor's own queue, with at least one change, and not again while it runs.
    public convenience init(onChange: @escaping @Sendable (UnderlayChange) -> Void) throws(LinuxError) {
        try self.init(bufferByteCount: Self.bufferByteCount, onChange: onChange)
    }

    /// Of another namespace than the calling thread's.
    init(
        bufferByteCount: Int32, in namespace: String? = nil,
        onChange: @escaping @Sendable (UnderlayChange) -> Void
    ) throws(LinuxError) {
        // Groups are numbered from one (RTNLGRP_* of linux/rtnetlink.h).
        let groups: [rtnetlink_groups] = [
            RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
            RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP,
        ]
        let mask = groups.reduce(UInt32(0)) { $0 | 1 << ($1.rawValue - 1) }
        let socket = try Namespace.run(in: namespace) { () throws(LinuxError) in
            try check(clx_netlink_open(mask), "watch links, addresses, routes and rules")
        }
        var byteCount = bufferByteCount
        setsockopt(
            socket, SOL_SOCKET, SO_RCVBUFFORCE, &byteCount, socklen_t(MemoryLayout.size(ofValue: byteCount)))
        self.socket = socket
        self.onChange = onChange
        source = DispatchSource.makeReadSource(fileDescriptor: socket, queue: queue)
        source.setEventHandler { [weak self] in self?.work() }
        source.setCancelHandler { close(socket) }
        source.activate()
        queue.async { [weak self] in self?.work() }
    }

    deinit { source.cancel() }

    // MARK: Reading and writing

    /// Reads the state, consistent, on the calling thread. `body` keeps messages waiting: it should be brief.
    public func withState<Result: Sendable, Failure: Error>(
        _ body: (borrowing UnderlayState) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try intake.withLock { (intake) throws(Failure) in try body(intake.state) }
    }

    /// Sets the configured route of this name, or removes it for nil. The state has it when this returns; what that
    /// changes is delivered as any other change.
    public func setStatic(_ name: String, _ route: ConfiguredRoute?) {
        setStatic([name: route])
    }

    /// The same for many at once.
    public func setStatic(_ routes: [String: ConfiguredRoute?]) {
        intake.withLock { intake in
            for (name, route) in routes { intake.setConfigured(name, route) }
            intake.settle()
        }
        queue.async { [weak self] in self?.work() }
    }

    /// Waits until the first dumps are complete; false when they are not after so many seconds.
    public func waitUntilSynchronized(seconds: Double = 10) -> Bool {
        let end = clx_monotonic_ms() + UInt64(seconds * 1000)
        while !withState({ $0.isSynchronized }) {
            if clx_monotonic_ms() > end { return false }
            usleep(1000)
        }
        return true
    }

    // MARK: On the queue

    private func work() {
        receive()
        let now = clx_monotonic_ms()
        let (change, due): (UnderlayChange?, UInt64?) = intake.withLock { intake in
            intake.settle()
            let resync = intake.nextDue(now: now)
            guard intake.hasChange else { return (nil, resync) }
            let due = timing.withLock { $0.lastDelivery } + Self.coalescingMilliseconds
            if now < due { return (nil, min(due, resync ?? due)) }
            return (intake.takeChange(), resync)
        }
        if let change {
            timing.withLock { $0.lastDelivery = now }
            onChange(change)
        }
        if let due { wake(at: due, now) }
    }

    /// Takes what waits, and asks for what is wanted.
    private func receive() {
        withUnsafeTemporaryAllocation(byteCount: 262_144, alignment: 8) { buffer in
            for _ in 0..<Self.batchCount {
                ask()
                let count = recv(socket, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
                let code = errno
                if count > 0 {
                    let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                    intake.withLock { $0.take(bytes, now: clx_monotonic_ms()) }
                } else if code == ENOBUFS {
                    intake.withLock { $0.overrun() }
                } else if code != EINTR {
                    return
                }
            }
        }
    }

    private func ask() {
        guard let request = intake.withLock({ $0.nextRequest(now: clx_monotonic_ms()) }) else { return }
        let count = request.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, 0) }
        guard count != request.count else { return }
        intake.withLock { $0.requestFailed() }
        wake(at: clx_monotonic_ms() + 1000, clx_monotonic_ms())
    }

    /// Comes back then, unless it does so earlier anyway.
    private func wake(at due: UInt64, _ now: UInt64) {
        let isEarlier = timing.withLock { timing in
            guard due < timing.nextWake else { return false }
            timing.nextWake = due
            return true
        }
        guard isEarlier else { return }
        queue.asyncAfter(deadline: .now() + .milliseconds(Int(due - min(due, now)))) { [weak self] in
            self?.timing.withLock { $0.nextWake = .max }
            self?.work()
        }
    }
}
