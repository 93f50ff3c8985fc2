// What the fleet refuses: each clash with the paths of both, several at once, and nothing is changed.

import API
import JSON
import Testing
import Wire

@testable import Controller

@Suite("fleet validation")
struct FleetValidationTests {
    /// Three hosts; network blue with web1 on a and web2 on b; network red with db1 on a.
    private static func fleet() throws -> Fleet {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("blue"), #"{"vni":100,"subnets":["198.51.100.0/24"]}"#)
        try fleet.put(network("red"), "{}")
        try fleet.put(
            attachment("blue/web1"), #"{"host":"a","mac":"02:00:00:00:00:01","ips":["198.51.100.1"]}"#)
        try fleet.put(
            attachment("blue/web2"), #"{"host":"b","ips":["198.51.100.2"],"netns":"n1","ifname":"eth0"}"#)
        try fleet.put(attachment("red/db1"), #"{"host":"a","ips":["203.0.113.1"]}"#)
        return fleet
    }

    /// A write that clashes, where, and with what.
    struct Clash: Sendable, CustomTestStringConvertible {
        var id: FleetID
        var body: String
        var pointer: String
        var paths: [String]

        init(_ id: FleetID, _ body: String, _ pointer: String, _ paths: String...) {
            (self.id, self.body, self.pointer, self.paths) = (id, body, pointer, paths)
        }

        var testDescription: String { "\(id.path) \(body)" }
    }

    @Test(
        "a clash is a conflict that names both paths",
        arguments: [
            Clash(
                host("d"), #"{"agent_url":"http://d:1","vtep_ips":["192.0.2.2"]}"#, "/vtep_ips",
                "/v1/hosts/d", "/v1/hosts/b"),
            Clash(
                host("d"), #"{"agent_url":"http://b:8640","vtep_ips":["192.0.2.9"]}"#, "/agent_url",
                "/v1/hosts/d", "/v1/hosts/b"),
            Clash(
                host("web1"), #"{"agent_url":"http://d:1","vtep_ips":["192.0.2.9"]}"#, "",
                "/v1/hosts/web1", "/v1/networks/blue/attachments/web1"),
            Clash(
                host("b"), #"{"agent_url":"http://b:8640","vtep_ips":["2001:db8::2"]}"#, "/vtep_ips",
                "/v1/hosts/b", "/v1/hosts/a"),
            Clash(network("green"), #"{"vni":100}"#, "/vni", "/v1/networks/green", "/v1/networks/blue"),
            Clash(network("green"), #"{"vni":4096}"#, "/vni", "/v1/networks/green", "/v1/networks/red"),
            Clash(
                network("blue"), #"{"vni":100,"subnets":["198.51.100.0/31"]}"#, "/subnets",
                "/v1/networks/blue", "/v1/networks/blue/attachments/web2"),
            Clash(
                attachment("blue/x"), #"{"host":"c","mac":"02:00:00:00:00:01"}"#, "/mac",
                "/v1/networks/blue/attachments/x", "/v1/networks/blue/attachments/web1"),
            Clash(
                attachment("blue/x"), #"{"host":"c","ips":["198.51.100.2"]}"#, "/ips",
                "/v1/networks/blue/attachments/x", "/v1/networks/blue/attachments/web2"),
            Clash(
                attachment("red/x"), #"{"host":"b","netns":"n1","ifname":"eth0"}"#, "/ifname",
                "/v1/networks/red/attachments/x", "/v1/networks/blue/attachments/web2"),
            Clash(
                attachment("red/web1"), #"{"host":"a"}"#, "/ifname",
                "/v1/networks/red/attachments/web1", "/v1/networks/blue/attachments/web1"),
            Clash(
                attachment("red/x"), #"{"host":"b","ifname":"blue"}"#, "/ifname",
                "/v1/networks/red/attachments/x", "/v1/networks/blue"),
            Clash(
                attachment("red/x"), #"{"host":"b","ifname":"red"}"#, "/ifname",
                "/v1/networks/red/attachments/x", "/v1/networks/red"),
            Clash(
                attachment("red/c"), #"{"host":"a"}"#, "", "/v1/networks/red/attachments/c", "/v1/hosts/c"),
            Clash(
                attachment("red/red"), #"{"host":"a","ifname":"x"}"#, "",
                "/v1/networks/red/attachments/red", "/v1/networks/red"),
            Clash(
                attachment("red/x"), #"{"host":"z"}"#, "/host", "/v1/networks/red/attachments/x",
                "/v1/hosts/z"),
        ])
    func clashes(_ clash: Clash) throws {
        var fleet = try FleetValidationTests.fleet()
        let problem = refused(&fleet, .conflict, [try FleetWrite(clash.id, clash.body)])
        for path in clash.paths { #expect(problem?.detail.contains(path) == true) }
        #expect((problem?.errors.first?.pointer.description ?? "") == clash.pointer)
    }

    @Test("a bridge's tunnels may not have its own name: no network of a host's name on that host")
    func hostAndNetwork() throws {
        var fleet = try FleetValidationTests.fleet()
        try fleet.put(network("a"), "{}")
        try fleet.put(attachment("a/x"), #"{"host":"b"}"#)
        let problem = refused(&fleet, .conflict, [try FleetWrite(attachment("a/y"), #"{"host":"a"}"#)])
        #expect(problem?.detail.contains("/v1/hosts/a and /v1/networks/a") == true)
    }

    @Test("an address outside the subnets is invalid, at its place in the list")
    func subnets() throws {
        var fleet = try FleetValidationTests.fleet()
        let write = try FleetWrite(
            attachment("blue/x"), #"{"host":"a","ips":["198.51.100.7","203.0.113.7"]}"#)
        let problem = refused(&fleet, .invalidResource, [write])
        #expect(problem?.status == 422)
        #expect(problem?.errors.map(\.pointer.description) == ["/ips/1"])
    }

    @Test("two hosts of a network need addresses of one family")
    func families() throws {
        var fleet = try FleetValidationTests.fleet()
        try fleet.putHost("six", "2001:db8::1")
        try fleet.putHost("both", "2001:db8::2", "192.0.2.4")
        try fleet.put(attachment("blue/x"), #"{"host":"both"}"#)
        let write = try FleetWrite(attachment("blue/y"), #"{"host":"six"}"#)
        let problem = refused(&fleet, .conflict, [write])
        #expect(problem?.detail.contains("/v1/hosts/six and /v1/hosts/a") == true)
        #expect(problem?.errors.first?.pointer.description == "/host")
    }

    @Test("a host changes its family with the last of its peers that cannot follow gone in the same batch")
    func familiesOfBatch() throws {
        var fleet = try FleetValidationTests.fleet()
        _ = try fleet.apply([
            FleetWrite(host("b"), #"{"agent_url":"http://b:8640","vtep_ips":["2001:db8::2"]}"#),
            FleetWrite(id: attachment("blue/web1")),
        ])
        try fleet.checkIndex()
    }

    @Test("a host with attachments is not deleted, one without is")
    func hostInUse() throws {
        var fleet = try FleetValidationTests.fleet()
        let problem = refused(&fleet, .conflict, [FleetWrite(id: host("b"))])
        #expect(problem?.detail.contains("/v1/networks/blue/attachments/web2") == true)
        _ = try fleet.apply([FleetWrite(id: host("b")), FleetWrite(id: attachment("blue/web2"))])
        #expect(fleet.hosts[name("b")] == nil)
        try fleet.checkIndex()
    }

    @Test("what does not exist is not found")
    func notFound() throws {
        var fleet = try FleetValidationTests.fleet()
        refused(&fleet, .notFound, [FleetWrite(id: host("z"))])
        refused(&fleet, .notFound, [FleetWrite(id: network("z"))])
        refused(&fleet, .notFound, [FleetWrite(id: attachment("blue/z"))])
        refused(&fleet, .notFound, [try FleetWrite(attachment("z/z"), #"{"host":"a"}"#)])
    }

    @Test("everything that is wrong with a batch is said at once, each at its operation")
    func several() throws {
        var fleet = try FleetValidationTests.fleet()
        let problem = refused(
            &fleet, .notFound,
            [
                try FleetWrite(attachment("blue/y"), #"{"host":"c"}"#, at: Batch.pointer(0)),
                FleetWrite(id: host("z"), place: Batch.pointer(1)),
                try FleetWrite(
                    attachment("blue/x"),
                    #"{"host":"z","mac":"02:00:00:00:00:01","ips":["198.51.100.2","203.0.113.9"]}"#,
                    at: Batch.pointer(2)),
            ])
        #expect(
            problem?.errors.map(\.pointer.description) == [
                "/operations/1", "/operations/2/body/mac", "/operations/2/body/ips",
                "/operations/2/body/host", "/operations/2/body/ips/1",
            ])
        #expect(problem?.detail.hasSuffix("(and 4 more)") == true)
    }

    @Test("two resources of one batch clash with each other")
    func withinBatch() throws {
        var fleet = try FleetValidationTests.fleet()
        let problem = refused(
            &fleet, .conflict,
            [
                try FleetWrite(attachment("blue/x"), #"{"host":"a","ips":["198.51.100.9"]}"#),
                try FleetWrite(attachment("blue/y"), #"{"host":"b","ips":["198.51.100.9"]}"#),
            ])
        #expect(problem?.detail.contains("attachments/x") == true)
        #expect(problem?.detail.contains("attachments/y") == true)
    }

    @Test("a host takes no more than an agent reads in one push")
    func tooMuch() throws {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("big"), "{}")
        try fleet.put(attachment("big/far"), #"{"host":"b"}"#)
        // A bridge, a tunnel, an entry for each, and a port for each but the one that is elsewhere.
        let writes = try (0..<9999).map { try FleetWrite(attachment("big/p\($0)"), #"{"host":"a"}"#) }
        let problem = refused(&fleet, .limitExceeded, writes)
        #expect(problem?.detail.contains("20001") == true)
        _ = try fleet.apply(Array(writes.dropLast()))
        #expect(fleet.index.hosts[name("a")]?.resourceCount == 19999)
    }
}
