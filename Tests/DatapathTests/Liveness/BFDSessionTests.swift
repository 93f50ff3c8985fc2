// Owns: one BFD session, and two that talk: states, times, polls, loss.

import Testing
import Wire

@testable import Datapath

/// Two sessions and the way between them, in virtual time.
struct BFDPair {
    /// The same at every run.
    struct Generator: RandomNumberGenerator {
        var state: UInt64 = 0x5eed
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    static let millisecond: UInt64 = 1_000_000
    static let second: UInt64 = 1_000_000_000
    static let step = millisecond

    var now: UInt64 = 100 * second
    var ends: [BFDSession]
    /// On their way: when each arrives, to which end.
    var flying: [(at: UInt64, to: Int, packet: BFDControl)] = []
    /// What each end has sent, with times.
    var sent: [[(at: UInt64, packet: BFDControl)]] = [[], []]
    var delay: [UInt64] = [millisecond, millisecond]
    /// Whether a packet to an end is lost, by its number.
    var loses: (Int, Int) -> Bool = { _, _ in false }
    var lookInterval: UInt64 = 10 * second
    var random = Generator()
    private var pollSent: [UInt64?] = [nil, nil]

    init(_ left: BFDSession.Settings = .init(), _ right: BFDSession.Settings = .init()) {
        ends = [
            BFDSession(left, discriminator: 7, now: now), BFDSession(right, discriminator: 9, now: now),
        ]
    }

    mutating func run(_ milliseconds: UInt64) {
        for _ in 0..<milliseconds {
            now += BFDPair.step
            for index in 0..<2 {
                while let packet = ends[index].advance(
                    now: now, lookInterval: lookInterval, using: &random)
                {
                    sent[index].append((now, packet))
                    if packet.isPoll { pollSent[index] = now }
                    let number = sent[index].count
                    if !loses(1 - index, number) { flying.append((now + delay[index], 1 - index, packet)) }
                }
            }
            for it in flying where it.at <= now {
                try? ends[it.to].receive(it.packet, at: now, pollSentAt: pollSent[it.to])
            }
            flying.removeAll { $0.at <= now }
        }
    }

    /// Distances between the packets of one end that are not answers, milliseconds.
    func distances(_ index: Int, since: UInt64) -> [UInt64] {
        let times = sent[index].filter { $0.at >= since && !$0.packet.isFinal }.map(\.at)
        return zip(times, times.dropFirst()).map { ($1 - $0) / BFDPair.millisecond }
    }
}

extension BFDSession.Settings {
    static func times(_ transmit: UInt64, _ receive: UInt64, _ multiplier: UInt8 = 3) -> Self {
        var settings = BFDSession.Settings()
        settings.minTransmit = transmit * BFDPair.millisecond
        settings.minReceive = receive * BFDPair.millisecond
        settings.multiplier = multiplier
        return settings
    }
}

@Suite("BFD sessions")
struct BFDSessionTests {
    /// A session in the state, as a peer that says so leaves it.
    private func session(in state: BFDState) throws -> BFDSession {
        var session = BFDSession(.init(), discriminator: 7, now: 0)
        switch state {
        case .adminDown: session.administer(isDown: true, now: 0)
        case .down: break
        case .`init`: try session.receive(packet(.down), at: 0)
        case .up:
            try session.receive(packet(.down), at: 0)
            try session.receive(packet(.`init`), at: 0)
        }
        #expect(session.state == state)
        return session
    }

    private func packet(_ state: BFDState, _ change: (inout BFDControl) -> Void = { _ in }) -> BFDControl {
        var packet = BFDControl(myDiscriminator: 9)
        packet.state = state
        packet.yourDiscriminator = state == .down || state == .adminDown ? 0 : 7
        change(&packet)
        return packet
    }

    @Test(
        "the state machine of RFC 5880 section 6.8.6",
        arguments: [
            (.adminDown, .adminDown, .adminDown, 7), (.adminDown, .down, .adminDown, 7),
            (.adminDown, .`init`, .adminDown, 7), (.adminDown, .up, .adminDown, 7),
            (.down, .adminDown, .down, 0), (.down, .down, .`init`, 0), (.down, .`init`, .up, 0),
            (.down, .up, .down, 0),
            (.`init`, .adminDown, .down, 3), (.`init`, .down, .`init`, 0), (.`init`, .`init`, .up, 0),
            (.`init`, .up, .up, 0),
            (.up, .adminDown, .down, 3), (.up, .down, .down, 3), (.up, .`init`, .up, 0), (.up, .up, .up, 0),
        ] as [(BFDState, BFDState, BFDState, UInt8)])
    func table(before: BFDState, heard: BFDState, after: BFDState, diagnostic: UInt8) throws {
        var session = try session(in: before)
        try session.receive(packet(heard), at: 1)
        #expect(session.state == after)
        #expect(session.diagnostic.rawValue == diagnostic)
        #expect(session.isForwarding == (after == .up))
    }

    @Test("three packets each way bring both ends up, at the slow pace")
    func comesUp() {
        var pair = BFDPair(.times(100, 100), .times(100, 100))
        pair.run(20)
        #expect(pair.ends.map(\.state) == [.up, .up])
        #expect(pair.ends.map(\.flapCount) == [1, 1])
        // A change of state is told at once; before it, a packet a second is all there is.
        var alone = BFDPair(.times(100, 100), .times(100, 100))
        alone.loses = { to, _ in to == 1 }
        alone.ends[1].administer(isDown: true, now: alone.now)
        alone.run(10_000)
        #expect(alone.ends[0].state == .down)
        #expect(alone.distances(0, since: 0).allSatisfy { (750...901).contains($0) })
        #expect(alone.sent[0].allSatisfy { $0.packet.desiredMinTransmit == 1_000_000 })
    }

    @Test("an end sends at the slower of what it wants and what the other takes, less 10 to 25 per cent")
    func jitter() {
        for (left, right, interval) in [
            (BFDSession.Settings.times(100, 100), .times(100, 100), 100),
            (.times(100, 100), .times(50, 400), 400),
            (.times(300, 100), .times(100, 200), 300), (.times(20, 20, 1), .times(20, 20, 1), 20),
        ] as [(BFDSession.Settings, BFDSession.Settings, UInt64)] {
            var pair = BFDPair(left, right)
            pair.run(1000)
            let start = pair.now
            pair.run(200 * interval)
            let distances = pair.distances(0, since: start)
            #expect(distances.count > 200)
            #expect(
                distances.allSatisfy { $0 * 100 >= interval * 75 - 100 && $0 * 100 <= interval * 90 + 100 })
            #expect(Set(distances).count > (interval > 50 ? 3 : 1), "\(interval)")
            #expect(pair.ends[0].state == .up)
        }
    }

    @Test("silence for the detection time, which the sender's multiplier makes, is the end")
    func detection() {
        var pair = BFDPair(.times(100, 100, 5), .times(200, 300, 4))
        pair.run(1000)
        #expect(pair.ends[0].detectionTime == 4 * 200 * BFDPair.millisecond)
        #expect(pair.ends[1].detectionTime == 5 * 300 * BFDPair.millisecond)
        let last = pair.sent[1].last!.at + pair.delay[1]
        pair.loses = { to, _ in to == 0 }
        pair.run((last + 799 * BFDPair.millisecond - pair.now) / BFDPair.millisecond)
        #expect(pair.ends[0].state == .up)
        pair.run(3)
        #expect(pair.ends[0].state == .down && pair.ends[0].diagnostic == .detectionTimeExpired)
        #expect(pair.ends[0].remote.discriminator == 0)
        // The other one is told, and says why it went.
        #expect(pair.ends[1].state == .down && pair.ends[1].diagnostic == .neighborSignaledDown)
        #expect(pair.ends[1].remote.diagnostic == .detectionTimeExpired)
        pair.loses = { _, _ in false }
        pair.run(3000)
        #expect(pair.ends.map(\.state) == [.up, .up])
        #expect(pair.ends.map(\.flapCount) == [3, 3])
    }

    @Test("slower sending begins when the other end has heard of it, faster at once")
    func reconfigure() {
        var pair = BFDPair(.times(100, 100), .times(100, 100))
        pair.run(1000)
        pair.loses = { to, _ in to == 0 }
        let start = pair.now
        pair.ends[0].reconfigure(.times(500, 100), now: start)
        pair.run(150)
        // Unanswered: it goes on at its old pace, with P.
        #expect(pair.ends[0].transmitInterval == 100 * BFDPair.millisecond)
        #expect(pair.sent[0].filter { $0.at > start }.allSatisfy { $0.packet.isPoll })
        #expect(pair.sent[0].last?.packet.desiredMinTransmit == 500_000)
        pair.loses = { _, _ in false }
        pair.run(150)
        #expect(pair.ends[0].transmitInterval == 500 * BFDPair.millisecond)
        #expect(pair.sent[0].last?.packet.isPoll == false || pair.ends[0].state == .up)
        pair.run(5000)
        #expect(pair.ends.map(\.state) == [.up, .up] && pair.ends.map(\.flapCount) == [1, 1])
        #expect(pair.ends[1].detectionTime == 1500 * BFDPair.millisecond)
        let quick = pair.now
        pair.ends[0].reconfigure(.times(50, 100), now: quick)
        #expect(pair.ends[0].transmitInterval == 100 * BFDPair.millisecond)
    }

    @Test("P is answered with F at once, and F tells the round trip; of several P it does not")
    func roundTrips() {
        var pair = BFDPair()
        pair.delay = [4 * BFDPair.millisecond, 7 * BFDPair.millisecond]
        pair.run(120_000)
        let summary = pair.ends[0].roundTrips.summary!
        #expect((11...13).contains(summary.median / BFDPair.millisecond), "\(summary)")
        #expect(summary.least <= summary.median && summary.median <= summary.most)
        let polls = pair.sent[0].count { $0.packet.isPoll }
        #expect((8...25).contains(polls), "about one in ten seconds: \(polls)")
        #expect(pair.sent[1].count { $0.packet.isFinal } == polls)
        #expect(pair.sent.joined().allSatisfy { !($0.packet.isPoll && $0.packet.isFinal) })
    }

    @Test("of several P nobody knows which one was answered")
    func severalPolls() throws {
        var session = try session(in: .up)
        var random = BFDPair.Generator()
        func send(_ now: UInt64) -> BFDControl? {
            session.advance(now: now, lookInterval: BFDPair.second, using: &random)
        }
        func answer(_ now: UInt64, to sent: UInt64) throws {
            try session.receive(packet(.up) { $0.isFinal = true }, at: now, pollSentAt: sent)
        }
        #expect(send(1)?.isPoll == true && send(BFDPair.second)?.isPoll == true)
        try answer(BFDPair.second + 5, to: BFDPair.second)
        #expect(session.roundTrips.summary == nil)
        #expect(send(3 * BFDPair.second)?.isPoll == true)
        try answer(3 * BFDPair.second + 5, to: 3 * BFDPair.second)
        #expect(session.roundTrips.summary?.last == 5)
        // An answer nobody asked for is none.
        try answer(3 * BFDPair.second + 9, to: 3 * BFDPair.second)
        #expect(session.roundTrips.summary?.last == 5)
    }

    @Test("what is lost is counted, for certain while it is up to two in a row", arguments: [0, 2, 3, 5, 10])
    func loss(every: Int) throws {
        var pair = BFDPair(.times(100, 100), .times(100, 100))
        pair.run(2000)
        if every > 0 { pair.loses = { to, number in to == 0 && number % every == 0 } }
        pair.run(120_000)
        let ratio = try #require(pair.ends[0].lossRatio(now: pair.now))
        let expected = every == 0 ? 0 : 1 / Double(every)
        // Of answers to polls nobody knows when they are due: one that is lost is not missed.
        #expect(abs(ratio - expected) < (every == 2 ? 0.1 : 0.01), "\(ratio)")
        #expect(try #require(pair.ends[1].lossRatio(now: pair.now)) == 0)
        #expect(pair.ends[0].state == .up)
    }

    @Test("a silent end loses everything within a minute, and is forgiven within another")
    func silence() throws {
        var pair = BFDPair()
        pair.run(60_000)
        pair.loses = { to, _ in to == 0 }
        pair.run(70_000)
        #expect(try #require(pair.ends[0].lossRatio(now: pair.now)) == 1)
        pair.loses = { _, _ in false }
        pair.run(5000)
        #expect(try #require(pair.ends[0].lossRatio(now: pair.now)) > 0.5)
        pair.run(75_000)
        #expect(try #require(pair.ends[0].lossRatio(now: pair.now)) == 0)
    }

    @Test("packets of another session change nothing")
    func otherSession() throws {
        var session = try session(in: .up)
        let deadline = session.nextDeadline
        #expect(throws: BFDRefusal.yourDiscriminator) {
            try session.receive(packet(.down) { $0.yourDiscriminator = 8 }, at: 5)
        }
        #expect(session.state == .up && session.nextDeadline == deadline)
    }

    @Test("who asks for nothing is sent nothing but answers")
    func zeroMinimum() throws {
        var session = try session(in: .up)
        var random = BFDPair.Generator()
        try session.receive(packet(.up) { $0.requiredMinReceive = 0 }, at: 1)
        #expect(session.advance(now: 2, lookInterval: 1, using: &random) == nil)
        try session.receive(
            packet(.up) {
                $0.requiredMinReceive = 0
                $0.isPoll = true
            }, at: 2)
        #expect(session.advance(now: 2, lookInterval: 1, using: &random)?.isFinal == true)
        #expect(session.advance(now: 2, lookInterval: 1, using: &random) == nil)
    }

    @Test("a path the other end sees broken does not forward, though the session is up")
    func pathDown() throws {
        for (diagnostic, isForwarding) in [(4, true), (5, false), (6, false), (7, true), (8, false)] {
            var session = try session(in: .up)
            try session.receive(
                packet(.up) { $0.diagnostic = BFDDiagnostic(rawValue: UInt8(diagnostic)) }, at: 1)
            #expect(session.state == .up && session.isForwarding == isForwarding)
            #expect(session.flapCount == (isForwarding ? 1 : 2))
        }
    }

    @Test("by decree it is down, says so once a second, and comes back when let go")
    func administered() {
        var pair = BFDPair(.times(100, 100), .times(100, 100))
        pair.run(1000)
        let start = pair.now
        pair.ends[0].administer(isDown: true, now: start)
        pair.run(3000)
        #expect(pair.ends.map(\.state) == [.adminDown, .down])
        #expect(pair.ends[1].diagnostic == .neighborSignaledDown && pair.ends[1].remote.state == .adminDown)
        let said = pair.sent[0].filter { $0.at > start }
        #expect((3...5).contains(said.count))
        #expect(said.allSatisfy { $0.packet.diagnostic == .administrativelyDown })
        pair.ends[0].administer(isDown: false, now: pair.now)
        pair.run(2000)
        #expect(pair.ends.map(\.state) == [.up, .up])
    }
}
