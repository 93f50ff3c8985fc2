// Ports: the interface each type makes or takes, where, and what stands in the way.

import API
import JSON
import Testing

@testable import Agent

extension AgentCore {
    /// What the datapath takes for the MTU of a port.
    func mtu(of port: Name, on bridge: Name) -> Int? { host.bridges[bridge]?.ports[port]?.mtu }
}

extension OnTheHost {
    @Suite struct PortTests {
        /// A bridge of this test's name, and its path.
        private func bridge(_ agent: TestAgent, _ body: String = "{}") async -> String {
            let path = "/v1/bridges/\(agent.site.name("b"))"
            #expect(await agent.put(path, body).status == 201)
            return path
        }

        @Test("an internal port is an interface of the host, changed in place and removed")
        func internalPort() async throws {
            try await TestAgent.run { agent in
                let path = await bridge(agent) + "/ports/" + agent.site.name("p")
                let created = await agent.put(path, #"{"type":"internal","addresses":["\#(net(3)).1/24"]}"#)
                #expect(created.status == 201 && created.health == "ok")
                let made = try #require(try agent.site.interface("p"))
                #expect(made.isUp && made.addresses == ["\(net(3)).1/24"])
                #expect(created.json["status"]?["ifname"]?.stringValue == agent.site.name("p"))
                let changed =
                    #"{"type":"internal","addresses":["\#(net(3)).2/24"],"mac":"02:00:00:00:00:41"}"#
                #expect(await agent.put(path, changed).status == 200)
                let after = try #require(try agent.site.interface("p"))
                #expect(after.index == made.index && after.mac == "02:00:00:00:00:41")
                #expect(after.addresses == ["\(net(3)).2/24"])
                #expect(await agent.delete(path).status == 204)
                #expect(try agent.site.interface("p") == nil)
            }
        }

        @Test("a tap appears in its namespace, named, addressed and up, and moves when it is told to")
        func tapInNamespace() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                let (one, two) = (try site.addNamespace("1"), try site.addNamespace("2"))
                let path = await bridge(agent, #"{"mtu":1400}"#) + "/ports/web1"
                func body(_ namespace: String) -> String {
                    #"{"type":"tap","netns":"\#(namespace)","ifname":"eth0","mac":"02:00:00:00:00:42","#
                        + #""addresses":["\#(net(4)).2/24","2001:db8:4::2/64"]}"#
                }
                let created = await agent.put(path, body(one))
                #expect(created.status == 201)
                #expect(created.json["status"]?["netns"]?.stringValue == one)
                for namespace in [one, two] {
                    #expect([200, 200].contains(await agent.put(path, body(namespace)).status))
                    let made = try #require(try site.interface("eth0", in: namespace))
                    #expect(made.isUp && made.mac == "02:00:00:00:00:42" && made.mtu == 1400)
                    #expect(made.addresses == ["\(net(4)).2/24", "2001:db8:4::2/64"])
                }
                #expect(try site.interfaces(in: one).isEmpty)
                #expect(try site.interfaces().map(\.name) == [site.name("b")])
                #expect(await agent.delete(path).status == 204)
                #expect(try site.interfaces(in: two).isEmpty)
            }
        }

        @Test("a tap without a namespace stays on the host under the port's name or its ifname")
        func tapOnHost() async throws {
            try await TestAgent.run { agent in
                let path = await bridge(agent) + "/ports/" + agent.site.name("p")
                #expect(await agent.put(path, #"{"type":"tap"}"#).status == 201)
                let renamed = #"{"type":"tap","ifname":"\#(agent.site.name("q"))"}"#
                #expect(await agent.put(path, renamed).status == 200)
                #expect(try agent.site.interfaces().map(\.name) == ["b", "q"].map(agent.site.name))
                let before = try #require(try agent.site.interface("q"))
                let retyped = renamed.replacing("tap", with: "internal")
                #expect(await agent.put(path, retyped).status == 200)
                #expect(try agent.site.interface("q") == before, "tap and internal are the same interface")
            }
        }

        @Test("a system port takes an interface that is there and gives it back as it was")
        func systemPort() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                try site.shell("ip link add \(site.name("s")) mtu 1450 type veth peer name \(site.name("t"))")
                try site.shell("ip link set \(site.name("s")) up")
                try site.shell("ip link set \(site.name("t")) up")
                let before = try #require(try site.interface("s"))
                let path = await bridge(agent) + "/ports/up"
                let created = await agent.put(path, #"{"type":"system","ifname":"\#(site.name("s"))"}"#)
                #expect(created.status == 201 && created.health == "ok")
                #expect(created.json["status"]?["mtu"] == 1450)
                #expect(created.json["status"]?["ifindex"] == .integer(before.index))
                #expect(created.json["status"]?["link"] == "up")
                try site.shell("ip link set \(site.name("s")) mtu 1400")
                try await eventually("the port follows the interface's MTU") {
                    await agent.core.mtu(of: "up".name, on: site.name("b").name) == 1400
                }
                try site.shell("ip link set \(site.name("s")) mtu 1450")
                #expect(try site.shell("ip -d link show \(site.name("s"))").contains("promiscuity 1"))
                let otherEnd = #"{"type":"system","ifname":"\#(site.name("t"))"}"#
                #expect(await agent.put(path, otherEnd).status == 200)
                #expect(await agent.delete(path).status == 204)
                for end in ["s", "t"] {
                    #expect(try site.shell("ip -d link show \(site.name(end))").contains("promiscuity 0"))
                }
                #expect(try site.interface("s") == before)
            }
        }

        @Test("what stands in a port's way is a conflict that names it, and nothing is left")
        func conflicts() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                let bridge = await bridge(agent)
                try site.shell("ip link add \(site.name("x")) type veth peer name \(site.name("y"))")
                await agent.put(
                    "\(bridge)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(6))}"#)
                let (taken, none, b) = (site.name("x"), site.name("none"), site.name("b"))
                let before = try await agent.state()
                let cases = [
                    (
                        "p0", #"{"type":"system","ifname":"\#(none)"}"#,
                        "there is no interface \(none) in the agent's namespace to attach"
                    ),
                    (
                        "p0", #"{"type":"tap","netns":"\#(none)"}"#,
                        "there is no namespace \(none): wanted one that `ip netns` lists, create it first"
                    ),
                    (
                        "p0", #"{"type":"tap","ifname":"\#(taken)"}"#,
                        "interface \(taken) already exists in the agent's namespace and is not this agent's"
                    ),
                    (
                        taken, #"{"type":"internal"}"#,
                        "interface \(taken) already exists in the agent's namespace and is not this agent's"
                    ),
                    (
                        "p0", #"{"type":"internal","ifname":"\#(b)"}"#,
                        "port p0 of bridge \(b) and bridge \(b) both want interface \(b)"
                    ),
                    (
                        "t0", #"{"type":"internal"}"#,
                        "port t0 of bridge \(b): a tunnel of the bridge has that name"
                    ),
                    (
                        b, #"{"type":"tap","ifname":"\#(site.name("z"))"}"#,
                        "port \(b) of bridge \(b): the bridge's local port has that name"
                    ),
                ]
                for (port, body, detail) in cases {
                    let answer = await agent.put("\(bridge)/ports/\(port)", body)
                    #expect(answer.status == 409 && answer.code == "conflict", "\(body)")
                    #expect(answer.detail == detail)
                    #expect(try await agent.isAgain(before), "\(body)")
                }
            }
        }

        @Test("a bridge whose name an interface has is a conflict, and that interface is left alone")
        func bridgeNameTaken() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                try site.shell("ip tuntap add \(site.name("b")) mode tap")
                let before = try await agent.state()
                let answer = await agent.put("/v1/bridges/\(site.name("b"))")
                #expect(answer.status == 409 && answer.detail.contains("already exists"))
                #expect(try await agent.isAgain(before))
                try site.shell("ip link del \(site.name("b"))")
                #expect(await agent.put("/v1/bridges/\(site.name("b"))").status == 201)
            }
        }

        @Test("a name taken inside the namespace is a conflict that names the namespace")
        func nameTakenInNamespace() async throws {
            try await TestAgent.run { agent in
                let namespace = try agent.site.addNamespace("1")
                try agent.site.shell("ip -n \(namespace) tuntap add eth0 mode tap")
                let bridge = await bridge(agent)
                let before = try agent.site.interfaces(in: namespace)
                let answer = await agent.put(
                    "\(bridge)/ports/p0", #"{"type":"tap","netns":"\#(namespace)","ifname":"eth0"}"#)
                #expect(answer.status == 409)
                #expect(answer.detail.contains("interface eth0 already exists in namespace \(namespace)"))
                #expect(try agent.site.interfaces(in: namespace) == before)
                #expect(await agent.get("\(bridge)/ports").items.isEmpty)
            }
        }

        @Test("a port that exists keeps its interface when a change of it fails")
        func failedChange() async throws {
            try await TestAgent.run { agent in
                let path = await bridge(agent) + "/ports/" + agent.site.name("p")
                #expect(
                    await agent.put(path, #"{"type":"tap","addresses":["\#(net(3)).1/24"]}"#).status == 201)
                let before = try await agent.state()
                let none = agent.site.name("none")
                let bodies = [
                    #"{"type":"tap","netns":"\#(none)"}"#, #"{"type":"system","ifname":"\#(none)"}"#,
                    #"{"type":"system"}"#, #"{"type":"tap","ifname":"\#(agent.site.name("b"))"}"#,
                ]
                for body in bodies {
                    #expect(await agent.put(path, body).status == 409, "\(body)")
                    #expect(try await agent.isAgain(before), "\(body)")
                }
            }
        }

        @Test("an interface cannot change between made and taken under one name")
        func typeChange() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                let path = await bridge(agent) + "/ports/" + site.name("p")
                await agent.put(path, #"{"type":"tap"}"#)
                let answer = await agent.put(path, #"{"type":"system"}"#)
                #expect(answer.status == 409)
                #expect(answer.detail.contains("cannot change between type system and type tap"))
                try site.shell("ip link add \(site.name("s")) type veth peer name \(site.name("t"))")
                let other = #"{"type":"system","ifname":"\#(site.name("s"))"}"#
                #expect(await agent.put(path, other).status == 200, "another interface is fine")
                #expect(try site.interface("p") == nil)
            }
        }
    }
}
