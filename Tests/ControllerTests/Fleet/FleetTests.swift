// What writing the fleet does: batches, networks' numbers, stations' addresses, documents.

import API
import JSON
import Store
import Testing
import Wire

@testable import Controller

@Suite("fleet")
struct FleetTests {
    @Test("two attachments change places in one batch")
    func swap() throws {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("blue"), "{}")
        try fleet.put(attachment("blue/x"), #"{"host":"a","ips":["192.0.2.100"],"mac":"02:00:00:00:00:01"}"#)
        try fleet.put(attachment("blue/y"), #"{"host":"b","ips":["192.0.2.101"],"mac":"02:00:00:00:00:02"}"#)
        let outcome = try fleet.apply([
            FleetWrite(
                attachment("blue/x"), #"{"host":"a","ips":["192.0.2.101"],"mac":"02:00:00:00:00:02"}"#),
            FleetWrite(
                attachment("blue/y"), #"{"host":"b","ips":["192.0.2.100"],"mac":"02:00:00:00:00:01"}"#),
        ])
        #expect(outcome.changes.map(\.id) == [attachment("blue/x"), attachment("blue/y")])
        #expect(outcome.areNew == [false, false])
        try fleet.checkIndex()
    }

    @Test("deleting a network deletes its attachments, and says so")
    func cascade() throws {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("blue"), "{}")
        try fleet.put(attachment("blue/x"), #"{"host":"a"}"#)
        try fleet.put(attachment("blue/y"), #"{"host":"b"}"#)
        let outcome = try fleet.delete(network("blue"))
        #expect(
            outcome.changes.map(\.id) == [network("blue"), attachment("blue/x"), attachment("blue/y")])
        #expect(outcome.changes.allSatisfy { $0.to == nil })
        #expect(
            outcome.storeChanges == [
                .delete(kind: "network", key: "blue"), .delete(kind: "allocated_vni", key: "blue"),
                .delete(kind: "attachment", key: "blue/x"), .delete(kind: "attachment", key: "blue/y"),
            ])
        try fleet.checkIndex()
        #expect(fleet.networks(of: name("a")) == [])
    }

    @Test("a dry run says the same and changes nothing")
    func dryRun() throws {
        var fleet = try Fleet.ofThreeHosts()
        let before = fleet
        let tried = try fleet.put(network("blue"), "{}", dryRun: true)
        #expect(fleet == before)
        let done = try fleet.put(network("blue"), "{}")
        #expect(tried.changes == done.changes)
        #expect(tried.storeChanges == done.storeChanges)
        #expect(done.areNew == [true])
    }

    @Test("the same again changes nothing")
    func unchanged() throws {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("blue"), #"{"mtu":1400}"#)
        let outcome = try fleet.put(network("blue"), #"{"mtu":1400}"#)
        #expect(outcome.changes.isEmpty)
        #expect(outcome.storeChanges.isEmpty)
        #expect(outcome.areNew == [false])
    }

    @Test("a network gets the lowest free VNI, keeps it, and gives it back with its end")
    func allocation() throws {
        var fleet = Fleet(range: "10-12")
        func vni(_ text: String) -> Int? { fleet.networks[name(text)].map { Int($0.vni.rawValue) } }
        try fleet.put(network("n1"), #"{"vni":11}"#)
        try fleet.put(network("n2"), "{}")
        try fleet.put(network("n3"), "{}")
        #expect([vni("n1"), vni("n2"), vni("n3")] == [11, 10, 12])
        refused(&fleet, .limitExceeded, [try FleetWrite(network("n4"), "{}")])
        try fleet.put(network("n2"), #"{"mtu":1400}"#)
        #expect(vni("n2") == 10)
        try fleet.put(network("n1"), "{}")
        #expect(vni("n1") == 11)
        try fleet.delete(network("n2"))
        try fleet.put(network("n4"), "{}")
        #expect(vni("n4") == 10)
        try fleet.put(network("n1"), #"{"vni":500}"#)
        try fleet.put(network("n5"), "{}")
        #expect(vni("n5") == 11)
        try fleet.checkIndex()
    }

    @Test("a network that is deleted and written again in one batch is the same one")
    func rewritten() throws {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("blue"), "{}")
        try fleet.put(attachment("blue/x"), #"{"host":"a"}"#)
        let outcome = try fleet.apply([FleetWrite(id: network("blue")), FleetWrite(network("blue"), "{}")])
        #expect(outcome.changes.map(\.id) == [attachment("blue/x")])
        #expect(outcome.storeChanges == [.delete(kind: "attachment", key: "blue/x")])
        #expect(fleet.networks[name("blue")]?.vni == VNI(4096))
        try fleet.checkIndex()
    }

    @Test("an allocated VNI is a document of its own until the network says one")
    func allocatedDocument() throws {
        var fleet = Fleet()
        let first = try fleet.put(network("blue"), "{}").storeChanges
        let put = StoreChange.put(StoredDocument(kind: "allocated_vni", key: "blue", body: #"{"vni":4096}"#))
        #expect(first.contains(put))
        #expect(try fleet.put(network("blue"), #"{"mtu":1400}"#).storeChanges.count == 1)
        let last = try fleet.put(network("blue"), #"{"vni":4096}"#).storeChanges
        #expect(last.contains(.delete(kind: "allocated_vni", key: "blue")))
    }

    @Test("a MAC address that nobody gave is local, unicast, and always the same")
    func derivedMAC() throws {
        var fleet = try Fleet.ofThreeHosts()
        try fleet.put(network("blue"), "{}")
        try fleet.put(attachment("blue/web1"), #"{"host":"a"}"#)
        let mac = try #require(fleet.mac(of: name("web1"), in: name("blue")))
        // printf blue/web1 | sha256sum
        #expect("\(mac)" == "02:2b:40:f8:23:de")
        try fleet.put(attachment("blue/web1"), #"{"host":"b","mac":"02:00:00:00:00:07"}"#)
        #expect(fleet.mac(of: name("web1"), in: name("blue"))?.rawValue == 0x0200_0000_0007)
        #expect(fleet.mac(of: name("web2"), in: name("blue")) == nil)
    }

    @Test("what is stored comes back the same, allocated VNIs included")
    func restored() throws {
        var fleet = Fleet()
        var documents = Documents()
        let bodies: [(FleetID, String)] = [
            (host("a"), #"{"agent_url":"unix:/a","vtep_ips":["192.0.2.1"],"labels":{"rack":"1"}}"#),
            (host("b"), #"{"agent_url":"unix:/b","vtep_ips":["192.0.2.2"]}"#),
            (network("n1"), "{}"), (network("n2"), #"{"vni":7}"#), (network("n3"), "{}"),
            (attachment("n1/x"), #"{"host":"a","ips":["192.0.2.100"]}"#),
            (attachment("n3/x"), #"{"host":"b","type":"internal"}"#),
        ]
        for (id, body) in bodies { documents.commit(try fleet.put(id, body).storeChanges) }
        documents.commit(try fleet.delete(network("n1")).storeChanges)
        let restored = try Fleet(documents.all, vniRange: fleet.vniRange)
        #expect(restored.hosts == fleet.hosts)
        #expect(restored.networks == fleet.networks)
        try restored.checkIndex()
    }

    @Test(
        "a stored document that is not accepted any more is named",
        arguments: [
            ("host", "a", "{}", "stored host a: /agent_url"),
            ("host", "a/b", "{}", "stored host a/b"),
            ("network", "blue", "{}", "stored network blue: it has no VNI"),
            ("attachment", "blue/x", #"{"host":"a"}"#, "stored attachment x of network blue"),
            ("allocated_vni", "blue", #"{"vni":16777216}"#, "stored allocated_vni blue"),
            ("allocated_vni", "blue", #"{"vni":9223372036854775807}"#, "stored allocated_vni blue"),
            ("network", "blue", "{", "stored network blue"),
        ])
    func unreadable(_ kind: String, _ key: String, _ body: String, _ said: String) {
        let document = StoredDocument(kind: kind, key: key, body: body)
        let problem = #expect(throws: Problem.self) { try Fleet([document], vniRange: .standard) }
        #expect(problem?.code == .storageFailed)
        #expect(problem?.detail.hasPrefix(said) == true)
    }

    @Test("documents of no resource are left alone")
    func foreign() throws {
        let document = StoredDocument(kind: "epoch", key: "x", body: "7")
        #expect(try Fleet([document], vniRange: .standard).ids.isEmpty)
    }
}

/// A store in memory.
struct Documents {
    private var bodies: [String: StoredDocument] = [:]

    mutating func commit(_ changes: [StoreChange]) {
        for change in changes {
            switch change {
            case .put(let document): bodies["\(document.kind) \(document.key)"] = document
            case .delete(let kind, let key):
                #expect(bodies.removeValue(forKey: "\(kind) \(key)") != nil)
            }
        }
    }

    var all: [StoredDocument] { Array(bodies.values) }
}
