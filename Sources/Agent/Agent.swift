// The agent as a service: puts store, worker, core and HTTP server together, runs until it is told to stop,
// and takes everything down in the reverse order.

public import API
internal import HTTP
internal import JSON
internal import LinuxIO
public import Logging
internal import Proc
internal import REST
public import ServiceLifecycle
internal import Store
internal import Wire

/// `viaduct agent`.
public struct Agent: Service {
    /// Of this build.
    public static let version = "0.1.0"
    /// How long requests in flight may take once the agent has been told to stop.
    static let drainSeconds = 5.0

    /// A handler may take as long as the longest long poll; a batch has a body limit of its own.
    static let limits = HTTPLimits(
        raisedBodyByteCounts: [
            "POST \(Batch.path)": Batch.bodyByteCount, "PUT \(HostState.path)": Batch.bodyByteCount,
            "PATCH \(HostState.path)": Batch.bodyByteCount,
        ],
        handlerSeconds: Double(EventLog.waitSeconds) + 5)

    private let settings: AgentSettings
    private let log: Logger
    private let onReady: @Sendable ([String]) -> Void

    /// `onReady` is called once with the addresses that are listened on.
    public init(
        settings: AgentSettings, log: Logger, onReady: @escaping @Sendable ([String]) -> Void = { _ in }
    ) {
        self.settings = settings
        self.log = log
        self.onReady = onReady
    }

    /// Throws a description for people when the agent cannot start.
    public func run() async throws {
        DescriptorLimit.raise()
        let endpoints = try [HTTPEndpoint](settings.listen, socket: settings.socket)
        let store = try Store(path: settings.state)
        let seed = try Agent.seed(in: store)
        let executor = ControlExecutor(label: "viaduct.control")
        let bell = Doorbell()
        var workerSettings = WorkerSettings()
        workerSettings.offload = settings.offload == .auto ? OffloadProbe.run() : .off
        workerSettings.spinMicroseconds = settings.spinMicroseconds
        workerSettings.flowCapacity = settings.flowLimit
        let offload = workerSettings.offload
        let workers = try WorkerSet(
            count: settings.workers,
            events: WorkerEvents(
                portTroubled: { _ in bell.ring(.port) }, pathMTUChanged: { bell.ring(.underlay) }),
            settings: workerSettings)
        let ports = settings.sourcePorts.ports
        let host = Host(
            workers: workers, macSeed: seed,
            sourcePorts: UInt16(ports.lowerBound)...UInt16(ports.upperBound),
            strictVXLAN: settings.strictVXLAN, offload: offload)
        let heartbeat = Heartbeat()
        let core = AgentCore(
            id: Agent.id(seed), executor: executor, store: store, workers: workers, host: host,
            heartbeat: heartbeat, log: log)
        let health = HealthChecks(workers: workers, heartbeat: heartbeat)
        // Listening comes first: an agent that cannot have its address must not touch the host.
        let api = AgentAPI(core: core, health: health, version: Agent.describe(core, offload), log: log)
        let server = try api.listen(on: endpoints, limits: Agent.limits)
        do {
            try await core.restore()
        } catch {
            await server.stop(drainSeconds: 0)
            await core.shutDown()
            throw error
        }
        bell.answer { event in
            Task {
                switch event {
                case .port: await core.portTroubled()
                case .underlay: await core.underlayChanged()
                }
            }
        }
        health.restored()
        log.info(
            "ready",
            metadata: [
                "listening": "\(server.boundAddresses.joined(separator: " "))",
                "offload": "\(offload.names.joined(separator: " "))",
            ])
        onReady(server.boundAddresses)
        await serve(core, health)
        health.stopping()
        log.info("stopping")
        core.events.close()
        await server.stop(drainSeconds: Agent.drainSeconds)
        await core.shutDown()
        log.info("stopped")
    }

    /// Ticks until a graceful shutdown or a cancellation.
    private func serve(_ core: AgentCore, _ health: HealthChecks) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await core.keepTicking() }
            group.addTask { await health.keepLooking() }
            group.addTask { await core.events.keepListenersAlive() }
            group.addTask { try? await gracefulShutdown() }
            await group.next()
            group.cancelAll()
        }
    }

    /// A random number that stays with the state: made-up MAC addresses differ between hosts, and a controller
    /// knows an agent again.
    static func seed(in store: Store) throws -> UInt64 {
        let stored = try store.load().first { $0.kind == "agent" && $0.key == "seed" }
        if let stored, let seed = UInt64(stored.body, radix: 16) { return seed }
        let seed = UInt64.random(in: .min ... .max)
        try store.commit([.put(StoredDocument(kind: "agent", key: "seed", body: String(seed, radix: 16)))])
        return seed
    }

    static func id(_ seed: UInt64) -> String {
        let digits = String(seed, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    static func describe(_ core: AgentCore, _ offload: OffloadFeatures) -> Version {
        var description = Version(
            version: version, swift: Version.compiler, kernel: Kernel.release,
            features: ["underlay_socket", "tap_vnet_header"] + offload.names)
        description.agentID = core.id
        description.bootID = core.events.boot
        return description
    }
}
