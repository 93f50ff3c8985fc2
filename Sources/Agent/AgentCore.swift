// The agent's one owner of state. Every write goes the same way: check, make, store, adopt, break.
//
//   PUT ─▶ new desired state ─▶ consistent? ─▶ plan ─▶ make (undoable) ─▶ store ─▶ program ─▶ break ─▶ 2xx
//                                   │ no                  │ fails           │ fails
//                                   ▼                     ▼                 ▼
//                                problem            roll back, problem  roll back, problem
//
// A 2xx therefore means durable and in the datapath; anything else means nothing changed.

internal import API
internal import Datapath
internal import LinuxIO
internal import Logging
internal import REST
internal import Store
internal import Wire

/// Desired state, running state, and the way between them.
actor AgentCore {
    /// Stays with the state: 16 hexadecimal digits.
    let id: String
    private let executor: ControlExecutor
    let store: Store
    let log: Logger
    let storeDurations = Histogram()
    /// Steps of changes that stand.
    private(set) var stepCounts: [Action.Sort: UInt64] = [:]
    /// Times the host had lost something and got it back.
    private(set) var repairs: UInt64 = 0
    let events: EventLog
    let captures: Captures
    var pushes = PushRecord()
    let workers: WorkerSet
    let host: Host
    private(set) var desired = DesiredState() {
        didSet { generation += 1 }
    }
    /// Of the desired state.
    private(set) var claims = Claims()
    /// Counts the changes of the desired state in this agent's life, which `events.boot` tells from others.
    private var generation = 0
    var conditions = Conditions()
    /// When sessions last came up or went down, milliseconds since 1970, by the identity of the tunnel's port.
    var livenessTurns: [UInt64: Int64] = [:]
    private var isRefreshDue = false
    private var isPathMTUDue = false
    private var isShutDown = false
    /// Milliseconds of the last tick, for `/livez`: the control plane makes progress.
    let heartbeat: Heartbeat

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// What the kernel tells of one event comes in several messages.
    static let settlingMilliseconds = 5
    /// How often ports are healed and the underlay is looked at without being told to.
    static let tickMilliseconds = 1000
    /// Ticks between two looks at the underlay that nothing has asked for: the kernel forgets a lowered path
    /// MTU after some minutes without telling anybody.
    static let refreshTicks = 60

    init(
        id: String, executor: ControlExecutor, store: Store, workers: WorkerSet, host: Host,
        heartbeat: Heartbeat,
        log: Logger,
        events: EventLog = EventLog()
    ) {
        self.id = id
        self.executor = executor
        self.store = store
        self.workers = workers
        self.host = host
        self.events = events
        captures = host.captures
        self.heartbeat = heartbeat
        self.log = log
    }

    // MARK: Start

    /// Brings back what was stored, and what was learned by the process before. What cannot be had now is degraded and
    /// tried again, never dropped.
    func restore(_ learned: LearnedState = LearnedState()) throws {
        let stored = try DesiredState(store.load())
        host.underlay.remembered = learned.neighbors
        _ = try host.refreshOwnAddresses()
        desired = stored
        claims = Claims(stored)
        for action in plan(DesiredState(), stored) {
            var change = ChangeLog()
            do throws(Problem) {
                try host.make(action, stored, &change)
                change.commitAll()
            } catch {
                host.note(error, for: action)
                log.warning("degraded", metadata: ["resource": "\(action)", "error": "\(error.detail)"])
            }
        }
        settleAll()
        recall(learned)
        host.adopt(desired)
        removeLeft()
        if !desired.pushed.isInSync {
            log.warning(
                "stored state is not what was pushed", metadata: ["digest": "\(desired.pushed.digest)"])
        }
        // Its own interfaces have brought addresses and routes.
        refresh(.everything)
        log.info(
            "restored",
            metadata: [
                "bridges": "\(stored.bridges.count)",
                "ports": "\(stored.bridges.values.reduce(0) { $0 + $1.ports.count })",
                "tunnels": "\(stored.bridges.values.reduce(0) { $0 + $1.tunnels.count })",
            ])
    }

    // MARK: Writing

    /// Drives the host to another desired state, or leaves everything as it is and says why. `changes` is all
    /// that differs: what it costs is in proportion to them, not to the state, but for compiling the program. MAC
    /// entries are in tables, which change without one.
    func transition(to wanted: DesiredState, _ changes: [ResourceChange]) throws(Refusal) {
        guard !isShutDown else { throw Refusal(.unavailable, "the agent is stopping") }
        // Its caller has had an answer by now, which said that nothing was done.
        guard !Task.isCancelled else { throw Refusal(.unavailable, "it took too long until it was its turn") }
        let transfer = try claims.transfer(changes, from: desired, to: wanted)
        let actions = plan(changes)
        let bridges = Set(actions.filter(\.isAboutInterfaces).compactMap(\.bridge))
        var change = ChangeLog()
        do throws(Refusal) {
            for action in actions where action.makes {
                do throws(Problem) {
                    try host.make(action, wanted, &change)
                } catch {
                    throw Refusal(error, about: [action.resource])
                }
            }
            for name in bridges {
                do throws(Problem) {
                    try host.settle(name, wanted, &change)
                } catch {
                    throw Refusal(error, about: [.bridge(name)])
                }
            }
            do throws(Problem) {
                try commit(changes.map(\.storeChange) + wanted.pushed.storeChanges(from: desired.pushed))
            } catch {
                throw Refusal(error, about: [])
            }
        } catch {
            host.heartbeat.wait(for: Host.goneInterfaces) { change.rollBack() }
            host.dropPending()
            throw error
        }
        change.commitAll()
        for action in actions where !action.makes { host.destroy(action) }
        desired = wanted
        guard !actions.isEmpty else { return }
        claims.carryOut(transfer)
        for action in actions { stepCounts[action.sort, default: 0] += 1 }
        if actions.contains(where: \.isAboutUnderlay) {
            host.followWritten(desired)
            refresh(.rewritten)
            return
        }
        guard !actions.allSatisfy(\.isAboutEntry) else { return host.adoptEntries(desired) }
        host.closeUnusedSockets(wanted)
        host.adopt(desired)
    }

    private func commit(_ changes: [StoreChange]) throws(Problem) {
        let start = ContinuousClock.now
        defer { storeDurations.observe(ContinuousClock.now - start) }
        do throws(StoreError) {
            try heartbeat.wait(for: "the state file") { () throws(StoreError) in try store.commit(changes) }
        } catch {
            log.error("store failed", metadata: ["error": "\(error)"])
            throw Problem(error.kind == .full ? .storageFull : .storageFailed, error.detail)
        }
    }

    /// Applies derived settings; what the kernel refuses shows as the port's error.
    private func settleAll() {
        for name in host.bridges.keys {
            for failure in host.settleEach(name, desired) {
                log.warning("interface not settled", metadata: ["bridge": "\(name)", "error": "\(failure)"])
            }
        }
    }

    /// The tag of every collection of written resources: another one after any write, at no cost.
    var collectionTag: EntityTag { EntityTag(of: "\(events.boot) \(generation)".utf8) }

    // MARK: Following the host

    /// Something about links, addresses, routes or a path is different: look, once for many changes.
    func underlayChanged() {
        guard !isRefreshDue else { return }
        isRefreshDue = true
        Task {
            try? await Task.sleep(for: .milliseconds(AgentCore.settlingMilliseconds))
            self.isRefreshDue = false
            self.refresh(.changes)
        }
    }

    /// The kernel has learned the MTU of some path.
    func pathMTUChanged() {
        guard !isPathMTUDue else { return }
        isPathMTUDue = true
        Task {
            try? await Task.sleep(for: .milliseconds(50))
            self.isPathMTUDue = false
            self.refresh(.everything)
        }
    }

    /// The worker had trouble with a port: do not wait for the next tick.
    func portTroubled() { tick() }

    /// How much is looked at again.
    private enum Scope {
        /// What the monitor, ICMP or a probe has told of.
        case changes
        case everything
        /// And a program is made whatever is found.
        case rewritten
    }

    /// Looks at tunnels' ways and at every local interface again, and acts on what differs.
    private func refresh(_ scope: Scope) {
        guard !isShutDown else { return }
        var changed = false
        do throws(LinuxError) {
            changed = try host.refreshOwnAddresses()
        } catch {
            log.warning("addresses unknown", metadata: ["error": "\(error)"])
        }
        let driver = host.underlay.choice
        let concern = host.followUnderlay()
        report(driver)
        changed = probeTunnels(scope == .changes && !changed ? concern : .all) || changed
        changed = changed || scope == .rewritten || host.underlay.uplinks.hasReplaced
        changed = !host.loseWhatIsGone().isEmpty || changed
        changed = host.refreshSystemPorts() || changed
        // Healing waits for the tick: an attempt makes link events of its own.
        host.restoreAddresses(desired)
        if changed {
            settleAll()
            host.adopt(desired)
        }
    }

    /// Tells of another driver than `before`.
    private func report(_ before: DriverChoice) {
        let now = host.underlay.choice
        guard now.driver != before.driver || now.output != before.output else { return }
        log.notice(
            "underlay",
            metadata: [
                "driver": "\(now.driver.rawValue)", "output": "\(now.output.rawValue)",
                "reason": "\(now.reason)",
            ])
        events.append(
            [
                EventDraft(
                    type: .underlayChanged, resource: ResourceID.underlay.path,
                    data: ["driver": .string(now.driver.rawValue), "reason": .string(now.reason)])
            ], at: RFC3339.wallMilliseconds)
    }

    /// Looks for tunnels' ways again and tells of those that have another; true when anything differs.
    private func probeTunnels(_ concern: Host.Concern) -> Bool {
        var isChanged = false
        var drafts: [EventDraft] = []
        for (owner, bridge) in host.bridges {
            for (name, running) in bridge.tunnels where concern.includes(running) {
                let before = running.route
                isChanged = host.probe(running) || isChanged
                drafts += EventDraft.pathChange(of: .tunnel(owner, name), from: before, to: running.route)
            }
        }
        events.append(drafts.sorted { $0.resource < $1.resource }, at: RFC3339.wallMilliseconds)
        return isChanged
    }

    /// About once a second.
    func tick() {
        guard !isShutDown else { return }
        heartbeat.beat()
        heartbeat.wait(for: "the state file") { _ = store.settle() }
        let lost = host.loseWhatIsGone()
        if !lost.isEmpty {
            log.warning("interfaces gone", metadata: ["ports": "\(lost.joined(separator: " "))"])
            host.adopt(desired)
        }
        if host.underlay.uplinks.hasLost { refresh(.everything) }
        if host.heal(desired) {
            repairs += 1
            log.info("healed")
            settleAll()
            host.adopt(desired)
        }
        noteConditions()
    }

    /// Ticks until cancelled.
    func keepTicking() async {
        var ticks = 0
        while !Task.isCancelled {
            tick()
            ticks += 1
            if ticks % AgentCore.refreshTicks == 0 { refresh(.everything) }
            try? await Task.sleep(for: .milliseconds(AgentCore.tickMilliseconds))
        }
    }

    // MARK: Stop

    /// Ends what is sent without an end: watchers of events, and captures, whose files are finished.
    nonisolated func endStreams() {
        events.close()
        captures.close()
    }

    /// Nothing is written or looked at any more.
    func beginEnd() {
        isShutDown = true
        captures.close()
    }

    func closeStore() { try? store.close() }

    /// Lets go of everything: the kernel removes what was ours with its descriptors.
    func shutDown() {
        beginEnd()
        // Buried, not dropped: descriptors and tables stay until the worker has left the last program.
        for name in host.bridges.keys { host.destroy(.deleteBridge(name)) }
        desired = DesiredState()
        host.closeUnusedSockets(desired)
        host.adopt(desired)
        host.liveness.stop()
        workers.stop()
        closeStore()
    }
}
