// What a watcher is told of.

import JSON
import REST
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct EventTests {
        @Test("each write is an event with its path, in order, and one that does nothing is none")
        func writes() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let start = agent.api.events.lastID
                await agent.put(path)
                await agent.put(path)
                await agent.patch(path, #"{"vni":8}"#)
                await agent.put("\(path)/ports/p0", #"{"type":"tap","ifname":"\#(agent.site.name("p"))"}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:01", #"{"port":"p0"}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:01", #"{"port":"p9"}"#)
                await agent.delete("\(path)/ports/p0")
                await agent.delete(path)
                let events = await agent.events(since: start)
                #expect(
                    await agent.happened(since: start) == [
                        "bridge.created \(path)", "bridge.changed \(path)",
                        "port.created \(path)/ports/p0", "mac.created \(path)/macs/02:00:00:00:00:01",
                        "mac.deleted \(path)/macs/02:00:00:00:00:01", "port.deleted \(path)/ports/p0",
                        "bridge.deleted \(path)",
                    ])
                #expect(events.map { $0["id"]?.integerValue } == (1...7).map { Int64(start + $0) })
                #expect(events.first?["data"]?["spec"]?["vni"] != nil)
                #expect(events.dropFirst().first?["data"]?["spec"]?["vni"] == 8)
                let times = events.compactMap { $0["time"]?.stringValue }
                #expect(times == times.sorted() && times.count == 7)
            }
        }

        @Test("a batch's events come together, a bridge's before those below it")
        func batch() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let start = agent.api.events.lastID
                let port = #"{"type":"tap","ifname":"\#(agent.site.name("p"))"}"#
                await agent.batch([putting(path), putting("\(path)/ports/p0", port)])
                #expect(
                    await agent.happened(since: start) == [
                        "bridge.created \(path)", "port.created \(path)/ports/p0",
                    ])
                let made = agent.api.events.lastID
                await agent.batch([deleting(path)])
                #expect(
                    await agent.happened(since: made) == [
                        "bridge.deleted \(path)", "port.deleted \(path)/ports/p0",
                    ])
                let end = agent.api.events.lastID
                await agent.batch([putting(path), putting("\(path)/ports/p0", #"{"colour":1}"#)])
                #expect(await agent.happened(since: end) == [])
            }
        }

        @Test("an interface that goes behind the agent's back degrades its port, until it is healed")
        func degraded() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let (one, two) = (agent.site.name("s"), agent.site.name("t"))
                try agent.site.shell("ip link add \(one) type veth peer name \(two)")
                let port = "\(path)/ports/up"
                #expect(await agent.put(port, #"{"type":"system","ifname":"\#(one)"}"#).status == 201)
                let since = await agent.get(port).json["status"]?["since"]?.stringValue
                var held: [((path: String, query: [(name: String, value: String)]), String)] = []
                for state in ["ok", "degraded"] {
                    let list = ("\(path)/ports", [(name: "state", value: state)])
                    let answer = await agent.ask("GET", list.0, query: list.1)
                    held.append((list, try #require(answer.tag)))
                }
                let start = agent.api.events.lastID
                try agent.site.shell("ip link del \(one)")
                try await eventually("the port is degraded") {
                    await agent.happened(since: start) == ["port.degraded \(port)"]
                }
                for (list, tag) in held {
                    let answer = await agent.ask(
                        "GET", list.path, headers: [("If-None-Match", tag)], query: list.query)
                    #expect(answer.status == 200 && answer.tag != tag, "a list by state is another one now")
                }
                let error = await agent.events(since: start).first?["data"]?["error"]?.stringValue
                let answer = await agent.get(port)
                #expect(answer.health == "degraded" && error != nil && answer.error == error)
                let later = answer.json["status"]?["since"]?.stringValue
                #expect(since != nil && later != nil && since ?? "" < later ?? "")
                try agent.site.shell("ip link add \(one) type veth peer name \(two)")
                try await eventually("the port is healed") {
                    await agent.happened(since: start) == ["port.degraded \(port)", "port.ok \(port)"]
                }
                #expect(await agent.get(port).health == "ok")
            }
        }

        @Test("a tap that is deleted behind the agent's back is told of or healed at once, and comes back")
        func healed() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                await agent.put("\(path)/ports/p0", #"{"type":"tap","ifname":"\#(agent.site.name("p"))"}"#)
                let index = try agent.site.interface("p")?.index
                let start = agent.api.events.lastID
                try agent.site.shell("ip link del \(agent.site.name("p"))")
                try await eventually("the interface is back") {
                    let made = try agent.site.interface("p")
                    return made != nil && made?.index != index
                }
                try await eventually("the port is ok") { await agent.get("\(path)/ports/p0").health == "ok" }
                let types = await agent.happened(since: start)
                #expect(
                    types == [] || types == ["port.degraded", "port.ok"].map { "\($0) \(path)/ports/p0" })
            }
        }

        @Test("a tunnel that is degraded from the start is created first and degraded then")
        func degradedFromTheStart() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                try agent.site.shell("ip tuntap add \(agent.site.name("x")) mode tap")
                let start = agent.api.events.lastID
                let tunnel = "\(path)/tunnels/t0"
                let body = #"{"remote_ip":"198.51.100.7","local_ip":"203.0.113.77","dst_port":\#(udp(60))}"#
                let created = await agent.put(tunnel, body)
                #expect(created.status == 201 && created.health == "degraded", "\(created.text)")
                try await eventually("both events") { agent.api.events.lastID == start + 2 }
                let happened = await agent.happened(since: start)
                #expect(
                    happened == [
                        "tunnel.created \(tunnel)", "tunnel.degraded \(tunnel)",
                    ])
            }
        }

        @Test("an address that turns up at another port is a mac.moved with both ports")
        func moved() async throws {
            try await TestAgent.run { agent async throws in
                let (site, path) = (agent.site, "/v1/bridges/\(agent.site.name("b"))")
                await agent.put(path, #"{"addresses":["\#(net(10)).1/24"]}"#)
                let mac = "02:00:00:00:00:71"
                let spaces = try ["1", "2"].map(site.addNamespace)
                for (space, port) in zip(spaces, ["p1", "p2"]) {
                    await agent.put(
                        "\(path)/ports/\(port)",
                        #"{"type":"tap","netns":"\#(space)","ifname":"eth0","mac":"\#(mac)","#
                            + #""addresses":["\#(net(10)).2/24"]}"#)
                }
                let start = agent.api.events.lastID
                for space in spaces {
                    try await site.slowShell("ip netns exec \(space) ping -c 1 -W 1 \(net(10)).1 || true")
                }
                try await eventually("the move is told") {
                    await agent.events(since: start).contains {
                        $0["type"] == "mac.moved" && $0["resource"]?.stringValue == "\(path)/macs/\(mac)"
                            && $0["data"]?["from"] == "p1" && $0["data"]?["to"] == "p2"
                    }
                }
            }
        }

        @Test("a poll waits for the next event, and starts from now when it is not told where")
        func poll() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let now = await agent.get("/v1/events")
                #expect(now.items.isEmpty && now.json["gap"] == false)
                let next = try #require(now.json["next"]?.integerValue)
                async let waiting = agent.ask(
                    "GET", "/v1/events", query: [("since", "\(next)"), ("wait", "10")])
                try await Task.sleep(for: .milliseconds(50))
                await agent.delete(path)
                let answer = await waiting
                #expect(answer.items.first?["type"] == "bridge.deleted")
                let ahead = await agent.ask("GET", "/v1/events", query: [("since", "999999")])
                #expect(ahead.json["gap"] == true, "a number of another life")
                for (name, value) in [
                    ("wait", "61"), ("wait", "x"), ("since", "-1"), ("since", ""), ("x", "1"),
                ] {
                    let wrong = await agent.ask("GET", "/v1/events", query: [(name, value)])
                    #expect(wrong.status == 400, "\(name)=\(value)")
                }
            }
        }
    }
}
