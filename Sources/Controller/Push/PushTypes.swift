// What goes into a host's pusher and what comes out: values without behaviour.

public import API

/// Times of the push protocol.
public enum PushTiming {
    /// The wait after the first failure; it doubles with each further one. A restarted agent is back within it.
    public static let firstBackoff = Duration.milliseconds(250)
    /// What it grows to: of hosts that are gone for good, each costs a request in half of it, on average.
    public static let longestBackoff = Duration.seconds(15)
    /// Between attempts at what only a person or another change can mend.
    public static let slowRetry = Duration.seconds(30)
    /// Between looks at an agent that has nothing to get.
    public static let probeInterval = Duration.seconds(30)
    /// Part of these two that is left to chance, so that a fleet that started together does not stay together.
    public static let jitter = 0.2
    /// An answer to these takes an agent milliseconds; more means that it hangs.
    public static let probeTimeout = Duration.seconds(5)
    public static let deltaTimeout = Duration.seconds(15)
    /// A full state is 16 MiB at most; a slow link takes minutes for that.
    public static let completeTimeout = Duration.seconds(120)
    /// How long a push may wait for those to other hosts.
    public static let longestGate = Duration.milliseconds(500)
}

/// What an agent says of itself in the answer to any method of /v1/state.
public struct Standing: Equatable, Sendable {
    /// Nil until something was pushed to it.
    public var held: StateHead?
    /// Whether what is there is what was pushed.
    public var isInSync: Bool
    /// Another one after each start of the agent.
    public var bootID: String?
    /// The same for the life of the agent's state file.
    public var agentID: String?

    public init(held: StateHead?, isInSync: Bool, bootID: String? = nil, agentID: String? = nil) {
        self.held = held
        self.isInSync = isInSync
        self.bootID = bootID
        self.agentID = agentID
    }
}

/// One request to an agent. Whoever sends it says what came of it, with `answered` or `failed`, once.
public struct Transmission<Path: Hashable & Sendable>: Equatable, Sendable {
    public enum Content: Equatable, Sendable {
        /// GET /v1/state
        case probe
        /// PUT /v1/state with everything that is wanted.
        case complete(StateBase, allowMassDelete: Bool)
        /// PATCH /v1/state with what these paths are now: PUT of what is wanted there, DELETE where nothing is.
        case delta(StateBase, base: StateBase, paths: Set<Path>)
    }

    /// As it was given to `start`.
    public var id: Int
    public var content: Content
    /// From the call to the last byte of the answer; then it is to be given up and `failed`.
    public var timeout: Duration

    /// What the agent shall hold afterwards; nil for a probe.
    public var place: StateBase? {
        switch content {
        case .probe: nil
        case .complete(let place, _), .delta(let place, _, _): place
        }
    }
}

/// What an agent answered.
public enum AgentAnswer: Equatable, Sendable {
    /// 2xx with a state document.
    case standing(Standing)
    case problem(Problem)
    /// Neither, whatever it is.
    case unintelligible(status: Int)
}

/// What came of a transmission.
public enum PushOutcome: Equatable, Sendable {
    /// Nobody waits for it any more: it came too late, or another host has taken the place.
    case ignored
    /// The agent holds what was pushed.
    ///
    /// - Parameter lag: since the oldest change in it.
    case acknowledged(lag: Duration)
    /// A probe: everything is as it was left.
    case confirmed
    /// A probe: what is held is known now, and there is something to send.
    case known
    /// A probe: what is held is not what was acknowledged. It will be repaired.
    case drifted
    /// A delta was on another base, or came to another digest: the complete state follows.
    case mismatched
    case refused
    case superseded
    case lied
    /// No answer, or the agent's own failure.
    case failed
}

/// Why nothing can be pushed to a host at present.
public struct HostTrouble: Equatable, Sendable {
    /// Pointers of a refusal that are kept.
    public static let errorLimit = 10

    /// One of `unreachable`, `refusing`, `superseded` and `lying`.
    public var health: HostSyncState
    /// For people.
    public var text: String
    /// Of the refusal, if the agent said one.
    public var code: ProblemCode?
    /// The first `errorLimit` of the refusal.
    public var errors: [FieldError] = []

    /// Whether only a push can show that it is over; of the others, a probe does.
    var isOfPush: Bool {
        switch (health, code) {
        case (.lying, _): true
        case (.refusing, .staleState), (.refusing, .stateConflict): false
        default: health == .refusing
        }
    }
}

extension HostTrouble {
    init(_ problem: Problem) {
        self.init(
            health: .refusing, text: problem.detail, code: problem.code,
            errors: Array(problem.errors.prefix(HostTrouble.errorLimit)))
    }
}
