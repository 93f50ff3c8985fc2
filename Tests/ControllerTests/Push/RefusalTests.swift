// What a pusher does when an agent says no, says nonsense, or says nothing.

import API
import Testing

@testable import Controller

@Suite struct RefusalTests {
    /// One with a delta under way.
    private var pushing: PusherRig {
        var rig = PusherRig.settled()
        rig.want("b", "x")
        _ = rig.send()
        return rig
    }

    @Test("a delta on another base, or to another digest, is followed by everything, at once")
    func mismatch() {
        for code in [ProblemCode.baseMismatch, .digestMismatch] {
            var rig = pushing
            #expect(rig.refuse(code) == .mismatched)
            #expect(rig.pusher.trouble == nil)
            #expect(rig.send() == "PUT 1.2 b allowed")
            #expect(rig.refuse(code) == .refused, "twice is an error")
            #expect(rig.pusher.health == .refusing && rig.pusher.trouble?.code == code)
            #expect(rig.send() == nil)
        }
    }

    @Test("a later epoch of the same controller supersedes this one, which then only looks now and then")
    func superseded() {
        var rig = pushing
        #expect(rig.refuse(.staleState, PusherRig.held(2, 7, "c")) == .superseded)
        #expect(rig.pusher.health == .superseded)
        for _ in 0..<10 {
            rig.want("d", "y")
            let before = rig.now
            #expect(rig.sendWhenDue() == "GET")
            #expect((rig.now - before).seconds >= 24)
            #expect(rig.answer(PusherRig.held(2, 7, "c")) == .superseded)
        }
        _ = rig.sendWhenDue()
        rig.answer(nil as StateHead?)
        #expect(rig.pusher.health == .behind, "the agent has begun anew")
        #expect(rig.send() == "PUT 1.3 d allowed")
    }

    @Test("a superseded controller knows it from the first look, without a push")
    func supersededAtOnce() {
        var rig = PusherRig(epoch: 3)
        _ = rig.send()
        #expect(rig.answer(PusherRig.held(4, 1, "a")) == .superseded)
        #expect(rig.send() == nil)
    }

    @Test("an agent that is another host's is looked at now and then, until it is so no more")
    func anothers() {
        for var rig in [PusherRig(), pushing] {
            if rig.last == nil { #expect(rig.send() == "GET") }
            let problem = Problem(.stateConflict, "it is another's")
            for _ in 0..<3 {
                let standing = Standing(held: PusherRig.held(1, 9, "c"), isInSync: true, agentID: "7")
                let outcome = rig.pusher.answered(
                    rig.last?.id ?? 0, byAnothers: standing, problem, now: rig.now, using: &rig.random)
                #expect(outcome == .refused && rig.pusher.health == .refusing)
                #expect(rig.pusher.standing?.agentID == "7" && rig.pusher.laggingSince == .zero)
                rig.want("d", "y")
                #expect(rig.send() == nil)
                #expect(rig.sendWhenDue() == "GET")
            }
            rig.answer(PusherRig.held(1, 9, "c"))
            #expect(rig.send() == "PUT 1.10 d", "what the other host had there goes only if that is allowed")
        }
    }

    @Test("another controller with a later epoch, or with the same one, is an error that is shown")
    func conflict() {
        for (held, code) in [
            (PusherRig.held(2, 1, "c", by: "other"), ProblemCode.staleState),
            (PusherRig.held(1, 1, "c", by: "other"), .stateConflict),
        ] {
            var rig = pushing
            #expect(rig.refuse(code, held) == .refused)
            #expect(rig.pusher.health == .refusing && rig.pusher.trouble?.code == code)
            let before = rig.now
            #expect(rig.sendWhenDue() == "GET" && (rig.now - before).seconds >= 24)
            #expect(rig.answer(held) == .refused && rig.pusher.trouble?.code == code)
        }
    }

    @Test("a number that the agent has already is an error that is shown, and passed over after a look")
    func numberTaken() {
        for code in [ProblemCode.staleState, .stateConflict] {
            var rig = pushing
            #expect(rig.refuse(code, PusherRig.held(1, 9, "c")) == .refused)
            #expect(rig.pusher.health == .refusing)
            let before = rig.now
            #expect(rig.sendWhenDue() == "GET" && (rig.now - before).seconds >= 24)
            #expect(rig.answer(PusherRig.held(1, 9, "c")) == .known)
            #expect(rig.send() == "PUT 1.10 b allowed")
        }
    }

    @Test("a refusal is shown with its first errors and tried again slowly, or at once on another change")
    func refused() {
        for code in [ProblemCode.managedElsewhere, .invalidResource, .conflict, .limitExceeded] {
            var rig = pushing
            #expect(rig.refuse(code) == .refused)
            let trouble = rig.pusher.trouble
            #expect(trouble?.code == code && trouble?.text == "no: \(code.rawValue)")
            #expect(trouble?.errors.count == HostTrouble.errorLimit && !rig.pusher.isHealthy)
            let (due, before) = (rig.pusher.due ?? .zero, rig.now)
            #expect((24...36).contains((due - before).seconds))
            rig.want("c", "y")
            #expect((rig.pusher.due ?? due) - before <= PushTiming.firstBackoff)
            #expect(rig.sendWhenDue() == "PUT 1.3 c allowed")
            rig.acknowledge()
            #expect(rig.pusher.trouble == nil && rig.pusher.failureCount == 0)
        }
    }

    @Test("what would remove most of a host waits for the operator, once, and only before it was adopted")
    func massDelete() {
        var rig = PusherRig()
        _ = rig.send()
        rig.answer(nil as StateHead?)
        #expect(rig.send() == "PUT 1.1 a")
        #expect(rig.refuse(.massDelete) == .refused && rig.pusher.health == .refusing)
        #expect(rig.sendWhenDue() == "PUT 1.1 a", "slowly again")
        rig.refuse(.massDelete)
        #expect(rig.send() == nil)
        rig.pusher.allowMassDelete(now: rig.now)
        #expect(rig.send() == "PUT 1.1 a allowed")
        rig.fail()
        _ = rig.sendWhenDue()
        rig.answer(nil as StateHead?)
        #expect(rig.send() == "PUT 1.1 a allowed", "until it has arrived")
        rig.acknowledge()
        rig.pusher.lead(epoch: 2, now: rig.now)
        _ = rig.send()
        rig.answer(PusherRig.held(1, 1, "b"))
        #expect(rig.send() == "PUT 2.1 a", "a new epoch has to be allowed anew")
    }

    @Test("an agent that acknowledges something else is counted, distrusted and sent everything, with waits")
    func lies() {
        for (held, isInSync) in [
            (PusherRig.held(1, 1, "a"), true), (PusherRig.held(1, 2, "a"), true), (nil, true),
            (PusherRig.held(1, 2, "b"), false), (PusherRig.held(1, 2, "b", by: "other"), true),
            (PusherRig.held(2, 2, "b"), true),
        ] {
            var rig = pushing
            #expect(rig.answer(held, isInSync: isInSync) == .lied)
            #expect(rig.pusher.health == .lying && rig.pusher.lieCount == 1)
            #expect(rig.send() == nil || rig.pusher.failureCount == 1)
            rig.now += PushTiming.firstBackoff
            if !rig.pusher.isInFlight { #expect(rig.send() == "PUT 1.2 b allowed") }
            rig.acknowledge()
            #expect(rig.pusher.health == .inSync && rig.pusher.lieCount == 1)
        }
    }

    @Test("what is no answer of an agent leaves the outcome open")
    func unintelligible() {
        for (status, health) in [
            (200, HostSyncState.lying), (302, .lying), (404, .refusing), (502, .unreachable),
        ] {
            var rig = pushing
            rig.answer(.unintelligible(status: status))
            #expect(rig.pusher.health == health, "\(status)")
            #expect(rig.pusher.trouble?.text.contains("\(status)") == true)
            #expect(rig.sendWhenDue() == "GET")
            rig.answer(PusherRig.held(1, 2, "b"))
            #expect(rig.pusher.health == .inSync)
        }
    }

    @Test("an agent's own failure is shown as it says it, and may have been a success")
    func ownFailure() {
        var rig = pushing
        #expect(rig.refuse(.storageFull) == .failed)
        #expect(rig.pusher.health == .refusing && rig.pusher.trouble?.code == .storageFull)
        #expect(rig.sendWhenDue() == "GET")
        rig.answer(PusherRig.held(1, 1, "a"))
        #expect(rig.pusher.health == .refusing, "not over yet")
        #expect(rig.send() == "PATCH 1.2 b on 1.1 a: x")
        rig.acknowledge()
        #expect(rig.pusher.health == .inSync)
    }

    // MARK: Waiting

    @Test("waits are anything up to a bound that doubles to a quarter of a minute")
    func backoff() {
        var longest: [Double] = Array(repeating: 0, count: 12)
        var shortest = longest.map { _ in Double.infinity }
        for seed in 0..<300 as Range<UInt64> {
            var rig = PusherRig()
            rig.random = Seeded(seed)
            for attempt in longest.indices {
                #expect(rig.sendWhenDue() == "GET")
                rig.fail("connection refused")
                let wait = ((rig.pusher.due ?? .zero) - rig.now).seconds
                longest[attempt] = max(longest[attempt], wait)
                shortest[attempt] = min(shortest[attempt], wait)
            }
        }
        for attempt in longest.indices {
            let bound = min(15, 0.25 * Double(1 << attempt))
            #expect(longest[attempt] <= bound && longest[attempt] > 0.9 * bound, "attempt \(attempt)")
            #expect(shortest[attempt] < 0.1 * bound, "attempt \(attempt)")
        }
    }

    /// Ways of an agent to be of no use for ever.
    private static let failures: [(what: String, answer: @Sendable (inout PusherRig) -> Void)] = [
        ("nobody is there", { $0.fail("connection refused") }),
        (
            "it hangs",
            {
                $0.now += $0.last?.timeout ?? .zero
                $0.fail()
            }
        ),
        ("it is not ready", { $0.refuse(.unavailable) }),
        (
            "it takes no push",
            {
                if $0.last?.place == nil {
                    $0.answer(PusherRig.held(1, 1, "a"))
                } else {
                    $0.refuse(.kernelRefused)
                }
            }
        ),
        ("something is in the way", { $0.refuse(.managedElsewhere) }),
        ("it is another's", { $0.refuse(.staleState, PusherRig.held(2, 1, "c", by: "other")) }),
        ("it lies", { $0.answer(PusherRig.held(1, 1, "a")) }),
        ("it is no agent", { $0.answer(.unintelligible(status: 404)) }),
        ("it is behind a broken proxy", { $0.answer(.unintelligible(status: 502)) }),
        ("it misreads every push", { $0.refuse(.digestMismatch) }),
    ]

    @Test(
        "however an agent fails, and however much changes, it gets at most 40 requests a minute, and at least one",
        arguments: failures.indices)
    func noStorm(number: Int) {
        let (what, answer) = RefusalTests.failures[number]
        var rig = PusherRig.settled()
        var counts: [Int: Int] = [:]
        var change = 0
        while rig.now < .seconds(600) {
            change += 1
            rig.want("abcd".map(String.init)[change % 4], "x\(change % 10)")
            while rig.send() != nil {
                counts[Int(rig.now.seconds / 60), default: 0] += 1
                let before = rig.now
                rig.now += .milliseconds(2)
                answer(&rig)
                #expect(rig.now > before)
            }
            rig.now += .milliseconds(50)
        }
        let minutes = (0..<10).map { counts[$0, default: 0] }
        #expect(minutes.allSatisfy { (1...40).contains($0) }, "\(what): \(minutes)")
    }
}
