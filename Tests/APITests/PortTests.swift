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
