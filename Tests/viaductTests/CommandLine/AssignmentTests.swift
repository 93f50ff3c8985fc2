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

    @Test("matches and actions are typed much as ovs-ofctl has them")
    func rules() throws {
        let rule = try Assignments.parse(
            [
                "match=tcp,in_port=web1,ip_dst=10.0.0.0/8,tp_dst=80-443,vlan_vid=none",
                "actions=set_field(eth_dst=02:00:00:00:00:02,tp_dst=8080),set_field:9->ip_ttl,push_vlan:7,"
                    + "set_tunnel:5,police:1000:200,dec_ttl,output:vxlan1,goto_table:3",
            ], for: .rule)
        #expect(
            rule["match"] == [
                "eth_type": "0x0800", "ip_proto": "tcp", "in_port": "web1", "ip_dst": "10.0.0.0/8",
                "tp_dst": "80-443", "vlan_vid": "none",
            ])
        #expect(
            rule["actions"] == [
                ["set_field": ["eth_dst": "02:00:00:00:00:02", "tp_dst": 8080]], ["set_field": ["ip_ttl": 9]],
                ["push_vlan": ["vid": 7]], ["set_tunnel": ["vni": 5]],
                ["police": ["rate": 1000, "burst": 200]], ["dec_ttl": true], ["output": "vxlan1"],
                ["goto_table": 3],
            ])
        #expect(
            Cell.text(rule["actions"]).hasPrefix("set_field(eth_dst=02:00:00:00:00:02,tp_dst=8080),"))
        #expect(Cell.text(rule["actions"]).hasSuffix(",dec_ttl,output:vxlan1,goto_table:3"))
        let bridge = try Assignments.parse(["vlan_vni=10:5010,20:5020"], for: .bridge)
        #expect(bridge["vlan_vni"] == [["vlan": 10, "vni": 5010], ["vlan": 20, "vni": 5020]])
        let port = try Assignments.parse(
            ["port_security=macs=02:00:00:00:00:02,ips=192.0.2.1,ips=192.0.2.2"], for: .port)
        #expect(
            port["port_security"] == ["macs": ["02:00:00:00:00:02"], "ips": ["192.0.2.1", "192.0.2.2"]])
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
