// What holds of every schema, whatever record it describes.

import API
import JSON
import Testing

@Suite struct SchemaTests {
    @Test("every error of a body is found at once, in the order of the schema, unknown fields first")
    func severalErrors() {
        let body = #"{"ttl":0,"color":"red","vni":true,"dst_port":"4789"}"#
        let problem = #expect(throws: Problem.self) { try Tunnel.parse(Array(body.utf8)) }
        #expect(
            problem?.errors.map { "\($0.pointer) \($0.code.rawValue)" } == [
                "/color unknown_field", "/remote_ip missing_field", "/vni wrong_type", "/dst_port wrong_type",
                "/ttl out_of_range",
            ])
        #expect(problem?.detail.hasSuffix("(and 4 more)") == true)
    }

    @Test("combinations are judged only when every field is good by itself")
    func combinationsLast() {
        let body = #"{"type":"internal","netns":"web1","ifname":""}"#
        let problem = #expect(throws: Problem.self) { try Port.parse(Array(body.utf8)) }
        #expect(problem?.errors.map(\.pointer.description) == ["/ifname"])
    }

    @Test("a body with a thousand errors is answered with the first 64 and the count of the rest")
    func errorLimit() {
        let body = "{" + (1...1000).map { #""f\#($0)":1"# }.joined(separator: ",") + "}"
        let problem = #expect(throws: Problem.self) { try Bridge.parse(Array(body.utf8)) }
        #expect(problem?.errors.count == 64)
        #expect(problem?.detail.hasSuffix("(and 999 more)") == true)
    }

    @Test("the answer to a hostile body stays under 64 KiB, whatever its keys and values are")
    func answerSize() throws {
        let long = String(repeating: "\u{301}", count: 10_000)
        var object = JSONObject()
        for index in 1...100 { object["\(index)" + long] = .string(long) }
        object["mac"] = .string(String(repeating: "\u{1}", count: 60_000))
        let problem = #expect(throws: Problem.self) { try Bridge.schema.decode(.object(object)) }
        guard let problem else { return }
        #expect(JSONValue.object(problem.json).serialized().count < 65_536)
    }

    @Test("an offending value is shown up to 64 characters, escaped")
    func excerpt() {
        let long = String(repeating: "é", count: 65)
        let problem = #expect(throws: Problem.self) { try Bridge.parse(Array(#"{"mac":"\#(long)"}"#.utf8)) }
        #expect(problem?.errors.first?.found == "\"" + long.dropLast() + "…\"")
        let quoted = #expect(throws: Problem.self) { try Bridge.parse(Array(#"{"mac":"a\"b\n"}"#.utf8)) }
        #expect(quoted?.errors.first?.found == #""a\"b\n""#)
    }

    @Test("the example put together from the fields' examples decodes to itself")
    func examples() throws {
        func check<R: Record>(_ record: R.Type) throws {
            let decoded = try R.schema.decode(.object(R.schema.example))
            let again = try R.schema.decode(.object(decoded.json))
            #expect(again == decoded, "\(R.schemaName)")
            for (name, value) in R.schema.example.members {
                #expect(decoded.json[name] == value, "\(R.schemaName) \(name)")
            }
        }
        for record in Everything.records { try check(record) }
    }

    @Test("every field has a doc that ends in a full stop, a snake_case name of its own, and an example")
    func documented() {
        func check<R: Record>(_ record: R.Type) {
            let fields = R.schema.fields
            #expect(R.schema.summary.hasSuffix("."), "\(R.schemaName)")
            #expect(Set(fields.map(\.name)).count == fields.count, "\(R.schemaName)")
            for field in fields {
                #expect(field.name.wholeMatch(of: /[a-z][a-z0-9]*(_[a-z0-9]+)*/) != nil)
                #expect(field.doc.hasSuffix("."), "\(R.schemaName) \(field.name)")
                #expect(field.example != nil || field.name == "error", "\(R.schemaName) \(field.name)")
            }
        }
        for record in Everything.records { check(record) }
    }

    @Test("the JSON Schema of a request is closed, and has the defaults the prototype has")
    func jsonSchema() {
        let schema = JSONValue.object(Bridge.schema.jsonSchema)
        #expect(schema["additionalProperties"] == false)
        #expect(schema["required"] == nil)
        let aging = schema["properties"]?["mac_aging_seconds"]
        #expect(
            aging?.description
                == #"{"type":"integer","minimum":1,"maximum":86400,"description":"A learned MAC address is "#
                + #"forgotten after this many seconds without a frame from it.","default":300,"#
                + #""examples":[300]}"#
        )
        #expect(schema["properties"]?["mtu"]?["default"] == nil)
        #expect(JSONValue.object(Tunnel.schema.jsonSchema)["required"] == ["remote_ip"])
        let csum = JSONValue.object(Tunnel.schema.jsonSchema)["properties"]?["csum"]
        #expect(csum?["default"] == true)
    }

    @Test("the JSON Schema of an answer is open and lists what is always there")
    func answerSchema() {
        let schema = JSONValue.object(TunnelStatus.schema.jsonSchema)
        #expect(schema["additionalProperties"] == nil)
        #expect(schema["required"] == ["vni", "underlay", "managed_by", "state", "counters"])
        #expect(schema["properties"]?["counters"]?["$ref"] == "#/components/schemas/Counters")
    }

    @Test("a reader of answers ignores fields it does not know and defaults those that are missing")
    func lenientReader() throws {
        let body = #"{"vni":7,"later":{"x":1},"counters":{"rx_packets":3,"rx_unheard_of":4}}"#
        let status = try TunnelStatus.parse(Array(body.utf8))
        #expect(status.vni == .fixed(.init(truncating: 7)))
        #expect(status.counters.rxPackets == 3)
        #expect(status.state == .ok)
    }

    @Test("a request inside an answer is still read strictly, with pointers from the top")
    func nestedStrict() {
        let body = #"{"name":"p","spec":{"type":"system","netns":"x"},"status":{}}"#
        let problem = #expect(throws: Problem.self) { try Port.Document.parse(Array(body.utf8)) }
        #expect(problem?.errors.map(\.pointer.description) == ["/spec/netns"])
    }

    @Test("the columns of a command-line table come from the fields, in their order")
    func columns() throws {
        let tunnel = try Tunnel.parse(Array(#"{"remote_ip":"10.10.10.2","vni":"flow"}"#.utf8))
        let vlans = ["VLAN_MODE", "TAG", "TRUNKS"]
        let titles = Tunnel.schema.columns.map(\.title)
        #expect(
            titles == ["REMOTE_IP", "LOCAL_IP", "VNI", "DST_PORT", "TTL", "TOS", "DF_DEFAULT", "CSUM"] + vlans
        )
        #expect(
            Tunnel.schema.columns.map { $0.text(tunnel) }
                == ["10.10.10.2", "-", "flow", "4789", "64", "0", "true", "true", "-", "-", "-"])
        let bridge = try Bridge.parse(Array(#"{"addresses":["1.1.1.1/24","2001:db8::1/64"]}"#.utf8))
        #expect(Bridge.schema.columns.first?.text(bridge) == "1.1.1.1/24,2001:db8::1/64")
        #expect(!BridgeStatus.schema.columns.map(\.title).contains("COUNTERS"))
    }
}
