// Bodies of the underlay's resources: PUT /v1/underlay, /v1/routes/{route} and /v1/neighbors/{ifname}/{ip}.

import API
import JSON
import Testing
import Wire

@Suite struct UnderlayTests {
    static let underlays = [
        "{}", #"{"driver":"auto","output":"auto","pmtu_probe":false}"#, #"{"driver":"native"}"#,
        #"{"driver":"socket","output":"packet_socket","pmtu_probe":true}"#, #"{"output":"uplink_tap"}"#,
    ]

    static let badUnderlays = [
        Bad(
            #"{"driver":"kernel"}"#, "/driver", .invalidValue, wanted: #"one of "auto", "socket", "native""#,
            found: #""kernel""#),
        Bad(
            #"{"output":"tap"}"#, "/output", .invalidValue,
            wanted: #"one of "auto", "uplink_tap", "packet_socket""#, found: #""tap""#),
        Bad(#"{"pmtu_probe":1}"#, "/pmtu_probe", .wrongType, wanted: "true or false", found: "1"),
        Bad(
            #"{"mtu":1}"#, "/mtu", .unknownField, wanted: "one of driver, output, pmtu_probe",
            found: #""mtu""#),
    ]

    static let routes = [
        #"{"destination":"10.0.0.0/8","gateway":"192.0.2.1"}"#,
        #"{"destination":"0.0.0.0/0","ifname":"eth0"}"#,
        #"{"destination":"::/0","gateway":"fe80::1","ifname":"eth0.7","metric":4294967295}"#,
        #"{"destination":"2001:db8::/32","gateway":"2001:db9::1","source":"2001:db9::2","type":"unicast"}"#,
        #"{"destination":"10.1.2.3/32","type":"blackhole","metric":1}"#,
        #"{"destination":"10.1.2.0/24","type":"unreachable"}"#,
        #"{"destination":"10.1.2.0/24","gateway":"169.254.0.1","ifname":"eth0"}"#,
    ]

    private static func destination(_ text: String, _ wanted: String) -> Bad {
        Bad(
            #"{"destination":"\#(text)","ifname":"eth0"}"#, "/destination", .invalidValue, wanted: wanted,
            found: #""\#(text)""#)
    }

    private static func field(
        _ name: String, _ value: String, _ code: FieldErrorCode, _ wanted: String, with other: String = ""
    ) -> Bad {
        Bad(
            #"{"destination":"10.0.0.0/8"\#(other),"\#(name)":\#(value)}"#, "/\(name)", code, wanted: wanted,
            found: value)
    }

    private static let network = #"a unicast network such as "10.0.0.0/8", with no host bits set"#

    /// What no single field can see; no schema says it.
    static let badCombinations = [
        field("gateway", #""2001:db8::1""#, .notAllowed, "an IPv4 address, as destination is"),
        field(
            "source", #""2001:db8::1""#, .notAllowed, "an IPv4 address, as destination is",
            with: #","ifname":"eth0""#),
        field(
            "gateway", #""192.0.2.1""#, .notAllowed, "no gateway for type blackhole",
            with: #","type":"blackhole""#),
        field(
            "ifname", #""eth0""#, .notAllowed, "no ifname for type unreachable",
            with: #","type":"unreachable""#),
        field(
            "source", #""192.0.2.6""#, .notAllowed, "no source for type blackhole",
            with: #","type":"blackhole""#),
        Bad(
            #"{"destination":"10.0.0.0/8"}"#, "/gateway", .missingField,
            wanted: "a gateway, an ifname or both for type unicast", found: "neither"),
        Bad(
            #"{"destination":"::/0","gateway":"fe80::1"}"#, "/ifname", .notAllowed,
            wanted: "the interface that link-local gateway fe80::1 is on", found: "nothing"),
    ]

    static let badRoutes: [Bad] =
        [
            destination("10.0.0.1/8", #""10.0.0.0/8", with no host bits set"#),
            destination("2001:db8::1/32", #""2001:db8::/32", with no host bits set"#),
            destination("1.0.0.0/0", #""0.0.0.0/0", with no host bits set"#),
            destination("10.0.0.0", network), destination("10.0.0.0/33", network),
            destination("default", network), destination("224.0.0.0/4", network),
            destination("ff02::/16", network),
            Bad(
                #"{"gateway":"192.0.2.1"}"#, "/destination", .missingField, wanted: network, found: "nothing"),
            field("gateway", #""224.0.0.1""#, .invalidValue, "a unicast IPv4 or IPv6 address"),
            field("gateway", #""127.0.0.1""#, .invalidValue, "not loopback"),
            field("gateway", #""0.0.0.0""#, .invalidValue, "a unicast"),
            field("ifname", #""lo""#, .invalidValue, "an interface name"),
            field("metric", "-1", .outOfRange, "an integer from 0 to 4294967295", with: #","ifname":"e""#),
            field("metric", "4294967296", .outOfRange, "from 0 to 4294967295", with: #","ifname":"e""#),
            field("type", #""local""#, .invalidValue, #"one of "unicast", "blackhole", "unreachable""#),
        ]

    static let neighbors = [#"{"mac":"02:00:00:00:00:01"}"#, #"{"mac":"AA-BB-CC-DD-EE-01"}"#]

    static let badNeighbors = [
        Bad("{}", "/mac", .missingField, wanted: "a unicast MAC address", found: "nothing"),
        Bad(
            #"{"mac":"ff:ff:ff:ff:ff:ff"}"#, "/mac", .invalidValue, wanted: "a unicast MAC address",
            found: #""ff:ff:ff:ff:ff:ff""#),
        Bad(
            #"{"mac":"02:00:00:00:00:01","ip":"192.0.2.1"}"#, "/ip", .unknownField, wanted: "one of mac",
            found: #""ip""#),
    ]

    @Test("good underlays, routes and neighbors are accepted and survive being written out")
    func accepts() throws {
        for body in Self.underlays { try checkGood(body, as: Underlay.self) }
        for body in Self.routes { try checkGood(body, as: StaticRoute.self) }
        for body in Self.neighbors { try checkGood(body, as: Neighbor.self) }
    }

    @Test("a bad underlay is refused with all four facts", arguments: badUnderlays)
    func refusesUnderlay(bad: Bad) { bad.check(as: Underlay.self) }

    @Test("a bad route is refused with all four facts", arguments: badRoutes + badCombinations)
    func refusesRoute(bad: Bad) { bad.check(as: StaticRoute.self) }

    @Test("a bad neighbor is refused with all four facts", arguments: badNeighbors)
    func refusesNeighbor(bad: Bad) { bad.check(as: Neighbor.self) }

    @Test("a route to nowhere is told of every field that leads somewhere")
    func blackholeWithAll() {
        let body = #"{"destination":"10.0.0.0/8","type":"blackhole","gateway":"192.0.2.1","ifname":"e"}"#
        let problem = #expect(throws: Problem.self) { try StaticRoute.parse(Array(body.utf8)) }
        #expect(problem?.errors.map(\.pointer.description) == ["/gateway", "/ifname"])
    }

    @Test("an address that is looked up is one, and a source one that a host can have")
    func parameters() throws {
        #expect(try RouteLookup.destinationParameter.parse("10.1.2.3").description == "10.1.2.3")
        for text in ["", "10.1.2", "10.0.0.0/8", "eth0"] {
            let problem = #expect(throws: Problem.self) { try RouteLookup.destinationParameter.parse(text) }
            #expect(
                problem?.detail
                    == #"query parameter destination: wanted an IPv4 or IPv6 address, found "\#(text)""#)
        }
        #expect(throws: Problem.self) { try RouteLookup.sourceParameter.parse("224.0.0.1") }
        #expect(
            RouteLookup.destinationParameter.missing.detail
                == "query parameter destination: wanted an IPv4 or IPv6 address, found nothing")
    }
}
