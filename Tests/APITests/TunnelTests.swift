// Bodies of PUT /v1/bridges/{bridge}/tunnels/{tunnel}.

import API
import JSON
import Testing
import Wire

@Suite struct TunnelTests {
    static let good = [
        #"{"remote_ip":"10.10.10.2"}"#,
        #"{"remote_ip":"10.10.10.2","vni":"flow","dst_port":8472}"#,
        #"{"remote_ip":"192.0.2.7","local_ip":"192.0.2.6","vni":0,"ttl":1,"tos":4}"#,
        #"{"remote_ip":"2001:db8::7","local_ip":"2001:db8::6","vni":16777215,"ttl":255,"tos":252}"#,
        #"{"remote_ip":"169.254.0.7","dst_port":1,"ttl":"inherit","df_default":false,"csum":false}"#,
        #"{"remote_ip":"192.0.2.7","tos":"inherit"}"#,
        #"{"remote_ip":"192.0.2.7","bfd":{}}"#,
        #"{"remote_ip":"192.0.2.7","bfd":{"enable":true,"min_tx":10,"min_rx":60000,"mult":255}}"#,
        #"{"remote_ip":"192.0.2.7","bfd":{"bfd_local_src_mac":"02:00:00:00:00:01","bfd_dst_ip":"127.0.0.1"}}"#,
    ]

    private static func remote(_ address: String) -> Bad {
        Bad(
            #"{"remote_ip":"\#(address)"}"#, "/remote_ip", .invalidValue, wanted: "a unicast IPv4 or IPv6",
            found: #""\#(address)""#)
    }

    private static func field(
        _ name: String, _ value: String, _ code: FieldErrorCode, _ wanted: String, at pointer: String? = nil
    ) -> Bad {
        Bad(
            #"{"remote_ip":"192.0.2.7","\#(name)":\#(value)}"#, pointer ?? "/\(name)", code, wanted: wanted,
            found: value)
    }

    private static func bfd(
        _ name: String, _ value: String, _ code: FieldErrorCode, _ wanted: String
    ) -> Bad {
        Bad(
            #"{"remote_ip":"192.0.2.7","bfd":{"\#(name)":\#(value)}}"#, "/bfd/\(name)", code, wanted: wanted,
            found: value)
    }

    static let bad: [Bad] =
        [
            "0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255", "fe80::1",
            "::ffff:192.0.2.7", "example.net", "192.0.2", "192.0.2.07", " 192.0.2.7", "192.0.2.7/24", "",
        ].map(remote) + [
            Bad("{}", "/remote_ip", .missingField, wanted: "a unicast", found: "nothing"),
            field("local_ip", #""224.0.0.1""#, .invalidValue, "a unicast"),
            field("local_ip", #""2001:db8::1""#, .notAllowed, "an IPv4 address, as remote_ip is"),
            field("local_ip", #""192.0.2.7""#, .notAllowed, "another address than remote_ip"),
            field("vni", "-1", .outOfRange, #"an integer from 0 to 16777215, or "flow""#),
            field("vni", "16777216", .outOfRange, #"or "flow""#),
            field("vni", #""100""#, .invalidValue, #"or "flow""#),
            field("vni", "1.5", .wrongType, #"or "flow""#),
            field("vni", "9223372036854775807", .outOfRange, #"or "flow""#),
            field("dst_port", "0", .outOfRange, "from 1 to 65535"),
            field("dst_port", "65536", .outOfRange, "from 1 to 65535"),
            field("ttl", "0", .outOfRange, #"an integer from 1 to 255, or "inherit""#),
            field("ttl", "256", .outOfRange, #"or "inherit""#),
            field("ttl", #""Inherit""#, .invalidValue, #"or "inherit""#),
            field("tos", "1", .invalidValue, #"a multiple of 4 from 0 to 252, or "inherit""#),
            field("tos", "256", .outOfRange, "from 0 to 252"),
            field("tos", "true", .wrongType, "a multiple of 4"),
            field("csum", "null", .wrongType, "true or false"),
            field("df_default", "0", .wrongType, "true or false"),
            field("bfd", "true", .wrongType, "an object"),
            bfd("min_tx", "9", .outOfRange, "from 10 to 60000"),
            bfd("min_rx", "60001", .outOfRange, "from 10 to 60000"),
            bfd("mult", "0", .outOfRange, "from 1 to 255"),
            bfd("bfd_remote_dst_mac", #""01:00:5e:00:00:01""#, .invalidValue, "a unicast MAC address"),
            bfd("bfd_src_ip", #""2001:db8::1""#, .invalidValue, "an IPv4 address"),
            bfd("bfd_dst_ip", #""224.0.0.1""#, .invalidValue, "an IPv4 address"),
        ]

    @Test("a good tunnel is accepted and survives being written out", arguments: good)
    func accepts(body: String) throws {
        try checkGood(body, as: Tunnel.self)
    }

    @Test("a bad tunnel is refused with where, what sort, what was wanted and what was found", arguments: bad)
    func refuses(bad: Bad) {
        bad.check(as: Tunnel.self)
    }

    @Test("a tunnel without a VNI has the bridge's, and says nothing of it when written out")
    func noVNI() throws {
        let tunnel = try Tunnel.parse(Array(#"{"remote_ip":"10.10.10.2"}"#.utf8))
        #expect(tunnel.vni == nil)
        #expect(
            JSONValue.object(tunnel.json).description
                == #"{"remote_ip":"10.10.10.2","dst_port":4789,"ttl":64,"tos":0,"#
                + #""df_default":true,"csum":true}"#
        )
    }

    @Test("the words decode to their cases")
    func words() throws {
        let body = #"{"remote_ip":"10.10.10.2","vni":"flow","ttl":"inherit","tos":"inherit"}"#
        let tunnel = try Tunnel.parse(Array(body.utf8))
        #expect(tunnel.vni == .flow)
        #expect(tunnel.ttl == .inherit)
        #expect(tunnel.tos == .inherit)
    }
}
