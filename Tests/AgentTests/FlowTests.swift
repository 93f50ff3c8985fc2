// Flows and the datapath's counts as the API shows them, from a bridge that has flooded a few frames.

import JSON
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct FlowTests {
        /// A bridge whose local port has asked for a neighbour nobody is, and two tunnels for it to go to.
        private func furnish(_ agent: TestAgent) async throws -> String {
            let bridge = agent.site.name("b")
            await agent.put("/v1/bridges/\(bridge)", #"{"addresses":["\#(net(1)).1/24"],"vni":7}"#)
            for number in 1...2 {
                await agent.put(
                    "/v1/bridges/\(bridge)/tunnels/t\(number)",
                    #"{"remote_ip":"198.51.100.\#(number)","dst_port":\#(udp(60))}"#)
            }
            _ = try? await agent.site.slowShell("ping -c 1 -W 1 \(net(1)).2")
            return bridge
        }

        @Test("a flow says what it matches, how often it did, and where such frames go")
        func flow() async throws {
            try await TestAgent.run { agent in
                let bridge = try await furnish(agent)
                let answer = await agent.ask(
                    "GET", "/v1/flows", query: [("in_port", bridge), ("eth_type", "0x0806")])
                let flow = try #require(answer.items.first, "\(answer.text)")
                let mac = await agent.get("/v1/bridges/\(bridge)").json["status"]?["mac"]?.stringValue ?? ""
                #expect(answer.items.count == 1 && flow["bridge"]?.stringValue == bridge)
                #expect(flow["match"]?["eth_src"]?.stringValue == mac)
                #expect(flow["match"]?["eth_dst"] == "ff:ff:ff:ff:ff:ff")
                #expect(
                    flow["match_text"]?.stringValue
                        == "in_port(\(bridge)),eth(src=\(mac),dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806)")
                let packets = flow["packets"]?.integerValue ?? 0
                #expect(packets >= 1 && flow["bytes"]?.integerValue == packets * 42)
                #expect((flow["used_seconds"]?.doubleValue ?? 99) < 5)
                let action = "flood(t1 vni=7 remote_ip=198.51.100.1,t2 vni=7 remote_ip=198.51.100.2)"
                #expect(flow["actions"] == .array([.string(action)]))
                #expect(flow["actions_text"]?.stringValue == action)
            }
        }

        @Test("filters take an address or a number in any spelling; one that is neither is refused")
        func filters() async throws {
            try await TestAgent.run { agent in
                let bridge = try await furnish(agent)
                let here = (name: "in_port", value: bridge)
                for (filter, count) in [
                    (("eth_dst", "FF-FF-FF-FF-FF-FF"), 1), (("eth_type", "2054"), 1),
                    (("eth_type", "0x806"), 1), (("bridge", bridge), 1), (("bridge", "other"), 0),
                    (("eth_src", "02:00:00:00:00:99"), 0),
                ] as [((String, String), Int)] {
                    let arp = filter.0 == "eth_type" ? [] : [(name: "eth_type", value: "0x0806")]
                    let answer = await agent.ask("GET", "/v1/flows", query: [here] + arp + [filter])
                    #expect(answer.status == 200 && answer.items.count == count, "\(filter): \(answer.text)")
                }
                for filter in [("colour", "red"), ("eth_type", "arp"), ("eth_src", "me"), ("bridge", "a b")] {
                    let refused = await agent.ask("GET", "/v1/flows", query: [filter])
                    #expect(refused.status == 400, "\(filter): \(refused.text)")
                }
            }
        }

        @Test("pages have every flow once, and a flush leaves none")
        func pagesAndFlush() async throws {
            try await TestAgent.run { agent in
                _ = try await furnish(agent)
                var texts: [String] = []
                var token: String?
                repeat {
                    let next = token.map { [(name: "page_token", value: $0)] } ?? []
                    let answer = await agent.ask("GET", "/v1/flows", query: [("limit", "1")] + next)
                    #expect(answer.items.count <= 1)
                    texts += answer.items.compactMap { $0["match_text"]?.stringValue }
                    token = answer.json["next_page_token"]?.stringValue
                } while token != nil && texts.count < 50
                #expect(!texts.isEmpty && Set(texts).count == texts.count, "\(texts)")
                let before = await agent.get("/v1/datapath").json["total"]?["lookups"]
                #expect(await agent.delete("/v1/flows").status == 204)
                let left = await agent.get("/v1/flows").items.compactMap { $0["packets"]?.integerValue }
                let after = await agent.get("/v1/datapath").json["total"]?["lookups"]
                // The kernel may have said something meanwhile; what was before is gone.
                let since = count(after) - count(before)
                #expect(left.reduce(0, +) <= since)
            }
        }

        private func count(_ lookups: JSONValue?) -> Int64 {
            ["hit", "missed", "redecided"].reduce(0) { $0 + (lookups?[$1]?.integerValue ?? 0) }
        }

        @Test("a flow that several workers carry is one, and the datapath's total is the sum of its workers")
        func severalWorkers() async throws {
            try await TestAgent.run(workers: 3) { agent in
                let bridge = try await furnish(agent)
                // One flow to a bridge; many to the kernel, which spreads them over the queues.
                try await agent.site.slowShell(
                    """
                    ip neigh replace \(net(1)).3 lladdr 02:00:00:00:00:33 dev \(bridge) nud permanent
                    bash -c 'for port in {1..64}; do echo hello > /dev/udp/\(net(1)).3/$port; done'
                    """)
                let here = [(name: "in_port", value: bridge), (name: "eth_dst", value: "02:00:00:00:00:33")]
                try await eventually("all have been counted") {
                    let flows = await agent.ask("GET", "/v1/flows", query: here).items
                    return flows.count == 1 && flows[0]["packets"]?.integerValue == 64
                }
                let document = await agent.get("/v1/datapath").json
                let workers = document["workers"]?.arrayValue ?? []
                #expect(workers.count == 3 && workers.count { count($0["lookups"]) > 0 } > 1)
                #expect(document["flow_limit"] == 65_536)
                let total = document["total"]
                #expect(workers.reduce(0) { $0 + count($1["lookups"]) } == count(total?["lookups"]))
                #expect(
                    workers.reduce(0) { $0 + ($1["flows"]?.integerValue ?? 0) }
                        == total?["flows"]?.integerValue)
                let metrics = await agent.get("/metrics").text
                #expect(metrics.contains("\nviaduct_datapath_flow_capacity \(3 * 65_536)\n"))
                #expect(await agent.delete("/v1/flows").status == 204)
                #expect(await agent.ask("GET", "/v1/flows", query: here).items.isEmpty)
            }
        }

        @Test("the datapath's counts agree with the port's and with the metrics")
        func datapath() async throws {
            try await TestAgent.run { agent in
                let bridge = try await furnish(agent)
                let document = await agent.get("/v1/datapath").json
                let total = document["total"]
                #expect(document["driver"] == "socket" && document["flow_limit"] == 65_536)
                #expect(document["workers"]?.arrayValue?.count == 1)
                let received = await agent.get("/v1/bridges/\(bridge)").json["status"]?["counters"]?[
                    "rx_packets"]
                let seen = count(total?["lookups"])
                #expect(seen > 0 && seen <= received?.integerValue ?? 0)
                #expect(total?["lookups"]?["lost"] == 0 && (total?["flows"]?.integerValue ?? 0) > 0)
                #expect((total?["masks"]?["total"]?.integerValue ?? 0) > 0)
                let metrics = await agent.get("/metrics").text
                for name in [
                    "viaduct_datapath_flows ", "viaduct_datapath_flow_masks ",
                    "viaduct_datapath_flow_capacity 65536", "viaduct_datapath_flow_evictions_total 0",
                    "viaduct_datapath_flow_lookups_total{result=\"missed\"} ",
                ] { #expect(metrics.contains("\n" + name), "\(name)") }
            }
        }
    }
}
