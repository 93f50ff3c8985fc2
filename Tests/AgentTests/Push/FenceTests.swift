// Which pushes count: every rule of epoch, generation, digest and base.

import JSON
import REST
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct FenceTests {
        private func state(_ agent: TestAgent, port: Int) -> TestPush {
            let path = "/v1/bridges/\(agent.site.name("b"))"
            return TestPush(
                5, 7,
                [
                    (path, #"{"vni":7}"#),
                    ("\(path)/tunnels/t0", #"{"dst_port":\#(udp(port)),"remote_ip":"198.51.100.7"}"#),
                    ("\(path)/macs/02:00:00:00:00:01", #"{"port":"t0"}"#),
                ])
        }

        /// A push that must be answered so while epoch 5, generation 7 of fleet1 is held.
        private struct Rule: Sendable {
            var what: String
            var status: Int
            var code: String?
            var held: String
            var edit: @Sendable (inout TestPush) -> Void
        }

        private static let rules: [Rule] = [
            Rule(what: "the same again", status: 200, held: "fleet1 5.7") { _ in },
            Rule(what: "an older generation", status: 409, code: "stale_state", held: "fleet1 5.7") {
                $0.generation = 6
            },
            Rule(
                what: "an older epoch, its generation newer", status: 409, code: "stale_state",
                held: "fleet1 5.7"
            ) {
                ($0.epoch, $0.generation) = (4, 99)
            },
            Rule(what: "an older epoch of another", status: 409, code: "stale_state", held: "fleet1 5.7") {
                ($0.controller, $0.epoch) = ("fleet2", 4)
            },
            Rule(
                what: "the same number, another content", status: 409, code: "state_conflict",
                held: "fleet1 5.7"
            ) {
                $0.resources[0].body = #"{"vni":8}"#
            },
            Rule(
                what: "another controller in the same epoch", status: 409, code: "state_conflict",
                held: "fleet1 5.7"
            ) {
                ($0.controller, $0.generation) = ("fleet2", 8)
            },
            Rule(what: "a digest of something else", status: 422, code: "digest_mismatch", held: "fleet1 5.7")
            {
                ($0.digest, $0.generation) = (String(repeating: "0", count: 64), 8)
            },
            Rule(what: "no epoch there can be", status: 422, code: "invalid_resource", held: "fleet1 5.7") {
                $0.epoch = 0
            },
            Rule(
                what: "no generation there can be", status: 422, code: "invalid_resource", held: "fleet1 5.7"
            ) {
                $0.generation = 0
            },
            Rule(what: "no digest there can be", status: 422, code: "invalid_resource", held: "fleet1 5.7") {
                $0.digest = "E3B0"
            },
            Rule(what: "a controller called local", status: 422, code: "invalid_resource", held: "fleet1 5.7")
            {
                ($0.controller, $0.epoch) = ("local", 6)
            },
            Rule(what: "the next generation, the same content", status: 200, held: "fleet1 5.8") {
                $0.generation = 8
            },
            Rule(what: "a far generation, another content", status: 200, held: "fleet1 5.1000") {
                $0.generation = 1000
                $0.resources[0].body = #"{"vni":9}"#
            },
            Rule(what: "a newer epoch counts generations anew", status: 200, held: "fleet1 6.1") {
                ($0.epoch, $0.generation) = (6, 1)
            },
            Rule(what: "another controller takes over", status: 200, held: "fleet2 6.1") {
                ($0.controller, $0.epoch, $0.generation) = ("fleet2", 6, 1)
            },
        ]

        @Test(
            "a push counts when it is newer, and says which is held when it is not", arguments: rules.indices)
        func complete(number: Int) async throws {
            let rule = FenceTests.rules[number]
            try await TestAgent.run { agent async throws in
                let first = state(agent, port: 60)
                #expect(await agent.held() == "nobody 0.0")
                let made = await agent.push(first)
                #expect(made.status == 201 && made.json["changes"]?["added"] == 3, "\(made.text)")
                #expect(made.json["in_sync"] == true && made.json["counts"]?["tunnels"] == 1)
                let (before, commits) = (try await agent.state(), await agent.commits)
                let answer = await agent.push(
                    {
                        var push = first
                        rule.edit(&push)
                        return push
                    }())
                #expect(
                    answer.status == rule.status && answer.code == rule.code, "\(rule.what): \(answer.text)")
                #expect(await agent.held() == rule.held, "\(rule.what)")
                if rule.held == "fleet1 5.7" {
                    #expect(try await agent.isAgain(before), "\(rule.what)")
                    #expect(await agent.commits == commits, "\(rule.what)")
                }
                if answer.status == 409 {
                    let held = answer.json["held"]
                    #expect(held?["epoch"] == 5 && held?["generation"] == 7, "\(rule.what): \(answer.text)")
                    #expect(
                        held?["controller"] == "fleet1" && held?["digest"]?.stringValue == first.rightDigest)
                }
                if rule.code == "digest_mismatch" { #expect(answer.pointers == ["/digest"]) }
            }
        }

        @Test("the next generation of the same content is one commit, no program and no event of a resource")
        func sameContent() async throws {
            try await TestAgent.run { agent async throws in
                let first = state(agent, port: 61)
                await agent.push(first)
                var (push, made) = (first, [Bool]())
                for _ in 0..<5 {
                    let (programs, commits) = (await agent.programs, await agent.commits)
                    let last = agent.api.events.lastID
                    push = push.next()
                    let answer = await agent.push(push)
                    let none: JSONValue = ["added": 0, "changed": 0, "removed": 0, "removed_local": []]
                    #expect(answer.status == 200 && answer.json["changes"] == none, "\(answer.text)")
                    #expect(await agent.commits == commits + 1)
                    #expect(await agent.happened(since: last) == ["state.applied /v1/state"])
                    made.append(await agent.programs != programs)
                }
                // An interface that comes or goes on this host makes one too, now and then.
                #expect(made.contains(false))
            }
        }

        @Test("a delta is done on what is held, on nothing else, and comes to the digest it says")
        func delta() async throws {
            try await TestAgent.run { agent async throws in
                let base = state(agent, port: 62)
                let path = base.resources[0].path
                let tunnel = #"{"dst_port":\#(udp(62)),"remote_ip":"198.51.100.8"}"#
                let second = base.next { $0.resources.append(("\(path)/tunnels/t1", tunnel)) }
                let operation = putting("\(path)/tunnels/t1", tunnel)
                let early = await agent.push(second, on: base, [operation])
                #expect(
                    early.code == "base_mismatch" && early.status == 409, "nothing is held: \(early.text)")
                #expect(early.detail.contains("complete"))
                await agent.push(base)
                let before = try await agent.state()
                for edit: (inout TestPush) -> Void in [
                    { $0.generation = 6 }, { $0.epoch = 4 },
                    { $0.digest = String(repeating: "0", count: 64) },
                ] {
                    var other = base
                    edit(&other)
                    let answer = await agent.push(second, on: other, [operation])
                    #expect(
                        answer.code == "base_mismatch" && answer.json["held"]?["generation"] == 7,
                        "\(answer.text)")
                }
                let wrong = await agent.push(second, on: base, [])
                #expect(wrong.code == "digest_mismatch", "\(wrong.text)")
                #expect(try await agent.isAgain(before))
                let done = await agent.push(second, on: base, [operation])
                #expect(done.status == 200 && done.json["changes"]?["added"] == 1, "\(done.text)")
                #expect(done.json["digest"]?.stringValue == second.rightDigest)
                let again = await agent.push(second, on: base, [operation])
                #expect(
                    again.status == 200 && again.json["changes"]?["added"] == 0,
                    "its answer was lost: \(again.text)")
                var takeover = second
                (takeover.epoch, takeover.generation) = (6, 1)
                takeover.remove("\(path)/tunnels/t0")
                takeover.remove("\(path)/macs/02:00:00:00:00:01")
                let removed = await agent.push(takeover, on: second, [deleting("\(path)/tunnels/t0")])
                #expect(removed.status == 200 && removed.json["changes"]?["removed"] == 2, "\(removed.text)")
                #expect(await agent.held() == "fleet1 6.1")
                let stale = await agent.push(second.next(), on: second, [])
                #expect(stale.code == "stale_state")
            }
        }

        @Test("of two controllers that race, the one of the later epoch is held, whatever the order")
        func race() async throws {
            try await TestAgent.run { agent async throws in
                let base = state(agent, port: 63)
                let accepted = await withTaskGroup(of: [String].self) { group in
                    for (controller, epoch, vni) in [("fleet1", 5, 70), ("fleet2", 6, 80)] {
                        group.addTask {
                            var mine: [String] = []
                            for generation in 1...25 {
                                var push = base
                                (push.controller, push.epoch, push.generation) = (
                                    controller, epoch, generation
                                )
                                push.resources[0].body = #"{"vni":\#(vni + generation)}"#
                                let answer = await agent.push(push)
                                #expect(answer.status < 300 || answer.code == "stale_state", "\(answer.text)")
                                guard answer.status < 300 else { continue }
                                // The acknowledgement is of this push, not of one that came between.
                                #expect(answer.json["held"]?["controller"]?.stringValue == controller)
                                #expect(answer.json["digest"]?.stringValue == push.rightDigest)
                                mine.append("\(controller) \(epoch).\(generation)")
                            }
                            return mine
                        }
                    }
                    return await group.reduce(into: []) { $0 += $1 }
                }
                #expect(await agent.held() == "fleet2 6.25")
                #expect(accepted.filter { $0.hasPrefix("fleet2") }.count == 25)
                #expect(await agent.get(base.resources[0].path).json["spec"]?["vni"] == 105)
            }
        }

        @Test("a dry run is refused as the push would be, shows the plan and holds nothing")
        func dryRun() async throws {
            try await TestAgent.run { agent async throws in
                let push = state(agent, port: 64)
                let planned = await agent.dryRun("PUT", "/v1/state", push.complete)
                #expect(planned.planned("add") == push.resources.map(\.path).sorted(), "\(planned.text)")
                #expect(await agent.held() == "nobody 0.0")
                await agent.push(push)
                var stale = push
                stale.generation = 1
                #expect(await agent.dryRun("PUT", "/v1/state", stale.complete).code == "stale_state")
                let tag = await agent.get("/v1/state").tag ?? ""
                let condition = [("Content-Type", "application/json"), ("If-Match", tag)]
                let next = push.next()
                #expect(await agent.ask("PUT", "/v1/state", next.complete, headers: condition).status == 200)
                let late = await agent.ask("PUT", "/v1/state", next.next().complete, headers: condition)
                #expect(late.code == "precondition_failed")
            }
        }
    }
}
