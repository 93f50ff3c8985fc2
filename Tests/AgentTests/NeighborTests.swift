// Addresses of static entries, from what is written to what the kernel, a guest of its own bridge, is answered.

import API
import JSON
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct NeighborTests {
        private static let station = "02:00:00:00:00:09"

        /// What the kernel knows of a neighbour after it has asked, "" for nothing.
        private func resolve(_ agent: TestAgent, _ address: String) async throws -> String {
            let device = agent.site.name("b")
            _ = try? await agent.site.slowShell("ip neigh flush dev \(device)")
            // Three questions, a second apart, and it has FAILED.
            _ = try? await agent.site.slowShell("ping -c 1 -W 0.3 -w 1 \(address)")
            for _ in 0..<1000 {
                let line = try agent.site.shell("ip neigh show \(address) dev \(device)")
                let words = line.split(whereSeparator: \.isWhitespace)
                if let found = words.firstIndex(of: "lladdr") { return String(words[found + 1]) }
                if words.isEmpty || words.contains("FAILED") { return "" }
                try await Task.sleep(for: .milliseconds(20))
            }
            return "no answer, and no end of asking"
        }

        /// A bridge, a tunnel that leads nowhere and a station behind it.
        private func furnish(_ agent: TestAgent, _ bridge: String = "") async -> String {
            let path = "/v1/bridges/\(agent.site.name("b"))"
            let addresses = #"["\#(net(1)).1/24","fd00:\#(udp(0) - 20_000):1::1/64"]"#
            await agent.put(path, #"{"addresses":\#(addresses)\#(bridge)}"#)
            await agent.put("\(path)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(71))}"#)
            await agent.put(
                "\(path)/macs/\(Self.station)",
                #"{"port":"t0","ips":["\#(net(1)).9","fd00:\#(udp(0) - 20_000):1::9"]}"#)
            return path
        }

        private func answered(_ agent: TestAgent, _ path: String) async -> Int64 {
            await agent.get(path).json["status"]?["counters"]?["neigh_answered"]?.integerValue ?? -1
        }

        @Test("the kernel is told the station's address, and each answer is counted", arguments: [1, 3])
        func answers(workers: Int) async throws {
            try await TestAgent.run(workers: workers) { agent async throws in
                let path = await furnish(agent)
                #expect(try await resolve(agent, "\(net(1)).9") == Self.station)
                #expect(try await resolve(agent, "fd00:\(udp(0) - 20_000):1::9") == Self.station)
                #expect(try await resolve(agent, "\(net(1)).8") == "", "nobody's address")
                let count = await answered(agent, path)
                #expect(count >= 2)
                let labels = #"bridge="\#(agent.site.name("b"))",port="\#(agent.site.name("b"))""#
                let line = "viaduct_neigh_answers_total{\(labels)} \(count)\n"
                #expect(await agent.get("/metrics").text.contains(line))
            }
        }

        @Test("addresses come, move to another entry and go with what is written, and can be switched off")
        func life() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent)
                let other = "02:00:00:00:00:0a"
                #expect(try await resolve(agent, "\(net(1)).9") == Self.station)
                let body = #"{"port":"t0","ips":["\#(net(1)).9"]}"#
                let taken = await agent.put("\(path)/macs/\(other)", body)
                #expect(taken.status == 409 && taken.code == "conflict")
                #expect(taken.detail.contains("static entry \(Self.station)"), "\(taken.detail)")
                #expect(await agent.put("\(path)/macs/\(Self.station)", #"{"port":"t0"}"#).status == 200)
                #expect(try await resolve(agent, "\(net(1)).9") == "")
                let given = await agent.put("\(path)/macs/\(other)", body)
                #expect(given.status == 201 && given.json["ips"]?[0]?.stringValue == "\(net(1)).9")
                #expect(try await resolve(agent, "\(net(1)).9") == other)
                let name = agent.site.name("b")
                let addresses = #""addresses":["\#(net(1)).1/24"]"#
                await agent.put("/v1/bridges/\(name)", #"{\#(addresses),"neigh_suppress":false}"#)
                #expect(try await resolve(agent, "\(net(1)).9") == "")
                await agent.put("/v1/bridges/\(name)", #"{\#(addresses)}"#)
                #expect(try await resolve(agent, "\(net(1)).9") == other)
                #expect(await agent.delete("\(path)/macs/\(other)").status == 204)
                #expect(try await resolve(agent, "\(net(1)).9") == "")
            }
        }

        @Test("what the kernel has itself, or is behind the local port, it answers itself")
        func ownAddresses() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent)
                let name = agent.site.name("b")
                await agent.put(
                    "\(path)/macs/02:00:00:00:00:0b", #"{"port":"\#(name)","ips":["\#(net(1)).11"]}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:0c", #"{"port":"t0","ips":["\#(net(1)).1"]}"#)
                let bindings = await agent.core.bindings(of: name.name)
                #expect(
                    bindings
                        == ["\(net(1)).9 \(Self.station)", "fd00:\(udp(0) - 20_000):1::9 \(Self.station)"]
                        .sorted())
            }
        }

        @Test("an entry's tag covers its addresses, and a GET's tag fits the next PUT")
        func tags() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent) + "/macs/\(Self.station)"
                let tag = await agent.get(path).header("ETag") ?? ""
                let headers = [("Content-Type", "application/json"), ("If-Match", tag)]
                let changed = await agent.ask(
                    "PUT", path, #"{"port":"t0","ips":["192.0.2.1"]}"#, headers: headers)
                #expect(changed.status == 200 && changed.header("ETag") != tag)
                let late = await agent.ask(
                    "PUT", path, #"{"port":"t0","ips":["192.0.2.2"]}"#, headers: headers)
                #expect(late.status == 412)
            }
        }

        @Test("with flooding disabled a question nobody can answer is a drop with its own name")
        func floodingDisabled() async throws {
            try await TestAgent.run { agent async throws in
                let path = await furnish(agent, #","flooding":"disabled""#)
                #expect(try await resolve(agent, "\(net(1)).9") == Self.station)
                #expect(try await resolve(agent, "\(net(1)).8") == "")
                let drops = await agent.get(path).json["status"]?["counters"]?["drops"]
                #expect((drops?["flooding_disabled"]?.integerValue ?? 0) > 0, "\(String(describing: drops))")
                let query = [("bridge", agent.site.name("b")), ("eth_type", "0x0806")]
                let flows = await agent.ask(
                    "GET", "/v1/flows", query: query.map { (name: $0.0, value: $0.1) })
                #expect(flows.items.first?["actions_text"] == "drop(flooding_disabled)", "\(flows.text)")
                let tunnel = await agent.get("\(path)/tunnels/t0").json["status"]?["counters"]
                // What is known goes there.
                #expect(tunnel?["tx_packets"] != nil)
            }
        }
    }
}

extension AgentCore {
    fileprivate func bindings(of bridge: Name) -> [String] {
        (desired.bridges[bridge]?.bindings(of: bridge) ?? []).map { "\($0.address) \($0.station)" }.sorted()
    }
}
