// Entity tags, and requests that depend on them.

import JSON
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct ConditionalTests {
        @Test("GET, PUT and PATCH answer one tag for one spec, and another when it changes")
        func tags() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let created = await agent.put(path, #"{"vni":7}"#)
                let tag = try #require(created.tag)
                #expect(tag.wholeMatch(of: /"[0-9a-f]{16}"/) != nil, "a strong tag of 16 hex digits")
                #expect(await agent.get(path).tag == tag)
                #expect(await agent.put(path, #"{ "vni": 7, "forward_bpdu": false }"#).tag == tag)
                #expect(await agent.patch(path, "{}").tag == tag)
                let patched = await agent.patch(path, #"{"vni":8}"#)
                #expect(patched.status == 200 && patched.tag != nil && patched.tag != tag)
                #expect(await agent.get(path).tag == patched.tag)
                #expect(await agent.put(path, #"{"vni":7}"#).tag == tag, "the same spec, the same tag")
                let tunnel = "\(path)/tunnels/t0"
                let put = await agent.put(tunnel, #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(30))}"#)
                #expect(put.tag != nil && put.tag != tag)
                #expect(await agent.get(path).tag == tag, "what is below a bridge is not in its spec")
                let mac = await agent.put("\(path)/macs/02:00:00:00:00:01", #"{"port":"t0"}"#)
                #expect(mac.tag != nil)
                #expect(await agent.get("\(path)/macs/02:00:00:00:00:01").tag == mac.tag)
            }
        }

        @Test("a list has a tag that changes with what was written and with nothing else")
        func listTags() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let empty = await agent.get("/v1/bridges").tag
                await agent.put(path)
                let one = await agent.get("/v1/bridges").tag
                #expect(empty != nil && one != nil && empty != one)
                await agent.put(path)
                #expect(await agent.get("/v1/bridges").tag == one)
                await agent.patch(path, #"{"vni":8}"#)
                #expect(await agent.get("/v1/bridges").tag != one)
                for kind in ["ports", "tunnels"] {
                    let before = await agent.get("\(path)/\(kind)").tag
                    #expect(before != nil)
                    #expect(await agent.get("\(path)/\(kind)").tag == before)
                }
                let tunnels = await agent.get("\(path)/tunnels").tag
                await agent.put(
                    "\(path)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(31))}"#)
                #expect(await agent.get("\(path)/tunnels").tag != tunnels)
            }
        }

        @Test("a GET or HEAD by somebody who has it already is a 304 without a body")
        func notModified() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let tag = try #require(await agent.put(path).tag)
                for read in [path, "/v1/bridges", "/v1/version"] {
                    let known = try #require(await agent.get(read).tag)
                    for held in [known, "\"no\", \(known)", "*"] {
                        for method in ["GET", "HEAD"] {
                            let answer = await agent.ask(method, read, headers: [("If-None-Match", held)])
                            #expect(answer.status == 304 && answer.tag == known, "\(method) \(read) \(held)")
                        }
                    }
                    let other = await agent.ask("GET", read, headers: [("If-None-Match", "\"no\"")])
                    #expect(other.status == 200 && !other.text.isEmpty)
                }
                await agent.put(path, #"{"vni":8}"#)
                let changed = await agent.ask("GET", path, headers: [("If-None-Match", tag)])
                #expect(changed.status == 200 && changed.tag != tag)
                #expect(await agent.ask("HEAD", path).tag == changed.tag)
            }
        }

        @Test("If-Match lets a write through only to the state it names, and a 412 changes nothing")
        func ifMatch() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let old = try #require(await agent.put(path, #"{"vni":7}"#).tag)
                let tag = try #require(await agent.put(path, #"{"vni":8}"#).tag)
                let before = try await agent.state()
                for wrong in [old, "\"0123456789abcdef\"", "W/\(tag)", "\(old), \"x\""] {
                    for (method, body) in [("PUT", "{}"), ("PATCH", #"{"vni":9}"#), ("DELETE", "")] {
                        let answer = await agent.ask(method, path, body, headers: [("If-Match", wrong)])
                        #expect(answer.status == 412 && answer.code == "precondition_failed")
                        #expect(answer.detail.contains(tag), "the detail has the current tag")
                        #expect(try await agent.isAgain(before))
                    }
                }
                let right = [("If-Match", "\(old), \(tag)")]
                let patched = await agent.patch(path, #"{"vni":9}"#, headers: right)
                #expect(patched.status == 200 && patched.json["spec"]?["vni"] == 9)
                let next = try #require(patched.tag)
                let put = await agent.ask("PUT", path, #"{"vni":10}"#, headers: [("If-Match", next)])
                #expect(put.status == 200)
                #expect(await agent.ask("PUT", path, "{}", headers: [("If-Match", "*")]).status == 200)
                #expect(await agent.ask("DELETE", path, headers: [("If-Match", next)]).status == 412)
                #expect(await agent.ask("DELETE", path, headers: [("If-Match", "*")]).status == 204)
                let gone = await agent.ask("PUT", path, "{}", headers: [("If-Match", "*")])
                #expect(gone.status == 412, "there is nothing that could match")
                #expect(await agent.get(path).status == 404)
            }
        }

        @Test("a precondition that is no list of tags is a malformed request")
        func malformed() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let before = try await agent.state()
                for header in ["If-Match", "If-None-Match"] {
                    for text in ["", "abc", "\"abc", "abc\"", "\"", "W/", "\"a\" b", "*, \"a\""] {
                        let answer = await agent.ask("PUT", path, #"{"vni":9}"#, headers: [(header, text)])
                        #expect(answer.status == 400 && answer.code == "malformed_request", "\(text)")
                        #expect(answer.detail.hasPrefix(header))
                    }
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("If-None-Match: * creates and never replaces")
        func createOnly() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let only = [("If-None-Match", "*")]
                #expect(await agent.ask("PUT", path, #"{"vni":7}"#, headers: only).status == 201)
                let before = try await agent.state()
                let again = await agent.ask("PUT", path, #"{"vni":8}"#, headers: only)
                #expect(again.status == 412 && again.code == "precondition_failed")
                #expect(try await agent.isAgain(before))
                let tunnel = #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(32))}"#
                #expect(await agent.ask("PUT", "\(path)/tunnels/t", tunnel, headers: only).status == 201)
                #expect(await agent.ask("PUT", "\(path)/tunnels/t", tunnel, headers: only).status == 412)
            }
        }

        @Test("a learned address is forgotten only in the state that If-Match names")
        func learned() async throws {
            try await TestAgent.run { agent async throws in
                let (site, path) = (agent.site, "/v1/bridges/\(agent.site.name("b"))")
                let space = try site.addNamespace("n")
                await agent.put(path, #"{"addresses":["\#(net(11)).1/24"]}"#)
                await agent.put(
                    "\(path)/ports/p0",
                    #"{"type":"tap","netns":"\#(space)","ifname":"eth0","mac":"02:00:00:00:00:72","#
                        + #""addresses":["\#(net(11)).2/24"]}"#)
                try await site.slowShell("ip netns exec \(space) ping -c 1 -W 2 \(net(11)).1")
                let entry = "\(path)/macs/02:00:00:00:00:72"
                let tag = try #require(await agent.get(entry).tag)
                #expect(await agent.ask("DELETE", entry, headers: [("If-Match", "\"no\"")]).status == 412)
                #expect(await agent.ask("DELETE", entry, headers: [("If-Match", tag)]).status == 204)
            }
        }

        @Test("a dry run holds to the preconditions as well")
        func dryRun() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                for (method, body) in [("PUT", "{}"), ("PATCH", "{}"), ("DELETE", "")] {
                    let answer = await agent.ask(
                        method, path, body, headers: [("If-Match", "\"no\"")],
                        query: [(name: "dry_run", value: "true")])
                    #expect(answer.status == 412, "\(method)")
                }
                #expect(await agent.get(path).status == 200)
            }
        }
    }
}
