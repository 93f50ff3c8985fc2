// What came of a transmission, and what that says of the agent.

internal import API

extension Pusher {
    /// Takes the answer to a transmission. One that comes after `failed`, or twice, or after the host has moved, is
    /// ignored: it may be older than what is known.
    public mutating func answered(
        _ id: Int, _ answer: AgentAnswer, now: Duration, using random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        guard let flight, flight.id == id else { return .ignored }
        self.flight = nil
        defer { settle(now) }
        switch (answer, flight.push) {
        case (.standing(let standing), let push?):
            self.standing = standing
            guard standing.isInSync, holds(push.place) else { return lied(push, now, &random) }
            return acknowledged(push, now, &random)
        case (.standing(let standing), nil):
            self.standing = standing
            return probed(standing, now, &random)
        case (.problem(let problem), _):
            return refused(problem, flight, now, &random)
        case (.unintelligible(let status), let push):
            let text = "wanted a state document, found an answer with status \(status)"
            doubt(push)
            if status < 400 { lieCount += 1 }
            guard (400..<500).contains(status) else {
                let health = status < 400 ? HostSyncState.lying : .unreachable
                return fail(HostTrouble(health: health, text: text), now, &random)
            }
            trouble = HostTrouble(health: .refusing, text: text)
            retrySlowly(now, &random, onChange: false)
            return .refused
        }
    }

    /// Takes note that the agent which answered is another host's. Nothing is pushed until a look shows that it is
    /// so no more.
    ///
    /// - Parameter problem: says whose.
    mutating func answered(
        _ id: Int, byAnothers standing: Standing, _ problem: Problem, now: Duration,
        using random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        guard let flight, flight.id == id else { return .ignored }
        let since = laggingSince
        self.flight = nil
        defer { settle(now) }
        (self.standing, oldest, paths) = (standing, since ?? now, [])
        (isAdopted, isMassDeleteAllowed) = (false, false)
        return outranked(problem, now, &random)
    }

    /// Takes note that there will be no answer to a transmission: refused, reset, timed out. Whether it was carried
    /// out is not asked here; the agent is.
    public mutating func failed(
        _ id: Int, _ text: String, now: Duration, using random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        guard let flight, flight.id == id else { return .ignored }
        self.flight = nil
        defer { settle(now) }
        doubt(flight.push)
        return fail(HostTrouble(health: .unreachable, text: text), now, &random)
    }

    private func holds(_ place: StateBase) -> Bool {
        guard let held = standing?.held else { return false }
        return held.controller == controller && StateBase(held) == place
    }

    // MARK: Good answers

    private mutating func acknowledged(
        _ push: Push, _ now: Duration, _ random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        knowledge = .acknowledged(push.place)
        acknowledgedChange = max(acknowledgedChange, push.change)
        (isAdopted, isMassDeleteAllowed) = (true, false)
        recover(now, &random)
        return .acknowledged(lag: now - push.oldest)
    }

    private mutating func recover(_ now: Duration, _ random: inout some RandomNumberGenerator) {
        (trouble, failureCount, eagerAt, notBefore) = (nil, 0, nil, now)
        nextProbe = now + Pusher.jittered(probeInterval, &random)
    }

    private mutating func probed(
        _ standing: Standing, _ now: Duration, _ random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        if trouble?.isOfPush == false { trouble = nil }
        // Another attempt at what failed goes at once; if it fails, the next one waits longer.
        notBefore = now
        let base = base
        if standing.isInSync, case .doubtful(let push, _) = knowledge, holds(push.place) {
            return acknowledged(push, now, &random)
        }
        if standing.isInSync, let base, holds(base) {
            giveBack()
            knowledge = .acknowledged(base)
            guard !wantsPush else { return .known }
            recover(now, &random)
            return .confirmed
        }
        let hasDrifted = if case .acknowledged = knowledge { true } else { false }
        giveBack()
        if hasDrifted { driftCount += 1 }
        oldest = oldest ?? now
        paths = []
        knowledge = .outdated
        guard let held = standing.held else { return hasDrifted ? .drifted : .known }
        catchUp(with: held)
        if let problem = fence(held) { return outranked(problem, now, &random) }
        if standing.isInSync { knowledge = .held(StateBase(held)) }
        return hasDrifted ? .drifted : .known
    }

    /// What the agent would say to the next push.
    private func fence(_ held: StateHead) -> Problem? {
        let next = StateHead(
            controller: controller, epoch: epoch ?? 0, generation: generation + 1, digest: SHA256(of: []),
            appliedAt: "")
        do throws(Problem) {
            _ = try StateFence.isHeld(next, held)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Bad ones

    /// A push whose outcome is not known is asked for, by the next probe.
    private mutating func doubt(_ push: Push?) {
        guard let push else { return }
        knowledge = .doubtful(push, base: base)
    }

    /// What a push was to change is still to be changed.
    private mutating func giveBack() {
        guard case .doubtful(let push, _) = knowledge else { return }
        oldest = push.oldest
        paths.formUnion(push.paths)
    }

    private mutating func lied(
        _ push: Push, _ now: Duration, _ random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        lieCount += 1
        (oldest, paths, knowledge) = (push.oldest, [], .outdated)
        let found = standing?.held.map { "generation \($0.generation) of epoch \($0.epoch)" } ?? "nothing"
        let place = "generation \(push.place.generation) of epoch \(push.place.epoch)"
        let text =
            "wanted \(place) to be held and in sync, found \(found)"
            + (standing?.isInSync == true ? "" : ", not in sync")
        return fail(HostTrouble(health: .lying, text: text), now, &random)
    }

    private mutating func refused(
        _ problem: Problem, _ flight: Flight, _ now: Duration, _ random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        if problem.status >= 500 || problem.code == .rateLimited {
            doubt(flight.push)
            return fail(HostTrouble(problem), now, &random)
        }
        guard let push = flight.push else {
            trouble = HostTrouble(problem)
            retrySlowly(now, &random, onChange: false)
            return .refused
        }
        (oldest, paths, knowledge) = (push.oldest, [], .outdated)
        switch problem.code {
        case .staleState, .stateConflict:
            if let held = problem.held { standing = Standing(held: held, isInSync: true) }
            return outranked(problem, now, &random)
        case .baseMismatch where !flight.isComplete, .digestMismatch where !flight.isComplete:
            return .mismatched
        default:
            trouble = HostTrouble(problem)
            retrySlowly(now, &random, onChange: true)
            return .refused
        }
    }

    /// Somebody else's push counts more than ours. Only a look now and then can show that this has changed.
    private mutating func outranked(
        _ problem: Problem, _ now: Duration, _ random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        knowledge = .unknown
        trouble = HostTrouble(problem)
        retrySlowly(now, &random, onChange: false)
        guard let held = problem.held, held.controller == controller, held.epoch > epoch ?? 0 else {
            return .refused
        }
        trouble?.health = .superseded
        return .superseded
    }

    // MARK: Waiting

    private mutating func fail(
        _ trouble: HostTrouble, _ now: Duration, _ random: inout some RandomNumberGenerator
    ) -> PushOutcome {
        (self.trouble, failedAt) = (trouble, now)
        notBefore = now + backoff(&random)
        (nextProbe, eagerAt) = (now, nil)
        return trouble.health == .lying ? .lied : .failed
    }

    private mutating func retrySlowly(
        _ now: Duration, _ random: inout some RandomNumberGenerator, onChange: Bool
    ) {
        failedAt = now
        let soon = now + backoff(&random)
        eagerAt = onChange ? soon : nil
        notBefore = now + Pusher.jittered(PushTiming.slowRetry, &random)
        nextProbe = now
    }

    /// Counts a failure. Full jitter: those that failed together come back apart.
    private mutating func backoff(_ random: inout some RandomNumberGenerator) -> Duration {
        let doublings = min(failureCount, 16)
        failureCount += 1
        let longest = min(PushTiming.longestBackoff, PushTiming.firstBackoff * (1 << doublings))
        return longest * Double.random(in: 0...1, using: &random)
    }

    private static func jittered(
        _ duration: Duration, _ random: inout some RandomNumberGenerator
    ) -> Duration {
        duration * Double.random(in: 1 - PushTiming.jitter...1 + PushTiming.jitter, using: &random)
    }
}
