// The controller as a service: puts store, core and HTTP server together, leads when it may, runs until it is told
// to stop, and takes everything down in the reverse order.

public import API
internal import HTTP
public import Logging
public import Proc
internal import REST
public import ServiceLifecycle
internal import Store

/// `viaduct controller`.
public struct Controller: Service {
    /// How long requests in flight may take once the controller has been told to stop.
    static let drainSeconds = 5.0
    /// Between attempts to lead when the store does not answer.
    static let campaignSeconds = 1.0
    /// Of its listening sockets, when they are handed over.
    static let listeningName = "http"

    static let limits = HTTPLimits(
        raisedBodyByteCounts: ["POST \(Batch.path)": Batch.bodyByteCount],
        handlerSeconds: Double(EventLog.waitSeconds) + 5)

    private let settings: ControllerSettings
    private let version: String
    private let log: Logger
    private let manager: ServiceManager?
    private let inherited: InheritedDescriptors
    private let next: NextProgram?
    private let onReady: @Sendable ([String]) -> Void

    /// `manager` is told how it goes, `inherited` is what the process before has handed over, `next` what this one may
    /// become; `onReady` is called once with the addresses that are listened on.
    public init(
        settings: ControllerSettings, version: String, log: Logger, manager: ServiceManager? = nil,
        inherited: InheritedDescriptors = .none, next: NextProgram? = nil,
        onReady: @escaping @Sendable ([String]) -> Void = { _ in }
    ) {
        self.inherited = inherited
        self.next = next
        self.settings = settings
        self.version = version
        self.log = log
        self.manager = manager
        self.onReady = onReady
    }

    /// Gives up every capability, for the calling thread and those it makes: none is needed. To be called while the
    /// process has one thread.
    public static func giveUp(_ settings: ControllerSettings) throws {
        try AccessControl.joinGroup(settings.access)
        try Capabilities.keep(only: [])
    }

    /// Throws a description for people when the controller cannot start.
    public func run() async throws {
        DescriptorLimit.raise()
        try Controller.checkPairs(settings)
        let (access, endpoints) = try AccessControl.of(settings)
        let events = EventLog()
        let url =
            settings.advertiseURL.map { "\($0)" }
            ?? "\(access.tls == nil ? "http" : "https")://\(settings.listen)"
        let store = try Controller.open(settings, LeaderInfo(name: events.boot, url: url))
        let heartbeat = Heartbeat()
        let core = ControllerCore(
            settings: settings, store: store, executor: ControlExecutor(label: "viaduct.controller"),
            events: events, heartbeat: heartbeat, log: log)
        let health = ControllerHealth(heartbeat: heartbeat, access: access)
        var description = Version(
            version: version, swift: Version.compiler, kernel: Kernel.release, features: [])
        description.role = .controller
        description.bootID = events.boot
        let succession = next.map { Controller.successor($0, store) }
        let api = ControllerAPI(
            core: core, health: health, version: description, access: access,
            pki: settings.pkiDirectory.map { PKIDirectory($0) }, succession: succession, log: log)
        var server = try api.listen(
            on: endpoints, by: inherited.takeAll(Controller.listeningName), limits: Controller.limits)
        _ = inherited.closeRest()
        log.info("listening", metadata: ["addresses": "\(server.boundAddresses.joined(separator: " "))"])
        onReady(server.boundAddresses)
        let status = "listening on \(server.boundAddresses.joined(separator: " "))"
        while await serve(api, store, status), let succession {
            log.notice("restarting", metadata: ["program": "\(succession.program.path)"])
            manager?.tell(.reloading)
            events.rouse()
            let sockets = await server.release(drainSeconds: Controller.drainSeconds)
            // Asked to end meanwhile: what would be a next process knows nothing of that.
            if Task.isShuttingDownGracefully { break }
            let reason = await become(succession.program, core, store, sockets)
            log.error("not restarted", metadata: ["error": "\(reason)"])
            succession.over()
            server = try api.listen(on: endpoints, by: sockets, limits: Controller.limits)
        }
        manager?.tell(.stopping)
        health.stopping()
        log.info("stopping")
        events.close()
        await server.stop(drainSeconds: Controller.drainSeconds)
        await core.stopLeading()
        await store.close()
        log.info("stopped")
    }

    /// Goes on as the next process with the same sockets, or returns why not.
    private func become(
        _ program: NextProgram, _ core: ControllerCore, _ store: any FleetStore, _ sockets: [Int32]
    ) async -> String {
        // What has been begun is written, and who comes next need not wait for the lead.
        await core.stopLeading()
        do throws(StoreError) {
            try await store.settle()
        } catch {
            await store.resign()
            return "\(error)"
        }
        await store.resign()
        let list = sockets.enumerated().map { ("\(Controller.listeningName)/\($0)", $1) }
        return "\(program.become(handing: list))"
    }

    /// What is in etcd is there for both, so that a copy would say no more.
    private static func successor(_ program: NextProgram, _ store: any FleetStore) -> Succession {
        guard let store = store as? SQLiteFleetStore else { return Succession(program) { ["--check"] } }
        return Succession(program, of: store.path, copy: store.copy) {
            ["--check", "--store", "sqlite:\($0)"]
        }
    }

    /// Throws a description for people when a controller could not start with these settings and what is in its state
    /// file. Nothing is changed.
    public static func check(_ settings: ControllerSettings) async throws {
        try checkPairs(settings)
        _ = try AccessControl.of(settings)
        guard case .sqlite(let path) = settings.store, Store.exists(path) else { return }
        let store = try open(settings, LeaderInfo(name: "", url: ""))
        do {
            _ = try Fleet(try await store.load(), vniRange: settings.vniRange)
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }

    private static func open(_ settings: ControllerSettings, _ member: LeaderInfo) throws -> any FleetStore {
        switch settings.store {
        case .sqlite(let path): try SQLiteFleetStore(path: path, as: member)
        case .etcd(let members):
            EtcdFleetStore(
                endpoints: try members.map { try HTTPClientAddress($0) },
                identity: HTTPClientIdentity(
                    authorities: settings.storeAuthorities, certificate: settings.storeCertificate,
                    key: settings.storeKey),
                controller: settings.name, as: member, leaseSeconds: settings.leaseTTLSeconds)
        }
    }

    /// A certificate is nothing without its key, nor the other way round.
    private static func checkPairs(_ settings: ControllerSettings) throws(StartError) {
        let pairs = [
            ("agent", settings.agentCertificate, settings.agentKey),
            ("store", settings.storeCertificate, settings.storeKey),
        ]
        for (of, certificate, key) in pairs where (certificate == nil) != (key == nil) {
            throw StartError("wanted --\(of)-certificate and --\(of)-key, or neither, found one")
        }
    }

    /// Leads whenever it may, until a graceful shutdown or a cancellation, or until a restart is asked for: true.
    private func serve(
        _ api: ControllerAPI, _ store: any FleetStore, _ status: String
    ) async -> Bool {
        manager?.tell(.ready, .status(status))
        let (core, health) = (api.core, api.health)
        return await Endless.run(
            [
                { await keepLeading(core, health, store) }, { await core.keepBeating() },
                { await health.keepLooking() }, { await core.events.keepListenersAlive() },
                { await api.dispatcher.access.keepFresh(log) }, { try? await gracefulShutdown() },
            ] + (manager.map { [informing($0, health, status)] } ?? []), until: api.succession)
    }

    private func informing(
        _ manager: ServiceManager, _ health: ControllerHealth, _ status: String
    ) -> @Sendable () async -> Void {
        { await manager.keepInformed(usual: status, live: health.live, ready: health.ready) }
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
