// Bodies of PUT /v1/bridges/{bridge}.

import API
import JSON
import Testing
import Wire

@Suite struct BridgeTests {
    static let good: [String] =
        [
            "{}",
            #"{"addresses":["1.1.1.1/24"]}"#,
            #"{"addresses":["192.0.2.1/24","2001:db8::1/64","fe80::1/64"],"mtu":1280}"#,
            #"{"mac":"02:00:00:00:00:01","mtu":68,"vni":0,"mac_aging_seconds":1,"mac_table_size":10}"#,
            #"{"mtu":65521,"vni":16777215,"mac_aging_seconds":86400,"mac_table_size":1000000}"#,
            #"{"forward_bpdu":true,"mac":"02-00-00-00-00-01"}"#,
        ] + "02468ACEace".map { #"{"mac":"f\#($0):FF:ff:ff:ff:ff"}"# }

    static let bad = [
        Bad("[]", "", .wrongType, wanted: "an object", found: "an array of 0 items"),
        Bad(#"{"adresses":[]}"#, "/adresses", .unknownField, wanted: "addresses, mac", found: #""adresses""#),
        Bad(#"{"a/b~":1}"#, "/a~1b~0", .unknownField, wanted: "one of", found: #""a/b~""#),
        Bad(
            #"{"addresses":"1.1.1.1/24"}"#, "/addresses", .wrongType, wanted: "at most 64",
            found: #""1.1.1.1/24""#),
        Bad(
            #"{"addresses":["1.1.1.1/33"]}"#, "/addresses/0", .invalidValue, wanted: "prefix",
            found: #""1.1.1.1/33""#),
        Bad(
            #"{"addresses":["1.1.1.1"]}"#, "/addresses/0", .invalidValue, wanted: "prefix",
            found: #""1.1.1.1""#),
        Bad(
            #"{"addresses":["1.1.1.1/0"]}"#, "/addresses/0", .invalidValue, wanted: "prefix",
            found: #""1.1.1.1/0""#),
        Bad(
            #"{"addresses":["0.0.0.0/8"]}"#, "/addresses/0", .invalidValue, wanted: "prefix",
            found: #""0.0.0.0/8""#),
        Bad(
            #"{"addresses":["ff02::1/64"]}"#, "/addresses/0", .invalidValue, wanted: "prefix",
            found: #""ff02::1/64""#),
        Bad(
            #"{"addresses":["1.1.1.1/24","1.1.1.1/24"]}"#, "/addresses/1", .invalidValue, wanted: "once",
            found: #""1.1.1.1/24""#),
        Bad(#"{"addresses":[7]}"#, "/addresses/0", .wrongType, wanted: "prefix", found: "7"),
        Bad(
            #"{"mac":"01:00:5e:00:00:01"}"#, "/mac", .invalidValue, wanted: "unicast",
            found: #""01:00:5e:00:00:01""#),
        Bad(
            #"{"mac":"00:00:00:00:00:00"}"#, "/mac", .invalidValue, wanted: "zeros",
            found: #""00:00:00:00:00:00""#),
        Bad(#"{"mac":"br0"}"#, "/mac", .invalidValue, wanted: "a unicast MAC", found: #""br0""#),
        Bad(#"{"mac":null}"#, "/mac", .wrongType, wanted: "a unicast MAC", found: "null"),
        Bad(#"{"mtu":67}"#, "/mtu", .outOfRange, wanted: "an integer from 68 to 65521", found: "67"),
        Bad(#"{"mtu":65522}"#, "/mtu", .outOfRange, wanted: "an integer from 68 to 65521", found: "65522"),
        Bad(#"{"mtu":1500.0}"#, "/mtu", .wrongType, wanted: "an integer", found: "1500.0"),
        Bad(#"{"mtu":"1500"}"#, "/mtu", .wrongType, wanted: "an integer", found: #""1500""#),
        Bad(
            #"{"mtu":1279,"addresses":["2001:db8::1/64"]}"#, "/mtu", .notAllowed, wanted: "at least 1280",
            found: "1279"),
        Bad(#"{"vni":-1}"#, "/vni", .outOfRange, wanted: "from 0 to 16777215", found: "-1"),
        Bad(#"{"vni":16777216}"#, "/vni", .outOfRange, wanted: "from 0 to 16777215", found: "16777216"),
        Bad(#"{"vni":"flow"}"#, "/vni", .wrongType, wanted: "an integer", found: #""flow""#),
        Bad(
            #"{"mac_aging_seconds":0}"#, "/mac_aging_seconds", .outOfRange, wanted: "from 1 to 86400",
            found: "0"),
        Bad(
            #"{"mac_table_size":9}"#, "/mac_table_size", .outOfRange, wanted: "from 10 to 1000000", found: "9"
        ),
        Bad(
            #"{"forward_bpdu":"true"}"#, "/forward_bpdu", .wrongType, wanted: "true or false",
            found: #""true""#),
        Bad(#"{"forward_bpdu":1}"#, "/forward_bpdu", .wrongType, wanted: "true or false", found: "1"),
    ]

    @Test("a good bridge is accepted and survives being written out", arguments: good)
    func accepts(body: String) throws {
        try checkGood(body, as: Bridge.self)
    }

    @Test("a bad bridge is refused with where, what sort, what was wanted and what was found", arguments: bad)
    func refuses(bad: Bad) {
        bad.check(as: Bridge.self)
    }

    @Test("an empty body is a bridge with every default")
    func defaults() throws {
        let bridge = try Bridge.parse(Array("{}".utf8))
        #expect(bridge == Bridge())
        #expect(
            JSONValue.object(bridge.json).description
                == #"{"addresses":[],"vni":0,"mac_aging_seconds":300,"mac_table_size":8192,"#
                + #""forward_bpdu":false,"flooding":"head_end_replication","neigh_suppress":true}"#
        )
    }

    @Test("at most 64 addresses are taken, and one more is one error rather than 65")
    func addressLimit() throws {
        func body(_ count: Int) -> String {
            #"{"addresses":["# + (1...count).map { #""10.0.0.\#($0)/24""# }.joined(separator: ",") + "]}"
        }
        #expect(try checkGood(body(64), as: Bridge.self).addresses.count == 64)
        Bad(body(65), "/addresses", .outOfRange, wanted: "at most 64 items", found: "an array of 65 items")
            .check(as: Bridge.self)
    }
}
