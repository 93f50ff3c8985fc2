// The metrics page of a live agent, as Prometheus' own tool reads it.

import API
import Foundation
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct MetricsTests {
        private func furnish(_ agent: TestAgent) async throws {
            let bridge = "/v1/bridges/\(agent.site.name("b"))"
            await agent.put(bridge)
            await agent.put("\(bridge)/ports/\(agent.site.name("p"))", #"{"type":"tap"}"#)
            for number in 1...3 {
                let body = #"{"remote_ip":"198.51.100.\#(number)","dst_port":\#(udp(40 + number))}"#
                await agent.put("\(bridge)/tunnels/t\(number)", body)
            }
            await agent.put("/v1/bridges/\(agent.site.name("c"))")
            await agent.put("/v1/bridges/-")
            await agent.get("/nowhere")
            await agent.ask("POST", "/v1/bridges")
        }

        @Test("promtool finds nothing to say about the page, empty or full")
        func promtool() async throws {
            try await TestAgent.run { agent in
                for _ in 0..<2 {
                    let page = await agent.get("/metrics").text
                    let file = "\(agent.site.directory)/page"
                    try page.write(toFile: file, atomically: true, encoding: .utf8)
                    let complaints = try await agent.site.slowShell("promtool check metrics < \(file)")
                    #expect(complaints == "")
                    try await furnish(agent)
                }
            }
        }

        @Test("a family is said once, before its samples, and no sample twice")
        func families() async throws {
            try await TestAgent.run { agent in
                try await furnish(agent)
                let lines = await agent.get("/metrics").text.split(separator: "\n")
                for keyword in ["# HELP ", "# TYPE "] {
                    let names = lines.filter { $0.hasPrefix(keyword) }.map { $0.split(separator: " ")[2] }
                    #expect(Set(names).count == names.count)
                }
                let samples = lines.filter { !$0.hasPrefix("#") }.map { $0.split(separator: " ")[0] }
                #expect(Set(samples).count == samples.count)
                var family = ""
                for line in lines {
                    let words = line.split(separator: " ")
                    if line.hasPrefix("# TYPE ") { family = String(words[2]) }
                    if !line.hasPrefix("#") {
                        // A histogram's samples are its family with a suffix.
                        let name = words[0].prefix { $0 != "{" }
                        let suffix = name.dropFirst(family.count)
                        #expect(name.hasPrefix(family), "\(line)")
                        #expect(["", "_bucket", "_sum", "_count"].contains(suffix), "\(line)")
                    }
                }
            }
        }

        @Test("the page counts what happened, by routes and not by paths")
        func counts() async throws {
            try await TestAgent.run { agent in
                try await furnish(agent)
                let page = await agent.get("/metrics").text
                let name = agent.site.name("b")
                let expected = [
                    #"viaduct_http_requests_total{route="/v1/bridges/{bridge}",method="PUT",code="201"} 2"#,
                    #"viaduct_http_requests_total{route="/v1/bridges/{bridge}",method="PUT",code="400"} 1"#,
                    #"viaduct_http_requests_total{route="none",method="GET",code="404"} 1"#,
                    #"viaduct_fdb_capacity{bridge="\#(name)"} 8192"#,
                    #"viaduct_listener_receive_packets_total{listener="ipv4:\#(udp(41))"} 0"#,
                    #"viaduct_tunnel_receive_packets_total{bridge="\#(name)",tunnel="t1"} 0"#,
                ]
                for line in expected { #expect(page.contains(line + "\n"), "\(line)") }
                #expect(!page.contains("/nowhere"))
            }
        }

        @Test("totals of drops do not go back when a bridge is removed")
        func totalsStay() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                // Alone on its bridge, the local port has nowhere to flood to.
                await agent.put(bridge, #"{"addresses":["\#(net(9)).1/24"]}"#)
                func dropped() async -> UInt64 {
                    let prefix =
                        #"viaduct_datapath_dropped_packets_total{reason="no_destination","#
                        + #"direction="receive"} "#
                    let lines = await agent.get("/metrics").text.split(separator: "\n")
                    return lines.first { $0.hasPrefix(prefix) }
                        .flatMap { UInt64($0.dropFirst(prefix.count)) } ?? 0
                }
                _ = try? await agent.site.slowShell("ping -c 1 -W 1 \(net(9)).2")
                try await eventually("a frame had nowhere to go") { await dropped() > 0 }
                let before = await dropped()
                await agent.delete(bridge)
                #expect(await dropped() >= before)
            }
        }

        /// Steps by sort, as the page has them; those that never happened left out.
        private func steps(_ agent: TestAgent) async -> [String: Int] {
            var steps: [String: Int] = [:]
            for line in await agent.get("/metrics").text.split(separator: "\n")
            where line.hasPrefix("viaduct_changes_total{step=") && !line.hasSuffix(" 0") {
                let words = line.split(separator: "\"")
                steps[String(words[1])] = Int(words[2].dropFirst(2))
            }
            return steps
        }

        @Test("a thousand tunnels are one program; writing what is there, or MAC entries, is none")
        func programs() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(path)
                let operations = (0..<1000).map { number in
                    putting(
                        "\(path)/tunnels/t\(number)",
                        #"{"remote_ip":"198.51.\#(100 + number / 200).\#(1 + number % 200)","dst_port":\#(udp(44))}"#
                    )
                }
                let body = Array(#"{"operations":[\#(operations.joined(separator: ","))]}"#.utf8)
                let writes = try Write.all(of: Batch.parse(body))
                #expect(try await agent.core.programs { core in _ = try core.write(writes) } == 1)
                var expected = ["create_bridge": 1, "create_tunnel": 1000]
                #expect(await steps(agent) == expected)
                let idle = try await agent.core.programs { core in
                    _ = try core.write(writes)
                    _ = try core.write([writes[7]])
                    _ = try core.patch(writes[8].id, .object([:]), .none, dryRun: false)
                    _ = try core.write([Write(id: writes[9].id, spec: nil)], dryRun: true)
                    let owner = try #require(writes[7].id.bridge)
                    let entry = ResourceID.mac(owner, "02:00:00:00:00:09".station)
                    let spec = Spec.mac(StaticMAC(port: "t9", ips: ["192.0.2.9".address]))
                    _ = try core.write([Write(id: entry, spec: spec)])
                    #expect(core.host.bridges[owner]?.bindings.table.isEmpty == false)
                    _ = try core.write([Write(id: entry, spec: nil)])
                    #expect(core.host.bridges[owner]?.bindings.table.isEmpty == true)
                }
                #expect(idle == 0)
                #expect(await agent.batch(operations).status == 200)
                #expect(await agent.delete("\(path)/tunnels/t7").status == 204)
                expected.merge(["pin_mac": 1, "unpin_mac": 1, "delete_tunnel": 1]) { $1 }
                #expect(await steps(agent) == expected)
                let page = await agent.get("/metrics").text
                #expect(page.contains("viaduct_programs_adopted_total "))
            }
        }
    }
}

extension AgentCore {
    /// Programs adopted on account of some writes; what the host does by itself waits meanwhile.
    fileprivate func programs(for writes: @Sendable (isolated AgentCore) throws -> Void) rethrows -> UInt64 {
        let before = host.adoptionCount
        try writes(self)
        return host.adoptionCount - before
    }
}
