// The controller as a service: puts store, core and HTTP server together, leads when it may, runs until it is told
// to stop, and takes everything down in the reverse order.

public import API
internal import HTTP
public import Logging
internal import Proc
internal import REST
public import ServiceLifecycle
internal import Store

/// `viaduct controller`.
public struct Controller: Service {
    /// How long requests in flight may take once the controller has been told to stop.
    static let drainSeconds = 5.0
    /// Between attempts to lead when the store does not answer.
    static let campaignSeconds = 1.0

    static let limits = HTTPLimits(
        raisedBodyByteCounts: ["POST \(Batch.path)": Batch.bodyByteCount],
        handlerSeconds: Double(EventLog.waitSeconds) + 5)

    private let settings: ControllerSettings
    private let version: String
    private let log: Logger
    private let onReady: @Sendable ([String]) -> Void

    /// `onReady` is called once with the addresses that are listened on.
    public init(
        settings: ControllerSettings, version: String, log: Logger,
        onReady: @escaping @Sendable ([String]) -> Void = { _ in }
    ) {
        self.settings = settings
        self.version = version
        self.log = log
        self.onReady = onReady
    }

    /// Throws a description for people when the controller cannot start.
    public func run() async throws {
        DescriptorLimit.raise()
        let endpoints = try [HTTPEndpoint](settings.listen, socket: settings.socket)
        let events = EventLog()
        let url = settings.advertiseURL.map { "\($0)" } ?? "http://\(settings.listen)"
        let store = try open(LeaderInfo(name: events.boot, url: url))
        let heartbeat = Heartbeat()
        let core = ControllerCore(
            settings: settings, store: store, executor: ControlExecutor(label: "viaduct.controller"),
            events: events, heartbeat: heartbeat, log: log)
        let health = ControllerHealth(heartbeat: heartbeat)
        var description = Version(
            version: version, swift: Version.compiler, kernel: Kernel.release, features: [])
        description.role = .controller
        description.bootID = events.boot
        let api = ControllerAPI(core: core, health: health, version: description, log: log)
        let server = try api.listen(on: endpoints, limits: Controller.limits)
        log.info("listening", metadata: ["addresses": "\(server.boundAddresses.joined(separator: " "))"])
        onReady(server.boundAddresses)
        await serve(core, health, store)
        health.stopping()
        log.info("stopping")
        events.close()
        await server.stop(drainSeconds: Controller.drainSeconds)
        await core.stopLeading()
        await store.close()
        log.info("stopped")
    }

    private func open(_ member: LeaderInfo) throws -> any FleetStore {
        switch settings.store {
        case .sqlite(let path): try SQLiteFleetStore(path: path, as: member)
        case .etcd(let members):
            EtcdFleetStore(
                endpoints: try members.map { try HTTPClientAddress($0) }, controller: settings.name,
                as: member,
                leaseSeconds: settings.leaseTTLSeconds)
        }
    }

    /// Leads whenever it may, until a graceful shutdown or a cancellation.
    private func serve(_ core: ControllerCore, _ health: ControllerHealth, _ store: any FleetStore) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await keepLeading(core, health, store) }
            group.addTask { await core.keepBeating() }
            group.addTask { await health.keepLooking() }
            group.addTask { await core.events.keepListenersAlive() }
            group.addTask { try? await gracefulShutdown() }
            await group.next()
            group.cancelAll()
        }
    }

    private func keepLeading(
        _ core: ControllerCore, _ health: ControllerHealth, _ store: any FleetStore
    ) async {
        while !Task.isCancelled {
            do {
                _ = try await store.leader()
                health.note(store: nil)
                let leadership = try await store.campaign()
                try await core.lead(leadership)
                await leadership.ended()
            } catch {
                if Task.isCancelled { return }
                health.note(store: "\(error)")
                log.error("cannot lead", metadata: ["error": "\(error)"])
            }
            // Who stops writes what it has begun, and resigns with `close`.
            if Task.isCancelled { return }
            await core.stopLeading()
            // It may have the lead, and not what to lead with: another one shall try.
            await store.resign()
            try? await Task.sleep(for: .seconds(Controller.campaignSeconds))
        }
    }
}
