// Long random walks over the API against a model of a few lines: after each step the kernel has exactly the
// interfaces that the documents imply, and after a restart it has them again.

import API
import JSON
import Store
import Testing

@testable import Agent

/// What was written with success, by path.
private struct Model {
    var bodies: [String: String] = [:]

    /// The names in a path: of the bridge, and of what is below it.
    private static func parts(_ path: String) -> [String] { path.split(separator: "/").map(String.init) }

    /// Names of the interfaces on the host that go with it.
    func interfaces() -> [String] {
        bodies.keys.map(Model.parts).filter { $0.count == 3 || $0[3] == "ports" }
            .compactMap(\.last).sorted()
    }

    /// Everything below goes too, and static entries to a port or tunnel that goes.
    mutating func remove(_ path: String) {
        let parts = Model.parts(path)
        bodies = bodies.filter { other, body in
            let isBelow = other == path || other.hasPrefix(path + "/")
            let isEntry = other.hasPrefix("/v1/bridges/\(parts[2])/macs/")
            let leadsThere = parts.count == 5 && body == #"{"port":"\#(parts[4])"}"#
            return !isBelow && !(isEntry && leadsThere)
        }
    }

    func desired() throws -> DesiredState {
        try DesiredState(
            bodies.map { path, body in
                let parts = Model.parts(path)
                return parts.count == 3
                    ? StoredDocument(kind: "bridge", key: parts[2], body: body)
                    : StoredDocument(
                        kind: String(parts[3].dropLast()), key: "\(parts[2])/\(parts[4])", body: body)
            })
    }
}

extension OnTheHost {
    @Suite struct WalkTests {
        /// A request at random: a path and a body, or nil to delete.
        private func step(_ site: Site, _ random: inout Seeded) -> (path: String, body: String?) {
            let bridges = ["b", "c", "d"]
            let owner = Int.random(in: 0..<bridges.count, using: &random)
            let bridge = "/v1/bridges/\(site.name(bridges[owner]))"
            let number = Int.random(in: 0..<3, using: &random)
            let value = Int.random(in: 0..<3, using: &random)
            let delete = random.chance(30)
            switch Int.random(in: 0..<5, using: &random) {
            case 0:
                let mtu = value == 0 ? "" : #","mtu":\#(1300 + value)"#
                let body = #"{"vni":\#(owner + 1),"mac_table_size":\#(10 + value)\#(mtu)}"#
                return (bridge, delete ? nil : body)
            case 1, 2:
                let body = #"{"type":"tap","mac":"02:00:00:00:0\#(value):01"}"#
                // The same names below every bridge: some are taken.
                return ("\(bridge)/ports/\(site.name("p\(number)"))", delete ? nil : body)
            case 3:
                let body = #"{"remote_ip":"198.51.100.\#(value)","dst_port":\#(udp(50 + number))}"#
                return ("\(bridge)/tunnels/t\(number)", delete ? nil : body)
            default:
                let target = ["t0", site.name("p0"), site.name(bridges[owner])][value]
                return ("\(bridge)/macs/02:00:00:00:00:0\(number)", delete ? nil : #"{"port":"\#(target)"}"#)
            }
        }

        @Test("after any writes the kernel has what the documents say", arguments: [1, 2])
        func walk(seed: UInt64) async throws {
            try await Site.run { site in
                var random = Seeded(seed)
                var model = Model()
                for _ in 0..<2 {
                    try await TestAgent.run(on: site) { agent in
                        for _ in 0..<60 {
                            let (path, body) = step(site, &random)
                            let before = try await agent.state()
                            let answer =
                                if let body { await agent.put(path, body) } else { await agent.delete(path) }
                            switch answer.status {
                            case 201: #expect(model.bodies[path] == nil, "seed \(seed) \(path)")
                            case 200, 204: #expect(model.bodies[path] != nil, "seed \(seed) \(path)")
                            default:
                                #expect([404, 409].contains(answer.status), "seed \(seed) \(answer.text)")
                                #expect(try await agent.isAgain(before), "seed \(seed) \(path)")
                            }
                            if answer.status == 204 { model.remove(path) }
                            if answer.status < 202 { model.bodies[path] = body }
                            try await check(agent, model, seed)
                        }
                        await agent.core.tick()
                    }
                    #expect(try site.interfaces().isEmpty, "seed \(seed)")
                }
            }
        }

        private func check(_ agent: TestAgent, _ model: Model, _ seed: UInt64) async throws {
            let interfaces = try agent.site.interfaces()
            #expect(interfaces.map(\.name) == model.interfaces(), "seed \(seed)")
            #expect(interfaces.filter(\.isUp) == interfaces, "seed \(seed)")
            let desired = await agent.core.desired
            #expect(try model.desired() == desired, "seed \(seed)")
            #expect(try DesiredState(agent.store.load()) == desired, "seed \(seed)")
            for bridge in await agent.get("/v1/bridges").items {
                #expect(bridge["status"]?["state"] == "ok", "seed \(seed) \(bridge)")
                let mtu = bridge["spec"]?["mtu"] ?? bridge["status"]?["mtu"]
                #expect(bridge["status"]?["mtu"] == mtu, "seed \(seed) \(bridge)")
            }
        }

        @Test("writers at the same time each get an answer, and what stands is what the answers say")
        func together() async throws {
            try await TestAgent.run { agent in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge)
                let statuses = await withTaskGroup(of: [Int].self) { group in
                    for number in 0..<8 {
                        group.addTask {
                            let own = "\(bridge)/ports/\(agent.site.name("p\(number)"))"
                            let shared = "\(bridge)/tunnels/t0"
                            let body = #"{"remote_ip":"198.51.100.\#(number + 1)","dst_port":\#(udp(59))}"#
                            return [
                                await agent.put(own, #"{"type":"tap"}"#).status,
                                await agent.put(shared, body).status,
                                await agent.delete(own).status,
                                await agent.delete(own).status,
                            ]
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(statuses.allSatisfy { $0[0] == 201 && $0[2] == 204 && $0[3] == 404 })
                #expect(statuses.map { $0[1] }.sorted() == [200, 200, 200, 200, 200, 200, 200, 201])
                let left = try agent.site.interfaces().map(\.name)
                #expect(left == [agent.site.name("b")])
                #expect(await agent.get("\(bridge)/tunnels").items.count == 1)
            }
        }
    }
}
