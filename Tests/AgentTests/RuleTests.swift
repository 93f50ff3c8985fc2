// Rules and mirrors as an agent keeps them: what they name, what goes with what, a whole set at once.

import API
import JSON
import REST
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct RuleTests {
        /// A bridge with two ports and a tunnel whose VNI is the flow's.
        private func furnish(_ agent: TestAgent) async -> String {
            let path = "/v1/bridges/\(agent.site.name("b"))"
            await agent.batch([
                putting(path),
                putting("\(path)/ports/p0", #"{"type":"tap","ifname":"\#(agent.site.name("p"))"}"#),
                putting("\(path)/ports/p1", #"{"type":"tap","ifname":"\#(agent.site.name("q"))"}"#),
                putting(
                    "\(path)/tunnels/t0",
                    #"{"remote_ip":"198.51.100.7","vni":"flow","dst_port":\#(udp(80))}"#),
            ])
            return path
        }

        @Test("a rule is made, read, changed and removed, and a PUT of the same does nothing")
        func life() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent) + "/rules/r0"
                let body = #"{"match":{"in_port":"p0"},"actions":[{"output":"t0"}]}"#
                let made = await agent.put(path, body)
                #expect(made.status == 201, "\(made.text)")
                #expect(made.json["status"]?["n_packets"] == 0 && made.json["status"]?["state"] == "ok")
                #expect(made.json["spec"]?["priority"] == 32768)
                let commits = await agent.commits
                #expect(await agent.put(path, body).status == 200)
                #expect(await agent.commits == commits)
                let changed = await agent.ask(
                    "PATCH", path, #"{"priority":7}"#,
                    headers: [("Content-Type", "application/merge-patch+json")])
                #expect(changed.status == 200 && changed.json["spec"]?["priority"] == 7)
                #expect(await agent.delete(path).status == 204)
                #expect(await agent.get(path).status == 404)
            }
        }

        @Test("what a rule or mirror names must be there; the pointer says which name is wrong")
        func references() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent)
                let cases = [
                    ("rules/r", #"{"match":{"in_port":"x"},"actions":[]}"#, "/match/in_port"),
                    (
                        "rules/r", #"{"actions":[{"output":"p0"},{"output":"x"}]}"#, "/actions/1/output"
                    ),
                    ("rules/r", #"{"actions":[{"mirror":"x"}]}"#, "/actions/0/mirror"),
                    (
                        "rules/r",
                        #"{"actions":[{"set_tunnel":{"vni":1,"remote_ip":"198.51.100.8"}}]}"#,
                        "/actions/0/set_tunnel/remote_ip"
                    ),
                    (
                        "mirrors/m", #"{"select_src_port":["p0","x"],"output_port":"p1"}"#,
                        "/select_src_port/1"
                    ),
                    ("mirrors/m", #"{"select_all":true,"output_port":"x"}"#, "/output_port"),
                    (
                        "mirrors/m", #"{"select_all":true,"output_port":"\#(agent.site.name("b"))"}"#,
                        "/output_port"
                    ),
                ]
                for (resource, body, pointer) in cases {
                    let refused = await agent.put("\(path)/\(resource)", body)
                    #expect(refused.status == 409 && refused.pointers == [pointer], "\(refused.text)")
                    let batch = await agent.batch([putting("\(path)/\(resource)", body)])
                    #expect(batch.pointers == ["/operations/0/body\(pointer)"], "\(batch.text)")
                }
                #expect(await agent.get("\(path)/rules").items.isEmpty)
            }
        }

        @Test("what names a port goes with it, and a dry run says so")
        func dependants() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent)
                await agent.put("\(path)/rules/from", #"{"match":{"in_port":"p0"},"actions":[]}"#)
                await agent.put("\(path)/rules/to", #"{"actions":[{"output":"p0"}]}"#)
                await agent.put("\(path)/rules/other", #"{"actions":[{"output":"p1"}]}"#)
                await agent.put("\(path)/mirrors/m", #"{"select_src_port":["p0"],"output_port":"p1"}"#)
                let tried = await agent.ask(
                    "DELETE", "\(path)/ports/p0", query: [(name: "dry_run", value: "true")])
                let gone = ["mirrors/m", "ports/p0", "rules/from", "rules/to"].map { "\(path)/\($0)" }
                #expect(tried.planned("remove") == gone)
                #expect(await agent.delete("\(path)/ports/p0").status == 204)
                #expect(await agent.get("\(path)/rules").items.map { $0["name"] } == ["other"])
                #expect(await agent.get("\(path)/mirrors").items.isEmpty)
                #expect(await agent.get(path).json["status"]?["rules"] == 1)
            }
        }

        @Test("a rule whose VTEP is no flow tunnel's any more is degraded and says so")
        func degraded() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent)
                let body =
                    #"{"actions":[{"set_tunnel":{"vni":7,"remote_ip":"198.51.100.7"}},{"output":"t0"}]}"#
                #expect(await agent.put("\(path)/rules/r", body).health == "ok")
                await agent.put(
                    "\(path)/tunnels/t0", #"{"remote_ip":"198.51.100.7","vni":5,"dst_port":\#(udp(80))}"#)
                let rule = await agent.get("\(path)/rules/r")
                #expect(rule.health == "degraded")
                #expect(rule.error == #"there is no tunnel with vni "flow" to 198.51.100.7"#)
                await agent.put(
                    "\(path)/tunnels/t0",
                    #"{"remote_ip":"198.51.100.7","vni":"flow","dst_port":\#(udp(80))}"#)
                #expect(await agent.get("\(path)/rules/r").health == "ok")
            }
        }

        @Test("ten thousand rules are written and replaced by one batch each, in one transaction each")
        func manyRules() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent)
                func set(_ low: Int) -> [String] {
                    (0..<AgentLimits.bridgeRules).map { number in
                        let address = "10.\(low).\(number / 256).\(number % 256)"
                        return putting(
                            "\(path)/rules/r\(number)",
                            #"{"match":{"ip_dst":"\#(address)"},"actions":[{"drop":true}]}"#)
                    }
                }
                let commits = await agent.commits
                let clock = ContinuousClock()
                for round in 1...2 {
                    let operations = set(round)
                    var answer: Answer?
                    let time = await clock.measure { answer = await agent.batch(operations) }
                    #expect(answer?.status == 200, "\(answer?.detail ?? "")")
                    #expect(await agent.commits == commits + UInt64(round))
                    #expect(time < .seconds(30))
                }
                let over = await agent.put("\(path)/rules/one-more", #"{"actions":[]}"#)
                #expect(over.code == "limit_exceeded" && over.detail.contains("10000 rules"), "\(over.text)")
                let page = await agent.ask("GET", "\(path)/rules", query: [(name: "limit", value: "2")])
                #expect(page.items.count == 2)
            }
        }

        @Test("rules, mirrors and VLANs come back as they were after a restart")
        func restart() async throws {
            try await Site.run { site async throws in
                var written: [String] = []
                for round in 0..<2 {
                    try await TestAgent.run(on: site) { agent async throws in
                        let path = "/v1/bridges/\(agent.site.name("b"))"
                        if round == 0 {
                            _ = await furnish(agent)
                            await agent.put(
                                "\(path)/rules/r0",
                                #"{"match":{"vlan_vid":7,"tun_id":9},"actions":[{"pop_vlan":true},{"normal":true}]}"#
                            )
                            await agent.put("\(path)/mirrors/m", #"{"select_vlan":[7],"output_port":"p1"}"#)
                            await agent.put("\(path)/macs/02:00:00:00:00:01@7", #"{"port":"p0"}"#)
                            await agent.put(
                                path, #"{"vlan_vni":[{"vlan":7,"vni":7007}],"trunks":[7,8]}"#)
                        }
                        let specs = await [
                            agent.get(path).json["spec"], agent.get("\(path)/rules/r0").json["spec"],
                            agent.get("\(path)/mirrors/m").json["spec"],
                            agent.get("\(path)/macs/02:00:00:00:00:01@7").json,
                        ].map { "\($0 ?? .null)" }
                        if round == 0 { written = specs } else { #expect(specs == written) }
                        #expect(specs[3].contains(#""vlan":7"#), "\(specs[3])")
                    }
                }
            }
        }

        @Test("an entry of a VLAN has no addresses that are answered for")
        func entriesOfVLANs() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent)
                let refused = await agent.put(
                    "\(path)/macs/02:00:00:00:00:01@7", #"{"port":"p0","ips":["192.0.2.1"]}"#)
                #expect(refused.status == 422 && refused.pointers == ["/ips"], "\(refused.text)")
            }
        }
    }
}
