// `field=value`: every kind of field there is, and what is said about those that cannot be.

import JSON
import Testing

@testable import viaduct

@Suite struct AssignmentTests {
    @Test("each value becomes the JSON its field takes")
    func kinds() throws {
        let tunnel = try Assignments.parse(
            ["remote_ip=10.0.0.2", "vni=100", "ttl=inherit", "tos=8", "csum=false", "dst_port=8472"],
            for: .tunnel)
        #expect(
            tunnel == [
                "remote_ip": "10.0.0.2", "vni": 100, "ttl": "inherit", "tos": 8, "csum": false,
                "dst_port": 8472,
            ])
        let bridge = try Assignments.parse(
            ["addresses=192.0.2.1/24,2001:db8::1/64", "mac=02:00:00:00:00:01"], for: .bridge)
        #expect(
            bridge == ["addresses": ["192.0.2.1/24", "2001:db8::1/64"], "mac": "02:00:00:00:00:01"])
        #expect(try Assignments.parse(["vni=flow"], for: .tunnel) == ["vni": "flow"])
    }

    @Test("a name of digits stays a string where the field is one")
    func digits() throws {
        #expect(
            try Assignments.parse(["netns=100", "type=tap"], for: .port) == ["netns": "100", "type": "tap"])
    }

    @Test("an empty value takes the field back to its default, whatever its kind")
    func empty() throws {
        let changes = try Assignments.parse(["mtu=", "addresses=", "mac="], for: .bridge)
        #expect(changes == ["mtu": nil, "addresses": nil, "mac": nil])
    }

    @Test("a value may hold the equals sign, a field may not be empty")
    func signs() {
        #expect(Assignments.split("a=b=c") ?? ("", "") == ("a", "b=c"))
        #expect(Assignments.split("=b") == nil)
        #expect(Assignments.split("a") == nil)
    }

    @Test(
        "a value that cannot be is refused by name, before anything is sent",
        arguments: [
            ("vni=16777216", "vni: wanted an integer from 0 to 16777215, or \"flow\", found 16777216"),
            ("vni=fast", "vni: wanted an integer from 0 to 16777215, or \"flow\", found \"fast\""),
            ("csum=yes", "csum: wanted true or false, found \"yes\""),
            ("remote_ip=127.0.0.1", "remote_ip: wanted a unicast IPv4 or IPv6 address, not loopback"),
            ("speed=1", "speed: wanted one of the fields remote_ip, local_ip, vni"),
            ("remote_ip", "wanted FIELD=VALUE, found \"remote_ip\""),
        ])
    func refused(argument: String, expected: String) {
        let error = #expect(throws: CommandError.self) {
            try Assignments.parse([argument], for: .tunnel)
        }
        #expect(error?.text.hasPrefix("viaduct: " + expected) == true, "\(error?.text ?? "")")
        #expect(error?.exitCode == 64)
    }

    @Test("every mistake is named at once, and a field given twice is one")
    func several() {
        let error = #expect(throws: CommandError.self) {
            try Assignments.parse(["mtu=1", "vni=-1", "mtu=1500", "x=1"], for: .bridge)
        }
        let lines = error?.text.split(separator: "\n") ?? []
        #expect(lines.count == 4)
        #expect(
            lines.map { $0.contains("mtu") || $0.contains("vni") || $0.contains("x:") } == [
                true, true, true, true,
            ])
    }

    @Test("what only the other fields can decide is left to the agent")
    func crossField() throws {
        #expect(try Assignments.parse(["netns=web1"], for: .port) == ["netns": "web1"])
        #expect(
            try Assignments.parse(["netns=web1", "type=internal"], for: .port)
                == ["netns": "web1", "type": "internal"])
    }
}
