// Many writes as one.

import JSON
import REST
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct BatchTests {
        private func statuses(_ answer: Answer) -> [Int64] {
            (answer.json["results"]?.arrayValue ?? []).compactMap { $0["status"]?.integerValue }
        }

        /// A bridge and something of each kind below it, in order.
        private func everything(_ agent: TestAgent, _ path: String, port: Int) -> [String] {
            [
                putting(path, #"{"vni":7}"#),
                putting("\(path)/ports/p0", #"{"type":"tap","ifname":"\#(agent.site.name("p"))"}"#),
                putting("\(path)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(port))}"#),
                putting("\(path)/macs/02-00-00-00-00-01", #"{"port":"t0"}"#),
            ]
        }

        @Test("a bridge and all below it are made by one batch, in one transaction, and removed by another")
        func life() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let clean = try await agent.state()
                let operations = everything(agent, path, port: 50)
                let commits = await agent.commits
                let made = await agent.batch(operations)
                #expect(made.status == 200 && statuses(made) == [201, 201, 201, 201], "\(made.text)")
                #expect(made.json["results"]?[3]?["path"]?.stringValue == "\(path)/macs/02-00-00-00-00-01")
                #expect(await agent.commits == commits + 1)
                #expect(try agent.store.load().count == 4)
                #expect(try agent.site.interface("p")?.isUp == true)
                #expect(await agent.get("\(path)/macs/02:00:00:00:00:01").json["vni"] == 7)
                let before = try await agent.state()
                let last = agent.api.events.lastID
                let again = await agent.batch(operations)
                #expect(again.status == 200 && statuses(again) == [200, 200, 200, 200])
                #expect(await agent.batch([]).status == 200)
                #expect(try await agent.isAgain(before))
                #expect(await agent.commits == commits + 1 && agent.api.events.lastID == last)
                let mixed = await agent.batch([
                    deleting("\(path)/tunnels/t0"), putting(path, #"{"vni":8}"#),
                    deleting("\(path)/ports/p0"),
                ])
                #expect(statuses(mixed) == [204, 200, 204])
                #expect(await agent.commits == commits + 2)
                #expect(try agent.store.load().map(\.kind) == ["bridge"], "the entry went with its tunnel")
                #expect(statuses(await agent.batch([deleting(path)])) == [204])
                #expect(try await agent.isAgain(clean))
            }
        }

        @Test("one bad operation and nothing is done; the pointer says which")
        func allOrNothing() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let clean = try await agent.state()
                let (last, commits) = (agent.api.events.lastID, await agent.commits)
                let bad = [
                    (putting("\(path)/tunnels/t1", #"{"remote_ip":"x"}"#), "body/remote_ip"),
                    (putting("\(path)/tunnels/t1", #"{"remote_ip":"127.0.0.1"}"#), "body/remote_ip"),
                    (
                        putting("\(path)/tunnels/t1", #"{"remote_ip":"198.51.100.9","dst_port":50000}"#),
                        "body/dst_port"
                    ),
                    (putting("\(path)/ports/p1", #"{"type":"tap","colour":1}"#), "body/colour"),
                    (putting("/v1/version"), "path"), (putting("\(path)/ports"), "path"),
                    (putting("\(path)/ports/p1/x"), "path"), (putting("\(path)/"), "path"),
                    (putting("\(path)?dry_run=true"), "path"), (putting("\(path)/ports/a b"), "path"),
                    (putting("\(path)/macs/x", #"{"port":"p0"}"#), "path"), (putting(""), "path"),
                    (#"{"method":"PUT","path":"\#(path)"}"#, "body"),
                    (#"{"method":"DELETE","path":"\#(path)","body":{}}"#, "body"),
                    (#"{"method":"PATCH","path":"\#(path)","body":{}}"#, "method"),
                    (#"{"path":"\#(path)","body":{}}"#, "method"),
                ]
                for (operation, place) in bad {
                    let answer = await agent.batch(everything(agent, path, port: 51) + [operation])
                    #expect(answer.status == 422 && answer.code == "invalid_resource", "\(operation)")
                    #expect(answer.pointers == ["/operations/4/\(place)"], "\(operation): \(answer.text)")
                }
                let absent = [
                    deleting("\(path)/ports/p9"), deleting("\(path)x"),
                    putting("\(path)x/ports/p1", #"{"type":"tap"}"#),
                ]
                for operation in absent {
                    let answer = await agent.batch(everything(agent, path, port: 51) + [operation])
                    #expect(answer.status == 404 && answer.pointers == ["/operations/4"], "\(operation)")
                }
                let backwards = await agent.batch(everything(agent, path, port: 51).reversed())
                #expect(backwards.status == 404, "a bridge before what is below it")
                #expect(try await agent.isAgain(clean))
                #expect(agent.api.events.lastID == last)
                #expect(await agent.commits == commits)
            }
        }

        @Test("what the host or the whole refuses undoes the batch, what was made before it included")
        func hostRefuses() async throws {
            try await TestAgent.run { agent async throws in
                let (site, path) = (agent.site, "/v1/bridges/\(agent.site.name("b"))")
                try site.shell("ip tuntap add \(site.name("x")) mode tap")
                let clean = try await agent.state()
                let refused = [
                    putting("\(path)/ports/p1", #"{"type":"tap","ifname":"\#(site.name("x"))"}"#),
                    putting("\(path)/ports/p1", #"{"type":"tap","netns":"\#(site.name("none"))"}"#),
                    putting("\(path)/ports/p1", #"{"type":"tap","ifname":"\#(site.name("p"))"}"#),
                    putting("\(path)/macs/02:00:00:00:00:02", #"{"port":"p9"}"#),
                    putting("/v1/bridges/\(site.name("x"))"),
                ]
                for operation in refused {
                    let answer = await agent.batch(everything(agent, path, port: 52) + [operation])
                    #expect(answer.status == 409 && answer.code == "conflict", "\(operation)")
                    #expect(answer.pointers == ["/operations/4"], "\(operation): \(answer.text)")
                    #expect(answer.detail.hasPrefix("/operations/4: "), "\(operation): \(answer.text)")
                    #expect(try await agent.isAgain(clean), "\(operation)")
                }
            }
        }

        @Test("what a batch removes and makes again is what was made again, below it too")
        func replaced() async throws {
            try await Site.run { site in
                let path = "/v1/bridges/\(site.name("b"))"
                try await TestAgent.run(on: site) { agent async throws in
                    await agent.batch(everything(agent, path, port: 53))
                    let answer = await agent.batch([deleting(path), putting(path, #"{"vni":7}"#)])
                    #expect(statuses(answer) == [204, 201])
                    #expect(await agent.get("\(path)/ports").items.isEmpty)
                    #expect(try site.interfaces().map(\.name) == [site.name("b")])
                    #expect(try agent.store.load().map(\.kind) == ["bridge"])
                    await agent.batch(everything(agent, path, port: 53))
                    let tap = #"{"type":"tap","ifname":"\#(site.name("p"))"}"#
                    await agent.put("\(path)/macs/02:00:00:00:00:05", #"{"port":"p0"}"#)
                    await agent.batch([deleting("\(path)/ports/p0"), putting("\(path)/ports/p0", tap)])
                    #expect(await agent.get("\(path)/macs/02:00:00:00:00:05").status == 404)
                    let system = tap.replacing("tap", with: "system")
                    let turned = await agent.batch([
                        deleting("\(path)/ports/p0"), putting("\(path)/ports/p0", system),
                    ])
                    #expect(turned.status == 409, "it would attach the interface that is about to go")
                    await agent.batch([deleting(path), putting(path, #"{"vni":9}"#)])
                }
                try await TestAgent.run(on: site) { agent async throws in
                    #expect(await agent.get("\(path)/ports").items.isEmpty)
                    #expect(await agent.get("\(path)/tunnels").items.isEmpty)
                    #expect(try agent.store.load().map(\.kind) == ["bridge"])
                }
            }
        }

        @Test("20,000 operations are a batch, one more is refused")
        func limit() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let over = await agent.batch(Array(repeating: putting(path), count: 20_001))
                #expect(over.status == 422 && over.pointers == ["/operations"], "\(over.text.prefix(300))")
                #expect(await agent.get(path).status == 404)
                let commits = await agent.commits
                let full = await agent.batch(Array(repeating: putting(path), count: 20_000))
                #expect(full.status == 200 && full.text.matches(of: /"status": 200/).count == 19_999)
                #expect(full.text.matches(of: /"status": 201/).count == 1)
                #expect(await agent.commits == commits + 1)
            }
        }

        @Test("a batch is sent as JSON and says so")
        func mediaType() async throws {
            try await TestAgent.run { agent async throws in
                for type in ["text/plain", "application/x-www-form-urlencoded", nil] {
                    let answer = await agent.ask(
                        "POST", "/v1/batch", #"{"operations":[]}"#,
                        headers: type.map { [("Content-Type", $0)] } ?? [])
                    #expect(answer.status == 415, "\(type ?? "none")")
                }
                #expect(await agent.ask("POST", "/v1/batch", "{}").pointers == ["/operations"])
                #expect(await agent.ask("GET", "/v1/batch").status == 405)
            }
        }

        @Test("a batch may depend on the tag of everything written, and answers with the next one")
        func preconditions() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                func send(_ operation: String, _ headers: [(String, String)]) async -> Answer {
                    await agent.ask(
                        "POST", "/v1/batch", #"{"operations":[\#(operation)]}"#,
                        headers: [("Content-Type", "application/json")] + headers)
                }
                let seen = try #require(await agent.get("/v1/bridges").tag)
                let made = await send(putting(path), [("If-Match", seen)])
                #expect(made.status == 200, "\(made.text)")
                let next = try #require(made.tag)
                #expect(next != seen)
                #expect(await agent.get("/v1/bridges").tag == next)
                let clean = try await agent.state()
                for headers in [
                    [("If-Match", seen)], [("If-None-Match", next)], [("If-None-Match", "*")],
                    [("If-Match", "W/\(next)")],
                ] {
                    let late = await send(putting(path, #"{"vni":8}"#), headers)
                    #expect(late.status == 412 && late.code == "precondition_failed", "\(headers)")
                }
                #expect(await send(putting(path), [("If-Match", "x")]).status == 400)
                #expect(try await agent.isAgain(clean))
                let idle = await send(putting(path), [("If-Match", next), ("If-None-Match", seen)])
                #expect(idle.status == 200 && idle.tag == next, "nothing changed, so the tag is the same")
                #expect(await send(putting(path, #"{"vni":8}"#), [("If-Match", "*")]).status == 200)
            }
        }

        @Test("a flush with a precondition is refused: what was learned has no lasting tag")
        func flush() async throws {
            try await TestAgent.run { agent async throws in
                let macs = "/v1/bridges/\(agent.site.name("b"))/macs"
                await agent.put("/v1/bridges/\(agent.site.name("b"))")
                for name in ["If-Match", "If-None-Match"] {
                    let answer = await agent.ask("DELETE", macs, headers: [(name, "*")])
                    #expect(answer.status == 400 && answer.detail.hasPrefix("\(name): wanted none"))
                }
                #expect(await agent.delete(macs).status == 204)
            }
        }
    }
}
