// What clients do and what goes wrong.

import API

@testable import Controller

extension World {
    // MARK: Clients

    /// One client's write: what is wanted on one host or several becomes another.
    func change() throws {
        guard isFaulty else { return }
        after(0.05...0.6, change)
        let leaders = controllers.indices.filter {
            controllers[$0].isUp && !controllers[$0].isPaused && controllers[$0].epoch != nil
        }
        guard let number = leaders.randomElement(using: &random), let epoch = controllers[number].epoch else {
            return
        }
        let isStale = epoch != store.epoch || store.holder != number
        if isStale, !plants.contains(.staleLeaderAnswers) { return }
        if random.chance(3) { return try moveHost(number, isStale) }
        let first = Int.random(in: 0..<World.hostCount, using: &random)
        let hosts = random.chance(40) ? Array(0..<World.hostCount) : [first]
        var changes: [(host: Int, paths: [String])] = []
        for host in hosts {
            var content = controllers[number].wanted[host]
            let paths = edit(&content)
            if !isStale { store.wanted[host] = content }
            promised[host] = content
            controllers[number].wanted[host] = content
            changes.append((host, paths))
        }
        let text = changes.map { "h\($0.host) \($0.paths.joined(separator: " "))" }.joined(separator: ", ")
        trace("c\(number) wants \(text)")
        tell(number, changes, gaining: random.chance(50) ? first : nil)
        try pump(number)
    }

    private func edit(_ content: inout Content) -> [String] {
        let bridge = "/v1/bridges/b\(Int.random(in: 0..<3, using: &random))"
        if random.chance(10) {
            let gone = content.keys.filter { $0.hasPrefix(bridge) }.sorted()
            for path in gone { content[path] = nil }
            return gone
        }
        let path = "\(bridge)/ports/p\(Int.random(in: 0..<5, using: &random))"
        if content[path] != nil, random.chance(40) {
            content[path] = nil
            return [path]
        }
        content[path] = Int.random(in: 0..<4, using: &random)
        guard content[bridge] == nil else { return [path] }
        content[bridge] = 0
        return [bridge, path]
    }

    private func moveHost(_ number: Int, _ isStale: Bool) throws {
        let host = Int.random(in: 0..<World.hostCount, using: &random)
        let agent = controllers[number].agents[host] ^ 1
        if !isStale { store.agents[host] = agent }
        promisedAgents[host] = agent
        controllers[number].agents[host] = agent
        trace("c\(number) h\(host) is a\(agent) now")
        try moved(number, host)
    }

    // MARK: Faults

    func fault() throws {
        guard isFaulty else { return }
        after(0.2 * calm...1.8 * calm, fault)
        let address = Int.random(in: agents.indices, using: &random)
        let number = Int.random(in: controllers.indices, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: crashAgent(address)
        case 1:
            let mood =
                [SimulatedAgent.Mood.hanging, .failing, .refusing, .lying]
                .randomElement(using: &random) ?? .well
            agents[address].mood = mood
            if mood == .lying { agents[address].isCrooked = true }
            trace("a\(address) is \(mood)")
            after(0.5...15) { [self] in agents[address].mood = .well }
        case 2:
            if agents[address].corrupt() { trace("a\(address) is written to by others") }
        case 3:
            let cut = [number, address]
            network.cuts.insert(cut)
            trace("c\(number) and a\(address) are cut off")
            after(0.5...15) { [self] in network.cuts.remove(cut) }
        case 4: crashController(number)
        case 5: pauseController(number)
        default: disturbNetwork()
        }
    }

    func disturbNetwork() {
        network.lossPercent = Int.random(in: 0...25, using: &random)
        network.twicePercent = Int.random(in: 0...30, using: &random)
        network.longestDelay = [0.02, 0.3, 3, 12].randomElement(using: &random) ?? 0.02
        trace("the network loses \(network.lossPercent) %, delays up to \(network.longestDelay) s")
    }

    func crashAgent(_ address: Int) {
        guard agents[address].isUp else { return }
        trace("a\(address) crashes")
        agents[address].isUp = false
        after(0.1...5) { [self] in startAgent(address) }
    }

    private func startAgent(_ address: Int) {
        guard !agents[address].isUp else { return }
        trace("a\(address) starts")
        agents[address].isUp = true
        agents[address].bootCount += 1
    }

    private func crashController(_ number: Int) {
        guard controllers[number].isUp, !controllers[number].isPaused else { return }
        trace("c\(number) crashes")
        controllers[number].crash()
        let life = controllers[number].life
        after(0.2...6) { [self] in startController(number, life) }
    }

    private func startController(_ number: Int, _ life: Int) {
        guard controllers[number].life == life, !controllers[number].isUp else { return }
        trace("c\(number) starts")
        controllers[number].isUp = true
        leaseTick(number)
    }

    private func pauseController(_ number: Int) {
        guard controllers[number].isUp, !controllers[number].isPaused else { return }
        trace("c\(number) is stopped")
        controllers[number].isPaused = true
        after(1...15) { [self] in resumeController(number) }
    }

    /// What it missed happens to it now, in any order, and some of it before it knows how late it is.
    private func resumeController(_ number: Int) {
        guard controllers[number].isPaused else { return }
        trace("c\(number) goes on")
        controllers[number].isPaused = false
        let backlog = controllers[number].backlog
        controllers[number].backlog = []
        for body in backlog { after(0...0.5, body) }
    }

    /// The operator looks every few seconds, and says that what would remove most of a host is meant.
    func confirmRemovals() {
        after(5...10, confirmRemovals)
        for number in controllers.indices where !controllers[number].isPaused {
            for host in 0..<World.hostCount
            where controllers[number].pushers[host]?.trouble?.code == .massDelete {
                trace("the operator allows c\(number) to empty h\(host)")
                control(number, host) { [now] in $0.allowMassDelete(now: now) }
                after(0...0.1) { [self] in try pump(number) }
            }
        }
    }

    func heal() {
        trace("the faults are over")
        network = Network()
        for address in agents.indices {
            agents[address].mood = .well
            startAgent(address)
        }
        for number in controllers.indices {
            resumeController(number)
            startController(number, controllers[number].life)
        }
    }
}
