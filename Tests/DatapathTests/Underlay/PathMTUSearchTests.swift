// Owns: the search for a path's MTU, against simulated paths, and how the searches of many share the probes.

import Testing
import Wire

@testable import Datapath

/// A path that carries packets of up to `mtu` bytes.
struct SimulatedPath {
    var mtu: Int
    var lossPercent = 0
    /// Routers say "too big", and how large the next packet may be.
    var tells = false
    var isDead = false
    var delay: UInt64 = 20
}

/// One search on a simulated path, in simulated time.
struct Simulation {
    var search: PathMTUSearch
    var path: SimulatedPath
    var generator: SeededGenerator
    var now: UInt64 = 0
    var sizes: [Int] = []
    private var answers: [(at: UInt64, size: Int)] = []

    init(isIPv4: Bool = true, linkMTU: Int = 1500, _ path: SimulatedPath, seed: UInt64 = 1) {
        search = PathMTUSearch(isIPv4: isIPv4, linkMTU: linkMTU, startAt: 0)
        self.path = path
        generator = SeededGenerator(seed: seed)
    }

    /// Until the search has ended another round, or a day has passed. Returns how many probes that took.
    mutating func round() -> Int {
        let rounds = search.roundCount
        let probes = sizes.count
        while search.roundCount == rounds, now < 86_400_000 { step() }
        return sizes.count - probes
    }

    mutating func run(milliseconds: UInt64) {
        let end = now + milliseconds
        while now < end { step() }
    }

    private mutating func step() {
        let next = answers.map(\.at).min() ?? .max
        now = max(now, min(next, search.dueAt))
        for answer in answers where answer.at <= now {
            search.answered(answer.size, roundTripMilliseconds: path.delay, now: now)
        }
        answers.removeAll { $0.at <= now }
        guard let size = search.next(now: now) else { return }
        sizes.append(size)
        let isLost = Int.random(in: 0..<100, using: &generator) < path.lossPercent
        if path.isDead || isLost { return }
        if size <= path.mtu {
            answers.append((now + path.delay, size))
        } else if path.tells {
            search.tooBig(size, mtu: path.mtu, now: now)
        }
    }
}

@Suite("searching for a path's MTU")
struct PathMTUSearchTests {
    @Test("a clean path is found in two probes: the base, then the link's own size")
    func clean() {
        var simulation = Simulation(SimulatedPath(mtu: 1500))
        #expect(simulation.round() == 2 && simulation.sizes == [1200, 1500])
        #expect(simulation.search.outcome == .mtu(1500))
    }

    @Test("a router that tells is believed once its size has been proved")
    func told() {
        var simulation = Simulation(SimulatedPath(mtu: 1437, tells: true))
        _ = simulation.round()
        #expect(simulation.sizes == [1200, 1500, 1437] && simulation.search.outcome == .mtu(1437))
    }

    @Test("every MTU of both families is found exactly, told or in silence", arguments: [true, false])
    func exact(isIPv4: Bool) {
        for tells in [true, false] {
            for mtu in (isIPv4 ? 552 : 1280)...1500 {
                var simulation = Simulation(isIPv4: isIPv4, SimulatedPath(mtu: mtu, tells: tells))
                let probes = simulation.round()
                #expect(simulation.search.outcome == .mtu(mtu))
                #expect(probes <= (tells ? 8 : 48), "\(mtu): \(probes) probes")
            }
        }
    }

    @Test("large links: any MTU below is found, in 70 probes at most", arguments: [9000, 9216, 65_535])
    func large(linkMTU: Int) {
        var generator = SeededGenerator(seed: 9)
        let some = (0..<200).map { _ in Int.random(in: 1280...linkMTU, using: &generator) }
        for mtu in some + PathMTUSearch.commonSizes.filter({ $0 <= linkMTU }) + [linkMTU] {
            var simulation = Simulation(isIPv4: false, linkMTU: linkMTU, SimulatedPath(mtu: mtu))
            #expect(simulation.round() <= 70)
            #expect(simulation.search.outcome == .mtu(mtu))
        }
    }

    @Test("losses make it slower, not wrong", arguments: [5, 10, 15], [true, false])
    func lossy(percent: Int, tells: Bool) {
        var generator = SeededGenerator(seed: UInt64(percent))
        for seed in 0..<150 {
            let mtu = Int.random(in: 1280...1500, using: &generator)
            var simulation = Simulation(
                SimulatedPath(mtu: mtu, lossPercent: percent, tells: tells), seed: UInt64(seed))
            #expect(simulation.round() <= 100)
            #expect(simulation.search.outcome == .mtu(mtu), "seed \(seed)")
        }
    }

    @Test("a path slower than the patience of the search is measured by its late answers")
    func late() {
        for mtu in [1300, 1437, 1492, 1500] {
            var simulation = Simulation(SimulatedPath(mtu: mtu, delay: 1700))
            #expect(simulation.round() <= 80)
            #expect(simulation.search.outcome == .mtu(mtu))
        }
    }

    @Test(
        "a link smaller than the base needs no search", arguments: [(true, 1000), (true, 552), (true, 300)])
    func small(isIPv4: Bool, linkMTU: Int) {
        var simulation = Simulation(isIPv4: isIPv4, linkMTU: linkMTU, SimulatedPath(mtu: linkMTU))
        #expect(simulation.round() == 1 && simulation.search.outcome == .mtu(linkMTU))
    }

    @Test("who answers nothing is unanswered, asked six times, and again after ten minutes")
    func unanswered() {
        var simulation = Simulation(SimulatedPath(mtu: 1500, isDead: true))
        #expect(simulation.round() == 6 && simulation.search.outcome == .unanswered)
        #expect(simulation.sizes == [1200, 1200, 1200, 552, 552, 552])
        let end = simulation.now
        #expect(simulation.round() == 6 && simulation.now >= end + 600_000)
        simulation.path.isDead = false
        _ = simulation.round()
        #expect(simulation.search.outcome == .mtu(1500))
    }

    @Test("what is done costs a probe a minute, and a few more every ten to see whether more fits")
    func idle() {
        var simulation = Simulation(SimulatedPath(mtu: 1437))
        _ = simulation.round()
        let before = simulation.sizes.count
        simulation.run(milliseconds: 3_600_000)
        let probes = simulation.sizes.dropFirst(before)
        #expect((55...85).contains(probes.count) && simulation.search.outcome == .mtu(1437))
        #expect(Set(probes) == [1437, 1438] && simulation.search.roundCount > 4)
    }

    @Test("a path that has become larger is found within eleven minutes")
    func raised() {
        var simulation = Simulation(SimulatedPath(mtu: 1400))
        _ = simulation.round()
        simulation.path.mtu = 1480
        simulation.run(milliseconds: 680_000)
        #expect(simulation.search.outcome == .mtu(1480))
    }

    @Test("a black hole: the known size lost twice three times, then the base at once, then what fits")
    func blackHole() {
        var simulation = Simulation(SimulatedPath(mtu: 1500))
        _ = simulation.round()
        simulation.path.mtu = 1390
        let start = simulation.now
        _ = simulation.round()
        #expect(simulation.search.outcome == .mtu(1200))
        #expect(Array(simulation.sizes.suffix(8)) == [1500, 1500, 1500, 1200, 1500, 1500, 1500, 1420])
        #expect(simulation.now <= start + 62_000)
        _ = simulation.round()
        #expect(simulation.search.outcome == .mtu(1390) && simulation.now <= start + 80_000)
    }

    @Test("losses are no black hole: in three days of them nothing changes", arguments: 0..<4)
    func lossyForLong(seed: UInt64) {
        var simulation = Simulation(SimulatedPath(mtu: 1450, lossPercent: 10), seed: seed)
        _ = simulation.round()
        for _ in 0..<3 * 24 * 360 {
            simulation.run(milliseconds: 10_000)
            #expect(simulation.search.outcome == .mtu(1450))
        }
        #expect(simulation.sizes.filter { $0 == 1200 }.count > 1, "there was cause")
    }

    @Test("a remote that was away is no black hole: nothing changes, then it is as it was")
    func away() {
        var simulation = Simulation(SimulatedPath(mtu: 1450))
        _ = simulation.round()
        let rounds = simulation.search.roundCount
        simulation.path.isDead = true
        simulation.run(milliseconds: 300_000)
        #expect(simulation.search.outcome == .mtu(1450) && simulation.search.roundCount == rounds)
        simulation.path.isDead = false
        _ = simulation.round()
        #expect(simulation.search.outcome == .mtu(1450) && simulation.search.roundCount == rounds + 1)
    }

    @Test("another link: smaller or larger, it is found anew, and never more than the link")
    func link() {
        var simulation = Simulation(SimulatedPath(mtu: 9000))
        _ = simulation.round()
        for (linkMTU, mtu) in [(1400, 1400), (9000, 9000), (9100, 9000), (1000, 1000), (1500, 1500)] {
            simulation.search.setLinkMTU(linkMTU, now: simulation.now)
            _ = simulation.round()
            #expect(simulation.search.outcome == .mtu(mtu), "link \(linkMTU)")
        }
    }

    @Test("random answers and refusals never bring it above the link or to a stop", arguments: 0..<6)
    func random(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var search = PathMTUSearch(isIPv4: seed % 2 == 0, linkMTU: 1500, startAt: 0)
        var now: UInt64 = 0
        for _ in 0..<5000 {
            now = max(now, search.dueAt)
            let size = search.next(now: now)
            if let size { #expect((552...1500).contains(size)) }
            let other = Int.random(in: 0...2000, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: search.answered(size ?? other, roundTripMilliseconds: 1, now: now)
            case 1: search.tooBig(size ?? other, mtu: other, now: now)
            default: break
            }
            if case .mtu(let mtu) = search.outcome { #expect(mtu <= 1500) }
            #expect(search.dueAt <= now + 600_000)
        }
    }
}

@Suite("probes of many paths")
struct PathMTUProbesTests {
    private func paths(_ count: Int) -> [UnderlayPath: Int] {
        let all = (0..<count).map {
            (UnderlayPath(remote: .v4(IPv4Address(rawValue: 0x0a00_0001 + UInt32($0)))), 1500)
        }
        return Dictionary(uniqueKeysWithValues: all)
    }

    /// Runs until `end`, every remote answering within the millisecond. Returns when each probe was sent.
    private func run(
        _ probes: inout PathMTUProbes, from start: UInt64, to end: UInt64,
        _ generator: inout SeededGenerator
    ) -> [UInt64] {
        var times: [UInt64] = []
        var now = start
        while let due = probes.nextDue, due <= end {
            now = max(now, due)
            guard let probe = probes.next(now: now, using: &generator) else { continue }
            times.append(now)
            probes.answered(
                by: probe.path.remote, identifier: probe.identifier, sequence: probe.sequence,
                cookie: probe.cookie, size: probe.size, now: now)
        }
        return times
    }

    @Test("a thousand paths share fifty probes a second, and all of them are found")
    func shared() {
        var probes = PathMTUProbes()
        var generator = SeededGenerator(seed: 3)
        probes.setPaths(paths(1000), now: 0, using: &generator)
        let times = run(&probes, from: 0, to: 41_000, &generator)
        #expect(times.count == 2000)
        #expect(zip(times, times.dropFirst()).allSatisfy { $1 >= $0 + 20 })
        let found = probes.takeFindings()
        #expect(found.count == 1000 && found.allSatisfy { $0.outcome == .mtu(1500) })
        #expect(probes.takeFindings().isEmpty)
        let idle = run(&probes, from: 41_000, to: 641_000, &generator)
        #expect((9000...11_000).contains(idle.count), "one a minute each: \(idle.count)")
    }

    @Test("only the answer to a probe that was sent counts, whole")
    func authentic() throws {
        var probes = PathMTUProbes()
        var generator = SeededGenerator(seed: 5)
        let path = UnderlayPath(remote: IPAddress("2001:db8::5")!)
        probes.setPaths([path: 1280], now: 0, using: &generator)
        let probe = try #require(probes.next(now: 0, using: &generator))
        #expect(probe.size == 1280 && probe.path == path)
        func answer(_ change: (inout PathMTUProbes.Probe) -> Void) -> [PathMTUProbes.Finding] {
            var copy = probe
            change(&copy)
            probes.answered(
                by: copy.path.remote, identifier: copy.identifier, sequence: copy.sequence,
                cookie: copy.cookie, size: copy.size, now: 1)
            return probes.takeFindings()
        }
        #expect(answer { $0.path.remote = IPAddress("2001:db8::6")! }.isEmpty)
        #expect(answer { $0.identifier ^= 1 }.isEmpty)
        #expect(answer { $0.sequence &+= 1 }.isEmpty)
        #expect(answer { $0.cookie ^= 1 }.isEmpty)
        #expect(answer { $0.size -= 1 }.isEmpty)
        #expect(answer { _ in } == [PathMTUProbes.Finding(path: path, outcome: .mtu(1280))])
    }

    @Test("paths that go are probed no more; those of one remote are told apart by their identifiers")
    func change() {
        var probes = PathMTUProbes()
        var generator = SeededGenerator(seed: 6)
        let remote = IPAddress("192.0.2.9")!
        let locals = ["192.0.2.1", "192.0.2.2"].map { UnderlayPath(remote: remote, local: IPAddress($0)!) }
        probes.setPaths([locals[0]: 1500, locals[1]: 1500], now: 0, using: &generator)
        _ = run(&probes, from: 0, to: 1000, &generator)
        #expect(Set(probes.takeFindings().map(\.path)) == Set(locals))
        probes.setPaths([locals[1]: 1500], now: 1000, using: &generator)
        let probe = probes.next(now: 70_000, using: &generator)
        #expect(probe?.path == locals[1] && probe?.size == 1500)
        probes.setPaths([:], now: 70_000, using: &generator)
        #expect(probes.next(now: 10_000_000, using: &generator) == nil && probes.nextDue == nil)
    }
}
