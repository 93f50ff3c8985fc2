// Bodies and keys of PUT /v1/bridges/{bridge}/macs/{mac}.

import API
import Testing
import Wire

@Suite struct StaticMACTests {
    static let bad = [
        Bad("{}", "/port", .missingField, wanted: "a name of 1 to 15", found: "nothing"),
        Bad(#"{"port":""}"#, "/port", .invalidValue, wanted: "a name of 1 to 15", found: #""""#),
        Bad(#"{"port":"lo"}"#, "/port", .invalidValue, wanted: "not lo, all or default", found: #""lo""#),
        Bad(#"{"port":["vxlan1"]}"#, "/port", .wrongType, wanted: "a name", found: "an array of 1 items"),
        Bad(#"{"port":"vxlan1","age":1}"#, "/age", .unknownField, wanted: "one of port", found: #""age""#),
        Bad(
            #"{"port":"vxlan1","ips":["192.0.2.1","2001:db8::1","192.0.2.1"]}"#, "/ips/2", .invalidValue,
            wanted: "each item once", found: #""192.0.2.1""#),
        Bad(
            #"{"port":"vxlan1","ips":["::ffff:192.0.2.1"]}"#, "/ips/0", .invalidValue,
            wanted: "a unicast IPv4",
            found: #""::ffff:192.0.2.1""#),
        Bad(
            #"{"port":"vxlan1","ips":["224.0.0.1"]}"#, "/ips/0", .invalidValue, wanted: "a unicast IPv4",
            found: #""224.0.0.1""#),
    ]

    @Test("a static entry names a port, a tunnel or the bridge", arguments: ["vxlan1", "web1", "br0"])
    func accepts(port: String) throws {
        #expect(try checkGood(#"{"port":"\#(port)"}"#, as: StaticMAC.self).port == port)
    }

    @Test("a static entry may have addresses of both families, which are written as RFC 5952 has them")
    func addresses() throws {
        let entry = try checkGood(
            #"{"port":"vxlan1","ips":["192.0.2.1","2001:DB8:0::1"]}"#, as: StaticMAC.self)
        #expect(entry.ips.map(\.description) == ["192.0.2.1", "2001:db8::1"])
    }

    @Test("a bad static entry is refused with all four facts", arguments: bad)
    func refuses(bad: Bad) {
        bad.check(as: StaticMAC.self)
    }

    @Test("the key in the path is one station's address")
    func key() throws {
        #expect(try StaticMAC.kind.station(in: "02:00:00:00:00:AA").description == "02:00:00:00:00:aa")
        #expect(
            try StaticMAC.kind.station(in: "02-00-00-00-00-AA@4094").description == "02:00:00:00:00:aa@4094")
        for segment in ["02:00:00:00:00:aa@0", "02:00:00:00:00:aa@4095", "02:00:00:00:00:aa@01", "@7"] {
            #expect(throws: Problem.self) { try StaticMAC.kind.station(in: segment) }
        }
        for segment in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00", "web1", ""] {
            let problem = #expect(throws: Problem.self) { try StaticMAC.kind.station(in: segment) }
            #expect(problem?.code == .malformedRequest)
            #expect(problem?.detail.hasPrefix("mac in the path: wanted a unicast MAC address") == true)
        }
    }
}
