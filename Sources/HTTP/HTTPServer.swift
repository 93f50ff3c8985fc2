import Dispatch
import Glibc
import Synchronization
public import Trust

/// The HTTP server of an agent or controller: binds in `init`, answers until `stop`.
///
/// Handlers run in Swift tasks, never on libmicrohttpd's threads, and may take as long as
/// `HTTPLimits.handlerSeconds`. `renderFailure` and `onLog` are called on libmicrohttpd's threads and must
/// not block. A server that is released without `stop` cuts its requests and closes in the background.
public final class HTTPServer: Sendable {
    private let core: ServerCore
    private let listeners: [Listener]
    private let sweep: Sweep
    private let stopping = Mutex<Task<Void, Never>?>(nil)
    /// The sockets are open still, for whoever serves them next.
    private let isReleased = Atomic(false)

    /// `127.0.0.1:8640`, `[::1]:8640`, `unix:/run/viaduct.sock`, in the order of the endpoints, with the
    /// ports the kernel chose.
    public var boundAddresses: [String] { listeners.map(\.socket.address) }

    /// Binds every endpoint and starts to serve, or binds none.
    ///
    /// - Parameters:
    ///   - tls: what TCP endpoints show; nil has them speak plain HTTP. Unix sockets always do.
    ///   - sockets: some of the endpoints may be served by these already; those are the server's from now on, and
    ///     others are closed for good.
    ///   - knows: whether the head of a request, without its body, is of somebody who may send more than
    ///     `HTTPLimits.strangerByteCount`. What others send beyond is not kept, and the handler, which finds no body,
    ///     is to refuse them.
    ///   - renderFailure: makes the answer for what the server refuses by itself.
    ///   - onLog: gets one line at a time, at most 20 a second.
    ///   - handler: answers a request; cancelled when it takes too long.
    public init(
        endpoints: [HTTPEndpoint], sockets: [Int32] = [], limits: HTTPLimits = .init(),
        tls: Kept<ServerCredentials>? = nil,
        knows: @escaping @Sendable (HTTPRequest) -> Bool = { _ in true },
        renderFailure: @escaping @Sendable (HTTPFailure) -> HTTPResponse,
        onLog: @escaping @Sendable (String) -> Void,
        handler: @escaping @Sendable (HTTPRequest) async -> HTTPResponse
    ) throws(HTTPServerError) {
        let core = ServerCore(
            limits: limits, tls: tls, knows: knows, renderFailure: renderFailure, onLog: onLog,
            handler: handler)
        let formers = endpoints.map { endpoint in sockets.first { endpoint.isServed(by: $0) } }
        // Before anything is bound: 127.0.0.1:8640 is in the way of 0.0.0.0:8640.
        for socket in sockets where !formers.contains(socket) { ListenSocket.end(socket) }
        var listeners: [Listener] = []
        do throws(HTTPServerError) {
            for (endpoint, former) in zip(endpoints, formers) {
                listeners.append(try Listener(endpoint, former: former, core: core))
            }
        } catch {
            for listener in listeners { listener.quiesce() }
            Self.halt(core, listeners)
            throw error
        }
        self.core = core
        self.listeners = listeners
        sweep = Sweep(core)
    }

    deinit {
        let (core, listeners, sweep) = (core, listeners, sweep)
        guard stopping.withLock({ $0 == nil }) else { return }
        Task { await Self.stop(core, listeners, sweep, drainSeconds: 0) }
    }

    /// Stops accepting, lets the requests in flight finish, then closes everything. Streams end at once.
    ///
    /// Requests that arrive meanwhile on kept connections get `unavailable`; so do those whose handler has
    /// not answered after `drainSeconds` (its task is cancelled). The socket file of a Unix endpoint is
    /// removed. A second call waits for the first, and one after `release` closes what nobody came to serve.
    public func stop(drainSeconds: Double) async {
        await stop(drainSeconds, keepingSockets: false)
        guard isReleased.exchange(false, ordering: .sequentiallyConsistent) else { return }
        for listener in listeners { listener.socket.close() }
    }

    /// Stops in the same way, but leaves the sockets listening for whoever serves them next; returns them.
    public func release(drainSeconds: Double) async -> [Int32] {
        await stop(drainSeconds, keepingSockets: true)
        isReleased.store(true, ordering: .sequentiallyConsistent)
        return listeners.map(\.socket.descriptor)
    }

    private func stop(_ drainSeconds: Double, keepingSockets: Bool) async {
        let task = stopping.withLock { running in
            if let running { return running }
            let (core, listeners, sweep) = (core, listeners, sweep)
            let task = Task {
                await Self.stop(
                    core, listeners, sweep, drainSeconds: drainSeconds, keepingSockets: keepingSockets)
            }
            running = task
            return task
        }
        await task.value
    }

    private static func stop(
        _ core: ServerCore, _ listeners: [Listener], _ sweep: Sweep, drainSeconds: Double,
        keepingSockets: Bool = false
    ) async {
        core.startDraining()
        for listener in listeners { listener.quiesce() }
        await wait(seconds: drainSeconds) { core.requestCount == 0 }
        await withCheckedContinuation { continuation in
            // Joins threads, so it has no place on a thread of the cooperative pool.
            DispatchQueue(label: "viaduct.http.stop").async {
                halt(core, listeners, keepingSockets: keepingSockets)
                sweep.stop()
                continuation.resume()
            }
        }
    }

    /// Ends every request and joins every thread. Blocks, for `flushSeconds` plus what the threads need.
    private static func halt(
        _ core: ServerCore, _ listeners: [Listener], keepingSockets: Bool = false
    ) {
        core.cutHandlers()
        let deadline = Monotonic.now + flushNanoseconds
        while core.handlerCount > 0
            || (core.requestCount + core.openStreamCount > 0 && Monotonic.now < deadline)
        {
            core.cutHandlers()
            pause()
        }
        for listener in listeners { listener.stop(keepingSocket: keepingSockets) }
    }
}

extension HTTPServer {
    /// For the `unavailable` answers and the ends of streams to reach their clients.
    private static var flushNanoseconds: UInt64 { 500_000_000 }

    private static func pause() { _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(2)) }

    private static func wait(seconds: Double, until isDone: () -> Bool) async {
        let deadline = Monotonic.now + UInt64(max(seconds, 0) * 1e9)
        while !isDone(), Monotonic.now < deadline {
            do { try await Task.sleep(for: .milliseconds(5)) } catch { return }
        }
    }
}
