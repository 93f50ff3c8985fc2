// The agent as a service: puts store, worker, core and HTTP server together, runs until it is told to stop,
// and takes everything down in the reverse order.

public import API
internal import HTTP
internal import JSON
internal import LinuxIO
public import Logging
public import Proc
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
    private let inherited: InheritedDescriptors
    private let next: NextProgram?
    private let manager: ServiceManager?
    private let onReady: @Sendable ([String]) -> Void

    /// `manager` is told how it goes, `inherited` is what the process before has handed over, `next` what this one may
    /// become; `onReady` is called once with the addresses that are listened on.
    public init(
        settings: AgentSettings, log: Logger, manager: ServiceManager? = nil,
        inherited: InheritedDescriptors = .none, next: NextProgram? = nil,
        onReady: @escaping @Sendable ([String]) -> Void = { _ in }
    ) {
        self.inherited = inherited
        self.next = next
        self.settings = settings
        self.log = log
        self.manager = manager
        self.onReady = onReady
    }

    /// Throws a description for people when the agent cannot start.
    public func run() async throws {
        DescriptorLimit.raise()
        let (access, endpoints) = try AccessControl.of(settings)
        let bell = try Doorbell()
        let learned = learned
        let (api, offload) = try assemble(bell, learned, access)
        let (core, health) = (api.core, api.health)
        // Listening comes first: an agent that cannot have its address must not touch the host.
        let server = try api.listen(
            on: endpoints, by: inherited.takeAll(Handed.http), limits: Agent.limits)
        do {
            try await core.restore(learned)
        } catch {
            // A service manager has the sockets still, for whoever starts next.
            if manager == nil {
                await server.stop(drainSeconds: 0)
            } else {
                _ = await server.release(drainSeconds: 0)
            }
            await core.shutDown()
            throw error
        }
        bell.answer { event in
            Task {
                switch event {
                case .port: await core.portTroubled()
                case .underlay: await core.underlayChanged()
                case .pathMTU: await core.pathMTUChanged()
                case .liveness: await core.livenessChanged()
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
        manager?.forget(inherited)
        let last = try await serveOn(endpoints, api, server)
        manager?.tell(.stopping)
        health.stopping()
        log.info("stopping")
        core.endStreams()
        if let manager {
            // It knows whether this is the end, or another process comes after this one.
            let sockets = await last.release(drainSeconds: Agent.drainSeconds)
            await core.handOver(to: manager, with: sockets)
        } else {
            await last.stop(drainSeconds: Agent.drainSeconds)
            await core.shutDown()
        }
        log.info("stopped")
    }

    private func workerSettings(_ learned: LearnedState) -> WorkerSettings {
        var workerSettings = WorkerSettings()
        workerSettings.offload = Agent.features(settings, learned.offloads)
        workerSettings.isConfined = true
        workerSettings.spinMicroseconds = settings.spinMicroseconds
        workerSettings.flowCapacity = settings.flowLimit
        return workerSettings
    }

    /// A kernel without seccomp, or a container that forbids it, forwards all the same.
    private func warn(of workers: WorkerSet) {
        guard let fault = workers.workers.lazy.compactMap(\.confinementFault).first else { return }
        log.warning("forwarding threads are not confined", metadata: ["error": "\(fault)"])
    }

    /// All parts, of which none has touched the host, and what of the kernel's is used.
    private func assemble(
        _ bell: Doorbell, _ learned: LearnedState, _ access: AccessControl
    ) throws -> (AgentAPI, OffloadFeatures) {
        let store = try Store(path: settings.state)
        let seed = try Agent.seed(in: store)
        let workerSettings = workerSettings(learned)
        let offload = workerSettings.offload
        let underlay = try Underlay(
            standard: Agent.driver(settings), features: offload, workers: settings.workers,
            inherited: inherited
        ) { bell.ring(.underlay) }
        let resolver = underlay.resolver
        let liveness = try LivenessThread(isConfined: true) { bell.ring(.liveness) }
        let workers = try WorkerSet(
            count: settings.workers,
            events: WorkerEvents(
                portTroubled: { _ in bell.ring(.port) }, pathMTUChanged: { bell.ring(.pathMTU) },
                neighborWanted: { resolver.wake() }, punted: { liveness.wake() }),
            settings: workerSettings)
        underlay.whenResolved { workers.releaseHeld() }
        let ports = settings.sourcePorts.ports
        let heartbeat = Heartbeat()
        let host = Host(
            workers: workers, macSeed: seed,
            sourcePorts: UInt16(ports.lowerBound)...UInt16(ports.upperBound),
            strictVXLAN: settings.strictVXLAN, underlay: underlay, liveness: liveness, offload: offload,
            inherited: inherited, heartbeat: heartbeat)
        let core = AgentCore(
            id: Agent.id(seed), executor: ControlExecutor(label: "viaduct.control"), store: store,
            workers: workers, host: host, heartbeat: heartbeat, log: log)
        let api = AgentAPI(
            core: core, health: HealthChecks(workers: workers, heartbeat: heartbeat, access: access),
            version: Agent.describe(core, offload), access: access,
            succession: next.map { next in
                Succession(next, of: store.path, copy: store.copy) { ["--check", "--state", $0] }
            }, log: log)
        warn(of: workers)
        return (api, offload)
    }

    /// Serves until it is to end, or as the next process; returns the server that was the last.
    private func serveOn(
        _ endpoints: [HTTPEndpoint], _ api: AgentAPI, _ first: HTTPServer
    ) async throws -> HTTPServer {
        var server = first
        let status = "listening on \(server.boundAddresses.joined(separator: " "))"
        while await serve(api, status), let succession = api.succession {
            log.notice("restarting", metadata: ["program": "\(succession.program.path)"])
            manager?.tell(.reloading)
            api.events.rouse()
            let sockets = await server.release(drainSeconds: Agent.drainSeconds)
            // Asked to end meanwhile: what would be a next process knows nothing of that.
            if Task.isShuttingDownGracefully { break }
            let reason = await api.core.become(succession.program, with: sockets)
            log.error("not restarted", metadata: ["error": "\(reason)"])
            succession.over()
            server = try api.listen(on: endpoints, by: sockets, limits: Agent.limits)
        }
        return server
    }

    /// What the process before has learned; nothing when there was none.
    private var learned: LearnedState {
        guard let descriptor = inherited.look(Handed.learned) else { return LearnedState() }
        let state = Agent.learned(inherited)
        if state == nil { log.warning("what the process before has learned cannot be read") }
        _ = inherited.take(Handed.learned)
        MemoryFile.close(descriptor)
        return state ?? LearnedState()
    }

    /// Throws a description for people when an agent could not start with these settings and what is stored. Nothing
    /// is changed.
    public static func check(_ settings: AgentSettings) throws {
        _ = try AccessControl.of(settings)
        guard Store.exists(settings.state) else { return }
        let store = try Store(path: settings.state)
        defer { try? store.close() }
        _ = try DesiredState(store.load())
    }

    /// Ticks until a graceful shutdown or a cancellation, or until a restart is asked for: true.
    private func serve(_ api: AgentAPI, _ status: String) async -> Bool {
        manager?.tell(.ready, .status(status))
        let core = api.core
        return await Endless.run(
            [
                { await core.keepTicking() }, { await api.health.keepLooking() },
                { await core.events.keepListenersAlive() },
                { await api.dispatcher.access.keepFresh(log) }, { try? await gracefulShutdown() },
            ] + (manager.map { [informing($0, api.health, status)] } ?? []), until: api.succession)
    }

    private func informing(
        _ manager: ServiceManager, _ health: HealthChecks, _ status: String
    ) -> @Sendable () async -> Void {
        { await manager.keepInformed(usual: status, live: health.live, ready: health.ready) }
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
