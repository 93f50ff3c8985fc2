// From changes to pushes, and from answers to what is known of hosts. What to send and when is decided by `Pusher`
// and `PushSchedule`; here it is composed, sent and listened for.

internal import API
internal import HTTP
internal import JSON
internal import Logging
internal import REST

extension ControllerCore {
    // MARK: Changes

    /// Follows changes of the fleet: hosts come and go, and those that are to have something else are told, the ones
    /// that gain something first.
    func follow(_ changes: [FleetChange]) {
        let now = clock.now
        for change in changes { followHost(change, now) }
        if changes.contains(where: { $0.id.kind == FleetHost.kind }) { checkDescriptors() }
        let effects = desired.update(changes, fleet)
        var numbers: [(effect: HostEffect, change: Int)] = []
        for effect in effects {
            guard let change = pushers[effect.host]?.changed(effect.paths, now: now) else { continue }
            numbers.append((effect, change))
        }
        hold(numbers, now)
        let healthy = numbers.filter { isHealthy($0.effect.host) }.map {
            (host: $0.effect.host, change: $0.change)
        }
        if !healthy.isEmpty { _ = arrivals.add(.convergence(since: now), at: healthy) }
        for effect in effects { look(at: effect.host, now) }
        pump()
    }

    /// Hosts of a later phase wait for those of the earlier ones, as long as these are well, unless others wait for
    /// them already.
    private func hold(_ numbers: [(effect: HostEffect, change: Int)], _ now: Duration) {
        for phase in [HostEffect.Phase.gains, .changes] {
            let first = numbers.filter { $0.effect.phase == phase && isHealthy($0.effect.host) }
            let later = numbers.filter { $0.effect.phase > phase && !arrivals.isAwaited($0.effect.host) }
                .map(\.effect.host)
            guard !first.isEmpty, !later.isEmpty else { continue }
            let places = first.map { (host: $0.effect.host, change: $0.change) }
            let wave = arrivals.add(.wave(holding: later), at: places)
            for host in later {
                pushers[host]?.hold(for: wave, until: now + PushTiming.longestGate, now: now)
            }
        }
    }

    /// Others may wait for it. Not for one whose answer is long overdue, though it may still come.
    private func isHealthy(_ host: Name) -> Bool {
        pushers[host]?.isHealthy == true && !schedule.isSlow(host)
    }

    private func followHost(_ change: FleetChange, _ now: Duration) {
        guard case .host(let name) = change.id else { return }
        switch (change.from, change.to) {
        case (_, nil):
            (pushers[name], links[name], told[name]) = (nil, nil, nil)
            schedule.remove(name)
            over(arrivals.giveUp(on: name), now)
        case (.host(let before), .host(let after)) where before.agentURL == after.agentURL:
            links[name] = link(to: after)
        case (nil, .host(let host)):
            links[name] = link(to: host)
            pushers[name] = newPusher(now)
        case (_, .host(let host)):
            links[name] = link(to: host)
            pushers[name]?.moved(now: now)
        default: break
        }
        // A host that nothing is wanted of is asked and adopted all the same.
        look(at: name, now)
    }

    // MARK: Sending

    /// Sends all that may be sent now, and sees to it that this is called again in time. Sends nothing once the term
    /// has run out, although the news of it may not have come yet.
    func pump() {
        guard isLeading else { return }
        let now = clock.now
        while let host = schedule.next(now: now) {
            lastTransmission += 1
            let transmission = pushers[host]?.start(
                lastTransmission, now: now, digest: { desired.digest(of: host) })
            if let transmission { send(transmission, to: host) }
            look(at: host, now)
        }
        alarm.set(schedule.wake(now: now), now: now) { [weak self] in await self?.ring() }
    }

    private func ring() {
        alarm.clear()
        pump()
    }

    private func send(_ transmission: Transmission<StatePath>, to host: Name) {
        guard let link = links[host] else { return }
        let body = body(of: transmission.content, for: host)
        pushRecord.sent(body)
        let start = clock.now
        Task {
            let answer = await link.send(transmission.content.method, body, timeout: transmission.timeout)
            self.arrived(answer, host, transmission, start)
        }
    }

    private func body(of content: Transmission<StatePath>.Content, for host: Name) -> [UInt8]? {
        switch content {
        case .probe: nil
        case .complete(let place, let allowMassDelete):
            desired.completeBody(of: host, head(place), allowMassDelete: allowMassDelete)
        case .delta(let place, let base, let paths):
            desired.deltaBody(of: host, head(place), on: base, paths)
        }
    }

    private func head(_ place: StateBase) -> PushHead {
        PushHead(
            controller: settings.name, epoch: place.epoch, generation: place.generation, digest: place.digest)
    }

    // MARK: Answers

    private func arrived(
        _ answer: Result<AgentAnswer, HTTPClientError>, _ host: Name, _ transmission: Transmission<StatePath>,
        _ start: Duration
    ) {
        let now = clock.now
        defer { pump() }
        guard var pusher = pushers[host] else { return }
        let outcome: PushOutcome
        switch answer {
        case .success(.standing(let standing)):
            if let problem = conflict(over: standing.agentID, with: host) {
                outcome = pusher.answered(
                    transmission.id, byAnothers: standing, problem, now: now, using: &random)
            } else {
                outcome = pusher.answered(transmission.id, .standing(standing), now: now, using: &random)
            }
        case .success(let answer):
            outcome = pusher.answered(transmission.id, answer, now: now, using: &random)
        case .failure(let failure):
            outcome = pusher.failed(transmission.id, "\(failure)", now: now, using: &random)
        }
        pushers[host] = pusher
        pushRecord.note(transmission.content, outcome, now - start)
        over(arrivals.arrived(at: host, upTo: pusher.acknowledgedChange), now)
        if !pusher.isHealthy { over(arrivals.giveUp(on: host), now) }
        look(at: host, now)
    }

    /// Two hosts that share an agent would push to it by turns: the first to be answered by it has it.
    ///
    /// - Returns: why this host has not; nil: it has.
    private func conflict(over agent: String?, with host: Name) -> Problem? {
        guard let agent else { return nil }
        if let owner = agents[agent], owner != host, pushers[owner]?.standing?.agentID == agent {
            return Problem(
                .stateConflict,
                "\(FleetID.host(host).path): wanted an agent of its own at agent_url, found agent \(agent) of "
                    + FleetID.host(owner).path)
        }
        agents[agent] = host
        return nil
    }

    /// What waits have come to: pushes that were held back may go, and how long it took is known.
    private func over(_ waits: [Arrivals.Over], _ now: Duration) {
        for wait in waits {
            switch wait.purpose {
            case .convergence(let since):
                if wait.isComplete { pushRecord.convergence.observe(now - since) }
            case .wave(let holding):
                for host in holding {
                    pushers[host]?.release(wait.id)
                    look(at: host, now)
                }
            }
        }
    }

    /// After anything that happened to a host: when it is due may have changed, and how it is.
    func look(at host: Name, _ now: Duration) {
        guard let pusher = pushers[host] else { return }
        schedule.plan(host, pusher)
        tell(host, pusher)
    }

    /// Pushes come and go with every change: only that something is wrong, or no longer is, is an event.
    private func tell(_ host: Name, _ pusher: Pusher<StatePath>) {
        let state = pusher.health
        let isNews = state.isTrouble ? told[host] != state : state == .inSync && told[host] != .inSync
        guard isNews, let type = EventType(rawValue: "host.\(state.rawValue)") else { return }
        told[host] = state
        var data: JSONObject = [:]
        if let trouble = pusher.trouble {
            data["detail"] = .string(trouble.text)
            data["code"] = trouble.code.map { .string($0.rawValue) }
        }
        events.append(type, FleetID.host(host).path, data, at: RFC3339.wallMilliseconds)
        log.log(
            level: state.isTrouble ? .warning : .info, "host \(state.rawValue)",
            metadata: ["host": "\(host)", "detail": "\(pusher.trouble?.text ?? "")"])
    }
}
