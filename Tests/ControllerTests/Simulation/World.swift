// A fleet, two controllers that share a lease and a store, and a bad network between them, in virtual time. All that
// happens follows from the seed. While faults last, everything may go wrong at once; then nothing does, and in the
// end every agent must be as the clients of the API were told it would be.
//
//     clients ──▶ controllers (Pusher, PushSchedule) ──▶ network ──▶ agents (StateFence, stored content)
//                    │ lease, store                       lost, late, twice, out of order

import API
import Testing

@testable import Controller

final class World {
    static let hostCount = 3
    static let faultTime = Duration.seconds(40)
    /// The longest way back: a push that was lost at the last moment is given up after two minutes, and the host is
    /// then asked, and sent to, with waits of seconds.
    static let settlingTime = PushTiming.completeTimeout + .seconds(60)
    static let leaseTime = Duration.seconds(4)
    /// Attempts at one host that may fail within a minute, per controller.
    static let failureLimit = 40

    struct Network {
        var lossPercent = 0
        var twicePercent = 0
        var longestDelay = 0.02
        /// Pairs of controller and agent that do not hear of each other.
        var cuts: Set<[Int]> = []
    }

    /// What all controllers share and no crash loses.
    struct Store {
        var wanted: [Content]
        /// Which of its two agents is a host's.
        var agents: [Int]
        var epoch = 0
        var holder: Int?
        var expiry = Duration.zero
    }

    var random: Seeded
    let plants: Set<Plant>
    let isTraced: Bool
    var now = Duration.zero
    var agenda = Agenda<() throws -> Void>()
    var network = Network()
    var agents: [SimulatedAgent]
    var controllers: [SimulatedController]
    var store: Store
    /// What clients were told is so.
    var promised: [Content]
    var promisedAgents: [Int]
    /// What was sent under each number, by host, epoch and generation.
    var sent: [[Int]: SHA256] = [:]
    /// Attempts that failed, by controller, host and minute.
    var failures: [[Int]: Int] = [:]
    /// How much rarer than once a second faults are: some runs are nothing but trouble, others mostly work.
    let calm: Double
    var stepCount = 0
    /// Of requests.
    var lastID = 0
    var acknowledgementCount = 0
    var isFaulty: Bool { now < World.faultTime }

    init(seed: UInt64, plants: Set<Plant> = [], isTraced: Bool = false) {
        random = Seeded(seed)
        calm = Double.random(in: 0.5...5, using: &random)
        self.plants = plants
        self.isTraced = isTraced
        let nothing = Array(repeating: Content(), count: World.hostCount)
        agents = Array(repeating: SimulatedAgent(), count: 2 * World.hostCount)
        controllers = [SimulatedController(number: 0), SimulatedController(number: 1)]
        store = Store(wanted: nothing, agents: (0..<World.hostCount).map { 2 * $0 })
        (promised, promisedAgents) = (nothing, store.agents)
    }

    func trace(_ text: @autoclosure () -> String) {
        guard isTraced else { return }
        let time = "\(Int(now.seconds * 1000))"
        print(String(repeating: " ", count: max(0, 7 - time.count)) + time, text())
    }

    func after(_ seconds: ClosedRange<Double>, _ body: @escaping () throws -> Void) {
        agenda.plan(body, at: now + .random(seconds, &random))
    }

    /// - Parameter stepLimit: after which it ends, wherever it is.
    func run(stepLimit: Int = .max) throws {
        disturbNetwork()
        for number in controllers.indices { leaseTick(number) }
        after(0.1...0.5, change)
        after(0.5...1, fault)
        agenda.plan({ self.heal() }, at: World.faultTime)
        agenda.plan({ self.confirmRemovals() }, at: World.faultTime)
        while let (time, body) = agenda.next(), time <= World.faultTime + World.settlingTime {
            guard stepCount < stepLimit else { return }
            stepCount += 1
            now = time
            try body()
        }
        try checkEnd()
    }

    /// Every agent is as the leader wants it, and that is what clients were told.
    private func checkEnd() throws {
        guard store.wanted == promised, store.agents == promisedAgents else {
            throw Violation("something that was promised to a client is not in the store")
        }
        guard let number = store.holder, controllers[number].epoch == store.epoch else {
            throw Violation("nobody leads")
        }
        let leader = controllers[number]
        for host in 0..<World.hostCount {
            let agent = agents[store.agents[host]]
            let (wanted, found) = (promised[host], agent.stored.content)
            guard leader.wanted[host] == wanted, found == wanted else {
                let paths = Set(wanted.keys).union(found.keys).filter { wanted[$0] != found[$0] }
                throw Violation("host \(host) is not as promised in the end: \(paths.sorted())")
            }
            guard let pusher = leader.pushers[host], pusher.health == .inSync, agent.isInSync,
                agent.stored.head.map(StateBase.init) == pusher.base
            else {
                throw Violation("host \(host): its agent is right, and its pusher does not know")
            }
        }
    }

    // MARK: The network

    func transmit(_ request: Request, from controller: Int, _ life: Int, host: Int, to address: Int) {
        for _ in 0..<copies {
            after(delay) { [self] in try arrive(request, controller, life, host, address) }
        }
    }

    private var delay: ClosedRange<Double> { 0.001...network.longestDelay }

    private var copies: Int {
        if random.chance(network.lossPercent) { return 0 }
        return random.chance(network.twicePercent) ? 2 : 1
    }

    private func arrive(
        _ request: Request, _ controller: Int, _ life: Int, _ host: Int, _ address: Int
    ) throws {
        let id = request.transmission.id
        if network.cuts.contains([controller, address]) { return }
        guard agents[address].isUp else {
            after(delay) { [self] in try noAnswer(id, controller, life, host, "connection refused") }
            return
        }
        let isHanging = agents[address].mood == .hanging
        let crash =
            isFaulty && request.transmission.place != nil ? Int.random(in: 0..<100, using: &random) : 99
        if isHanging, random.chance(50) { return }
        if crash == 0 { return crashAgent(address) }
        let (answer, held) = try apply(request, address, of: host)
        trace("a\(address) \(describe(request.transmission)): \(describe(answer)), holds \(held)")
        if crash == 1 { return crashAgent(address) }
        if isHanging { return }
        for _ in 0..<copies {
            after(delay) { [self] in
                if network.cuts.contains([controller, address]) { return }
                try self.answer(answer, id, controller, life, host)
            }
        }
    }

    /// The agent does as it is told, and the rules of what it may hold are looked at.
    private func apply(_ request: Request, _ address: Int, of host: Int) throws -> (AgentAnswer, String) {
        let before = agents[address]
        agents[address].hosts.insert(host)
        let (answer, isStored) = agents[address].handle(request, plants)
        if plants.contains(.answersBeforeItStores), isStored {
            let (stored, boot) = (agents[address].stored, before.bootCount)
            (agents[address].stored, agents[address].history) = (before.stored, before.history)
            after(0.01...0.2) { [self] in
                guard agents[address].isUp, agents[address].bootCount == boot else { return }
                agents[address].stored = stored
                agents[address].history += stored.head.map { [StateBase($0)] } ?? []
            }
        } else if isStored {
            try checkStored(before, agents[address], host: host)
        }
        if case .problem(let problem) = answer {
            if problem.code == .digestMismatch {
                throw Violation("a push came to another digest than it said")
            }
            // Two hosts count each for itself.
            if problem.code == .stateConflict, agents[address].hosts.count == 1 {
                throw Violation("two states have the same number")
            }
        }
        let held = agents[address].stored.head.map { "\($0.epoch).\($0.generation)" } ?? "nothing"
        return (answer, held)
    }

    private func checkStored(_ before: SimulatedAgent, _ after: SimulatedAgent, host: Int) throws {
        guard let held = after.stored.head else { return }
        if let old = before.stored.head, (held.epoch, held.generation) < (old.epoch, old.generation) {
            throw Violation(
                "host \(host) went back from \(old.epoch).\(old.generation) to \(held.epoch).\(held.generation)"
            )
        }
        guard sent[[host, held.epoch, held.generation]] == after.stored.digest else {
            throw Violation(
                "host \(host) holds \(held.epoch).\(held.generation), and not what was sent as that: "
                    + "something was removed or kept that nobody said")
        }
    }

    func describe(_ transmission: Transmission<String>) -> String {
        let id = transmission.id
        switch transmission.content {
        case .probe: return "GET #\(id)"
        case .complete(let place, _): return "PUT #\(id) \(place.epoch).\(place.generation)"
        case .delta(let place, let base, let paths):
            return "PATCH #\(id) \(place.epoch).\(place.generation) on \(base.epoch).\(base.generation), "
                + "\(paths.count) paths"
        }
    }

    private func describe(_ answer: AgentAnswer) -> String {
        switch answer {
        case .standing(let standing): standing.isInSync ? "200" : "200, not in sync"
        case .problem(let problem): problem.code.rawValue
        case .unintelligible(let status): "\(status)"
        }
    }
}
