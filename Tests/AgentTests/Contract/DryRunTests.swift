// dry_run: the same answer about right and wrong, the plan instead of the deed.

import JSON
import REST
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct DryRunTests {
        @Test("each write says what it would do, and does nothing")
        func plans() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let clean = try await agent.state()
                let add = await agent.dryRun("PUT", path, #"{"vni":7}"#)
                #expect(add.status == 200 && add.json["dry_run"] == true)
                #expect(add.planned("add") == [path] && add.planned("change") == [])
                #expect(add.json["plan"]?["add"]?[0]?["to"]?["vni"] == 7)
                #expect(add.json["plan"]?["add"]?[0]?["from"] == nil)
                #expect(await agent.get(path).status == 404)
                #expect(try await agent.isAgain(clean))

                await agent.put(path, #"{"vni":7}"#)
                let before = try await agent.state()
                let (events, commits) = (agent.api.events.lastID, await agent.commits)
                for (method, body) in [("PUT", #"{"vni":8}"#), ("PATCH", #"{"vni":8}"#)] {
                    let change = await agent.dryRun(method, path, body)
                    #expect(change.status == 200 && change.planned("change") == [path])
                    let item = change.json["plan"]?["change"]?[0]
                    #expect(item?["from"]?["vni"] == 7 && item?["to"]?["vni"] == 8)
                }
                for (method, body) in [("PUT", #"{"vni":7}"#), ("PATCH", "{}")] {
                    let idle = await agent.dryRun(method, path, body)
                    #expect(idle.status == 200 && idle.json["dry_run"] == true)
                    for verb in ["add", "change", "remove"] { #expect(idle.planned(verb) == []) }
                }
                #expect(try await agent.isAgain(before))
                #expect(agent.api.events.lastID == events)
                #expect(await agent.commits == commits)
            }
        }

        @Test("the plan of removing a bridge has everything that goes with it, a port's its entries")
        func cascades() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                await agent.put("\(path)/ports/p0", #"{"type":"tap","ifname":"\#(agent.site.name("p"))"}"#)
                await agent.put(
                    "\(path)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(40))}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:01", #"{"port":"t0"}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:02", #"{"port":"p0"}"#)
                let before = try await agent.state()
                let below = [
                    "macs/02:00:00:00:00:01", "macs/02:00:00:00:00:02", "ports/p0", "tunnels/t0",
                ].map { "\(path)/\($0)" }
                let all = await agent.dryRun("DELETE", path)
                #expect(all.status == 200 && all.planned("remove") == [path] + below)
                #expect(all.json["plan"]?["remove"]?[4]?["from"]?["remote_ip"] == "198.51.100.7")
                let port = await agent.dryRun("DELETE", "\(path)/ports/p0")
                #expect(port.planned("remove") == [below[1], below[2]])
                let mixed = await agent.batch(
                    [
                        deleting("\(path)/tunnels/t0"), putting(path, #"{"vni":9}"#),
                        putting("\(path)/macs/02:00:00:00:00:03", #"{"port":"p0"}"#),
                    ], isDryRun: true)
                #expect(mixed.status == 200 && mixed.planned("remove") == [below[0], below[3]])
                #expect(mixed.planned("change") == [path])
                #expect(mixed.planned("add") == ["\(path)/macs/02:00:00:00:00:03"])
                #expect(try await agent.isAgain(before))
                #expect(await agent.dryRun("DELETE", "\(path)/macs/02:00:00:00:00:09").status == 404)
                #expect(await agent.dryRun("DELETE", "\(path)/ports/p9").status == 404)
            }
        }

        @Test("a dry run refuses what the real call refuses, with the same words")
        func refusals() async throws {
            try await TestAgent.run { agent async throws in
                let (site, own) = (agent.site, agent.site.name("x"))
                let (path, none) = ("/v1/bridges/\(site.name("b"))", site.name("none"))
                try site.shell("ip tuntap add \(own) mode tap")
                #expect(await agent.put(path, #"{"addresses":["\#(net(9)).1/24"]}"#).status == 201)
                let tap = #"{"type":"tap","ifname":"\#(site.name("p"))"}"#
                #expect(await agent.put("\(path)/ports/p1", tap).status == 201)
                try await eventually("the agent knows its address") {
                    await agent.core.owns("\(net(9)).1".address)
                }
                let squatter = try Squatter(port: udp(41))
                defer { squatter.leave() }
                let before = try await agent.state()
                let cases = [
                    ("PUT", "ports/p0", #"{"type":"tap","netns":"\#(none)"}"#),
                    ("PUT", "ports/p0", #"{"type":"tap","ifname":"\#(own)"}"#),
                    ("PUT", "ports/p0", #"{"type":"system","ifname":"\#(none)"}"#),
                    ("PUT", "ports/p1", #"{"type":"tap","netns":"\#(none)"}"#),
                    ("PUT", "ports/p1", #"{"type":"tap","ifname":"\#(own)"}"#),
                    ("PATCH", "ports/p1", #"{"ifname":"\#(own)"}"#),
                    ("PUT", "ports/p1", #"{"type":"system","ifname":"\#(none)"}"#),
                    ("PUT", "ports/p1", #"{"type":"system","ifname":"\#(site.name("p"))"}"#),
                    ("PUT", "tunnels/t0", #"{"remote_ip":"\#(net(9)).1","dst_port":\#(udp(42))}"#),
                    ("PUT", "tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(41))}"#),
                    ("PUT", "tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":50000}"#),
                    ("PUT", "macs/02:00:00:00:00:01", #"{"port":"p9"}"#),
                    ("PUT", "tunnels/p1", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(42))}"#),
                    ("PUT", "ports/p0", #"{"colour":1}"#), ("PUT", "ports/p0", "{"),
                    ("PATCH", "ports/p0", "{}"), ("DELETE", "tunnels/t0", ""),
                    ("PUT", "../\(own)/ports/p0", #"{"type":"tap"}"#),
                ]
                for (method, member, body) in cases {
                    let target =
                        member.hasPrefix("../") ? "/v1/bridges/\(member.dropFirst(3))" : "\(path)/\(member)"
                    let dry = await agent.dryRun(method, target, body)
                    #expect(try await agent.isAgain(before), "\(method) \(member) \(body)")
                    let real = await agent.ask(method, target, body)
                    #expect(real.status >= 400, "\(method) \(member) \(body)")
                    #expect(
                        dry.status == real.status && dry.json == real.json,
                        "\(method) \(member) \(body): \(dry.text) but \(real.text)")
                    #expect(try await agent.isAgain(before), "\(method) \(member) \(body)")
                }
                let moved = await agent.dryRun("PATCH", "\(path)/ports/p1", #"{"mac":"02:00:00:00:00:99"}"#)
                #expect(moved.status == 200, "its own interface is not in its way")
                let taken = await agent.dryRun("PUT", "/v1/bridges/\(own)", "{}")
                #expect(taken.status == 409 && taken.detail.contains("already exists"))
            }
        }

        @Test("dry_run is true or false, once; any other parameter is refused and nothing is done")
        func parameters() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let wrong: [[(name: String, value: String)]] = [
                    [("dry_run", "maybe")], [("dry_run", "1")], [("dry_run", "TRUE")],
                    [("dryrun", "true")], [("dry-run", "true")],
                    [("dry_run", "true"), ("dry_run", "false")],
                    [("dry_run", "true"), ("x", "1")],
                ]
                for query in wrong {
                    let answer = await agent.ask("PUT", path, "{}", query: query)
                    #expect(answer.status == 400 && answer.code == "malformed_request", "\(query)")
                }
                #expect(await agent.get("/v1/bridges").items.isEmpty)
                #expect(await agent.ask("GET", path, query: [("dry_run", "true")]).status == 400)
                let real = await agent.ask("PUT", path, "{}", query: [("dry_run", "false")])
                #expect(real.status == 201)
                for query in wrong {
                    #expect(await agent.ask("DELETE", path, query: query).status == 400, "\(query)")
                    #expect(await agent.ask("PATCH", path, "{}", query: query).status == 400, "\(query)")
                }
                #expect(await agent.get(path).status == 200)
            }
        }
    }
}
