// A change that fails in the middle leaves the host, the documents and the store as they were.

import API
import Foundation
import Testing
import Wire

@testable import Agent

extension OnTheHost {
    @Suite struct RollbackTests {
        /// A change of many steps, wherever it is stopped.
        private func bigChange(_ site: Site) -> @Sendable (inout DesiredState) -> Void {
            let names = ["b", "c", "d", "p", "q", "z"].map { site.name($0).name }
            return { state in
                let (b, c, d, p, q, z) = (names[0], names[1], names[2], names[3], names[4], names[5])
                state.bridges[b]?.spec.mtu = 1300
                state.bridges[b]?.spec.macTableSize = 20
                state.bridges[b]?.spec.addresses = [IPPrefix("\(net(7)).9/24")].compactMap { $0 }
                state.bridges[b]?.ports[p]?.mac = "02:00:00:00:00:77".mac
                state.bridges[b]?.ports["moved".name]?.ifname = site.name("m2")
                state.bridges[b]?.tunnels["t0".name]?.dstPort = udp(22)
                state.bridges[b]?.tunnels["t1".name] = Tunnel(remoteIP: "2001:db8::8".address)
                state.bridges[b]?.tunnels["t1".name]?.dstPort = udp(23)
                state.bridges[b]?.macs = ["02:00:00:00:00:02".station: StaticMAC(port: "t1")]
                state.bridges[c] = DesiredBridge()
                state.bridges[c]?.ports[q] = Port(type: .internal)
                state.bridges[d] = nil
                // Last of the makes: names are taken in order.
                state.bridges[z] = DesiredBridge()
            }
        }

        private func furnish(_ agent: TestAgent) async {
            let site = agent.site
            let bridge = "/v1/bridges/\(site.name("b"))"
            await agent.put(bridge, #"{"addresses":["\#(net(7)).1/24"]}"#)
            await agent.put("\(bridge)/ports/\(site.name("p"))", #"{"type":"tap"}"#)
            await agent.put("\(bridge)/ports/moved", #"{"type":"tap","ifname":"\#(site.name("m"))"}"#)
            await agent.put("\(bridge)/tunnels/t0", #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(21))}"#)
            await agent.put("\(bridge)/macs/02:00:00:00:00:01", #"{"port":"t0"}"#)
            await agent.put("/v1/bridges/\(site.name("d"))")
        }

        @Test("the last of many steps fails: every earlier one is taken back")
        func lastStep() async throws {
            try await TestAgent.run { agent in
                let site = agent.site
                await furnish(agent)
                try site.shell("ip link add \(site.name("z")) type veth peer name \(site.name("y"))")
                let before = try await agent.state()
                let change = bigChange(site)
                for _ in 0..<2 {
                    let problem = await #expect(throws: Problem.self) {
                        try await agent.core.transition { change(&$0) }
                    }
                    #expect(problem?.detail.contains(site.name("z")) == true)
                    #expect(try await agent.isAgain(before))
                }
                try site.shell("ip link del \(site.name("z"))")
                try await agent.core.transition { change(&$0) }
                let expected = ["b", "c", "m2", "p", "q", "z"].map(site.name)
                #expect(try site.interfaces().map(\.name) == expected)
                let documents = try agent.store.load()
                #expect(try await DesiredState(documents) == agent.core.desired)
            }
        }

        @Test("a disk that is full takes the change back with 507, and takes the next one when there is room")
        func fullDisk() async throws {
            try await Site.run { site in
                try site.mountSmallDisk()
                try await TestAgent.run(on: site) { agent in
                    await furnish(agent)
                    let filler = "\(site.directory)/filler"
                    // Fails because the disk fills up while it is written: which is the point.
                    _ = try? site.shell("dd if=/dev/zero of=\(filler) bs=4096 count=1000")
                    let before = try await agent.state()
                    let body = #"{"mtu":1300}"#
                    let path = "/v1/bridges/\(site.name("b"))"
                    var answer = await agent.put(path, body)
                    var attempts = 0
                    // The log may still have room of its own for a few commits.
                    while answer.status == 200, attempts < 100 {
                        await agent.put(path, #"{"addresses":["\#(net(7)).1/24"]}"#)
                        answer = await agent.put(path, body)
                        attempts += 1
                    }
                    #expect(answer.status == 507 && answer.code == "storage_full", "\(answer.text)")
                    #expect(answer.detail.hasPrefix("no space left for \(site.stateFile)"))
                    let after = try await agent.state()
                    #expect(after.interfaces == before.interfaces)
                    #expect(after.stored == before.stored)
                    #expect(await agent.get(path).status == 200, "reads go on")
                    #expect(await agent.delete(path).status == 507)
                    #expect(await agent.put("/v1/bridges/\(site.name("n"))").status == 507)
                    #expect(try await agent.isAgain(after))
                    try FileManager.default.removeItem(atPath: filler)
                    #expect(await agent.put(path, body).status == 200)
                    #expect(try site.interface("b")?.mtu == 1300)
                }
            }
        }

        @Test("a store that fails takes every step of the change back")
        func storeFails() async throws {
            try await Site.run { site in
                try await TestAgent.run(on: site) { agent in
                    await furnish(agent)
                    let before = try site.interfaces()
                    try agent.store.close()
                    let change = bigChange(site)
                    let problem = await #expect(throws: Problem.self) {
                        try await agent.core.transition { change(&$0) }
                    }
                    #expect(problem?.code == .storageFailed)
                    #expect(try site.interfaces() == before)
                    let path = "/v1/bridges/\(site.name("b"))"
                    let entry = await agent.put("\(path)/macs/02:00:00:00:00:05", #"{"port":"t0"}"#)
                    #expect(entry.status == 500 && entry.code == "storage_failed")
                    #expect(await agent.get("\(path)/macs/02:00:00:00:00:05").status == 404)
                    #expect(await agent.get("\(path)/macs/02:00:00:00:00:01").status == 200)
                    #expect(await agent.delete(path).status == 500)
                    #expect(try site.interfaces() == before)
                }
            }
        }

        @Test("an address the kernel refuses takes back what was set before it")
        func addressRefused() async throws {
            try await TestAgent.run { agent in
                await furnish(agent)
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let setting = "/proc/sys/net/ipv6/conf/\(agent.site.name("b"))/disable_ipv6"
                try agent.site.shell("echo 1 > \(setting)")
                let before = try await agent.state()
                let body = #"{"mac":"02:00:00:00:00:78","mtu":1300,"addresses":["2001:db8:7::1/64"]}"#
                let answer = await agent.put(path, body)
                #expect(answer.status == 409 && answer.detail.contains("2001:db8:7::1"), "\(answer.text)")
                #expect(try await agent.isAgain(before))
                try agent.site.shell("echo 0 > \(setting)")
                #expect(await agent.put(path, body).status == 200)
            }
        }

        @Test("a change that clashes is refused before anything is touched")
        func clash() async throws {
            try await TestAgent.run { agent in
                await furnish(agent)
                let before = try await agent.state()
                let (b, d) = (agent.site.name("b").name, agent.site.name("d").name)
                let problem = await #expect(throws: Problem.self) {
                    try await agent.core.transition { state in
                        state.bridges[d]?.ports[b] = Port(type: .tap)
                        state.bridges[b]?.spec.mtu = 1200
                    }
                }
                #expect(problem?.code == .conflict)
                #expect(try await agent.isAgain(before))
            }
        }
    }
}
