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
    ]

    @Test("a static entry names a port, a tunnel or the bridge", arguments: ["vxlan1", "web1", "br0"])
    func accepts(port: String) throws {
        #expect(try checkGood(#"{"port":"\#(port)"}"#, as: StaticMAC.self).port == port)
    }

    @Test("a bad static entry is refused with all four facts", arguments: bad)
    func refuses(bad: Bad) {
        bad.check(as: StaticMAC.self)
    }

    @Test("the key in the path is one station's address")
    func key() throws {
        #expect(try StaticMAC.kind.mac(in: "02:00:00:00:00:AA").description == "02:00:00:00:00:aa")
        for segment in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00", "web1", ""] {
            let problem = #expect(throws: Problem.self) { try StaticMAC.kind.mac(in: segment) }
            #expect(problem?.code == .malformedRequest)
            #expect(problem?.detail.hasPrefix("mac in the path: wanted a unicast MAC address") == true)
        }
    }
}
