// Bridges, ports, tunnels and MAC entries as their users see them: written, read, written again, removed,
// and what the kernel has to show for it each time.

import API
import JSON
import Testing
import Wire

@testable import Agent

extension OnTheHost {
    @Suite struct BridgeTests {
        @Test("a bridge is created, read, replaced and removed with its local port")
        func life() async throws {
            try await TestAgent.run { agent in
                let name = agent.site.name("b")
                let path = "/v1/bridges/\(name)"
                let body = #"{"addresses":["\#(net(1)).1/24","2001:db8:18::1/64"],"mac":"02:00:00:00:00:31"}"#
                let created = await agent.put(path, body)
                #expect(created.status == 201)
                #expect(created.json["name"]?.stringValue == name)
                #expect(created.json["spec"]?["mac_table_size"] == 8192)
                #expect(created.json["status"]?["link"] == "up" && created.health == "ok")
                let made = try #require(try agent.site.interface("b"))
                #expect(made.isUp && made.mac == "02:00:00:00:00:31" && made.mtu == 1500)
                #expect(made.addresses == ["\(net(1)).1/24", "2001:db8:18::1/64"])
                #expect(created.json["status"]?["ifindex"] == .integer(made.index))
                let listed = await agent.get("/v1/bridges").items
                #expect(listed.map { $0["spec"] } == [created.json["spec"]])

                let changed = #"{"addresses":["\#(net(1)).2/24"],"mac":"02:00:00:00:00:32","mtu":1400}"#
                #expect(await agent.put(path, changed).status == 200)
                let after = try #require(try agent.site.interface("b"))
                #expect(after.index == made.index, "changed in place")
                #expect(after.mac == "02:00:00:00:00:32" && after.mtu == 1400 && after.isUp)
                #expect(after.addresses == ["\(net(1)).2/24"])

                #expect(await agent.delete(path).status == 204)
                #expect(try agent.site.interface("b") == nil)
                #expect(await agent.get(path).status == 404)
                #expect(await agent.get("/v1/bridges").items.isEmpty)
                #expect(try agent.store.load().isEmpty)
            }
        }

        @Test("writing what is there already changes nothing and says 200")
        func idempotent() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let body = #"{"addresses":["\#(net(1)).1/24"],"vni":7}"#
                #expect(await agent.put(path, body).status == 201)
                let before = try await agent.state()
                for same in [body, #"{ "vni": 7, "addresses": ["\#(net(1)).1/24"], "forward_bpdu": false }"#]
                {
                    #expect(await agent.put(path, same).status == 200)
                    #expect(try await agent.isAgain(before))
                }
                #expect(await agent.put(path, #"{"vni":7}"#).status == 200)
                #expect(try agent.site.interface("b")?.addresses == [], "a PUT replaces, it does not merge")
            }
        }

        @Test("a made-up MAC address is local, unicast, and the same for the same name")
        func madeUpMAC() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let first = try #require(try agent.site.interface("b")?.mac.mac)
                #expect(first.isLocallyAdministered && !first.isGroup)
                await agent.put(path, #"{"mac":"02:00:00:00:00:33"}"#)
                await agent.put(path)
                #expect(try agent.site.interface("b")?.mac.mac == first)
                await agent.delete(path)
                await agent.put(path)
                #expect(try agent.site.interface("b")?.mac.mac == first)
            }
        }

        @Test("removing a bridge removes all it has, on the host and in the store")
        func removesMembers() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let clean = try await agent.state()
                await agent.put(path)
                let port = #"{"type":"tap","ifname":"\#(agent.site.name("p"))"}"#
                #expect(await agent.put("\(path)/ports/p0", port).status == 201)
                let tunnel = #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(3))}"#
                #expect(await agent.put("\(path)/tunnels/t0", tunnel).status == 201)
                #expect(await agent.put("\(path)/macs/02:00:00:00:00:01", #"{"port":"t0"}"#).status == 201)
                let status = await agent.get(path).json["status"]
                #expect(status?["ports"] == 1 && status?["tunnels"] == 1)
                #expect(status?["macs"]?["static"] == 1)
                #expect(await agent.get("/v1/listeners").items.map { $0["name"] } == ["ipv4:\(udp(3))"])
                #expect(await agent.delete(path).status == 204)
                #expect(try await agent.isAgain(clean))
            }
        }

        @Test("the MAC table grows and shrinks with its static entries in it")
        func tableSize() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path, #"{"mac_table_size":10}"#)
                for number in 0..<10 {
                    let answer = await agent.put(
                        "\(path)/macs/02:00:00:00:00:0\(number)",
                        #"{"port":"\#(agent.site.name("b"))"}"#)
                    #expect(answer.status == 201)
                }
                let entry = #"{"port":"\#(agent.site.name("b"))"}"#
                let before = try await agent.state()
                let full = await agent.put("\(path)/macs/02:00:00:00:01:00", entry)
                #expect(full.status == 409 && full.code == "limit_exceeded")
                #expect(try await agent.isAgain(before))
                #expect(await agent.put(path, #"{"mac_table_size":11}"#).status == 200)
                #expect(await agent.put("\(path)/macs/02:00:00:00:01:00", entry).status == 201)
                #expect(await agent.put(path, #"{"mac_table_size":10}"#).code == "limit_exceeded")
                let entries = await agent.get("\(path)/macs").items
                #expect(entries.count == 11 && entries.allSatisfy { $0["type"] == "static" })
                #expect(await agent.get(path).json["status"]?["macs"]?["capacity"] == 11)
                #expect(await agent.put(path, #"{"mac_table_size":1000000}"#).status == 200)
                #expect(await agent.get(path).json["status"]?["macs"]?["static"] == 11)
            }
        }
    }

    @Suite struct MACTests {
        /// Written entries only: the kernel's own IPv6 chatter is learned at any moment.
        private func statics(_ agent: TestAgent, _ bridge: String) async -> [JSONValue] {
            await agent.get("\(bridge)/macs").items.filter { $0["type"] == "static" }
        }

        @Test("a static entry is created, shown with its VTEP, moved and removed")
        func life() async throws {
            try await TestAgent.run { agent in
                let name = agent.site.name("b")
                let path = "/v1/bridges/\(name)"
                await agent.put(path, #"{"vni":42}"#)
                await agent.put("\(path)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(4))}"#)
                let entry = "\(path)/macs/02:00:00:00:00:09"
                let created = await agent.put(entry, #"{"port":"t0"}"#)
                #expect(created.status == 201)
                let expected = try JSONValue.parse(
                    Array(
                        #"""
                        {"mac":"02:00:00:00:00:09","port":"t0","type":"static",
                         "remote_ip":"198.51.100.7","vni":42, "ips": [], "managed_by": "local"}
                        """#.utf8))
                #expect(created.json == expected)
                #expect(await agent.get(entry).json == expected)
                #expect(await statics(agent, path) == [expected])
                #expect(await agent.put(entry, #"{"port":"t0"}"#).status == 200)
                let moved = await agent.put(entry, #"{"port":"\#(name)"}"#)
                #expect(moved.status == 200 && moved.json["port"]?.stringValue == name)
                #expect(moved.json["remote_ip"] == nil)
                let upper = await agent.get("\(path)/macs/02-00-00-00-00-09")
                #expect(upper.status == 200, "another spelling of the same address is the same entry")
                #expect(await agent.delete(entry).status == 204)
                #expect(await agent.delete(entry).status == 404)
                #expect(await statics(agent, path).isEmpty)
            }
        }

        @Test("an entry to a port the bridge does not have is a conflict")
        func missingPort() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let answer = await agent.put("\(path)/macs/02:00:00:00:00:09", #"{"port":"p9"}"#)
                #expect(answer.status == 409 && answer.code == "conflict")
                #expect(answer.detail.contains("has no port or tunnel called p9"))
                #expect(await statics(agent, path).isEmpty)
            }
        }

        @Test("entries go with their port or tunnel, and follow a port that gets another interface")
        func followPort() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                await agent.put(
                    "\(path)/ports/p0", #"{"type":"tap","ifname":"\#(agent.site.name("x"))"}"#)
                await agent.put("\(path)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(5))}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:01", #"{"port":"p0"}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:02", #"{"port":"t0"}"#)
                await agent.put(
                    "\(path)/ports/p0", #"{"type":"tap","ifname":"\#(agent.site.name("y"))"}"#)
                #expect(await statics(agent, path).map { $0["port"] } == ["p0", "t0"])
                await agent.delete("\(path)/ports/p0")
                #expect(await statics(agent, path).map { $0["port"] } == ["t0"])
                await agent.delete("\(path)/tunnels/t0")
                #expect(await statics(agent, path).isEmpty)
                let left = try agent.store.load().map(\.kind)
                #expect(left == ["bridge"])
            }
        }

        @Test("a flush forgets what was learned and keeps what was written")
        func flush() async throws {
            try await TestAgent.run { agent in
                let (site, path) = (agent.site, "/v1/bridges/\(agent.site.name("b"))")
                let namespace = try site.addNamespace("n")
                await agent.put(path, #"{"addresses":["\#(net(2)).1/24"]}"#)
                let port =
                    #"{"type":"tap","netns":"\#(namespace)","ifname":"eth0","mac":"02:00:00:00:00:51","#
                    + #""addresses":["\#(net(2)).2/24"]}"#
                #expect(await agent.put("\(path)/ports/p0", port).status == 201)
                await agent.put("\(path)/macs/02:00:00:00:00:09", #"{"port":"p0"}"#)
                try await site.slowShell("ip netns exec \(namespace) ping -c 1 -W 2 \(net(2)).1")
                let learned = await agent.get("\(path)/macs/02:00:00:00:00:51").json
                #expect(learned["type"] == "learned" && learned["port"] == "p0")
                #expect(learned["age_seconds"]?.integerValue ?? 99 < 5)
                #expect(await agent.delete("\(path)/macs").status == 204)
                #expect(await statics(agent, path).map { $0["mac"] } == ["02:00:00:00:00:09"])
                try await site.slowShell("ip netns exec \(namespace) ping -c 1 -W 2 \(net(2)).1")
                #expect(await agent.delete("\(path)/macs/02:00:00:00:00:51").status == 204)
                let counters = await agent.get("\(path)/ports/p0").json["status"]?["counters"]
                #expect(counters?["rx_packets"]?.integerValue ?? 0 >= 2, "at least the two pings")
            }
        }
    }
}
