// PATCH: one field changed, the others kept, and everything a PUT refuses refused.

import JSON
import REST
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct PatchTests {
        @Test("a patch sets what it names and keeps the rest; null is the default again")
        func bridge() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(
                    path, #"{"vni":7,"mtu":1400,"addresses":["\#(net(7)).1/24","2001:db8:7::1/64"]}"#)
                let index = try agent.site.interface("b")?.index
                let patched = await agent.patch(path, #"{"mtu":1300}"#)
                #expect(patched.status == 200)
                #expect(patched.json["spec"]?["vni"] == 7 && patched.json["spec"]?["mtu"] == 1300)
                let made = try #require(try agent.site.interface("b"))
                #expect(made.mtu == 1300 && made.index == index && made.addresses.count == 2)
                let reset = await agent.patch(path, #"{"mtu":null,"addresses":["\#(net(7)).2/24"]}"#)
                #expect(reset.status == 200 && reset.json["spec"]?["vni"] == 7)
                let after = try #require(try agent.site.interface("b"))
                #expect(after.mtu == 1500 && after.addresses == ["\(net(7)).2/24"], "arrays are replaced")
                let same = await agent.put(path, #"{"vni":7,"addresses":["\#(net(7)).2/24"]}"#)
                #expect(same.tag == reset.tag, "null left nothing behind")
            }
        }

        @Test("ports and tunnels are patched as well")
        func members() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let port = "\(path)/ports/\(agent.site.name("p"))"
                await agent.put(port, #"{"type":"tap","mac":"02:00:00:00:00:61"}"#)
                let addressed = await agent.patch(port, #"{"addresses":["\#(net(8)).1/24"]}"#)
                #expect(addressed.status == 200 && addressed.json["spec"]?["mac"] == "02:00:00:00:00:61")
                #expect(try agent.site.interface("p")?.addresses == ["\(net(8)).1/24"])
                let tunnel = "\(path)/tunnels/t0"
                await agent.put(tunnel, #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(35)),"vni":5}"#)
                let moved = await agent.patch(tunnel, #"{"remote_ip":"198.51.100.8"}"#)
                #expect(moved.json["spec"]?["remote_ip"] == "198.51.100.8" && moved.json["spec"]?["vni"] == 5)
                let inherited = await agent.patch(tunnel, #"{"vni":null}"#)
                #expect(inherited.json["spec"]?["vni"] == nil)
            }
        }

        @Test("a patch whose result a PUT would refuse is refused the same way and changes nothing")
        func refused() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path, #"{"vni":7}"#)
                let tunnel = "\(path)/tunnels/t0"
                await agent.put(tunnel, #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(36))}"#)
                let before = try await agent.state()
                let (events, commits) = (agent.api.events.lastID, await agent.commits)
                let cases = [
                    (path, #"{"vni":"x"}"#, "/vni"), (path, #"{"colour":1}"#, "/colour"),
                    (path, #"{"mtu":1}"#, "/mtu"), (path, #"{"addresses":["x"]}"#, "/addresses/0"),
                    (tunnel, #"{"remote_ip":null}"#, "/remote_ip"),
                    (tunnel, #"{"remote_ip":"127.0.0.1"}"#, "/remote_ip"),
                ]
                for (resource, body, pointer) in cases {
                    let answer = await agent.patch(resource, body)
                    #expect(answer.status == 422 && answer.code == "invalid_resource", "\(body)")
                    #expect(answer.pointers == [pointer], "\(body): \(answer.text)")
                }
                for body in ["[]", "7", "null", #""x""#] {
                    let answer = await agent.patch(path, body)
                    #expect(answer.status == 422, "\(body): \(answer.text)")
                }
                #expect(await agent.patch(path, "{").code == "malformed_json")
                #expect(try await agent.isAgain(before))
                #expect(agent.api.events.lastID == events)
                #expect(await agent.commits == commits)
            }
        }

        @Test("a patch of what is not there is not found, and makes nothing")
        func missing() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                #expect(await agent.patch(path, "{}").status == 404)
                #expect(await agent.patch("\(path)/ports/p0", "{}").status == 404)
                await agent.put(path)
                let before = try await agent.state()
                #expect(await agent.patch("\(path)/ports/p0", #"{"type":"tap"}"#).status == 404)
                #expect(
                    await agent.patch("\(path)/tunnels/t", #"{"remote_ip":"198.51.100.7"}"#).status == 404)
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("a patch is a merge patch, JSON or what curl says; anything else is a 415 that says so")
        func mediaTypes() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let good = [
                    "application/merge-patch+json", "application/json; charset=utf-8",
                    "application/x-www-form-urlencoded", "Application/Merge-Patch+JSON",
                ]
                for (number, type) in good.enumerated() {
                    let answer = await agent.patch(
                        path, #"{"vni":\#(number + 1)}"#, headers: [("Content-Type", type)])
                    #expect(
                        answer.status == 200 && answer.json["spec"]?["vni"] == .integer(Int64(number + 1)))
                }
                for type in ["text/plain", "application/json-patch+json", "application/xml"] {
                    let answer = await agent.patch(path, #"{"vni":99}"#, headers: [("Content-Type", type)])
                    #expect(answer.status == 415 && answer.code == "unsupported_media_type")
                    #expect(answer.detail.contains("application/merge-patch+json"))
                    #expect(answer.header("Accept-Patch") == "application/merge-patch+json")
                }
                #expect(await agent.get(path).json["spec"]?["vni"] == 4)
            }
        }

        @Test("a patch that changes nothing writes nothing and tells nobody")
        func idle() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path, #"{"vni":7}"#)
                let before = try await agent.state()
                let (events, commits) = (agent.api.events.lastID, await agent.commits)
                for body in ["{}", #"{"vni":7}"#, #"{"mtu":null}"#, #"{"no_such_field":null}"#] {
                    #expect(await agent.patch(path, body).status == 200, "\(body)")
                }
                #expect(try await agent.isAgain(before))
                #expect(agent.api.events.lastID == events)
                #expect(await agent.commits == commits)
            }
        }
    }
}
