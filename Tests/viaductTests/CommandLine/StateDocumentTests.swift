// The document of `get` and `apply`: what it says, what is wrong with it and where, and that it survives the
// way there and back.

import JSON
import Testing

@testable import viaduct

@Suite struct StateDocumentTests {
    static let text = """
        bridges:
          br0:
            addresses: [192.0.2.1/24]
            vni: 100
            ports:
              web1: {type: tap, netns: web1}
            tunnels:
              vxlan1: {remote_ip: 2001:DB8::2}
            macs:
              02-00-00-00-00-0A: {port: vxlan1}
          br1:
        """

    private func state(_ text: String) throws -> StateDocument {
        try StateDocument.decode(try YAMLText.parse(text).value)
    }

    @Test("a document names every resource, with defaults written and addresses in their one spelling")
    func decodes() throws {
        let state = try state(Self.text)
        #expect(
            state.specs.keys.sorted().map(\.title) == [
                "br0", "br0/ports/web1", "br0/tunnels/vxlan1", "br0/macs/02:00:00:00:00:0a", "br1",
            ])
        #expect(state.specs[.bridge("br0")]?["vni"] == 100)
        #expect(state.specs[.bridge("br1")]?["mac_aging_seconds"] == 300)
        let tunnel = state.specs[ResourceID(type: .tunnel, keys: ["br0", "vxlan1"])]
        #expect(tunnel?["remote_ip"] == "2001:db8::2" && tunnel?["ttl"] == 64)
    }

    @Test("JSON says the same")
    func json() throws {
        let value = try YAMLText.parse(Self.text).value
        let (state, places) = try DocumentText(source: "-", bytes: value.serialized()).decode()
        #expect(state == (try self.state(Self.text)))
        #expect(places.places.isEmpty)
    }

    @Test("the document of a host is one that makes that host", arguments: [false, true])
    func roundTrip(defaults: Bool) throws {
        let state = try state(Self.text)
        let document = state.document(defaults: defaults)
        #expect(try StateDocument.decode(document) == state)
        #expect(try self.state(YAMLText.text(of: document)) == state)
        #expect((document["bridges"]?["br1"] == [:]) == !defaults)
    }

    @Test("members are one line each, without what would be so anyway")
    func compact() throws {
        let document = try state(Self.text).document(defaults: false)
        #expect(
            YAMLText.text(of: document, flowDepth: StateDocument.memberDepth) == """
                bridges:
                  br0:
                    addresses: [192.0.2.1/24]
                    vni: 100
                    ports:
                      web1: {type: tap, netns: web1}
                    tunnels:
                      vxlan1: {remote_ip: '2001:db8::2'}
                    macs:
                      02:00:00:00:00:0a: {port: vxlan1}
                  br1: {}

                """)
    }

    @Test(
        "a mistake is named by its pointer, with what was wanted and found",
        arguments: [
            ("bridges: {br0: {mtu: 10}}", "/bridges/br0/mtu", "an integer from 68", "10"),
            ("bridges: {br0: {speed: 1}}", "/bridges/br0/speed", "one of addresses, mac", "\"speed\""),
            (
                "bridges: {br0: {tunnels: {t1: }}}", "/bridges/br0/tunnels/t1/remote_ip", "a unicast",
                "nothing"
            ),
            ("bridges: {br0: {tunnels: {t1: 5}}}", "/bridges/br0/tunnels/t1", "an object", "an integer"),
            ("bridges: {br0: {ports: [a]}}", "/bridges/br0/ports", "an object", "an array"),
            ("bridges: {a b: }", "/bridges/a b", "a name of 1 to 15 letters", "this key"),
            ("bridges: {br0: {macs: {x: {port: a}}}}", "/bridges/br0/macs/x", "a unicast MAC", "this key"),
            (
                "bridges: {br0: {macs: {02:00:00:00:00:0a: {port: a}, 02:00:00:00:00:0A: {port: a}}}}",
                "/bridges/br0/macs/02:00:00:00:00:0A", "each mac once", "it again"
            ),
            (
                "bridges: {br0: {ports: {p: {type: tap, netns: 1}}}}", "/bridges/br0/ports/p/netns",
                "the name", "1"
            ),
            (
                "bridges: {br0: {ports: {p: {type: system, mac: '02:00:00:00:00:01'}}}}",
                "/bridges/br0/ports/p/mac", "no mac unless", "\"02:00:00:00:00:01\""
            ),
            ("{}", "", "bridges, if only {}, or hosts and networks", "neither"),
            (
                "networks: {}\nbridges: {}", "",
                "bridges, underlay, routes and neighbors, which are an agent's", "both"
            ),
            (
                "bridges: {}\ntunnels: {}", "/tunnels", "only \"bridges\", \"underlay\", \"routes\"",
                "\"tunnels\""
            ),
            ("hosts: {h: {vtep_ips: [10.0.0.1]}}", "/hosts/h/agent_url", "https://HOST:PORT", "nothing"),
            ("networks: {n: {attachments: {a: }}}", "/networks/n/attachments/a/host", "a name", "nothing"),
            ("networks: {n: {ports: {}}}", "/networks/n/ports", "one of vni", "\"ports\""),
            ("routes: {r: {gateway: 192.0.2.1}}", "/routes/r/destination", "a unicast network", "nothing"),
            ("routes: {lookup: {}}", "/routes/lookup", "a name of 1 to 15 letters", "this key"),
            (
                "neighbors: {eth0: {x: {mac: 02:00:00:00:00:0a}}}", "/neighbors/eth0/x", "a unicast",
                "this key"
            ),
            ("neighbors: {eth0: 5}", "/neighbors/eth0", "an object", "an integer"),
            ("underlay: {driver: fast}", "/underlay/driver", "one of \"auto\"", "\"fast\""),
            ("7", "", "an object", "an integer"),
        ])
    func faults(text: String, pointer: String, wanted: String, found: String) {
        let error = #expect(throws: StateDocument.DocumentFaults.self) { try state(text) }
        #expect(error?.faults.count == 1)
        #expect(error?.faults.first?.pointer == pointer)
        #expect(error?.faults.first?.wanted.hasPrefix(wanted) == true, "\(error?.faults.first?.wanted ?? "")")
        #expect(error?.faults.first?.found == found)
    }

    @Test("every mistake of a file is named at once, with its line")
    func lines() {
        let text = "bridges:\n  br0:\n    mtu: 10\n    tunnels:\n      t1:\n        vni: -1\n"
        let error = #expect(throws: CommandError.self) {
            try DocumentText(source: "state.yaml", bytes: Array(text.utf8)).decode()
        }
        #expect(error?.exitCode == 64)
        let lines = (error?.text ?? "").split(separator: "\n").map(String.init)
        #expect(lines.count == 3, "\(lines)")
        for expected in [
            "state.yaml:3:5: /bridges/br0/mtu: wanted an integer",
            "state.yaml:5:7: /bridges/br0/tunnels/t1/remote_ip: wanted",
            "state.yaml:6:9: /bridges/br0/tunnels/t1/vni: wanted",
        ] { #expect(lines.contains { $0.contains(expected) }, "\(expected)") }
    }

    @Test(
        "a text is JSON by its name or its first byte, and its faults have a line too",
        arguments: [
            ("a.json", "{\"bridges\":", "a.json:1:"), ("-", " {\"a\":1,\"a\":2}", "-:1:"),
            ("a.yaml", "{bridges: [}", "a.yaml:1:"), ("-", "bridges: [", "-:"),
            ("a.json", "bridges: {}", "a.json:1:"),
        ])
    func syntax(source: String, text: String, prefix: String) {
        let error = #expect(throws: CommandError.self) {
            try DocumentText(source: source, bytes: Array(text.utf8)).decode()
        }
        #expect(error?.text.hasPrefix("viaduct: \(prefix)") == true, "\(error?.text ?? "")")
    }

    @Test("bytes that are no text are refused")
    func bytes() {
        let error = #expect(throws: CommandError.self) {
            try DocumentText(source: "x", bytes: [0x61, 0xFF, 0xFE]).decode()
        }
        #expect(error?.text.contains("wanted UTF-8") == true)
    }
}
