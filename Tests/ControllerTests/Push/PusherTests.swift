// What a host is sent, rule by rule.

import API
import Testing

@testable import Controller

private func held(_ epoch: Int, _ generation: Int, _ content: String, by controller: String = "fleet1")
    -> StateHead
{
    PusherRig.held(epoch, generation, content, by: controller)
}

@Suite struct PusherTests {
    // MARK: Taking over

    @Test("a new epoch begins with a question; what is held already is only fenced, anything else replaced")
    func takeover() {
        let cases: [(held: StateHead?, isInSync: Bool, sent: String)] = [
            (nil, true, "PUT 5.1 a"),
            (held(4, 9, "a"), true, "PATCH 5.1 a on 4.9 a: "),
            (held(4, 9, "a", by: "other"), true, "PATCH 5.1 a on 4.9 a: "),
            (held(4, 9, "b"), true, "PUT 5.1 a"),
            (held(4, 9, "a"), false, "PUT 5.1 a"),
        ]
        for (held, isInSync, sent) in cases {
            var rig = PusherRig(epoch: 5)
            #expect(rig.pusher.health == .unknown && rig.send() == "GET")
            #expect(rig.send() == nil, "one at a time")
            #expect(rig.answer(held, isInSync: isInSync) == .known)
            #expect(rig.pusher.health == .behind)
            #expect(rig.send() == sent)
            #expect(rig.pusher.health == .pushing)
            #expect(rig.acknowledge() == .acknowledged(lag: .zero))
            #expect(rig.pusher.health == .inSync && rig.pusher.base?.epoch == 5)
        }
    }

    @Test("a host that wants nothing and was never pushed to is adopted with the empty state")
    func adoption() {
        var rig = PusherRig()
        rig.wanted = ""
        _ = rig.send()
        rig.answer(nil as StateHead?)
        #expect(rig.send() == "PUT 1.1 ")
    }

    @Test("an epoch counts its generations from one, and one that goes on goes on counting")
    func generations() {
        var rig = PusherRig.settled()
        rig.want("b", "x")
        #expect(rig.send() == "PATCH 1.2 b on 1.1 a: x")
        rig.pusher.pause(now: rig.now)
        #expect(rig.acknowledge() == .ignored, "it does not lead")
        #expect(rig.pusher.due == nil && rig.send() == nil && rig.pusher.health == .unknown)
        rig.want("c", "x")
        rig.pusher.lead(epoch: 1, now: rig.now)
        _ = rig.send()
        rig.answer(held(1, 2, "b"))
        #expect(rig.send() == "PUT 1.3 c")
        rig.pusher.lead(epoch: 2, now: rig.now)
        _ = rig.send()
        rig.answer(held(1, 3, "c"))
        #expect(rig.send() == "PATCH 2.1 c on 1.3 c: ")
    }

    // MARK: Changes

    @Test("what changes goes as a delta on what was acknowledged; changes that wait go together")
    func delta() {
        var rig = PusherRig.settled()
        #expect(rig.send() == nil)
        rig.want("b", "x", "y")
        rig.now += .milliseconds(30)
        rig.want("c", "y", "z")
        #expect(rig.send() == "PATCH 1.2 c on 1.1 a: x y z")
        rig.now += .milliseconds(5)
        #expect(rig.acknowledge() == .acknowledged(lag: .milliseconds(35)))
        #expect(rig.pusher.laggingSince == nil && rig.send() == nil)
    }

    @Test("a change during a push goes with the next one, and is not acknowledged with this one")
    func duringFlight() {
        var rig = PusherRig.settled()
        rig.want("b", "x")
        _ = rig.send()
        rig.now += .milliseconds(3)
        rig.wanted = "c"
        let change = rig.pusher.changed(["y"], now: rig.now)
        #expect(rig.send() == nil)
        rig.acknowledge()
        #expect(rig.pusher.acknowledgedChange < change && rig.pusher.laggingSince == .milliseconds(3))
        #expect(rig.pusher.health == .behind)
        #expect(rig.send() == "PATCH 1.3 c on 1.2 b: y")
        rig.acknowledge()
        #expect(rig.pusher.acknowledgedChange == change)
    }

    @Test("a change during a complete push goes as a delta on it")
    func duringComplete() {
        var rig = PusherRig()
        _ = rig.send()
        rig.answer(nil as StateHead?)
        #expect(rig.send() == "PUT 1.1 a")
        rig.want("b", "x")
        rig.acknowledge()
        #expect(rig.send() == "PATCH 1.2 b on 1.1 a: x")
    }

    @Test("more paths than a delta takes make a complete state")
    func manyPaths() {
        var rig = PusherRig.settled()
        rig.wanted = "b"
        rig.pusher.changed((0...Pusher<String>.pathLimit).map { "/\($0)" }, now: rig.now)
        rig.pusher.changed(["x"], now: rig.now)
        #expect(rig.pusher.paths.count == Pusher<String>.pathLimit + 1, "no more are kept")
        #expect(rig.send() == "PUT 1.2 b allowed")
    }

    // MARK: Outcomes that are not known

    @Test("after a failure the agent is asked: it holds the push, or its base, or neither")
    func doubt() {
        let cases: [(held: StateHead?, isInSync: Bool, outcome: PushOutcome, next: String)] = [
            (held(1, 2, "b"), true, .acknowledged(lag: .zero), "PATCH 1.3 c on 1.2 b: y"),
            (held(1, 1, "a"), true, .known, "PATCH 1.3 c on 1.1 a: x y"),
            (held(1, 2, "b"), false, .known, "PUT 1.3 c allowed"),
            (held(1, 1, "a"), false, .known, "PUT 1.3 c allowed"),
            (nil, true, .known, "PUT 1.3 c allowed"),
        ]
        for (held, isInSync, outcome, next) in cases {
            var rig = PusherRig.settled()
            rig.want("b", "x")
            _ = rig.send()
            rig.want("c", "y")
            #expect(rig.fail() == .failed && rig.pusher.health == .unreachable)
            #expect(rig.sendWhenDue() == "GET")
            switch (rig.answer(held, isInSync: isInSync), outcome) {
            case (.acknowledged, .acknowledged): break
            case (let found, _): #expect(found == outcome)
            }
            #expect(rig.send() == next)
            #expect(rig.pusher.health == .pushing)
        }
    }

    @Test("the same state again has the same number, so that it does no harm when both arrive")
    func again() {
        var rig = PusherRig.settled()
        rig.want("b", "x")
        _ = rig.send()
        rig.fail()
        _ = rig.sendWhenDue()
        rig.answer(held(1, 1, "a"))
        #expect(rig.send() == "PATCH 1.2 b on 1.1 a: x")
    }

    @Test("an answer that comes late, twice, or from before the host moved says nothing")
    func late() {
        var rig = PusherRig.settled()
        rig.want("b", "x")
        _ = rig.send()
        let first = rig.last?.id
        rig.fail()
        let late = AgentAnswer.standing(Standing(held: held(1, 2, "b"), isInSync: true))
        #expect(rig.answer(late, to: first) == .ignored && rig.pusher.base?.generation == 1)
        _ = rig.sendWhenDue()
        #expect(rig.answer(late, to: first) == .ignored && rig.pusher.isInFlight)
        rig.answer(held(1, 2, "b"))
        #expect(rig.answer(held(1, 2, "b")) == .ignored, "twice")
        rig.want("c", "y")
        _ = rig.send()
        rig.pusher.moved(now: rig.now)
        #expect(rig.acknowledge() == .ignored)
        #expect(rig.pusher.health == .unknown && rig.send() == "GET")
    }

    @Test("a host that has moved is asked like a new one, and is not trusted with removals")
    func moved() {
        var rig = PusherRig.settled()
        _ = rig.sendWhenDue()
        rig.fail()
        rig.pusher.moved(now: rig.now)
        #expect(rig.pusher.trouble == nil && rig.pusher.base == nil)
        #expect(rig.send() == "GET")
        rig.answer(nil as StateHead?)
        #expect(rig.send() == "PUT 1.1 a")
    }

    @Test("an agent that was another host's of this controller goes on with its own numbers")
    func exchanged() {
        for (held, next) in [
            (held(1, 1, "b"), "PUT 1.2 a"), (held(1, 9, "b"), "PUT 1.10 a"),
            (held(1, 9, "a"), "PATCH 1.9 a on 1.9 a: "),
        ] {
            var rig = PusherRig.settled()
            rig.pusher.moved(now: rig.now)
            _ = rig.send()
            #expect(rig.answer(held) == .known)
            #expect(rig.send() == next)
        }
    }

    // MARK: Waiting for others

    @Test("a push waits for a wave, until it has arrived or half a second has passed")
    func gate() {
        var rig = PusherRig.settled()
        rig.want("b", "x")
        rig.pusher.hold(for: 1, until: rig.now + .seconds(60), now: rig.now)
        #expect(rig.send() == nil && rig.pusher.due == PushTiming.longestGate)
        rig.now += .milliseconds(400)
        rig.pusher.hold(for: 2, until: rig.now + .milliseconds(500), now: rig.now)
        #expect(rig.pusher.due == PushTiming.longestGate, "not put off again and again")
        rig.pusher.release(1)
        #expect(rig.send() == nil, "the other wave is on its way")
        rig.pusher.release(2)
        #expect(rig.send() == "PATCH 1.2 b on 1.1 a: x")
        rig.acknowledge()
        rig.want("c", "y")
        rig.pusher.hold(for: 3, until: rig.now + .milliseconds(100), now: rig.now)
        rig.now += .milliseconds(100)
        #expect(rig.send() == "PATCH 1.3 c on 1.2 b: y")
    }

    // MARK: Looking now and then

    @Test("an idle host is looked at every half a minute, give or take a fifth")
    func probing() {
        var rig = PusherRig.settled()
        for _ in 0..<50 {
            let before = rig.now
            #expect(rig.sendWhenDue() == "GET")
            #expect((24...36).contains((rig.now - before).seconds))
            #expect(rig.answer(held(1, 1, "a"), boot: "2") == .confirmed, "a restart is no reason to push")
        }
        #expect(rig.pusher.standing?.bootID == "2")
    }

    @Test("what is found to be otherwise is repaired with everything, and counted")
    func drift() {
        for (held, isInSync) in [(held(1, 1, "a"), false), (nil, true), (held(1, 0, "b"), true)] {
            var rig = PusherRig.settled()
            _ = rig.sendWhenDue()
            #expect(rig.answer(held, isInSync: isInSync) == .drifted)
            #expect(rig.pusher.driftCount == 1 && rig.pusher.health == .behind)
            #expect(rig.send() == "PUT 1.1 a allowed")
            rig.acknowledge()
            #expect(rig.pusher.health == .inSync)
        }
    }
}
