// What a push does: all or nothing, its errors item by item, beside what is written locally, and after a restart.

import API
import JSON
import REST
import Store
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct PushTests {
        private func state(_ agent: TestAgent, port: Int, _ name: String = "b") -> TestPush {
            let path = "/v1/bridges/\(agent.site.name(name))"
            return TestPush(
                1, 1,
                [
                    (path, #"{"vni":7}"#),
                    ("\(path)/ports/p0", #"{"ifname":"\#(agent.site.name("p"))","type":"tap"}"#),
                    ("\(path)/tunnels/t0", #"{"dst_port":\#(udp(port)),"remote_ip":"198.51.100.7"}"#),
                    ("\(path)/macs/02:00:00:00:00:01", #"{"port":"t0"}"#),
                ])
        }

        private func tunnel(_ bridge: String, _ number: Int, port: Int) -> (path: String, body: String) {
            (
                "\(bridge)/tunnels/n\(number)",
                #"{"dst_port":\#(udp(port)),"remote_ip":"198.51.100.\#(number + 10)"}"#
            )
        }

        @Test("a complete state makes, changes and removes; in any order, in one commit and one program")
        func life() async throws {
            try await TestAgent.run { agent async throws in
                let clean = try await agent.state()
                let first = state(agent, port: 70)
                let path = first.resources[0].path
                var backwards = first
                backwards.resources.reverse()
                let commits = await agent.commits
                let programs = await agent.programs.flatMap(Int.init) ?? 0
                #expect(await agent.push(backwards).json["changes"]?["added"] == 4)
                #expect(await agent.commits == commits + 1)
                // And perhaps another for an interface that came or went on this host.
                let made = await agent.programs.flatMap(Int.init) ?? 0
                #expect((programs + 1...programs + 2).contains(made))
                #expect(try agent.site.interface("p")?.isUp == true)
                for item in ["", "/ports/p0", "/tunnels/t0"] {
                    #expect(await agent.get(path + item).json["status"]?["managed_by"] == "fleet1")
                }
                let entry = await agent.get("\(path)/macs/02:00:00:00:00:01").json
                #expect(entry["managed_by"] == "fleet1" && entry["type"] == "static" && entry["vni"] == 7)
                // The tunnel's name passes to a port, and the entry to it.
                let second = first.next {
                    $0.remove("\(path)/tunnels/t0")
                    $0.resources[1] = ("\(path)/ports/t0", $0.resources[1].body)
                }
                let answer = await agent.push(second)
                #expect(answer.status == 200 && answer.json["changes"]?["added"] == 1, "\(answer.text)")
                #expect(answer.json["changes"]?["removed"] == 2)
                #expect(await agent.get("\(path)/macs/02:00:00:00:00:01").json["vni"] == nil)
                let content = await agent.ask("GET", "/v1/state", query: [("resources", "true")]).json
                #expect(
                    content["resources"]?.arrayValue?.compactMap { $0["path"]?.stringValue } == [
                        path, "\(path)/macs/02:00:00:00:00:01", "\(path)/ports/t0",
                    ])
                #expect(await agent.push(second.next { $0.resources = [] }).status == 200)
                var end = try await agent.state()
                #expect(end.stored.map(\.kind) == ["state"], "what is held stays known")
                end.stored = []
                #expect(end == clean)
            }
        }

        @Test("one bad item and nothing is done; every bad item has its pointer")
        func allOrNothing() async throws {
            try await TestAgent.run { agent async throws in
                let first = state(agent, port: 71)
                let path = first.resources[0].path
                await agent.put("/v1/bridges/\(agent.site.name("l"))")
                await agent.push(first)
                let (before, commits) = (try await agent.state(), await agent.commits)
                let local = "/v1/bridges/\(agent.site.name("l"))"
                let bad: [([(path: String, body: String)], String, [String])] = [
                    (
                        [
                            ("\(path)/tunnels/t1", #"{"remote_ip":"x"}"#),
                            ("\(path)/ports/p1", #"{"type":"x"}"#),
                        ],
                        "invalid_resource", ["/resources/4/body/remote_ip", "/resources/5/body/type"]
                    ),
                    (
                        [("/v1/version", "{}"), ("\(path)/ports/a b", "{}")],
                        "invalid_resource", ["/resources/4/path", "/resources/5/path"]
                    ),
                    (
                        [("\(path)/macs/02-00-00-00-00-01", #"{"port":"p0"}"#)],
                        "invalid_resource", ["/resources/4/path"]
                    ),
                    (
                        [(local, "{}"), ("\(local)/ports/p1", #"{"type":"tap"}"#)],
                        "managed_elsewhere", ["/resources/4", "/resources/5"]
                    ),
                    (
                        [
                            ("\(path)x/ports/p1", #"{"type":"tap"}"#),
                            ("\(path)y/ports/p1", #"{"type":"tap"}"#),
                        ],
                        "not_found", ["/resources/4", "/resources/5"]
                    ),
                    (
                        [
                            ("\(path)/macs/02:00:00:00:00:02", #"{"port":"p9"}"#),
                            ("\(path)/macs/02:00:00:00:00:03", #"{"port":"p8"}"#),
                        ],
                        "conflict", ["/resources/4", "/resources/5"]
                    ),
                    (
                        [("\(path)/tunnels/t1", #"{"dst_port":\#(udp(71)),"remote_ip":"198.51.100.7"}"#)],
                        "conflict", ["/resources/4"]
                    ),
                    (
                        [("\(path)/tunnels/t1", #"{"dst_port":50000,"remote_ip":"198.51.100.9"}"#)],
                        "invalid_resource", ["/resources/4/body/dst_port"]
                    ),
                    (
                        [("\(path)/ports/p1", #"{"netns":"\#(agent.site.name("none"))","type":"tap"}"#)],
                        "conflict", ["/resources/4"]
                    ),
                ]
                for (items, code, pointers) in bad {
                    let answer = await agent.push(first.next { $0.resources += items })
                    #expect(answer.code == code && answer.pointers == pointers, "\(items): \(answer.text)")
                    #expect(try await agent.isAgain(before), "\(items)")
                }
                #expect(await agent.commits == commits)
            }
        }

        @Test("one bad operation of a delta and nothing is done; a controller removes only what it pushed")
        func badDelta() async throws {
            try await TestAgent.run { agent async throws in
                let first = state(agent, port: 78)
                let path = first.resources[0].path
                let local = "/v1/bridges/\(agent.site.name("l"))"
                await agent.put(local)
                await agent.push(first)
                let before = try await agent.state()
                let deltas: [(String, String, String)] = [
                    (
                        putting("\(path)x/ports/p9", #"{"type":"internal"}"#), "not_found", "/operations/0"
                    ),
                    (deleting(local), "managed_elsewhere", "/operations/0"),
                    (
                        putting("\(path)/ports/p1", #"{"type":"x"}"#), "invalid_resource",
                        "/operations/0/body/type"
                    ),
                ]
                for (operation, code, pointer) in deltas {
                    let answer = await agent.push(first.next(), on: first, [operation])
                    #expect(
                        answer.code == code && answer.pointers == [pointer], "\(operation): \(answer.text)")
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("a delta may remove what is not there: what came and went before it was sent was never pushed")
        func removeNothing() async throws {
            try await TestAgent.run { agent async throws in
                let first = state(agent, port: 79)
                let path = first.resources[0].path
                await agent.push(first)
                var second = first.next()
                second.remove("\(path)/ports/p0")
                let answer = await agent.push(
                    second, on: first,
                    [deleting("\(path)/ports/p9"), deleting("\(path)x"), deleting("\(path)/ports/p0")])
                #expect(answer.status == 200 && answer.json["changes"]?["removed"] == 1, "\(answer.text)")
                #expect(answer.json["in_sync"] == true)
            }
        }

        @Test("a complete state removes more than ten and more than half only when it is allowed to")
        func massDelete() async throws {
            try await TestAgent.run { agent async throws in
                var held = state(agent, port: 72)
                let path = held.resources[0].path
                for number in 0..<20 { held.resources.append(tunnel(path, number, port: 72)) }
                func without(_ count: Int) -> TestPush {
                    held.next { $0.resources.removeLast(count) }
                }
                await agent.push(held)
                let before = try await agent.state()
                let empty = await agent.push(TestPush(2, 1))
                #expect(
                    empty.code == "mass_delete" && empty.json["held"]?["generation"] == 1, "\(empty.text)")
                #expect(await agent.push(without(13)).code == "mass_delete")
                #expect(try await agent.isAgain(before))
                held = without(12)
                #expect(await agent.push(held).status == 200, "12 of 24 is half")
                held = without(10)
                #expect(await agent.push(held).status == 200, "10 of 12, but ten may always go")
                for number in 0..<20 { held.resources.append(tunnel(path, number + 20, port: 72)) }
                held.generation += 1
                #expect(await agent.push(held).status == 200)
                var all = TestPush(2, 1)
                all.allowMassDelete = true
                #expect(await agent.push(all).json["changes"]?["removed"] == 22)
            }
        }

        @Test("local writes keep off what was pushed, whatever they are; local resources stay")
        func sideBySide() async throws {
            try await TestAgent.run { agent async throws in
                let local = "/v1/bridges/\(agent.site.name("l"))"
                await agent.put(local, #"{"vni":9}"#)
                let first = state(agent, port: 73)
                let path = first.resources[0].path
                await agent.push(first)
                let before = try await agent.state()
                for resource in first.resources {
                    let put = await agent.put(resource.path, resource.body)
                    #expect(put.code == "managed_elsewhere" && put.status == 409, "\(put.text)")
                    #expect(put.detail.contains("fleet1"))
                    #expect(await agent.delete(resource.path).code == "managed_elsewhere")
                    let batch = await agent.batch([putting("\(local)x"), deleting(resource.path)])
                    #expect(batch.code == "managed_elsewhere" && batch.pointers == ["/operations/1"])
                    if !resource.path.contains("/macs/") {
                        #expect(await agent.patch(resource.path, "{}").code == "managed_elsewhere")
                    }
                }
                #expect(try await agent.isAgain(before))
                #expect(await agent.get(local).json["status"]?["managed_by"] == "local")
                // Local members of a pushed bridge.
                let tap = #"{"type":"tap","ifname":"\#(agent.site.name("q"))"}"#
                #expect(await agent.put("\(path)/ports/mine", tap).status == 201)
                #expect(await agent.put("\(path)/macs/02:00:00:00:00:09", #"{"port":"t0"}"#).status == 201)
                #expect(await agent.get("\(path)/macs/02:00:00:00:00:09").json["managed_by"] == "local")
                #expect(await agent.delete("\(path)/macs/02:00:00:00:00:09").status == 204)
                #expect(await agent.put("\(path)/macs/02:00:00:00:00:09", #"{"port":"t0"}"#).status == 201)
                #expect(await agent.held() == "fleet1 1.1", "they are no part of what was pushed")
                let clash = await agent.push(
                    first.next { $0.resources.append(("\(path)/ports/mine", #"{"type":"tap"}"#)) })
                #expect(
                    clash.code == "managed_elsewhere" && clash.pointers == ["/resources/4"], "\(clash.text)")
                let leads = await agent.push(
                    first.next {
                        $0.resources.append(("\(path)/macs/02:00:00:00:00:0a", #"{"port":"mine"}"#))
                    })
                #expect(
                    leads.code == "managed_elsewhere" && leads.pointers == ["/resources/4"], "\(leads.text)")
                let taken = await agent.push(
                    first.next {
                        $0.resources.append(
                            ("\(path)/ports/p1", #"{"ifname":"\#(agent.site.name("q"))","type":"tap"}"#))
                    })
                #expect(taken.code == "conflict" && taken.pointers == ["/resources/4"], "\(taken.text)")
                let hijack = await agent.push(
                    first.next(), on: first,
                    [
                        deleting(path), putting(path, #"{"vni":7}"#),
                        putting("\(path)/ports/mine", #"{"type":"tap"}"#),
                    ])
                #expect(
                    hijack.code == "managed_elsewhere" && hijack.pointers == ["/operations/2"],
                    "\(hijack.text)")
                // They go with what they are attached to, and the acknowledgement names them.
                let bare = first.next { $0.resources = [] }
                let answer = await agent.push(bare)
                #expect(
                    answer.json["changes"]?["removed_local"] == [
                        .string("\(path)/macs/02:00:00:00:00:09"), .string("\(path)/ports/mine"),
                    ], "\(answer.text)")
                #expect(
                    await agent.get("/v1/bridges").items.map { $0["name"]?.stringValue } == [
                        agent.site.name("l")
                    ])
                #expect(try agent.site.interface("q") == nil)
            }
        }

        @Test("a pushed address moves with a push, and the late removal of its old place leaves it")
        func pinned() async throws {
            try await TestAgent.run { agent async throws in
                let first = state(agent, port: 74)
                let path = first.resources[0].path
                var second = first.next()
                second.resources.append(tunnel(path, 1, port: 74))
                second.resources[3].body = #"{"port":"n1"}"#
                await agent.push(first)
                await agent.push(second)
                let entry = await agent.get("\(path)/macs/02:00:00:00:00:01").json
                #expect(entry["port"] == "n1" && entry["remote_ip"] == "198.51.100.11")
                // The old place's late removal does not take the entry along.
                let third = second.next { $0.remove("\(path)/tunnels/t0") }
                #expect(await agent.push(third).status == 200)
                #expect(await agent.get("\(path)/macs/02:00:00:00:00:01").json["port"] == "n1")
            }
        }

        @Test(
            "an agent that starts again is the same one in another life, to a controller and in its version")
        func identity() async throws {
            try await Site.run { site in
                var lives: [(agent: JSONValue?, boot: JSONValue?)] = []
                for _ in 0..<2 {
                    try await TestAgent.run(on: site) { agent in
                        let read = await agent.get("/v1/state").json
                        let (id, boot) = (read["agent_id"], read["boot_id"])
                        lives.append((id, boot))
                        #expect(id == "0000000000000007")
                        var push = TestPush()
                        push.generation = lives.count
                        let pushed = await agent.push(push).json
                        let version = await agent.get("/v1/version").json
                        let event = await agent.get("/v1/events").json
                        #expect(pushed["agent_id"] == id && version["agent_id"] == id)
                        #expect(pushed["boot_id"] == boot && version["boot_id"] == boot)
                        #expect(event["boot"] == boot)
                    }
                }
                #expect(lives[0].agent == lives[1].agent)
                #expect(lives[0].boot != lives[1].boot)
            }
        }

        @Test("the number an agent is known by stays with its state file, and no two files have the same")
        func seed() async throws {
            try await Site.run { site in
                var seeds: [UInt64] = []
                for file in ["a", "a", "b"] {
                    let store = try Store(path: "\(site.stateFile).\(file)")
                    seeds.append(try Agent.seed(in: store))
                    try store.close()
                }
                #expect(seeds[0] == seeds[1])
                #expect(seeds[0] != seeds[2])
                #expect(Agent.id(0xC0FFEE) == "0000000000c0ffee")
            }
        }

        @Test(
            "after a restart what was pushed runs, is held, and is guarded as before, without any controller")
        func restart() async throws {
            try await Site.run { site in
                var push = TestPush()
                var before: [String] = []
                try await TestAgent.run(on: site) { agent in
                    push = state(agent, port: 75)
                    push.epoch = 3
                    await agent.put("/v1/bridges/\(site.name("l"))")
                    await agent.push(push)
                    await agent.put("\(push.resources[0].path)/macs/02:00:00:00:00:09", #"{"port":"t0"}"#)
                    before = try await agent.state().members
                }
                try await TestAgent.run(on: site) { agent in
                    let after = try await agent.state().members
                    #expect(after == before)
                    #expect(await agent.held() == "fleet1 3.1")
                    #expect(
                        await agent.get("\(push.resources[0].path)/tunnels/t0").json["status"]?["managed_by"]
                            == "fleet1")
                    #expect(await agent.delete(push.resources[0].path).code == "managed_elsewhere")
                    #expect(await agent.push(push).json["changes"]?["added"] == 0)
                    // What went while it was away goes with the next complete state, and not before.
                    let next = push.next {
                        $0.remove("\($0.resources[0].path)/ports/p0")
                    }
                    #expect(await agent.push(next).json["changes"]?["removed"] == 1)
                    push.epoch = 2
                    #expect(await agent.push(push).code == "stale_state")
                }
            }
        }

        @Test(
            "a state file that others have changed shows as drift, refuses deltas and is repaired by the same push"
        )
        func drift() async throws {
            try await Site.run { site in
                var push = TestPush()
                try await TestAgent.run(on: site) { agent in
                    push = state(agent, port: 76)
                    await agent.push(push)
                }
                let store = try Store(path: site.stateFile)
                try store.commit([.delete(kind: "pushed mac", key: "\(site.name("b"))/02:00:00:00:00:01")])
                try store.close()
                try await TestAgent.run(on: site) { agent in
                    #expect(await agent.held() == "fleet1 1.1 drifted")
                    #expect(await agent.metric("viaduct_state_in_sync") == "0")
                    let delta = await agent.push(push.next(), on: push, [])
                    #expect(delta.code == "base_mismatch", "\(delta.text)")
                    let repaired = await agent.push(push)
                    #expect(
                        repaired.status == 200 && repaired.json["changes"]?["added"] == 1, "\(repaired.text)")
                    #expect(await agent.held() == "fleet1 1.1")
                    #expect(await agent.metric("viaduct_state_repairs_total") == "1")
                }
            }
        }

        @Test("pushes are counted by result, and one refused again and again is one event")
        func watching() async throws {
            try await TestAgent.run { agent async throws in
                let push = state(agent, port: 77)
                #expect(await agent.metric("viaduct_state_epoch") == "0")
                var later = push
                (later.epoch, later.generation) = (4, 9)
                await agent.push(later)
                await agent.push(later)
                let start = agent.api.events.lastID
                for _ in 0..<3 { await agent.push(push) }
                await agent.put("/v1/state", "{")
                #expect(await agent.metric("viaduct_state_epoch") == "4")
                #expect(await agent.metric("viaduct_state_generation") == "9")
                #expect(await agent.metric("viaduct_state_resources") == "4")
                let counts = ["applied": "1", "unchanged": "1", "stale_state": "3", "malformed_json": "1"]
                for (result, count) in counts {
                    #expect(
                        await agent.metric("viaduct_state_pushes_total{result=\"\(result)\"}") == count,
                        "\(result)")
                }
                #expect(await agent.metric("viaduct_state_last_accepted_timestamp_seconds") != "0.0")
                let events = await agent.events(since: start)
                #expect(events.map { $0["type"] } == ["state.refused", "state.refused"])
                #expect(events.first?["data"]?["code"] == "stale_state")
                #expect(events.first?["data"]?["epoch"] == 1)
            }
        }
    }
}
