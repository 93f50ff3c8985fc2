// Names and the text rules: the three ways a rule is said agree.

import JSON
import Testing

@testable import API

@Suite struct ValueTests {
    @Test(
        "a name is 1 to 15 letters, digits, dots, underscores and dashes",
        arguments: ["a", "0", "br0", "br-int", "web_1.eth0", "A23456789012345", "Lo", "all1", "default."])
    func goodNames(text: String) {
        #expect(Name(text)?.description == text)
    }

    @Test(
        "a name is not empty, long, reserved, or anything a shell or a path would trip over",
        arguments: [
            "", "lo", "all", "default", ".", "..", "-a", "_a", ".a", "a b", "a/b", "a:b", "a%d", "é", "a\n",
            "a\0",
            "1234567890123456", "ｂｒ０",
        ])
    func badNames(text: String) {
        #expect(Name(text) == nil)
        let problem = #expect(throws: Problem.self) { try Bridge.kind.name(in: text) }
        #expect(problem?.code == .malformedRequest)
    }

    @Test("names sort by their bytes")
    func order() {
        let sorted = ["br10", "br2", "Br1", "a"].compactMap { Name($0) }.sorted()
        #expect(sorted.map(\.description) == ["Br1", "a", "br10", "br2"])
    }

    @Test("every rule accepts exactly what its pattern, lengths and reserved words accept")
    func patternsAgree() throws {
        let rules: [TextRule] = [.name, .interfaceName, .namespaceName, .path, .socketPath]
        let alphabet = (0...0x7F).map { String(UnicodeScalar(UInt8($0))) } + ["é", "０", "\u{2028}"]
        var candidates = alphabet + ["", ".", "..", "...", "lo", "all", "default", "eth0", "/run/x y"]
        for unit in alphabet { candidates += ["a" + unit, unit + "a", "/" + unit] }
        for count in [14, 15, 16, 63, 64, 65, 106, 107, 108, 4094, 4095, 4096] {
            candidates.append(String(repeating: "a", count: count))
            candidates.append("/" + String(repeating: "b", count: count - 1))
        }
        for rule in rules {
            let pattern = try Regex(rule.pattern)
            for text in candidates {
                let isMatch =
                    text.wholeMatch(of: pattern) != nil && rule.byteCount.contains(text.count)
                    && !rule.reserved.contains(text)
                #expect(rule.accepts(text) == isMatch, "\(rule.pattern) \(text.debugDescription)")
            }
        }
    }

    @Test("a path is put together from its kind, with as many keys as are given")
    func paths() {
        #expect(Bridge.kind.collectionPath == "/v1/bridges")
        #expect(Bridge.kind.itemPath == "/v1/bridges/{bridge}")
        #expect(Port.kind.collectionPath == "/v1/bridges/{bridge}/ports")
        #expect(Tunnel.kind.path(["br0", "vxlan1"]) == "/v1/bridges/br0/tunnels/vxlan1")
        #expect(StaticMAC.kind.path(["br0"]) == "/v1/bridges/br0/macs")
        #expect(StaticMAC.kind.parent == Bridge.kind)
        #expect(Bridge.kind.parent == nil)
        #expect(Neighbor.kind.itemPath == "/v1/neighbors/{ifname}/{ip}")
        #expect(Neighbor.kind.collectionPath == "/v1/neighbors")
        #expect(Neighbor.kind.path(["eth0", "192.0.2.1"]) == "/v1/neighbors/eth0/192.0.2.1")
        #expect(Underlay.kind.itemPath == "/v1/underlay" && Underlay.kind.path([]) == "/v1/underlay")
    }

    @Test("the keys of a path are found by its kind alone")
    func keysOfPaths() {
        #expect(Tunnel.kind.keys(in: ["bridges", "br0", "tunnels", "t0"]) == ["br0", "t0"])
        #expect(Tunnel.kind.keys(in: ["bridges", "br0", "ports", "t0"]) == nil)
        #expect(Bridge.kind.keys(in: ["bridges", "br0", "tunnels", "t0"]) == nil)
        #expect(Bridge.kind.keys(in: ["bridges"]) == nil)
        #expect(Neighbor.kind.keys(in: ["neighbors", "eth0", "::1"]) == ["eth0", "::1"])
        #expect(Underlay.kind.keys(in: ["underlay"]) == [])
        #expect(Underlay.kind.keys(in: ["underlay", "x"]) == nil)
    }

    @Test("keys are brought into their one spelling, and the outermost wrong one is named")
    func canonicalKeys() throws {
        #expect(try Neighbor.kind.canonical(["eth0", "FE80::0:1"]) == ["eth0", "fe80::1"])
        for (keys, what) in [
            (["lo", "192.0.2.1"], "ifname in the path: wanted an interface name"),
            (["eth0", "224.0.0.1"], "ip in the path: wanted a unicast IPv4 or IPv6 address"),
        ] {
            let problem = #expect(throws: Problem.self) { try Neighbor.kind.canonical(keys) }
            #expect(problem?.detail.hasPrefix(what) == true)
        }
        let problem = #expect(throws: Problem.self) { try StaticRoute.kind.name(in: "lookup") }
        #expect(problem?.detail.contains("nor lookup, found \"lookup\"") == true)
    }

    @Test(
        "a pointer reads back as it was written",
        arguments: ["", "/", "/mtu", "/addresses/0", "/a~1b~0c", "/~01", "//", "/\u{301}x/\u{301}"])
    func pointers(text: String) {
        #expect(JSONPointer(reading: text)?.description == text)
    }

    @Test("a pointer starts with a slash")
    func badPointer() {
        #expect(JSONPointer(reading: "mtu") == nil)
    }
}
