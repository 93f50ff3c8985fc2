// What a restart brings back, what it does about resources it cannot have at once, and how they heal.

import API
import Foundation
import JSON
import Store
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct RestoreTests {
        /// Writes one of everything; returns the bridge's path.
        private func furnish(_ agent: TestAgent, namespace: String) async -> String {
            let site = agent.site
            let bridge = "/v1/bridges/\(site.name("b"))"
            await agent.put(bridge, #"{"addresses":["\#(net(8)).1/24"],"vni":7,"mac_table_size":100}"#)
            await agent.put("\(bridge)/ports/\(site.name("p"))", #"{"type":"internal"}"#)
            let tap =
                #"{"type":"tap","netns":"\#(namespace)","ifname":"eth0","addresses":["\#(net(8)).2/24"]}"#
            await agent.put("\(bridge)/ports/web", tap)
            await agent.put("\(bridge)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(31))}"#)
            await agent.put("\(bridge)/tunnels/t6", #"{"remote_ip":"2001:db8::7","dst_port":\#(udp(32))}"#)
            await agent.put("\(bridge)/macs/02:00:00:00:00:01", #"{"port":"t0"}"#)
            await agent.put("/v1/bridges/\(site.name("c"))")
            return bridge
        }

        @Test("a restart brings back every resource as it was, and a stop leaves no interface")
        func restart() async throws {
            try await Site.run { site in
                let namespace = try site.addNamespace("n")
                var before: TestAgent.State?
                var inside: [Interface] = []
                try await TestAgent.run(on: site) { agent in
                    _ = await furnish(agent, namespace: namespace)
                    before = try await agent.state()
                    inside = try site.interfaces(in: namespace)
                }
                #expect(try site.interfaces().isEmpty)
                #expect(try site.interfaces(in: namespace).isEmpty)
                try await TestAgent.run(on: site) { agent in
                    var after = try await agent.state()
                    let indexes = before?.interfaces.map(\.index) ?? []
                    for (position, index) in indexes.enumerated() { after.interfaces[position].index = index }
                    #expect(after == before)
                    #expect(try site.interfaces(in: namespace).map(\.mac) == inside.map(\.mac))
                    #expect(try site.interfaces(in: namespace).map(\.addresses) == inside.map(\.addresses))
                    for bridge in await agent.get("/v1/bridges").items {
                        #expect(bridge["status"]?["state"] == "ok")
                    }
                }
            }
        }

        @Test("a port whose namespace is missing at start is degraded, and heals when it is there")
        func missingNamespace() async throws {
            try await Site.run { site in
                let namespace = try site.addNamespace("n")
                var port = ""
                try await TestAgent.run(on: site) { agent in
                    port = await furnish(agent, namespace: namespace) + "/ports/web"
                }
                try site.shell("ip netns del \(namespace)")
                try await TestAgent.run(on: site) { agent in
                    let degraded = await agent.get(port)
                    #expect(degraded.health == "degraded")
                    #expect(degraded.error?.contains("there is no namespace \(namespace)") == true)
                    #expect(degraded.json["status"]?["link"] == "down")
                    #expect(degraded.json["status"]?["ifindex"] == nil)
                    let others = await agent.get("/v1/bridges/\(site.name("b"))/ports/\(site.name("p"))")
                    #expect(others.health == "ok", "nothing else suffers")
                    let keys = try agent.store.load().map(\.key)
                    #expect(keys.contains("\(site.name("b"))/web"), "nothing is dropped")
                    #expect(await agent.put(port, degraded.json["spec"]?.description ?? "").status == 200)
                    #expect(await agent.metric("viaduct_host_repairs_total") == "0")
                    _ = try site.addNamespace("n")
                    await agent.core.tick()
                    #expect(await agent.metric("viaduct_host_repairs_total") == "1")
                    let healed = await agent.get(port)
                    #expect(healed.health == "ok" && healed.error == nil)
                    let made = try #require(try site.interface("eth0", in: namespace))
                    #expect(made.isUp && made.addresses == ["\(net(8)).2/24"])
                    #expect(await agent.delete(port).status == 204)
                }
            }
        }

        @Test("a bridge whose name is taken at start is degraded, and heals by itself when it is free")
        func nameTaken() async throws {
            try await Site.run { site in
                var bridge = ""
                let namespace = try site.addNamespace("n")
                try await TestAgent.run(on: site) { bridge = await furnish($0, namespace: namespace) }
                try site.shell("ip link add \(site.name("b")) type veth peer name \(site.name("v"))")
                try await TestAgent.run(on: site) { agent in
                    let degraded = await agent.get(bridge)
                    #expect(degraded.health == "degraded")
                    #expect(degraded.error?.contains("\(site.name("b")) already exists") == true)
                    #expect(await agent.get("\(bridge)/ports/web").health == "ok")
                    // The kernel says that a link has gone; nobody has to ask.
                    try site.shell("ip link del \(site.name("b"))")
                    try await eventually("the bridge is well") { await agent.get(bridge).health == "ok" }
                    let made = try #require(try site.interface("b"))
                    #expect(made.isUp && made.addresses == ["\(net(8)).1/24"])
                    #expect(try site.interfaces().map(\.mtu).allSatisfy { $0 <= 1450 || $0 == 1500 })
                }
            }
        }

        @Test("a degraded resource can be removed and replaced like any other")
        func degradedIsWritable() async throws {
            try await Site.run { site in
                let namespace = try site.addNamespace("n")
                var bridge = ""
                try await TestAgent.run(on: site) { bridge = await furnish($0, namespace: namespace) }
                try site.shell("ip netns del \(namespace)")
                try site.shell("ip link add \(site.name("b")) type veth peer name \(site.name("v"))")
                try await TestAgent.run(on: site) { agent in
                    let here = #"{"type":"tap","ifname":"\#(site.name("w"))"}"#
                    let moved = await agent.put("\(bridge)/ports/web", here)
                    #expect(moved.status == 200 && moved.health == "ok")
                    #expect(await agent.put(bridge, #"{"mtu":1300}"#).status == 200)
                    #expect(try site.interface("w")?.mtu == 1300)
                    #expect(await agent.delete(bridge).status == 204)
                    let left = try site.interfaces().map(\.name)
                    #expect(left == ["b", "c", "v"].map(site.name), "the other's interface stays")
                }
            }
        }

        @Test("an interface deleted behind the agent's back comes back by itself, its port the same")
        func deletedBehindItsBack() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                let namespace = try site.addNamespace("n")
                let bridge = await furnish(agent, namespace: namespace)
                let before = try site.interfaces()
                for name in ["b", "p"] {
                    let index = try #require(try site.interface(name)).index
                    try site.shell("ip link del \(site.name(name))")
                    try await eventually("\(name) is back") {
                        let now = try site.interface(name)
                        return now?.index != index && now?.isUp == true
                    }
                }
                let inside = try #require(try site.interface("eth0", in: namespace))
                try site.shell("ip -n \(namespace) link del eth0")
                try await eventually("eth0 is back") {
                    let now = try site.interface("eth0", in: namespace)
                    return now?.index != inside.index && now?.isUp == true
                }
                #expect(try site.interfaces().map(\.mac) == before.map(\.mac))
                #expect(try site.interfaces().map(\.addresses) == before.map(\.addresses))
                #expect(try site.interface("eth0", in: namespace)?.addresses == inside.addresses)
                try await eventually("all is well") {
                    let paths = [bridge, "\(bridge)/ports/web", "\(bridge)/ports/\(site.name("p"))"]
                    for path in paths where await agent.get(path).health != "ok" { return false }
                    return true
                }
            }
        }

        @Test("an attached interface that goes degrades its port, and heals it when it comes back")
        func systemPort() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                let add = "ip link add \(site.name("s")) type veth peer name \(site.name("t"))"
                try site.shell(add)
                let bridge = "/v1/bridges/\(site.name("b"))"
                await agent.put(bridge)
                let path = "\(bridge)/ports/up"
                await agent.put(path, #"{"type":"system","ifname":"\#(site.name("s"))"}"#)
                try site.shell("ip link del \(site.name("s"))")
                try await eventually("the port is degraded") { await agent.get(path).health == "degraded" }
                #expect(await agent.get(path).error?.isEmpty == false)
                try site.shell(add)
                try await eventually("the port is well") { await agent.get(path).health == "ok" }
                #expect(try site.shell("ip -d link show \(site.name("s"))").contains("promiscuity 1"))
            }
        }

        @Test("a tunnel whose UDP port is taken at start is degraded, and heals when it is free")
        func portTaken() async throws {
            try await Site.run { site in
                let namespace = try site.addNamespace("n")
                var tunnel = ""
                try await TestAgent.run(on: site) { agent in
                    tunnel = await furnish(agent, namespace: namespace) + "/tunnels/t0"
                }
                let squatter = try Squatter(port: udp(31))
                try await TestAgent.run(on: site) { agent in
                    let degraded = await agent.get(tunnel)
                    #expect(degraded.health == "degraded")
                    #expect(degraded.error?.contains("is in use on this host: process \(getpid())") == true)
                    await agent.core.tick()
                    #expect(await agent.get(tunnel).health == "degraded")
                    squatter.leave()
                    await agent.core.tick()
                    #expect(await agent.get(tunnel).health == "ok")
                    #expect(await agent.get("/v1/listeners").items.count == 2)
                }
            }
        }

        @Test("after a restart the agent knows the addresses it has just given its own bridges")
        func ownAddressesAtStart() async throws {
            try await Site.run { site in
                let bridge = "/v1/bridges/\(site.name("b"))"
                try await TestAgent.run(on: site) { agent in
                    await agent.put(bridge, #"{"addresses":["\#(net(10)).1/24"]}"#)
                }
                try await TestAgent.run(on: site) { agent in
                    let body = #"{"remote_ip":"\#(net(10)).1","dst_port":\#(udp(33))}"#
                    #expect(await agent.put("\(bridge)/tunnels/t0", body).status == 422)
                }
                #expect(try site.interfaces().isEmpty)
            }
        }

        @Test("addresses that somebody or the kernel takes away come back")
        func addressesComeBack() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                let bridge = "/v1/bridges/\(site.name("b"))"
                await agent.put(bridge, #"{"addresses":["\#(net(11)).1/24","2001:db8:11::1/64"]}"#)
                let before = try site.interfaces()
                let device = "dev \(site.name("b"))"
                let disturbances = [
                    ["ip addr del \(net(11)).1/24 \(device)"], ["ip addr flush \(device)"],
                    ["ip link set \(device) down", "ip link set \(device) up"],
                ]
                for commands in disturbances {
                    for command in commands { try site.shell(command) }
                    try await eventually("the addresses are back after \(commands)") {
                        try site.interfaces() == before
                    }
                }
                #expect(await agent.get(bridge).health == "ok")
            }
        }

        @Test("an address the kernel refuses for a time is said, and no longer once it is there")
        func addressRefused() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                let bridge = "/v1/bridges/\(site.name("b"))"
                await agent.put(bridge, #"{"addresses":["2001:db8:12::1/64"]}"#)
                let before = try site.interfaces()
                let setting = "/proc/sys/net/ipv6/conf/\(site.name("b"))/disable_ipv6"
                try site.shell("echo 1 > \(setting)")
                try await eventually("the bridge is degraded") {
                    await agent.get(bridge).health == "degraded"
                }
                #expect(await agent.get(bridge).error?.contains("2001:db8:12::1") == true)
                try site.shell("echo 0 > \(setting)")
                try await eventually("the address is back") { try site.interfaces() == before }
                try await eventually("the bridge is well") { await agent.get(bridge).health == "ok" }
            }
        }

        @Test("what comes after the stop is refused and makes nothing")
        func afterTheStop() async throws {
            try await Site.run { site in
                let agent = try await TestAgent(site)
                await agent.core.shutDown()
                let answer = await agent.put("/v1/bridges/\(site.name("b"))")
                #expect(answer.status == 503 && answer.header("Retry-After") == "1")
                await agent.core.tick()
                await agent.core.portTroubled()
                await agent.core.underlayChanged()
                try await Task.sleep(for: .milliseconds(100))
                #expect(await agent.get("/v1/bridges").status == 200, "at rest, not stuck")
                #expect(try site.interfaces().isEmpty)
            }
        }

        @Test("a state that cannot be understood stops the start and names the document")
        func wrongState() async throws {
            try await Site.run { site in
                let store = try Store(path: site.stateFile)
                let wrong = StoredDocument(kind: "bridge", key: site.name("b"), body: #"{"mtu":1}"#)
                try store.commit([.put(wrong)])
                try store.close()
                let problem = await #expect(throws: Problem.self) { _ = try await TestAgent(site) }
                #expect(problem?.detail.hasPrefix("stored bridge \(site.name("b")): /mtu: wanted") == true)
                #expect(try site.interfaces().isEmpty)
            }
        }
    }
}
