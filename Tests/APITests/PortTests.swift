// Bodies of PUT /v1/bridges/{bridge}/ports/{port}.

import API
import Testing

@Suite struct PortTests {
    static let good = [
        #"{"type":"internal"}"#,
        #"{"type":"internal","addresses":["192.0.2.1/24"],"mac":"02:00:00:00:00:01","ifname":"eth0.7@x"}"#,
        #"{"type":"tap","netns":"web1","ifname":"eth0"}"#,
        #"{"type":"tap","netns":"cni-5f2c9a61","addresses":["2001:db8::2/64"]}"#,
        #"{"type":"tap"}"#,
        #"{"type":"system","ifname":"enp1s0f0np0"}"#,
        #"{"type":"system","addresses":[]}"#,
        #"{"type":"tap","tag":10}"#,
        #"{"type":"tap","vlan_mode":"native-untagged","tag":10,"trunks":[20,30]}"#,
        #"{"type":"tap","trunks":[0,20]}"#,
        #"{"type":"tap","port_security":{"macs":["02:00:00:00:00:02"],"ips":["192.0.2.11","2001:db8::/64"]}}"#,
        #"{"type":"tap","mac_limit":1,"bum_policing_rate":100,"bum_policing_burst":10}"#,
    ]

    static let bad = [
        Bad("{}", "/type", .missingField, wanted: #"one of "internal", "tap", "system""#, found: "nothing"),
        Bad(#"{"type":"vhost"}"#, "/type", .invalidValue, wanted: #""tap""#, found: #""vhost""#),
        Bad(#"{"type":"Tap"}"#, "/type", .invalidValue, wanted: #""tap""#, found: #""Tap""#),
        Bad(#"{"type":1}"#, "/type", .wrongType, wanted: #""tap""#, found: "1"),
        Bad(#"{"type":"tap","netns":""}"#, "/netns", .invalidValue, wanted: "/run/netns", found: #""""#),
        Bad(#"{"type":"tap","netns":".."}"#, "/netns", .invalidValue, wanted: "/run/netns", found: #""..""#),
        Bad(
            #"{"type":"tap","netns":"a/b"}"#, "/netns", .invalidValue, wanted: #"without space or "/""#,
            found: #""a/b""#),
        Bad(
            #"{"type":"internal","netns":"web1"}"#, "/netns", .notAllowed,
            wanted: "no netns unless type is tap",
            found: #""web1""#),
        Bad(
            #"{"type":"system","netns":"web1"}"#, "/netns", .notAllowed,
            wanted: "no netns unless type is tap",
            found: #""web1""#),
        Bad(
            #"{"type":"system","mac":"02:00:00:00:00:01"}"#, "/mac", .notAllowed,
            wanted: "no mac unless type is internal or tap", found: #""02:00:00:00:00:01""#),
        Bad(
            #"{"type":"system","addresses":["1.1.1.1/24"]}"#, "/addresses", .notAllowed,
            wanted: "no addresses unless type is internal or tap", found: "an array of 1 items"),
        Bad(
            #"{"type":"tap","ifname":"sixteen-letters-"}"#, "/ifname", .invalidValue, wanted: "1 to 15",
            found: #""sixteen-letters-""#),
        Bad(
            #"{"type":"tap","ifname":"tap%d"}"#, "/ifname", .invalidValue, wanted: #""%""#, found: #""tap%d""#
        ),
        Bad(
            #"{"type":"tap","ifname":"a b"}"#, "/ifname", .invalidValue, wanted: "without space",
            found: #""a b""#),
        Bad(
            #"{"type":"tap","ifname":"all"}"#, "/ifname", .invalidValue, wanted: "interface name",
            found: #""all""#),
        Bad(
            #"{"type":"tap","vlan_mode":"access"}"#, "/tag", .notAllowed,
            wanted: "a VLAN with vlan_mode access", found: "nothing"),
        Bad(
            #"{"type":"tap","vlan_mode":"trunk","tag":7}"#, "/tag", .notAllowed,
            wanted: "no tag with vlan_mode trunk", found: "7"),
        Bad(
            #"{"type":"tap","tag":7,"trunks":[8]}"#, "/trunks", .notAllowed,
            wanted: "no trunks with vlan_mode access", found: "an array of 1 items"),
        Bad(#"{"type":"tap","tag":4095}"#, "/tag", .outOfRange, wanted: "0 to 4094", found: "4095"),
        Bad(
            #"{"type":"tap","port_security":{}}"#, "/port_security", .invalidValue,
            wanted: "at least 1 of macs, ips", found: "none"),
        Bad(
            #"{"type":"tap","port_security":{"ips":["192.0.2.1/24"]}}"#, "/port_security/ips/0",
            .invalidValue, wanted: "no host bits", found: #""192.0.2.1/24""#),
        Bad(
            #"{"type":"tap","bum_policing_burst":7}"#, "/bum_policing_burst", .notAllowed,
            wanted: "bum_policing_rate", found: "7 alone"),
        Bad(#"{"type":"tap","ifname":"é"}"#, "/ifname", .invalidValue, wanted: "ASCII", found: #""é""#),
    ]

    @Test("a good port is accepted and survives being written out", arguments: good)
    func accepts(body: String) throws {
        try checkGood(body, as: Port.self)
    }

    @Test("a bad port is refused with where, what sort, what was wanted and what was found", arguments: bad)
    func refuses(bad: Bad) {
        bad.check(as: Port.self)
    }

    @Test("a system port with a namespace, a MAC and addresses is told about all three")
    func allCombinations() {
        let body = #"{"type":"system","netns":"a","mac":"02:00:00:00:00:01","addresses":["1.1.1.1/24"]}"#
        let problem = #expect(throws: Problem.self) { try Port.parse(Array(body.utf8)) }
        #expect(problem?.errors.map(\.pointer.description) == ["/netns", "/mac", "/addresses"])
    }
}
