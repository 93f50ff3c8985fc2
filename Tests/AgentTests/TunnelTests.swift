// Tunnels: what is written, what the kernel's routing makes of it, and which sockets exist because of it.

import API
import Glibc
import JSON
import Testing
import Wire

@testable import Agent

extension AgentCore {
    /// Whether the agent knows this as an address of its own host.
    func owns(_ address: IPAddress) -> Bool { host.ownAddresses.contains(address) }
}

extension OnTheHost {
    @Suite struct TunnelTests {
        private func listeners(_ agent: TestAgent) async -> [String] {
            await agent.get("/v1/listeners").items.map {
                "\($0["name"]?.stringValue ?? "") \($0["status"]?["tunnels"] ?? nil)"
            }
        }

        /// The local port and one other port of a bridge have this MTU.
        private func expectMTU(
            _ mtu: Int64, _ agent: TestAgent, at location: SourceLocation = #_sourceLocation
        ) throws {
            let found = try agent.site.interfaces().map(\.mtu)
            #expect(found == [mtu, mtu], sourceLocation: location)
        }

        @Test("a tunnel is created, read, replaced and removed with its socket")
        func life() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge, #"{"vni":42}"#)
                let clean = try await agent.state()
                let path = "\(bridge)/tunnels/t0"
                let created = await agent.put(path, #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(11))}"#)
                #expect(created.status == 201)
                #expect(created.json["spec"]?["vni"] == nil, "what was not written is not shown as written")
                #expect(created.json["status"]?["vni"] == 42)
                #expect(await listeners(agent) == ["ipv4:\(udp(11)) 1"])
                let before = try await agent.state()
                let again = await agent.put(
                    path, #"{"dst_port":\#(udp(11)),"remote_ip":"198.51.100.7","ttl":64}"#)
                #expect(again.status == 200)
                #expect(try await agent.isAgain(before))
                let flow =
                    #"{"remote_ip":"2001:db8::7","dst_port":\#(udp(12)),"vni":"flow","ttl":"inherit","csum":false}"#
                let changed = await agent.put(path, flow)
                #expect(changed.status == 200)
                #expect(changed.json["spec"]?["ttl"] == "inherit")
                #expect(changed.json["status"]?["vni"] == "flow")
                #expect(await listeners(agent) == ["ipv6:\(udp(12)) 1"])
                #expect(await agent.delete(path).status == 204)
                #expect(try await agent.isAgain(clean))
            }
        }

        @Test("tunnels of one port and family share a socket, and the last one closes it")
        func sharedListener() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge)
                for (number, remote) in ["198.51.100.7", "198.51.100.8", "2001:db8::7"].enumerated() {
                    let body = #"{"remote_ip":"\#(remote)","dst_port":\#(udp(13))}"#
                    #expect(await agent.put("\(bridge)/tunnels/t\(number)", body).status == 201)
                }
                #expect(await listeners(agent) == ["ipv4:\(udp(13)) 2", "ipv6:\(udp(13)) 1"])
                await agent.delete("\(bridge)/tunnels/t0")
                #expect(await listeners(agent) == ["ipv4:\(udp(13)) 1", "ipv6:\(udp(13)) 1"])
                await agent.delete("\(bridge)/tunnels/t1")
                #expect(await listeners(agent) == ["ipv6:\(udp(13)) 1"])
                await agent.delete(bridge)
                #expect(await listeners(agent) == [])
            }
        }

        @Test("a bridge's MTU follows its narrowest tunnel, and goes back when that is removed")
        func mtu() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge)
                await agent.put("\(bridge)/ports/\(agent.site.name("p"))", #"{"type":"tap"}"#)
                try expectMTU(1500, agent)
                let (four, six) = ("\(bridge)/tunnels/t4", "\(bridge)/tunnels/t6")
                let answer = await agent.put(four, #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(14))}"#)
                let path = answer.json["status"]?["path_mtu"]?.integerValue ?? 1500
                #expect(answer.json["status"]?["mtu"] == .integer(path - 50))
                try expectMTU(path - 50, agent)
                let wider = await agent.put(six, #"{"remote_ip":"2001:db8::7","dst_port":\#(udp(14))}"#)
                let inner = wider.json["status"]?["mtu"]?.integerValue ?? 0
                #expect(inner <= 1430)
                try expectMTU(inner, agent)
                await agent.put(bridge, #"{"mtu":1300}"#)
                try expectMTU(1300, agent)
                await agent.put(bridge)
                await agent.delete(six)
                try expectMTU(path - 50, agent)
                await agent.delete(four)
                try expectMTU(1500, agent)
            }
        }

        @Test("a second tunnel with the same identity is a conflict that names the first")
        func sameIdentity() async throws {
            try await TestAgent.run { agent in
                let (b, c) = (agent.site.name("b"), agent.site.name("c"))
                for bridge in [b, c] { await agent.put("/v1/bridges/\(bridge)", #"{"vni":7}"#) }
                let body = #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(15))}"#
                #expect(await agent.put("/v1/bridges/\(b)/tunnels/t0", body).status == 201)
                let before = try await agent.state()
                for path in ["/v1/bridges/\(b)/tunnels/t1", "/v1/bridges/\(c)/tunnels/t0"] {
                    let answer = await agent.put(path, body)
                    #expect(answer.status == 409 && answer.code == "conflict")
                    #expect(answer.detail.contains("tunnel t0 of bridge \(b)"), "\(answer.detail)")
                    #expect(answer.detail.contains("VNI 7 from 198.51.100.7 on UDP port \(udp(15))"))
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("an address of this host is refused as remote_ip with a pointer")
        func ownAddress() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge, #"{"addresses":["\#(net(5)).1/24"]}"#)
                try await eventually("the agent has seen its new address") {
                    await agent.core.owns("\(net(5)).1".address)
                }
                let before = try await agent.state()
                let answer = await agent.put(
                    "\(bridge)/tunnels/t0", #"{"remote_ip":"\#(net(5)).1","dst_port":\#(udp(16))}"#)
                #expect(answer.status == 422 && answer.code == "invalid_resource")
                #expect(answer.json["errors"]?[0]?["pointer"] == "/remote_ip")
                #expect(answer.json["errors"]?[0]?["code"] == "not_allowed")
                #expect(answer.detail.contains("\(net(5)).1"))
                #expect(answer.detail.hasSuffix("an address of this host"))
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("a tunnel whose remote_ip becomes an address of this host is degraded for as long as it is")
        func becomesOwnAddress() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge)
                let path = "\(bridge)/tunnels/t0"
                await agent.put(path, #"{"remote_ip":"\#(net(6)).1","dst_port":\#(udp(17))}"#)
                await agent.put(bridge, #"{"addresses":["\#(net(6)).1/24"]}"#)
                try await eventually("the tunnel is degraded") { await agent.get(path).health == "degraded" }
                #expect(await agent.get(path).error == "remote_ip \(net(6)).1 is an address of this host")
                await agent.put(bridge)
                try await eventually("the tunnel is well again") { await agent.get(path).health == "ok" }
            }
        }

        @Test("a tunnel whose way leads back into a bridge of this agent is a conflict that names it")
        func loop() async throws {
            try await TestAgent.run { agent in
                let name = agent.site.name("b")
                let bridge = "/v1/bridges/\(name)"
                await agent.put(bridge, #"{"addresses":["\#(net(13)).1/24"]}"#)
                let before = try await agent.state()
                let body = #"{"remote_ip":"\#(net(13)).7","dst_port":\#(udp(19))}"#
                let answer = await agent.put("\(bridge)/tunnels/t0", body)
                #expect(answer.status == 409)
                #expect(
                    answer.detail == "the route to remote_ip \(net(13)).7 leads back into bridge \(name)")
                #expect(try await agent.isAgain(before))
                let good = #"{"remote_ip":"192.0.2.77","dst_port":\#(udp(19))}"#
                #expect(await agent.put("\(bridge)/tunnels/t1", good).status == 201)
                let beforeChange = try await agent.state()
                #expect(await agent.put("\(bridge)/tunnels/t1", body).status == 409)
                #expect(try await agent.isAgain(beforeChange))
                #expect(await agent.delete("\(bridge)/tunnels/t1").status == 204)
                #expect(await agent.put(bridge).status == 200)
                #expect(await agent.put("\(bridge)/tunnels/t0", body).status == 201)
                // Written the other way round it stands, held still.
                await agent.put(bridge, #"{"addresses":["\#(net(13)).1/24"]}"#)
                try await eventually("the tunnel is degraded") {
                    await agent.get("\(bridge)/tunnels/t0").error?.contains("leads back into") == true
                }
            }
        }

        @Test("a destination port among the source ports is refused with a pointer")
        func sourcePort() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge)
                for port in [49152, 65535] {
                    let answer = await agent.put(
                        "\(bridge)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(port)}"#)
                    #expect(answer.status == 422)
                    #expect(answer.json["errors"]?[0]?["pointer"] == "/dst_port")
                }
                #expect(await agent.get("\(bridge)/tunnels").items.isEmpty)
            }
        }

        @Test("source ports that others have are a conflict, and nothing is left")
        func noSourcePorts() async throws {
            try await Site.run { site in
                let ports = UInt16(udp(100))...UInt16(udp(163))
                let squatters = try ports.map { try Squatter(port: Int($0)) }
                let agent = try await TestAgent(site, sourcePorts: ports)
                let bridge = "/v1/bridges/\(site.name("b"))"
                await agent.put(bridge)
                let before = try await agent.state()
                let body = #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(20))}"#
                let answer = await agent.put("\(bridge)/tunnels/t0", body)
                #expect(answer.status == 409 && answer.detail.contains("in source_ports "))
                let tried = await agent.dryRun("PUT", "\(bridge)/tunnels/t0", body)
                #expect(tried.status == 409 && tried.detail == answer.detail)
                #expect(try await agent.isAgain(before))
                for squatter in squatters { squatter.leave() }
                #expect(await agent.put("\(bridge)/tunnels/t0", body).status == 201)
                await agent.core.shutDown()
            }
        }

        @Test("a UDP port that another socket has is a conflict that says which, and nothing is left")
        func portInUse() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge)
                let squatter = try Squatter(port: udp(18))
                let before = try await agent.state()
                let body = #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(18))}"#
                let answer = await agent.put("\(bridge)/tunnels/t0", body)
                #expect(answer.status == 409)
                let command = try String(contentsOfFile: "/proc/self/comm", encoding: .utf8)
                #expect(
                    answer.detail == "UDP port \(udp(18)) (dst_port) is in use on this host: "
                        + "process \(getpid()) (\(command.filter { $0 != "\n" })) has it")
                #expect(try await agent.isAgain(before))
                squatter.leave()
                #expect(await agent.put("\(bridge)/tunnels/t0", body).status == 201)
            }
        }
    }
}

/// A UDP socket of somebody else.
struct Squatter {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeBytes(of: &address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { bind(descriptor, $0.baseAddress, length) }
        }
        try #require(result == 0, "cannot take UDP port \(port): errno \(errno)")
    }

    func leave() { close(descriptor) }
}
