// A controller without its API: a lease, what is wanted, and the pushers, driven as the service drives them.

import API

@testable import Controller

struct SimulatedController {
    /// Hosts that wait for one that gains something.
    struct Wave {
        var number: Int
        var host: Int
        var change: Int
        var others: [Int]
    }

    let number: Int
    var isUp = true
    var isPaused = false
    /// Another one after each crash: what happens to an earlier one happens to nobody.
    var life = 0
    /// What happened to it while it was stopped.
    var backlog: [() throws -> Void] = []
    /// Nil while it does not believe that it leads.
    var epoch: Int?
    var wanted: [Content] = []
    var agents: [Int] = []
    var pushers: [Int: Pusher<String>] = [:]
    var schedule = PushSchedule<Int>(slots: 4)
    var waves: [Wave] = []
    /// Requests under way, by host.
    var underWay: [Int: Int] = [:]

    init(number: Int) { self.number = number }

    mutating func crash() {
        let life = life + 1
        self = SimulatedController(number: number)
        (self.life, isUp) = (life, false)
    }
}

extension World {
    /// Something that happens to a controller: now, later if it is stopped, never if it has crashed since.
    private func happen(_ number: Int, _ life: Int, _ body: @escaping () throws -> Void) throws {
        guard controllers[number].life == life, controllers[number].isUp else { return }
        guard !controllers[number].isPaused else {
            controllers[number].backlog.append { [self] in try happen(number, life, body) }
            return
        }
        try body()
    }

    // MARK: The lease

    func leaseTick(_ number: Int) {
        let life = controllers[number].life
        after(0.5...1) { [self] in
            try happen(number, life) { [self] in
                leaseTick(number)
                try renew(number)
            }
        }
    }

    private func renew(_ number: Int) throws {
        if store.holder == number, controllers[number].epoch == store.epoch, now < store.expiry {
            store.expiry = now + World.leaseTime
        } else if controllers[number].epoch != nil {
            trace("c\(number) has lost the lease")
            controllers[number].epoch = nil
            for host in 0..<World.hostCount { control(number, host) { [now] in $0.pause(now: now) } }
            controllers[number].underWay = [:]
        } else if now >= store.expiry {
            if !plants.contains(.epochStands) || store.epoch == 0 { store.epoch += 1 }
            (store.holder, store.expiry) = (number, now + World.leaseTime)
            try lead(number)
        }
    }

    private func lead(_ number: Int) throws {
        trace("c\(number) leads, epoch \(store.epoch)")
        controllers[number].epoch = store.epoch
        (controllers[number].wanted, controllers[number].agents) = (store.wanted, store.agents)
        controllers[number].waves = []
        for host in 0..<World.hostCount {
            if controllers[number].pushers[host] == nil {
                controllers[number].pushers[host] = Pusher<String>(controller: "fleet1", now: now)
            }
            control(number, host) { [store, now] in $0.lead(epoch: store.epoch, now: now) }
        }
        try pump(number)
    }

    // MARK: Pushing

    /// Tells pushers of a change; all but the one that gains wait for it.
    func tell(_ number: Int, _ changes: [(host: Int, paths: [String])], gaining: Int?) {
        var wave: SimulatedController.Wave?
        for (host, paths) in changes {
            control(number, host) { [now, stepCount] in
                let change = $0.changed(paths, now: now)
                guard let gaining else { return }
                if host == gaining {
                    wave = .init(number: stepCount, host: host, change: change, others: [])
                } else {
                    $0.hold(for: stepCount, until: now + .seconds(1), now: now)
                }
            }
        }
        wave?.others = changes.map(\.host).filter { $0 != gaining }
        if let wave { controllers[number].waves.append(wave) }
    }

    func moved(_ number: Int, _ host: Int) throws {
        control(number, host) { [now] in $0.moved(now: now) }
        controllers[number].underWay[host] = nil
        try pump(number)
    }

    /// Does something to a pusher, and lets the schedule know what it wants now.
    func control(_ number: Int, _ host: Int, _ body: (inout Pusher<String>) -> Void) {
        guard var pusher = controllers[number].pushers[host] else { return }
        body(&pusher)
        controllers[number].pushers[host] = pusher
        controllers[number].schedule.plan(host, pusher)
    }

    /// Sends what may be sent, and comes back when there may be more.
    func pump(_ number: Int) throws {
        guard controllers[number].isUp, !controllers[number].isPaused else { return }
        while let host = controllers[number].schedule.next(now: now) {
            var transmission: Transmission<String>?
            lastID += 1
            control(number, host) { [controllers, now, lastID] in
                transmission = $0.start(lastID, now: now) { digest(of: controllers[number].wanted[host]) }
            }
            if let transmission { try send(transmission, number, host) }
        }
        guard let wake = controllers[number].schedule.wake(now: now) else { return }
        let life = controllers[number].life
        agenda.plan(
            { [self] in try happen(number, life) { [self] in try pump(number) } },
            at: max(wake, now + .milliseconds(1)))
    }

    private func send(_ transmission: Transmission<String>, _ number: Int, _ host: Int) throws {
        let (life, id) = (controllers[number].life, transmission.id)
        guard controllers[number].underWay.updateValue(id, forKey: host) == nil else {
            throw Violation("two requests to host \(host) are under way")
        }
        var request = Request(controller: "fleet1", transmission: transmission)
        let wanted = controllers[number].wanted[host]
        switch transmission.content {
        case .probe: break
        case .complete: request.resources = wanted
        case .delta(_, _, let paths):
            request.operations = paths.sorted().map { (path: $0, value: wanted[$0]) }
            if plants.contains(.removalsNotSent) { request.operations.removeAll { $0.value == nil } }
        }
        if let place = transmission.place {
            let key = [host, place.epoch, place.generation]
            if let other = sent.updateValue(place.digest, forKey: key), other != place.digest {
                throw Violation("host \(host) is sent two states as \(place.epoch).\(place.generation)")
            }
            sabotage(number, host, place)
        }
        let address = controllers[number].agents[host]
        trace("c\(number) h\(host) ─▶ a\(address) \(describe(transmission))")
        transmit(request, from: number, life, host: host, to: address)
        agenda.plan(
            { [self] in try noAnswer(id, number, life, host, "timed out") }, at: now + transmission.timeout)
    }

    private func sabotage(_ number: Int, _ host: Int, _ place: StateBase) {
        if plants.contains(.pathsClearedWhenSent) {
            controllers[number].pushers[host]?.flight?.push?.paths = []
        }
        if plants.contains(.generationStands) {
            controllers[number].pushers[host]?.generation = place.generation - 1
        }
    }

    // MARK: Answers

    func answer(_ answer: AgentAnswer, _ id: Int, _ number: Int, _ life: Int, _ host: Int) throws {
        try happen(number, life) { [self] in
            guard let pusher = controllers[number].pushers[host] else { return }
            var (answer, id) = (answer, id)
            if plants.contains(.lateAnswersCount), let flight = pusher.flight { id = flight.id }
            if plants.contains(.probeSettlesDoubt), case .standing(var standing) = answer,
                case .doubtful(let push, _) = pusher.knowledge
            {
                standing.held?.epoch = push.place.epoch
                standing.held?.generation = push.place.generation
                standing.held?.digest = push.place.digest
                answer = .standing(standing)
            }
            try conclude(number, host, id) { [now] in
                $0.answered(id, answer, now: now, using: &$1)
            }
        }
    }

    func noAnswer(_ id: Int, _ number: Int, _ life: Int, _ host: Int, _ text: String) throws {
        try happen(number, life) { [self] in
            try conclude(number, host, id) { [now] in $0.failed(id, text, now: now, using: &$1) }
        }
    }

    private func conclude(
        _ number: Int, _ host: Int, _ id: Int, _ body: (inout Pusher<String>, inout Seeded) -> PushOutcome
    ) throws {
        var outcome = PushOutcome.ignored
        control(number, host) { outcome = body(&$0, &random) }
        guard outcome != .ignored else { return }
        trace("c\(number) h\(host) #\(id): \(outcome)")
        if controllers[number].underWay[host] == id { controllers[number].underWay[host] = nil }
        if outcome == .lied, !agents[controllers[number].agents[host]].isCrooked {
            throw Violation("host \(host) is taken for a liar, and never lied")
        }
        switch outcome {
        case .acknowledged: try acknowledged(number, host)
        case .refused, .failed, .lied, .superseded: try countFailure(number, host)
        case .ignored, .confirmed, .known, .drifted, .mismatched: break
        }
        try pump(number)
    }

    /// What is acknowledged has been there.
    private func acknowledged(_ number: Int, _ host: Int) throws {
        acknowledgementCount += 1
        if plants.contains(.changesInFlightLost) {
            control(number, host) {
                $0.paths = []
                $0.oldest = nil
                $0.acknowledgedChange = $0.change
            }
        }
        let agent = agents[controllers[number].agents[host]]
        guard let pusher = controllers[number].pushers[host], let base = pusher.base,
            agent.history.contains(base)
        else { throw Violation("host \(host) never held what it is taken to have acknowledged") }
        let arrived = controllers[number].waves.filter {
            $0.host == host && pusher.acknowledgedChange >= $0.change
        }
        controllers[number].waves.removeAll { wave in arrived.contains { $0.number == wave.number } }
        for wave in arrived {
            for other in wave.others { control(number, other) { $0.release(wave.number) } }
        }
    }

    private func countFailure(_ number: Int, _ host: Int) throws {
        if plants.contains(.noBackoff) { control(number, host) { [now] in $0.notBefore = now } }
        let key = [number, host, Int(now.seconds / 60)]
        failures[key, default: 0] += 1
        guard failures[key, default: 0] <= World.failureLimit else {
            throw Violation("more than \(World.failureLimit) attempts at host \(host) failed within a minute")
        }
    }
}
