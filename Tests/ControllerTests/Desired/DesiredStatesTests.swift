// What hosts are to have, case by case, and who learns of a change.

import API
import JSON
import Testing
import Wire

@testable import Controller

@Suite("desired states")
struct DesiredStatesTests {
    /// A fleet and its states, kept up.
    private struct Kept {
        var fleet: Fleet
        var states = DesiredStates()

        @discardableResult
        mutating func put(_ id: FleetID, _ body: String) throws -> [HostEffect] {
            states.update(try fleet.put(id, body).changes, fleet)
        }

        @discardableResult
        mutating func delete(_ id: FleetID) throws -> [HostEffect] {
            states.update(try fleet.delete(id).changes, fleet)
        }

        func state(of host: String) -> [String: String] {
            Dictionary(
                uniqueKeysWithValues: states.resources(of: name(host), limit: 1000)
                    .map { ($0.path, JSONValue.object($0.body).description) })
        }
    }

    /// Network blue: web1 on a, web2 on b.
    private static func kept() throws -> Kept {
        var kept = Kept(fleet: try Fleet.ofThreeHosts())
        try kept.put(network("blue"), #"{"vni":100,"mtu":1400,"subnets":["198.51.100.0/24"]}"#)
        try kept.put(
            attachment("blue/web1"),
            #"{"host":"a","mac":"02:00:00:00:00:01","ips":["198.51.100.1"],"netns":"n1","ifname":"eth0"}"#)
        try kept.put(
            attachment("blue/web2"), #"{"host":"b","mac":"02:00:00:00:00:02","ips":["198.51.100.2"]}"#)
        return kept
    }

    @Test("a host has its bridge, its port, a tunnel to the other host and an entry for each attachment")
    func compiled() throws {
        var kept = try DesiredStatesTests.kept()
        let port =
            #"{"addresses":["198.51.100.1/24"],"ifname":"eth0","mac":"02:00:00:00:00:01","netns":"n1","#
            + #""type":"tap"}"#
        #expect(
            kept.state(of: "a") == [
                "/v1/bridges/blue": #"{"mtu":1400,"vni":100}"#,
                "/v1/bridges/blue/macs/02:00:00:00:00:01": #"{"ips":["198.51.100.1"],"port":"web1"}"#,
                "/v1/bridges/blue/macs/02:00:00:00:00:02": #"{"ips":["198.51.100.2"],"port":"b"}"#,
                "/v1/bridges/blue/ports/web1": port,
                "/v1/bridges/blue/tunnels/b": #"{"local_ip":"192.0.2.1","remote_ip":"192.0.2.2"}"#,
            ])
        #expect(
            kept.state(of: "b")["/v1/bridges/blue/ports/web2"] == #"{"mac":"02:00:00:00:00:02","type":"tap"}"#
        )
        #expect(kept.state(of: "c") == [:])
        #expect(kept.states.digest(of: name("c")) == SHA256(of: []))
    }

    @Test("a guest that moves: its new host gains, the others change, its old host loses")
    func move() throws {
        var kept = try DesiredStatesTests.kept()
        try kept.put(attachment("blue/db"), #"{"host":"a","mac":"02:00:00:00:00:03"}"#)
        let effects = try kept.put(
            attachment("blue/web1"),
            #"{"host":"c","mac":"02:00:00:00:00:01","ips":["198.51.100.1"],"netns":"n1","ifname":"eth0"}"#)
        #expect(effects.map(\.host) == ["a", "b", "c"].map(name))
        #expect(effects.map(\.phase) == [.loses, .changes, .gains])
        let blue = name("blue")
        let mac = StatePath.mac(blue, MACAddress(rawValue: 0x0200_0000_0001))
        #expect(
            effects[0].paths == [mac, .port(blue, name("web1")), .tunnel(blue, name("c"))])
        #expect(effects[1].paths == [mac, .tunnel(blue, name("c"))])
        #expect(effects[2].paths.count == 7)
    }

    @Test("the last attachment takes everything from its host, and its tunnel from the others")
    func last() throws {
        var kept = try DesiredStatesTests.kept()
        let effects = try kept.delete(attachment("blue/web2"))
        #expect(effects.map(\.phase) == [.loses, .loses])
        #expect(kept.state(of: "b") == [:])
        #expect(kept.state(of: "a").keys.sorted().map { $0.split(separator: "/").count } == [3, 5, 5])
    }

    @Test("a VTEP that changes is another tunnel on the other hosts and on its own")
    func readdressed() throws {
        var kept = try DesiredStatesTests.kept()
        let effects = try kept.put(host("a"), #"{"agent_url":"http://a:8640","vtep_ips":["192.0.2.77"]}"#)
        #expect(
            effects.map(\.paths) == [[.tunnel(name("blue"), name("b"))], [.tunnel(name("blue"), name("a"))]])
        #expect(effects.allSatisfy { $0.phase == .changes })
        #expect(
            kept.state(of: "b")["/v1/bridges/blue/tunnels/a"]
                == #"{"local_ip":"192.0.2.2","remote_ip":"192.0.2.77"}"#)
    }

    @Test("labels and credentials of a host concern nobody else")
    func labels() throws {
        var kept = try DesiredStatesTests.kept()
        let body = #"{"agent_url":"unix:/x","vtep_ips":["192.0.2.1"],"labels":{"x":"y"}}"#
        #expect(try kept.put(host("a"), body) == [])
    }

    @Test("a network's port changes tunnels, its subnets the addresses of ports, the rest its bridges")
    func networkChanges() throws {
        var kept = try DesiredStatesTests.kept()
        func kinds(_ effects: [HostEffect]) -> [Set<String>] {
            effects.map { Set($0.paths.map { "\($0)" }) }
        }
        var effects = try kept.put(
            network("blue"), #"{"vni":100,"mtu":1400,"subnets":["198.51.100.0/24"],"dst_port":8472}"#)
        #expect(kinds(effects) == [["/v1/bridges/blue/tunnels/b"], ["/v1/bridges/blue/tunnels/a"]])
        effects = try kept.put(
            network("blue"), #"{"vni":100,"mtu":1400,"subnets":["198.51.100.0/25"],"dst_port":8472}"#)
        #expect(kinds(effects) == [["/v1/bridges/blue/ports/web1"]])
        effects = try kept.put(
            network("blue"), #"{"vni":101,"mtu":1400,"subnets":["198.51.100.0/25"],"dst_port":8472}"#)
        #expect(kinds(effects) == [["/v1/bridges/blue"], ["/v1/bridges/blue"]])
    }

    @Test("two hosts of both families use the first of the one whose name comes first")
    func preference() throws {
        var kept = Kept(fleet: Fleet())
        try kept.put(host("a"), #"{"agent_url":"unix:/a","vtep_ips":["2001:db8::1","192.0.2.1"]}"#)
        try kept.put(host("b"), #"{"agent_url":"unix:/b","vtep_ips":["192.0.2.2","2001:db8::2"]}"#)
        try kept.put(network("blue"), "{}")
        try kept.put(attachment("blue/x"), #"{"host":"a"}"#)
        try kept.put(attachment("blue/y"), #"{"host":"b"}"#)
        #expect(
            kept.state(of: "b")["/v1/bridges/blue/tunnels/a"]
                == #"{"local_ip":"2001:db8::2","remote_ip":"2001:db8::1"}"#)
        #expect(
            kept.state(of: "a")["/v1/bridges/blue/tunnels/b"]
                == #"{"local_ip":"2001:db8::1","remote_ip":"2001:db8::2"}"#)
    }

    @Test("a bridge's table has room for every attachment and as many learned addresses")
    func tableSize() throws {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("big"), "{}")
        _ = try fleet.apply((0..<4096).map { try FleetWrite(attachment("big/p\($0)"), #"{"host":"a"}"#) })
        #expect(fleet.networks[name("big")]?.bridge().macTableSize == 8192)
        var states = DesiredStates(fleet)
        let effects = states.update(try fleet.put(attachment("big/q"), #"{"host":"a"}"#).changes, fleet)
        #expect(fleet.networks[name("big")]?.bridge().macTableSize == 16384)
        #expect(effects.first?.paths.contains(.bridge(name("big"))) == true)
    }

    @Test("a port that takes the name of a tunnel keeps its entry")
    func nameThatPasses() throws {
        var kept = try DesiredStatesTests.kept()
        try kept.put(attachment("blue/web3"), #"{"host":"c","mac":"02:00:00:00:00:03"}"#)
        var agent = NaiveAgent()
        let a = name("a")
        var head = PushHead(controller: "x", epoch: 1, generation: 1, digest: kept.states.digest(of: a))
        try agent.put(kept.states.completeBody(of: a, head))
        let base = StateBase(epoch: head.epoch, generation: head.generation, digest: head.digest)
        let outcome = try kept.fleet.apply([
            FleetWrite(id: attachment("blue/web3")), FleetWrite(id: host("c")),
            FleetWrite(attachment("blue/c"), #"{"host":"a","mac":"02:00:00:00:00:03"}"#),
        ])
        let effects = kept.states.update(outcome.changes, kept.fleet)
        let paths = try #require(effects.first { $0.host == a }).paths
        (head.generation, head.digest) = (2, kept.states.digest(of: a))
        try agent.patch(kept.states.deltaBody(of: a, head, on: base, paths))
        #expect(agent.resources == kept.fleet.naiveState(of: a))
        #expect(!effects.contains { $0.host == name("c") })
    }

    @Test("resources come a page at a time, each once, in the order of their digest")
    func pages() throws {
        var kept = try DesiredStatesTests.kept()
        try kept.put(network("red"), "{}")
        try kept.put(attachment("red/x"), #"{"host":"a"}"#)
        let a = name("a")
        let whole = kept.states.resources(of: a, limit: 1000)
        #expect(whole.count == kept.states.count(of: a))
        for limit in 1...5 {
            var pages: [StateResource] = []
            var last: StatePath?
            while true {
                let page = kept.states.resources(of: a, after: last, limit: limit)
                guard let end = page.last else { break }
                pages += page
                last = StatePath(end.path)
                #expect(last != nil)
                #expect(page.count <= limit)
            }
            #expect(pages == whole)
        }
    }

    @Test("mass deletion is allowed only when it says so")
    func massDelete() throws {
        var kept = try DesiredStatesTests.kept()
        var head = PushHead(
            controller: "fleet1", epoch: 3, generation: 17, digest: kept.states.digest(of: name("a")))
        for isAllowed in [false, true] {
            let body = kept.states.completeBody(of: name("a"), head, allowMassDelete: isAllowed)
            let state = try HostState.parse(body)
            #expect(state.allowMassDelete == isAllowed)
            #expect((state.controller, state.epoch, state.generation) == ("fleet1", 3, 17))
        }
        head.digest = kept.states.digest(of: name("c"))
        let empty = try HostState.parse(kept.states.completeBody(of: name("c"), head))
        #expect(empty.resources == [])
        #expect(empty.digest == SHA256(of: []))
    }
}
