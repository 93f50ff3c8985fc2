// One worker (`WorkerSet` has them all): a thread that sleeps in epoll, takes batches in from every ready port
// and listener, runs the engine over them and flushes. Between two breaths, and only there, it does what the
// control plane asks: adopts a program, reads or changes MAC tables.
//
//   control plane ── perform/adopt ──▶ mailbox ──(eventfd)──▶ breath … breath ──▶ next request

internal import CLinux
public import Datapath
internal import Dispatch
internal import Glibc
internal import Proc
internal import Synchronization
internal import Wire

/// What the worker tells the control plane, from its own thread: hand it on and return.
public struct WorkerEvents: Sendable {
    /// A local port's interface vanished or its descriptor broke.
    public var portTroubled: @Sendable (_ identity: UInt64) -> Void
    /// A datagram was larger than the path MTU the kernel has learned since.
    public var pathMTUChanged: @Sendable () -> Void
    /// Frames wait for a next hop's link address.
    public var neighborWanted: @Sendable () -> Void
    /// Frames for the agent itself are there that must not wait.
    public var punted: @Sendable () -> Void

    public init(
        portTroubled: @escaping @Sendable (UInt64) -> Void, pathMTUChanged: @escaping @Sendable () -> Void,
        neighborWanted: @escaping @Sendable () -> Void = {}, punted: @escaping @Sendable () -> Void = {}
    ) {
        self.punted = punted
        self.portTroubled = portTroubled
        self.pathMTUChanged = pathMTUChanged
        self.neighborWanted = neighborWanted
    }
}

/// What a worker is started with.
public struct WorkerSettings: Sendable {
    public var offload = OffloadFeatures.all
    /// How long it may look before it sleeps; 0 sleeps at once.
    public var spinMicroseconds = 0
    /// The thread gives up all that it does not need.
    public var isConfined = false
    /// Flows it remembers.
    public var flowCapacity = FlowCache.defaultCapacity

    public init() {}
}

/// A forwarding thread.
public final class Worker: Sendable {
    /// Work for the thread, between two breaths.
    typealias Request = @Sendable (inout WorkerLoop) -> Void

    private let mailbox = Mutex<[Request]>([])
    private let wakeup: Int32
    /// Something was left for the worker: known before epoll names `wakeup`, which may be behind a thousand ports.
    private let isWanted = Atomic<Bool>(false)
    private let breathMilliseconds = Atomic<UInt64>(0)
    private let breathCount = Atomic<UInt64>(0)
    private let cpuNanoseconds = Atomic<UInt64>(0)
    /// Frames and datagrams per breath.
    public let batchSizes = BatchSizes()
    /// Frames for the agent itself; one thread takes them.
    let punts: PuntBox
    private let puntMemory: ZeroedMemory
    private let isStopping = Atomic<Bool>(false)
    private let hasEnded = DispatchSemaphore(value: 0)
    private let fault = Mutex<LinuxError?>(nil)

    /// Starts the thread with an empty program. `name`: at most 15 characters, the kernel's limit.
    public init(
        events: WorkerEvents, settings: WorkerSettings = WorkerSettings(), name: String = "viaduct-worker"
    ) throws(LinuxError) {
        let flowMemory = try ZeroedMemory(byteCount: FlowCache.byteCount(capacity: settings.flowCapacity))
        let holdMemory = try ZeroedMemory(byteCount: HoldQueue.byteCount)
        puntMemory = try ZeroedMemory(byteCount: PuntBox.byteCount)
        punts = PuntBox(puntMemory.base)
        wakeup = try check(clx_eventfd_create(), "create an eventfd")
        let epoll = try check(clx_epoll_create(), "create an epoll instance")
        try check(clx_epoll_add(epoll, wakeup, WorkerLoop.wakeupToken), "watch the eventfd")
        breathMilliseconds.store(clx_monotonic_ms(), ordering: .relaxed)
        let started = DispatchSemaphore(value: 0)
        let code = OwnThread.start(name) { [self] in
            if settings.isConfined { confine() }
            started.signal()
            do {
                var loop = WorkerLoop(
                    epoll: epoll, events: events, settings: settings, flowMemory: flowMemory,
                    holdMemory: holdMemory, punts: punts)
                run(&loop)
            }
            close(epoll)
            hasEnded.signal()
        }
        guard code == 0 else {
            close(epoll)
            throw LinuxError("make a forwarding thread", code: code)
        }
        started.wait()
    }

    deinit { close(wakeup) }

    /// Why the thread is less confined than it was to be; nil when it is.
    public var confinementFault: LinuxError? { fault.withLock { $0 } }

    private func confine() {
        do throws(LinuxError) {
            try EngineThread.confine()
        } catch {
            fault.withLock { $0 = error }
        }
    }

    /// Milliseconds since the last breath began; the worker breathes at least once a second.
    public var idleMilliseconds: UInt64 {
        clx_monotonic_ms() &- breathMilliseconds.load(ordering: .relaxed)
    }

    /// CPU time of the thread, as of its last breath that was a second or more after the one before.
    public var cpuSeconds: Double { Double(cpuNanoseconds.load(ordering: .relaxed)) / 1e9 }

    /// Breaths so far.
    public var breaths: UInt64 { breathCount.load(ordering: .relaxed) }

    /// The worker's clock, as its MAC tables see it.
    public static var nowSeconds: UInt32 { UInt32(truncatingIfNeeded: nowMilliseconds / 1000) }
    /// Monotonic.
    public static var nowMilliseconds: UInt64 { clx_monotonic_ms() }

    /// Runs `body` on the worker's thread between two breaths and waits for it.
    public func perform<R: Sendable>(_ body: @escaping @Sendable () -> R) -> R {
        submit { _ in body() }
    }

    /// Runs `body` with the worker's flow cache, on its thread between two breaths, and waits for it.
    public func withFlows<R: Sendable>(_ body: @escaping @Sendable (FlowCache) -> R) -> R {
        submit { loop in body(loop.flows) }
    }

    /// Switches to another program. `migration` runs just before, on the worker's thread: it moves MAC tables
    /// along. When this returns the worker no longer uses anything of the old program.
    public func adopt(
        _ program: Program, senders: SenderSockets, migration: @escaping @Sendable () -> Void = {}
    ) {
        submit { loop in
            migration()
            loop.adopt(program, senders)
        }
    }

    /// Gives frames to these captures, and to no others; waits until it does.
    func capture(_ taps: [CaptureTap]) { submit { loop in loop.capture(taps) } }

    /// Ends the thread and waits until it has let go of its program and descriptors. Nothing may be asked of
    /// the worker afterwards.
    public func stop() {
        isStopping.store(true, ordering: .releasing)
        wake()
        hasEnded.wait()
    }

    func submit<R: Sendable>(_ body: @escaping @Sendable (inout WorkerLoop) -> R) -> R {
        let done = DispatchSemaphore(value: 0)
        let result = ResultBox<R>()
        post { loop in
            result.set(body(&loop))
            done.signal()
        }
        done.wait()
        return result.take()
    }

    /// Leaves a request and does not wait for it.
    func post(_ request: @escaping Request) {
        mailbox.withLock { $0.append(request) }
        wake()
    }

    private func wake() {
        isWanted.store(true, ordering: .releasing)
        clx_eventfd_signal(wakeup)
    }

    private func run(_ loop: inout WorkerLoop) {
        var accounted: UInt64 = 0
        while true {
            let hasMail = loop.breathe()
            if loop.takenCount > 0 { batchSizes.note(loop.takenCount) }
            breathMilliseconds.store(loop.nowMilliseconds, ordering: .relaxed)
            breathCount.store(breathCount.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
            if loop.nowMilliseconds &- accounted >= 1000 {
                accounted = loop.nowMilliseconds
                cpuNanoseconds.store(clx_thread_cpu_ns(), ordering: .relaxed)
            }
            guard hasMail || isWanted.load(ordering: .relaxed) else { continue }
            clx_eventfd_drain(wakeup)
            isWanted.store(false, ordering: .relaxed)
            let stopping = isStopping.load(ordering: .acquiring)
            for request in takeMail() { request(&loop) }
            if stopping { return loop.finish() }
        }
    }

    private func takeMail() -> [Request] {
        mailbox.withLock { mail in
            defer { mail.removeAll() }
            return mail
        }
    }
}

/// Carries a result from the worker's thread to the one that waits.
private final class ResultBox<R: Sendable>: Sendable {
    private let value = Mutex<R?>(nil)
    func set(_ result: R) { value.withLock { $0 = result } }
    func take() -> R {
        guard let result = value.withLock({ $0 }) else { preconditionFailure("the request has not run") }
        return result
    }
}
