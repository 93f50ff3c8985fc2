// From a host and a document to the operations of one batch.

import JSON
import Testing

@testable import viaduct

@Suite struct PlanTests {
    private func state(_ text: String) throws -> StateDocument {
        try StateDocument.decode(try YAMLText.parse(text).value)
    }

    private func plan(_ current: String, _ wanted: String, prune: Bool = false) throws -> Plan {
        Plan(from: try state("bridges: {\(current)}"), to: try state("bridges: {\(wanted)}"), prune: prune)
    }

    private func lines(_ plan: Plan) -> [String] { plan.steps.map { "\($0.action) \($0.id.title)" } }

    @Test("what is so already needs nothing, however it was spelled")
    func unchanged() throws {
        let current = "br0: {vni: 100, tunnels: {t1: {remote_ip: '2001:db8::2', ttl: 64}}}"
        let wanted = "br0: {vni: 100, mac_aging_seconds: 300, tunnels: {t1: {remote_ip: '2001:DB8:0::2'}}}"
        let plan = try plan(current, wanted, prune: true)
        #expect(plan.steps.isEmpty && plan.unchangedCount == 2)
        #expect(plan.summary == "nothing to change")
    }

    @Test("a bridge comes before what is in it, and a MAC entry after what it points to")
    func order() throws {
        let wanted = """
            br0: {macs: {'02:00:00:00:00:01': {port: t1}}, tunnels: {t1: {remote_ip: 10.0.0.2}}, \
            ports: {p1: {type: internal}}}, br1: 
            """
        #expect(
            lines(try plan("", wanted)) == [
                "add br0", "add br0/ports/p1", "add br0/tunnels/t1", "add br0/macs/02:00:00:00:00:01",
                "add br1",
            ])
    }

    @Test("nothing is removed unless asked for")
    func keeps() throws {
        let plan = try plan("br0: {ports: {p1: {type: internal}}}, br1: ", "br0: ")
        #expect(plan.steps.isEmpty)
    }

    @Test("pruning removes what the document does not name, first and from the inside out")
    func prunes() throws {
        let current = """
            br0: {ports: {p1: {type: internal}, x: {type: internal}}, \
            macs: {'02:00:00:00:00:01': {port: x}}}, br1: {ports: {p2: {type: internal}}}
            """
        let wanted = "br0: {tunnels: {x: {remote_ip: 10.0.0.2}}, ports: {p1: {type: internal}}}, br2: "
        #expect(
            lines(try plan(current, wanted, prune: true)) == [
                "remove br1", "remove br0/macs/02:00:00:00:00:01", "remove br0/ports/x",
                "add br0/tunnels/x", "add br2",
            ])
    }

    @Test("a change is a whole PUT, and the table shows only the fields that differ")
    func change() throws {
        let plan = try plan("br0: {vni: 1, mtu: 1400}", "br0: {vni: 2}")
        #expect(plan.steps.count == 1)
        #expect(plan.operations.first?.json["method"] == "PUT")
        #expect(plan.operations.first?.json["path"] == "/v1/bridges/br0")
        #expect(plan.operations.first?.json["body"] == ["vni": 2])
        #expect(
            plan.text(TableTests.terminal(colour: false)) == """
                ACTION  RESOURCE  FIELDS
                change  br0       vni: 1 -> 2, mtu: 1400 -> -
                1 to change

                """)
    }

    @Test("a plan as JSON has the shape of the agent's, and the agent's is read back")
    func json() throws {
        let plan = try plan("br0: {vni: 1}, br1: ", "br0: {vni: 2}, br2: ", prune: true)
        #expect(plan.json["add"]?[0]?["path"] == "/v1/bridges/br2")
        #expect(plan.json["change"]?[0]?["from"]?["vni"] == 1)
        #expect(plan.json["remove"]?[0]?["to"] == nil)
        let back = try Plan(agent: ["dry_run": true, "plan": .object(plan.json)])
        #expect(Set(back.steps.map(\.id)) == Set(plan.steps.map(\.id)))
        #expect(back.steps.map(\.action).sorted() == plan.steps.map(\.action).sorted())
        #expect(throws: CommandError.self) { try Plan(agent: ["name": "br0"]) }
    }

    @Test("a fault of a batch is found again in the document")
    func pointers() throws {
        let operations = try plan("", "br0: {tunnels: {t1: {remote_ip: 10.0.0.2}}}").operations
        func place(_ text: String) -> String? { PlannedWrite.pointer(text, in: operations)?.description }
        #expect(place("/operations/1/body/remote_ip") == "/bridges/br0/tunnels/t1/remote_ip")
        #expect(place("/operations/0/body/addresses/2") == "/bridges/br0/addresses/2")
        #expect(place("/operations/1") == "/bridges/br0/tunnels/t1")
        #expect(place("/operations/2/body") == nil)
        #expect(place("/mtu") == nil)
    }

    @Test("paths and their resources are two spellings of one thing")
    func paths() {
        for path in [
            "/v1/bridges/br0", "/v1/bridges/br0/ports/web1", "/v1/bridges/br0/macs/02:00:00:00:00:01",
        ] { #expect(ResourceID(path: path)?.path == path) }
        for path in [
            "/v1/hosts/a", "/v1/networks/blue/attachments/web1", "/v1/underlay", "/v1/routes/r0",
            "/v1/neighbors/eth0/192.0.2.1",
        ] {
            #expect(ResourceID(path: path)?.path == path)
            #expect(ResourceID(path: path).map { "/v1/" + $0.title } == path)
        }
        for path in [
            "", "/v1/bridges", "/v2/bridges/br0", "/v1/bridges/br0/ports", "/v1/ports/a/b/c", "/v1/routes",
            "/v1/neighbors/eth0",
            "/v1/underlay/x",
        ] {
            #expect(ResourceID(path: path) == nil, "\(path)")
        }
    }

    @Test("ten thousand tunnels are planned in a moment")
    func many() throws {
        var wanted = StateDocument(tops: [.bridge])
        wanted.specs[.bridge("br0")] = try ResourceType.bridge.normalized([:])
        for number in 0..<10_000 {
            let spec: JSONValue = ["remote_ip": .string("10.1.\(number / 256).\(number % 256)")]
            wanted.specs[ResourceID(type: .tunnel, keys: ["br0", "t\(number)"])] =
                try ResourceType.tunnel.normalized(spec)
        }
        let start = ContinuousClock.now
        let plan = Plan(from: StateDocument(), to: wanted, prune: true)
        #expect(plan.steps.count == 10_001)
        #expect(plan.json["add"]?.arrayValue?.count == 10_001)
        #expect(wanted.document(defaults: false)["bridges"]?["br0"]?["tunnels"]?.objectValue?.count == 10_000)
        // Loose: a quadratic step would take minutes in a debug build.
        #expect(ContinuousClock.now - start < .seconds(20))
    }
}
