// What is written of the underlay, from a request to the disk and back: the resources that are of no bridge.

import API
import JSON
import Store
import Testing
import Wire

@testable import Agent

extension OnTheHost {
    @Suite struct UnderlayTests {
        private static let mac = #"{"mac":"02:00:00:00:00:09"}"#

        private func blackhole(_ destination: String, _ metric: Int = 0) -> String {
            #"{"destination":"\#(destination)","type":"blackhole","metric":\#(metric)}"#
        }

        @Test("the underlay is always there, is never made or removed, and keeps what is written")
        func singleton() async throws {
            try await TestAgent.run { agent async throws in
                let before = await agent.get("/v1/underlay")
                #expect(before.json["name"] == "underlay")
                #expect(before.json["spec"]?.description.contains(#""driver":"auto""#) == true)
                #expect(before.json["status"]?["driver"] == "socket")
                #expect(before.json["status"]?["reason"]?.stringValue?.isEmpty == false)
                #expect(await agent.put("/v1/underlay", "{}").status == 200)
                #expect(await agent.happened(since: 0).isEmpty, "nothing was changed")
                let written = await agent.put("/v1/underlay", #"{"driver":"socket"}"#)
                #expect(written.status == 200 && written.tag != before.tag)
                #expect(written.json["status"]?["reason"] == "as it was set")
                let patched = await agent.patch("/v1/underlay", #"{"pmtu_probe":true}"#)
                #expect(patched.json["spec"]?["driver"] == "socket")
                #expect(patched.json["spec"]?["pmtu_probe"] == true)
                #expect(
                    await agent.happened(since: 0)
                        == Array(repeating: "underlay.changed /v1/underlay", count: 2))
                let stale = await agent.patch(
                    "/v1/underlay", "{}",
                    headers: [("If-Match", before.tag ?? ""), ("Content-Type", "application/json")])
                #expect(stale.code == "precondition_failed")
                #expect(await agent.delete("/v1/underlay").status == 405)
                let batch = await agent.batch([deleting("/v1/underlay")])
                #expect(batch.code == "invalid_resource" && batch.pointers == ["/operations/0"])
                #expect(
                    batch.detail.contains("wanted PUT of /v1/underlay, which always exists, found DELETE"))
            }
        }

        @Test("routes and neighbors are made, read, patched, listed and deleted under their tags")
        func life() async throws {
            try await TestAgent.run { agent async throws in
                let made = await agent.put("/v1/routes/r0", blackhole("198.51.100.0/24"))
                #expect(made.status == 201 && made.json["status"]?["active"] == true)
                #expect(await agent.put("/v1/routes/r0", blackhole("198.51.100.0/24")).status == 200)
                let patched = await agent.patch("/v1/routes/r0", #"{"type":"unreachable","metric":7}"#)
                #expect(patched.json["spec"]?["metric"] == 7 && patched.tag != made.tag)
                #expect(await agent.get("/v1/routes").items.count == 1)
                let unmet = await agent.ask(
                    "DELETE", "/v1/routes/r0", headers: [("If-Match", made.tag ?? "")])
                #expect(unmet.code == "precondition_failed")
                #expect(await agent.delete("/v1/routes/r0").status == 204)
                let gone = await agent.delete("/v1/routes/r0")
                #expect(gone.status == 404 && gone.detail == "there is no route r0")

                let path = "/v1/neighbors/none0/fe80::9"
                let neighbor = await agent.put("/v1/neighbors/none0/FE80::0:9", Self.mac)
                #expect(neighbor.status == 201)
                #expect(neighbor.json["ip"] == "fe80::9" && neighbor.json["state"] == "permanent")
                #expect(neighbor.json["error"] == "there is no interface none0")
                #expect(await agent.get(path).tag == neighbor.tag)
                let listed = await agent.ask(
                    "GET", "/v1/neighbors", query: [("type", "static")].map { ($0, $1) })
                #expect(listed.items.map { $0["ifname"]?.stringValue } == ["none0"])
                #expect(await agent.delete(path).status == 204)
                let missing = await agent.get(path)
                #expect(missing.status == 404 && missing.detail == "there is no neighbor fe80::9 of none0")
                #expect(
                    await agent.happened(since: 0) == [
                        "route.created /v1/routes/r0", "route.changed /v1/routes/r0",
                        "route.deleted /v1/routes/r0", "neighbor.created \(path)", "neighbor.deleted \(path)",
                    ])
            }
        }

        @Test("what clashes, is ours or is too much is refused, and nothing of its batch is done")
        func refusals() async throws {
            try await Site.run { site in
                _ = try site.shell("ip link add \(site.name("d")) type bridge")
                _ = try site.shell("ip addr add \(net(3)).1/24 dev \(site.name("d"))")
                try await TestAgent.run(on: site) { try await refuse($0) }
            }
        }

        private func refuse(_ agent: TestAgent) async throws {
            await agent.put("/v1/routes/r0", blackhole("198.51.100.0/24"))
            let before = try agent.store.load()
            let twice = await agent.batch([
                putting("/v1/routes/r2", blackhole("203.0.113.0/24")),
                putting("/v1/routes/r1", blackhole("198.51.100.0/24")),
            ])
            #expect(twice.code == "conflict" && twice.pointers == ["/operations/1"])
            #expect(twice.detail.contains("both lead to 198.51.100.0/24 with metric 0"))
            let own = await agent.put(
                "/v1/routes/r1", #"{"destination":"198.51.100.0/25","gateway":"\#(net(3)).1"}"#)
            #expect(own.code == "invalid_resource" && own.pointers == ["/gateway"])
            #expect(own.detail.contains("wanted an address of another host"))
            let ours = await agent.put("/v1/neighbors/\(agent.site.name("d"))/\(net(3)).1", Self.mac)
            #expect(ours.code == "conflict" && ours.detail.contains("is an address of this host"))
            #expect(await agent.put("/v1/routes/lookup", blackhole("198.51.100.0/25")).status == 405)
            let reserved = await agent.batch([putting("/v1/routes/lookup", blackhole("198.51.100.0/25"))])
            #expect(reserved.code == "invalid_resource" && reserved.detail.contains("nor lookup"))
            let many = (0...AgentLimits.staticRoutes).map {
                putting("/v1/routes/m\($0)", blackhole("198.18.\($0 % 256).0/24", $0))
            }
            let tooMany = await agent.batch(many)
            #expect(tooMany.code == "limit_exceeded")
            #expect(tooMany.detail.contains("wanted at most 1024 static routes"))
            let neighbors = (0...AgentLimits.staticNeighbors).map {
                putting("/v1/neighbors/none0/10.9.\($0 / 250).\($0 % 250 + 1)", Self.mac)
            }
            #expect(await agent.batch(neighbors).detail.contains("at most 4096 static neighbors"))
            #expect(try agent.store.load() == before)
        }

        @Test("a batch writes bridges, tunnels and the underlay as one, and a dry run says what it would do")
        func batch() async throws {
            try await TestAgent.run { agent async throws in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                let operations = [
                    putting(bridge), putting("/v1/routes/r0", blackhole("203.0.113.0/24")),
                    putting("/v1/underlay", #"{"driver":"socket"}"#),
                    putting("/v1/neighbors/none0/192.0.2.9", Self.mac),
                ]
                let planned = await agent.batch(operations, isDryRun: true)
                #expect(planned.planned("change") == ["/v1/underlay"])
                #expect(
                    planned.planned("add")
                        == [bridge, "/v1/neighbors/none0/192.0.2.9", "/v1/routes/r0"])
                #expect(await agent.get("/v1/routes").items.isEmpty)
                let done = await agent.batch(operations)
                #expect(
                    done.json["results"]?.arrayValue?.map { $0["status"]?.integerValue } == [
                        201, 201, 200, 201,
                    ])
                let broken = await agent.batch([
                    deleting("/v1/routes/r0"),
                    putting("\(bridge)/ports/p0", #"{"type":"system","ifname":"none0"}"#),
                ])
                #expect(broken.code == "conflict")
                let lookup = await agent.ask(
                    "GET", "/v1/routes/lookup", query: [(name: "destination", value: "203.0.113.9")])
                #expect(lookup.json["verdict"] == "blackhole" && lookup.json["route"]?["name"] == "r0")
            }
        }

        @Test("a restart keeps the underlay, its routes and its neighbors, and what was set follows")
        func restart() async throws {
            try await Site.run { site in
                var tags: [String?] = []
                let paths = ["/v1/underlay", "/v1/routes/r0", "/v1/neighbors/none0/fe80::9"]
                try await TestAgent.run(on: site) { agent async throws in
                    await agent.put(paths[0], #"{"driver":"socket","pmtu_probe":true}"#)
                    await agent.put(paths[1], blackhole("203.0.113.0/24"))
                    await agent.put(paths[2], Self.mac)
                    for path in paths { tags.append(await agent.get(path).tag) }
                    #expect(try agent.store.load().filter { $0.kind == "underlay" }.map(\.key) == [""])
                }
                try await TestAgent.run(on: site) { agent async throws in
                    for (path, tag) in zip(paths, tags) {
                        #expect(await agent.get(path).tag == tag, "\(path)")
                    }
                    let lookup = await agent.ask(
                        "GET", "/v1/routes/lookup", query: [(name: "destination", value: "203.0.113.9")])
                    #expect(lookup.json["verdict"] == "blackhole")
                }
            }
        }

        @Test("a lookup wants an address, and a source of its family")
        func lookupParameters() async throws {
            try await TestAgent.run { agent async throws in
                func lookup(_ query: [(name: String, value: String)]) async -> Answer {
                    await agent.ask("GET", "/v1/routes/lookup", query: query)
                }
                #expect(
                    await lookup([]).detail
                        == "query parameter destination: wanted an IPv4 or IPv6 address, found nothing")
                let mixed = await lookup(
                    [("destination", "192.0.2.1"), ("source", "2001:db8::1")].map { ($0, $1) })
                #expect(
                    mixed.detail.contains("query parameter source: wanted an IPv4 address, as destination is")
                )
                let local = await lookup([(name: "destination", value: "127.0.0.1")])
                #expect(local.json["verdict"] == "local" && local.json["route"]?["table"] == "local")
            }
        }

        @Test("a controller pushes nothing of the underlay")
        func notPushed() async throws {
            try await TestAgent.run { agent async throws in
                let push = TestPush(
                    1, 1, [("/v1/routes/r0", #"{"destination":"10.0.0.0/8","ifname":"eth0"}"#)])
                let answer = await agent.push(push)
                #expect(answer.code == "managed_elsewhere")
                #expect(answer.detail.contains("route r0 is managed locally"), "\(answer.detail)")
                #expect(await agent.get("/v1/routes").items.isEmpty)
            }
        }
    }
}
