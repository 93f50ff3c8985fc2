// Bodies of PUT /v1/bridges/{bridge}/rules/{rule} and of mirrors.

import API
import Testing
import Wire

@Suite struct RuleTests {
    private static func rule(_ match: String = "{}", _ actions: String = #"[{"drop":true}]"#) -> String {
        #"{"match":\#(match),"actions":\#(actions)}"#
    }

    static let good = [
        rule(), #"{"actions":[]}"#, #"{"table":15,"priority":0,"actions":[{"normal":true}]}"#,
        rule(#"{"in_port":"web1","eth_src":"02:00:00:00:00:00/ff:00:00:00:00:00"}"#),
        rule(#"{"eth_type":"0x88cc","vlan_vid":"any","vlan_pcp":7}"#),
        rule(#"{"ip_src":"10.0.0.0/8","ip_proto":"tcp","tp_src":"1024-65535","tp_dst":80}"#),
        rule(#"{"ip_dst":"2001:db8::7","tcp_flags":"+syn-ack"}"#),
        rule(#"{"eth_type":"0x86dd","ip_proto":6,"tp_dst":"80","ip_dscp":46,"ip_frag":"not_later"}"#),
        rule(#"{"ip_proto":"icmpv6","icmp_type":135,"icmp_code":0}"#),
        rule(#"{"arp_op":1,"arp_spa":"10.0.0.1","arp_tpa":"10.0.0.0/8","arp_sha":"02:00:00:00:00:01"}"#),
        rule(#"{"tun_id":16777215,"tun_src":"192.0.2.7"}"#),
        rule("{}", #"[{"output":"web1"},{"mirror":"m"},{"police":{"rate":1}},{"goto_table":1}]"#),
        rule("{}", #"[{"set_tunnel":{"vni":7,"remote_ip":"192.0.2.7"}},{"output":"vxlan1"}]"#),
        rule("{}", #"[{"push_vlan":{"vid":7}},{"set_field":{"vlan_vid":8}},{"pop_vlan":true}]"#),
        rule(
            #"{"ip_dst":"192.0.2.9"}"#, #"[{"set_field":{"ip_dst":"192.0.2.8","ip_ttl":9}},{"dec_ttl":true}]"#
        ),
        rule(
            #"{"eth_type":"0x0800","ip_proto":"udp"}"#,
            #"[{"set_field":{"eth_dst":"02:00:00:00:00:02","tp_dst":53}},{"normal":true}]"#),
    ]

    @Test("a good rule is accepted and survives being written out", arguments: good)
    func accepts(body: String) throws {
        try checkGood(body, as: Rule.self)
    }

    static let badMatches = [
        Bad(
            rule(#"{"tp_dst":80,"eth_type":"0x0800"}"#), "/match/tp_dst", .notAllowed,
            wanted: "ip_proto tcp, udp or sctp beside it", found: "no ip_proto"),
        Bad(
            rule(#"{"tp_dst":80,"ip_proto":"icmp"}"#), "/match/tp_dst", .notAllowed,
            wanted: "ip_proto tcp", found: #"ip_proto "icmp""#),
        Bad(
            rule(#"{"ip_proto":"tcp"}"#), "/match/ip_proto", .notAllowed,
            wanted: #"eth_type "0x0800" or "0x86dd", or ip_src or ip_dst"#, found: "no eth_type"),
        Bad(
            rule(#"{"ip_dst":"10.0.0.1","eth_type":"0x86dd"}"#), "/match/ip_dst", .notAllowed,
            wanted: #"eth_type "0x0800""#, found: #"eth_type "0x86dd""#),
        Bad(
            rule(#"{"ip_src":"10.0.0.1","ip_dst":"::1"}"#), "/match/ip_dst", .notAllowed,
            wanted: #"eth_type "0x86dd""#, found: #"eth_type "0x0800""#),
        Bad(
            rule(#"{"ip_src":"10.0.0.1/8"}"#), "/match/ip_src", .invalidValue, wanted: "no host bits",
            found: #""10.0.0.1/8""#),
        Bad(
            rule(#"{"tcp_flags":"+syn-syn","ip_src":"10.0.0.1"}"#), "/match/tcp_flags", .invalidValue,
            wanted: #""+syn-ack""#, found: #""+syn-syn""#),
        Bad(
            rule(#"{"icmp_type":8,"ip_src":"10.0.0.1"}"#), "/match/icmp_type", .notAllowed,
            wanted: "ip_proto icmp or icmpv6", found: "no ip_proto"),
        Bad(
            rule(#"{"vlan_vid":"none","vlan_pcp":1}"#), "/match/vlan_pcp", .notAllowed,
            wanted: "no vlan_vid none", found: #""none""#),
        Bad(
            rule(#"{"eth_dst":"01:00:00:00:00:01/01:00:00:00:00:00"}"#), "/match/eth_dst", .invalidValue,
            wanted: "no bits outside it", found: #""01:00:00:00:00:01/01:00:00:00:00:00""#),
        Bad(
            rule(#"{"tp_dst":"443-80","ip_dst":"10.0.0.1","ip_proto":"tcp"}"#), "/match/tp_dst",
            .invalidValue, wanted: #""80-443""#, found: #""443-80""#),
        Bad(rule(#"{"dl_dst":1}"#), "/match/dl_dst", .unknownField, wanted: "eth_dst", found: #""dl_dst""#),
    ]

    static let badActions = [
        Bad(
            rule("{}", #"[{}]"#), "/actions/0", .invalidValue, wanted: "exactly one of output, normal, drop",
            found: "none"),
        Bad(
            rule("{}", #"[{"drop":true,"output":"a"}]"#), "/actions/0", .invalidValue,
            wanted: "exactly one of", found: "drop, output"),
        Bad(
            rule("{}", #"[{"drop":false}]"#), "/actions/0/drop", .invalidValue, wanted: "true",
            found: "false"),
        Bad(
            rule("{}", #"[{"normal":true},{"output":"a"}]"#), "/actions/0/normal", .notAllowed,
            wanted: "normal as the last action", found: "actions after it"),
        Bad(
            #"{"table":3,"actions":[{"goto_table":3}]}"#, "/actions/0/goto_table", .notAllowed,
            wanted: "a table after 3", found: "3"),
        Bad(
            rule("{}", #"[{"pop_vlan":true}]"#), "/actions/0/pop_vlan", .notAllowed,
            wanted: "a tagged frame", found: "one that may be untagged"),
        Bad(
            rule(#"{"vlan_vid":7}"#, #"[{"pop_vlan":true},{"set_field":{"vlan_vid":8}}]"#),
            "/actions/1/set_field/vlan_vid", .notAllowed, wanted: "push_vlan before it",
            found: "one that may be untagged"),
        Bad(
            rule(#"{"ip_dst":"10.0.0.1"}"#, #"[{"set_field":{"ip_dst":"2001:db8::1"}}]"#),
            "/actions/0/set_field/ip_dst", .notAllowed, wanted: #"eth_type "0x86dd" in match"#,
            found: #"eth_type "0x0800""#),
        Bad(
            rule(#"{"ip_dst":"10.0.0.1"}"#, #"[{"set_field":{"tp_dst":80}}]"#),
            "/actions/0/set_field/tp_dst", .notAllowed, wanted: "ip_proto tcp, udp or sctp in match",
            found: "no ip_proto"),
        Bad(
            rule("{}", #"[{"dec_ttl":true}]"#), "/actions/0/dec_ttl", .notAllowed, wanted: "in match",
            found: "no eth_type"),
        Bad(
            rule("{}", #"[{"set_field":{}}]"#), "/actions/0/set_field", .invalidValue,
            wanted: "at least 1 of eth_src", found: "none"),
        Bad(
            rule("{}", #"[{"police":{"burst":1}}]"#), "/actions/0/police/rate", .missingField,
            wanted: "an integer from 1", found: "nothing"),
    ]

    @Test(
        "a bad rule is refused with where, what was wanted and what was found",
        arguments: badMatches + badActions)
    func refuses(bad: Bad) { bad.check(as: Rule.self) }

    @Test("fields in other spellings are one rule")
    func spellings() throws {
        let one = try Rule.parse(
            Array(
                Self.rule(
                    #"{"eth_src":"02-00-00-00-00-AA","ip_proto":17,"ip_dst":"10.0.0.1/32","tp_dst":"53-53"}"#
                )
                .utf8))
        let other = try Rule.parse(
            Array(
                Self.rule(
                    #"{"eth_src":"02:00:00:00:00:aa","ip_proto":"udp","ip_dst":"10.0.0.1","tp_dst":53}"#
                )
                .utf8))
        #expect(one == other && one.json == other.json)
        #expect(one.match.impliedEtherType == .ipv4)
    }

    @Test("a mirror selects something, and not what it puts out to")
    func mirrors() throws {
        try checkGood(#"{"select_all":true,"output_port":"p"}"#, as: Mirror.self)
        try checkGood(#"{"select_vlan":[0,7],"output_port":"p"}"#, as: Mirror.self)
        Bad(
            #"{"output_port":"p"}"#, "", .missingField, wanted: "select_all, select_src_port", found: "none"
        ).check(as: Mirror.self)
        Bad(
            #"{"select_dst_port":["a","p"],"output_port":"p"}"#, "/select_dst_port/1", .notAllowed,
            wanted: "another port than output_port", found: #""p""#
        ).check(as: Mirror.self)
    }

    @Test("a bridge maps each VLAN and each VNI once")
    func vlanVNI() throws {
        try checkGood(#"{"vlan_vni":[{"vlan":10,"vni":5010},{"vlan":0,"vni":5000}]}"#, as: Bridge.self)
        Bad(
            #"{"vlan_vni":[{"vlan":10,"vni":1},{"vlan":10,"vni":2}]}"#, "/vlan_vni/1/vlan", .invalidValue,
            wanted: "each VLAN once", found: "10"
        ).check(as: Bridge.self)
        Bad(
            #"{"vlan_vni":[{"vlan":10,"vni":1},{"vlan":11,"vni":1}]}"#, "/vlan_vni/1/vni", .invalidValue,
            wanted: "each VNI once", found: "1"
        ).check(as: Bridge.self)
    }
}
