// The controller's one owner of state: the fleet as it is written, what each host is to have of it, and what is
// known of each host. Pushing is in an extension, so are writing and reading.
//
//   campaign ─▶ leads: fleet read, pushers run, writes taken ─▶ lead lost: pushers and fleet forgotten ─▶ campaign

internal import API
internal import HTTP
internal import JSON
internal import Logging
internal import Proc
internal import REST
internal import Store

actor ControllerCore {
    /// One time of leading.
    struct Term: Sendable {
        var leadership: Leadership
        var epoch: Int { leadership.epoch }
    }

    private let executor: ControlExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    let settings: ControllerSettings
    let store: any FleetStore
    let events: EventLog
    let heartbeat: Heartbeat
    let log: Logger
    let clock = MonotonicClock()
    private let pool = HTTPClientPool()

    /// Nil while another instance leads, or none.
    private(set) var term: Term?
    var fleet: Fleet
    var desired = DesiredStates()
    var pushers: [Name: Pusher<StatePath>] = [:]
    var links: [Name: AgentLink] = [:]
    /// By their ids, whose they are; one that has answered under another id since is nobody's.
    var agents: [String: Name] = [:]
    /// What was last told of a host by an event.
    var told: [Name: HostSyncState] = [:]
    var schedule: PushSchedule<Name>
    /// Number of the last request to an agent.
    var lastTransmission = 0
    var arrivals = Arrivals()
    var random = SystemRandomNumberGenerator()
    var turn = Turn()
    var alarm = Alarm()
    /// Whether it has been told that there are too few descriptors for all hosts.
    var isShortOfDescriptors = false
    /// Of writes in this term.
    var revision = 0
    /// Wall clock, milliseconds since 1970.
    var lastChange: Int64?
    let storeDurations = Histogram()
    var pushRecord = FleetPushRecord()

    init(
        settings: ControllerSettings, store: any FleetStore, executor: ControlExecutor, events: EventLog,
        heartbeat: Heartbeat, log: Logger
    ) {
        self.settings = settings
        self.store = store
        self.executor = executor
        self.events = events
        self.heartbeat = heartbeat
        self.log = log
        fleet = Fleet(vniRange: settings.vniRange)
        schedule = PushSchedule(slots: settings.pushConcurrency)
    }

    // MARK: Leading

    /// Begins a term: reads the fleet and asks every host what it holds.
    func lead(_ leadership: Leadership) async throws {
        let fleet = try Fleet(try await store.load(), vniRange: settings.vniRange)
        let now = clock.now
        self.fleet = fleet
        desired = DesiredStates(fleet)
        term = Term(leadership: leadership)
        revision = 0
        for (name, host) in fleet.hosts {
            links[name] = link(to: host)
            pushers[name] = newPusher(now)
            look(at: name, now)
        }
        let resource = FleetStatus.path
        events.append(
            .leaderElected, resource, ["epoch": .integer(Int64(leadership.epoch))],
            at: RFC3339.wallMilliseconds)
        log.notice(
            "leading",
            metadata: [
                "epoch": "\(leadership.epoch)", "hosts": "\(fleet.hosts.count)",
                "networks": "\(fleet.networks.count)",
            ])
        checkDescriptors()
        pump()
    }

    /// Ends the term. What is under way may still arrive: agents refuse it once they know of a later epoch.
    func stopLeading() {
        guard let term else { return }
        self.term = nil
        (pushers, links, agents, told) = ([:], [:], [:], [:])
        schedule = PushSchedule(slots: settings.pushConcurrency)
        arrivals = Arrivals()
        alarm.clear()
        lastChange = nil
        (fleet, desired) = (Fleet(vniRange: settings.vniRange), DesiredStates())
        let resource = FleetStatus.path
        events.append(
            .leaderLost, resource, ["epoch": .integer(Int64(term.epoch))], at: RFC3339.wallMilliseconds)
        log.notice("not leading any more", metadata: ["epoch": "\(term.epoch)"])
    }

    /// The term, for whoever is about to write or to look at the fleet.
    func leading() async throws(Problem) -> Term {
        guard let term, term.leadership.isHeld() else { throw await notLeading() }
        return term
    }

    var isLeading: Bool { term?.leadership.isHeld() == true }

    /// Shows once a second that the control plane goes round, until cancelled.
    func keepBeating() async {
        while !Task.isCancelled {
            heartbeat.beat()
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// Nil when no other instance leads, or the store does not say. What this one has given up may be in its name
    /// for a while.
    func otherLeader() async -> LeaderInfo? {
        guard let leader = try? await store.leader(), leader.name != events.boot else { return nil }
        return leader
    }

    private func notLeading() async -> Problem {
        guard let leader = await otherLeader(), !leader.url.isEmpty else {
            return Problem(
                .notLeader, "no instance of controller \(settings.name) leads at the moment; try again")
        }
        return Problem(.notLeader, "another instance of controller \(settings.name) leads: ask \(leader.url)")
    }

    // MARK: Hosts

    func newPusher(_ now: Duration) -> Pusher<StatePath> {
        var pusher = Pusher<StatePath>(
            controller: settings.name, now: now, probeInterval: .seconds(settings.probeIntervalSeconds))
        if let term { pusher.lead(epoch: term.epoch, now: now) }
        return pusher
    }

    /// A connection to every host is kept, up to what the pool has: says so, once, when that is more than this
    /// process may have.
    func checkDescriptors() {
        let connectionCount = min(fleet.hosts.count, HTTPClientPoolLimits().connectionCount)
        let wanted = connectionCount + ControllerCore.descriptorReserve
        let isShort = wanted > DescriptorLimit.count
        defer { isShortOfDescriptors = isShort }
        guard isShort, !isShortOfDescriptors else { return }
        log.warning(
            "too few descriptors for a connection to every host: raise the hard limit (ulimit -Hn, LimitNOFILE=)",
            metadata: [
                "hosts": "\(fleet.hosts.count)", "wanted": "\(wanted)", "found": "\(DescriptorLimit.count)",
            ])
    }

    /// Descriptors for all else: clients by TCP and by the socket, the store, files.
    private static let descriptorReserve = 2 * Controller.limits.connectionCount + 64

    func link(to host: FleetHost) -> AgentLink {
        AgentLink(
            to: host, over: pool,
            identity: HTTPClientIdentity(
                authorities: settings.agentAuthorities, revocations: settings.agentRevocations,
                certificate: settings.agentCertificate, key: settings.agentKey),
            credentialsDirectory: settings.credentialsDirectory)
    }
}
