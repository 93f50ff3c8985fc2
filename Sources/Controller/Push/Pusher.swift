// What one host is owed and what is to be done about it: the push protocol as a value. It knows no socket, no clock
// and no content: its owner tells it what happened, asks what to send, and composes it from what is wanted at that
// moment. So the latest state wins, and at most one is waiting, by construction.
//
// ARCHITECTURE.md has the picture ("A pusher's life"). What comes of a transmission is in Pusher+Answers.

public import API

/// - `Path`: what tells the resources of a host's state apart.
public struct Pusher<Path: Hashable & Sendable>: Sendable {
    /// A push that is under way, or whose outcome is not known.
    struct Push: Sendable {
        var place: StateBase
        /// What it changes on its base; empty for a complete state.
        var paths: Set<Path>
        /// The last change it has in it, and when the first was made.
        var change: Int
        var oldest: Duration
    }

    struct Flight: Sendable {
        var id: Int
        /// Nil: a probe.
        var push: Push?
        var isComplete: Bool
    }

    /// What the agent is known to hold, and so what to send.
    enum Knowledge: Sendable {
        /// Ask.
        case unknown
        /// Ask what came of a push.
        ///
        /// - Parameter base: what was acknowledged before.
        case doubtful(Push, base: StateBase?)
        /// Nothing that could be built on: send everything.
        case outdated
        /// Somebody's push, whole: an empty delta takes it over, if it is what is wanted; else send everything.
        case held(StateBase)
        /// Ours: send what has changed since.
        case acknowledged(StateBase)
    }

    /// A wait for what is on its way to other hosts.
    struct Gate: Sendable {
        var waves: Set<Int>
        var until: Duration
    }

    /// Paths a delta is made of at most; with more, everything is sent.
    public static var pathLimit: Int { 4096 }

    public let controller: String
    /// Nil while this controller does not lead.
    public internal(set) var epoch: Int?
    /// Of the last push in this epoch; 0 before the first.
    public internal(set) var generation = 0
    /// Changes so far; each is known by its number.
    public private(set) var change = 0
    /// All changes up to this one are acknowledged.
    public internal(set) var acknowledgedChange = 0
    /// As last answered.
    public internal(set) var standing: Standing?
    public internal(set) var trouble: HostTrouble?
    public private(set) var health = HostSyncState.unknown
    /// When `health` became what it is.
    public private(set) var healthSince: Duration
    /// Attempts that failed since the last that did not.
    public internal(set) var failureCount = 0
    /// When the last of them failed.
    public internal(set) var failedAt: Duration?
    /// Times that the agent was found to hold something else than it had acknowledged.
    public internal(set) var driftCount = 0
    /// Answers that were not those to what was sent.
    public internal(set) var lieCount = 0

    var knowledge = Knowledge.unknown
    var flight: Flight?
    /// Since the base, without those of a push under way or in doubt.
    var paths: Set<Path> = []
    /// Of the changes that are not in a push under way or in doubt.
    var oldest: Duration?
    var notBefore: Duration
    /// When a change may go although the last push was refused; nil when no change would help.
    var eagerAt: Duration?
    var nextProbe: Duration
    var gate: Gate?
    /// Whether the operator has allowed the next complete state to remove most of what there is.
    var isMassDeleteAllowed = false
    /// Whether something was acknowledged in this epoch: what a complete state removes then was removed by us.
    var isAdopted = false
    private var isCompleteAsked = false
    let probeInterval: Duration
    /// What `generation` is about: it begins anew with another epoch and grows with another digest.
    private var lastEpoch: Int?
    private var lastDigest: SHA256?

    /// - Parameter controller: the name that all instances of this controller have in common.
    public init(
        controller: String, now: Duration, probeInterval: Duration = PushTiming.probeInterval
    ) {
        self.controller = controller
        self.probeInterval = probeInterval
        (healthSince, notBefore, nextProbe) = (now, now, now)
    }

    /// What the agent has acknowledged to us.
    public var base: StateBase? {
        switch knowledge {
        case .acknowledged(let base): base
        case .doubtful(_, let base): base
        case .unknown, .outdated, .held: nil
        }
    }

    /// When the oldest change that is not acknowledged was made; nil when all are.
    public var laggingSince: Duration? {
        let doubtful: Push? = if case .doubtful(let push, _) = knowledge { push } else { nil }
        return [flight?.push?.oldest, doubtful?.oldest, oldest].compactMap { $0 }.min()
    }

    public var isInFlight: Bool { flight != nil }

    /// Whether the agent answered when it was last asked.
    public var isReachable: Bool { standing != nil && trouble?.health != .unreachable }

    /// Whether the agent has acknowledged what is wanted at a path.
    public func hasAcknowledged(_ path: Path) -> Bool {
        guard case .acknowledged = knowledge else { return false }
        return !paths.contains(path) && flight?.push?.paths.contains(path) != true
            && (flight?.isComplete != true || flight?.push == nil)
    }

    /// Whether others may wait for it: it was heard of, and nothing is wrong.
    public var isHealthy: Bool { trouble == nil && health != .unknown }

    var wantsPush: Bool {
        switch knowledge {
        case .unknown, .doubtful: false
        case .outdated, .held: true
        case .acknowledged: acknowledgedChange < change
        }
    }

    private var mustProbe: Bool {
        switch knowledge {
        case .unknown, .doubtful: true
        case .outdated, .held, .acknowledged: trouble?.health == .unreachable
        }
    }

    /// When there will be something to send if nothing happens until then; nil: never.
    public var due: Duration? {
        guard epoch != nil, flight == nil else { return nil }
        if mustProbe { return notBefore }
        return max(notBefore, wantsPush ? gate?.until ?? notBefore : nextProbe)
    }

    /// What to send now, if anything. It counts as sent.
    ///
    /// - Parameters:
    ///   - id: no other request of the process has it, whatever pusher's: a host may go and come back, and with it its
    ///     pusher, while a request to it is under way.
    ///   - digest: of what is wanted at this moment, which is what is to be sent.
    public mutating func start(_ id: Int, now: Duration, digest: () -> SHA256) -> Transmission<Path>? {
        guard let epoch, let due, due <= now else { return nil }
        defer { settle(now) }
        guard wantsPush, !mustProbe else {
            flight = Flight(id: id, push: nil, isComplete: false)
            return Transmission(id: id, content: .probe, timeout: PushTiming.probeTimeout)
        }
        let digest = digest()
        if digest != lastDigest {
            generation += 1
            lastDigest = digest
        }
        let place = StateBase(epoch: epoch, generation: generation, digest: digest)
        let content: Transmission<Path>.Content
        switch knowledge {
        case .acknowledged(let base) where paths.count <= Pusher.pathLimit && !isCompleteAsked:
            content = .delta(place, base: base, paths: paths)
        case .held(let base) where base.digest == digest && !isCompleteAsked:
            content = .delta(place, base: base, paths: [])
        default: content = .complete(place, allowMassDelete: isAdopted || isMassDeleteAllowed)
        }
        var isComplete = false
        if case .complete = content { (isComplete, isCompleteAsked) = (true, false) }
        let push = Push(place: place, paths: paths, change: change, oldest: oldest ?? now)
        flight = Flight(id: id, push: push, isComplete: isComplete)
        (paths, oldest, gate) = ([], nil, nil)
        let timeout = isComplete ? PushTiming.completeTimeout : PushTiming.deltaTimeout
        return Transmission(id: id, content: content, timeout: timeout)
    }

    // MARK: What its owner has decided

    /// Takes note that these paths are wanted otherwise than before.
    ///
    /// - Returns: the number of the change; it has arrived once `acknowledgedChange` is as high.
    @discardableResult
    public mutating func changed(_ paths: some Sequence<Path>, now: Duration) -> Int {
        change += 1
        oldest = oldest ?? now
        note(paths)
        if let eagerAt { notBefore = min(notBefore, max(now, eagerAt)) }
        settle(now)
        return change
    }

    /// Only what a delta could be made of is kept.
    private mutating func note(_ new: some Sequence<Path>) {
        if flight?.push == nil {
            switch knowledge {
            case .unknown, .outdated, .held: return
            case .doubtful, .acknowledged: break
            }
        }
        if paths.count <= Pusher.pathLimit { paths.formUnion(new) }
    }

    /// Holds the next push back until a wave has arrived at other hosts, or until a time, which comes soon.
    public mutating func hold(for wave: Int, until time: Duration, now: Duration) {
        let time = min(time, now + PushTiming.longestGate)
        gate = Gate(waves: (gate?.waves ?? []).union([wave]), until: min(gate?.until ?? time, time))
    }

    /// A wave has arrived, or nobody waits for it any more.
    public mutating func release(_ wave: Int) {
        gate?.waves.remove(wave)
        if gate?.waves.isEmpty == true { gate = nil }
    }

    /// This controller leads, from now on under an epoch. What the agent holds is to be found out first.
    public mutating func lead(epoch: Int, now: Duration) {
        if epoch != lastEpoch { (generation, lastDigest) = (0, nil) }
        (self.epoch, lastEpoch) = (epoch, epoch)
        forget(now)
    }

    /// This controller does not lead any more. What is under way may still arrive; no answer counts.
    public mutating func pause(now: Duration) {
        epoch = nil
        forget(now)
    }

    /// Another agent is the host's now: its URL was changed.
    public mutating func moved(now: Duration) { forget(now) }

    /// The next push goes as soon as it can, and is the complete state.
    public mutating func pushCompletely(now: Duration) {
        (isCompleteAsked, gate) = (true, nil)
        change += 1
        oldest = oldest ?? now
        notBefore = min(notBefore, now)
        settle(now)
    }

    /// Allows the next complete state to remove most of what the agent has.
    public mutating func allowMassDelete(now: Duration) {
        isMassDeleteAllowed = true
        if trouble?.code == .massDelete { notBefore = min(notBefore, now) }
    }

    /// Goes on counting behind what the agent has from this controller in this epoch: it was another host's before,
    /// or something that was given up has arrived after all.
    mutating func catchUp(with held: StateHead) {
        guard held.controller == controller, held.epoch == epoch, held.generation >= generation else {
            return
        }
        (generation, lastDigest) = (held.generation, held.digest)
    }

    private mutating func forget(_ now: Duration) {
        (knowledge, flight, trouble, standing) = (.unknown, nil, nil, nil)
        (paths, gate, eagerAt, failureCount) = ([], nil, nil, 0)
        (isAdopted, isMassDeleteAllowed) = (false, false)
        // That the agent is ours is a change for it, too.
        change += 1
        (oldest, notBefore) = (now, now)
        settle(now)
    }

    /// After anything that happened.
    mutating func settle(_ now: Duration) {
        let current: HostSyncState
        if let trouble {
            current = trouble.health
        } else if flight?.push != nil {
            current = .pushing
        } else if standing == nil {
            current = .unknown
        } else {
            current = laggingSince != nil || wantsPush ? .behind : .inSync
        }
        if current != health { (health, healthSince) = (current, now) }
    }
}
