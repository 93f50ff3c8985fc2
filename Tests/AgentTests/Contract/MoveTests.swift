// One change that takes something unique from one resource and gives it to another: interface names and the
// datagrams of tunnels.

import JSON
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct MoveTests {
        private func tap(_ ifname: String, _ more: String = "") -> String {
            #"{"type":"tap","ifname":"\#(ifname)"\#(more)}"#
        }

        /// A bridge with ports p0, p1 and p2, whose interfaces are x, y and z.
        private func ports(_ agent: TestAgent) async -> String {
            let path = "/v1/bridges/\(agent.site.name("b"))"
            var operations = [putting(path)]
            for (number, ifname) in ["x", "y", "z"].enumerated() {
                let address = #","addresses":["\#(net(number)).1/24","fd00:\#(number)::1/64"]"#
                operations.append(
                    putting("\(path)/ports/p\(number)", tap(agent.site.name(ifname), address)))
            }
            #expect(await agent.batch(operations).status == 200)
            return path
        }

        /// The MAC address of each interface: it goes with the port, not with the name.
        private func stations(_ agent: TestAgent) throws -> [String?] {
            try ["x", "y", "z"].map { try agent.site.interface($0)?.mac }
        }

        @Test("two ports swap the names of their interfaces, and three pass them round")
        func swap() async throws {
            try await TestAgent.run { agent async throws in
                let path = await ports(agent)
                let before = try stations(agent)
                #expect(Set(before).count == 3 && !before.contains(nil))
                let swap = [
                    putting("\(path)/ports/p0", tap(agent.site.name("y"))),
                    putting("\(path)/ports/p1", tap(agent.site.name("x"))),
                ]
                let clean = try await agent.state()
                #expect(await agent.batch(swap, isDryRun: true).status == 200)
                #expect(try await agent.isAgain(clean))
                let swapped = await agent.batch(swap)
                #expect(swapped.status == 200, "\(swapped.text)")
                #expect(try stations(agent) == [before[1], before[0], before[2]])
                #expect(try agent.site.interfaces().count == 4)
                #expect(try agent.site.interfaces().allSatisfy(\.isUp))
                let round = await agent.batch(
                    ["z", "x", "y"].enumerated().map { number, ifname in
                        putting("\(path)/ports/p\(number)", tap(agent.site.name(ifname)))
                    })
                #expect(round.status == 200, "\(round.text)")
                #expect(try stations(agent) == [before[1], before[2], before[0]])
                for port in ["p0", "p1", "p2"] {
                    #expect(await agent.get("\(path)/ports/\(port)").health == "ok")
                }
            }
        }

        @Test("a name passes from a port or bridge that goes to one that comes, in any namespace")
        func handOver() async throws {
            try await TestAgent.run { agent async throws in
                let path = await ports(agent)
                let (site, other) = (agent.site, "/v1/bridges/\(agent.site.name("c"))")
                let moved = await agent.batch([
                    putting(other), putting("\(other)/ports/q", tap(site.name("x"))),
                    deleting("\(path)/ports/p0"),
                ])
                #expect(moved.status == 200, "\(moved.text)")
                #expect(await agent.get("\(other)/ports/q").health == "ok")
                let toBridge = await agent.batch([
                    deleting("\(path)/ports/p1"), putting("/v1/bridges/\(site.name("y"))"),
                ])
                #expect(toBridge.status == 200, "\(toBridge.text)")
                let fromBridge = await agent.batch([
                    putting("\(path)/ports/p9", tap(site.name("c"))), deleting(other),
                ])
                #expect(fromBridge.status == 200, "\(fromBridge.text)")
                #expect(
                    try site.interfaces().map(\.name) == ["b", "c", "y", "z"].map(site.name))
                let space = try site.addNamespace("n")
                let guest = #","netns":"\#(space)""#
                #expect(await agent.put("\(path)/ports/g0", tap("eth0", guest)).status == 201)
                let replaced = await agent.batch([
                    deleting("\(path)/ports/g0"), putting("\(path)/ports/g1", tap("eth0", guest)),
                ])
                #expect(replaced.status == 200, "\(replaced.text)")
                #expect(try site.interfaces(in: space).map(\.name) == ["eth0"])
                let home = await agent.batch([
                    putting("\(path)/ports/g1", tap(site.name("z"))),
                    putting("\(path)/ports/p2", tap("eth0", guest)),
                ])
                #expect(home.status == 200, "\(home.text)")
                #expect(try site.interfaces(in: space).map(\.name) == ["eth0"])
                #expect(await agent.get("\(path)/ports/g1").health == "ok")
            }
        }

        @Test("a move that fails half-way leaves every interface as it was, the very same one")
        func rolledBack() async throws {
            try await TestAgent.run { agent async throws in
                let path = await ports(agent)
                let site = agent.site
                try site.shell("ip tuntap add \(site.name("o")) mode tap")
                let clean = try await agent.state()
                #expect(clean.interfaces.first { $0.name == site.name("x") }?.addresses.count == 2)
                let swap = [
                    putting("\(path)/ports/p0", tap(site.name("y"))),
                    putting("\(path)/ports/p1", tap(site.name("x"))),
                ]
                let refusals = [
                    (putting("\(path)/ports/p2", tap(site.name("o"))), "taken"),
                    (
                        putting("\(path)/ports/p9", tap("eth0", #","netns":"\#(site.name("none"))""#)),
                        "nowhere"
                    ),
                    (
                        putting("\(path)/ports/p9", #"{"type":"system","ifname":"\#(site.name("z"))"}"#),
                        "not while p2 has it"
                    ),
                ]
                for (refusal, why) in refusals {
                    let answer = await agent.batch(swap + [refusal])
                    #expect(answer.status == 409 && answer.pointers == ["/operations/2"], "\(why)")
                    #expect(try await agent.isAgain(clean), "\(why)")
                }
                let attached = await agent.batch([
                    deleting("\(path)/ports/p0"),
                    putting("\(path)/ports/p9", #"{"type":"system","ifname":"\#(site.name("x"))"}"#),
                ])
                #expect(attached.status == 409, "it would attach an interface that is about to go")
                #expect(try await agent.isAgain(clean))
                #expect(await agent.batch(swap).status == 200)
            }
        }

        @Test("tunnels swap remotes and VNIs, and one takes over what another leaves")
        func tunnels() async throws {
            try await TestAgent.run { agent async throws in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                func tunnel(_ name: String, _ remote: Int, vni: Int = 7, port: Int = 70) -> String {
                    putting(
                        "\(path)/tunnels/\(name)",
                        #"{"remote_ip":"198.51.100.\#(remote)","vni":\#(vni),"dst_port":\#(udp(port))}"#)
                }
                #expect(
                    await agent.batch([putting(path), tunnel("t0", 1), tunnel("t1", 2, vni: 8)]).status == 200
                )
                let other = "/v1/bridges/\(agent.site.name("c"))"
                let changes = [
                    [tunnel("t0", 2, vni: 8), tunnel("t1", 1)],
                    [tunnel("t0", 2), tunnel("t1", 1, vni: 8)],
                    [tunnel("t0", 1, vni: 8, port: 71), tunnel("t1", 2), tunnel("t2", 1, vni: 8)],
                    [deleting("\(path)/tunnels/t1"), tunnel("t3", 2)],
                    [
                        putting(other), tunnel("t3", 2).replacing(path + "/", with: other + "/"),
                        deleting("\(path)/tunnels/t3"),
                    ],
                    [deleting(path), tunnel("t9", 1, vni: 8).replacing(path + "/", with: other + "/")],
                ]
                for (number, change) in changes.enumerated() {
                    #expect(await agent.batch(change, isDryRun: true).status == 200, "change \(number)")
                    let answer = await agent.batch(change)
                    #expect(answer.status == 200, "change \(number): \(answer.text)")
                }
                #expect(await agent.get("\(other)/tunnels").items.count == 2)
                #expect(await agent.batch([putting(path), tunnel("t0", 2)]).status == 409, "it is taken")
            }
        }
    }
}
