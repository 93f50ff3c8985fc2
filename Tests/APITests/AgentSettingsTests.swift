// The configuration file, read as strictly as a request.

import API
import JSON
import Testing

@Suite struct AgentSettingsTests {
    static let good = [
        "{}",
        #"{"listen":"0.0.0.0:80","log_level":"trace","log_format":"json","underlay_driver":"socket"}"#,
        #"{"listen":"[::1]:8640","socket":"/run/viaduct/agent.sock","state":"/tmp/a b.db"}"#,
        #"{"listen":"127.0.0.1:0","source_ports":"1024-1087","strict_vxlan":false}"#,
        #"{"source_ports":"65472-65535","flow_limit":1000}"#,
        #"{"guest_namespaces":true,"packet_sockets":false}"#,
    ]

    private static func text(_ field: String, _ value: String, _ wanted: String) -> Bad {
        Bad(#"{"\#(field)":"\#(value)"}"#, "/\(field)", .invalidValue, wanted: wanted, found: #""\#(value)""#)
    }

    static let bad: [Bad] =
        [
            "8640", ":8640", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+80", "localhost:80",
            "::1:8640", "[127.0.0.1]:8640", "[::1]", "[]:80", "127.0.0.1:080000",
        ].map { text("listen", $0, "an IP address and a port") }
        + ["1023-2000", "49152-49214", "2000-1000", "49152", "49152-65536", "a-b", "2000-3000-4000", "-"].map
    {
        text("source_ports", $0, "a range of at least 64 ports")
    } + [
        text("socket", "agent.sock", "an absolute path of at most 107"),
        text("socket", "/" + String(repeating: "a", count: 63), "an absolute path").lengthened(to: 108),
        text("state", "", "an absolute path of at most 4095"),
        text("log_level", "verbose", #"one of "trace", "debug", "info""#),
        text("log_format", "xml", #"one of "text", "json""#),
        text("underlay_driver", "kernel", #"one of "auto", "socket", "native""#),
        text("offload", "on", #"one of "auto", "off""#),
        Bad(#"{"strict_vxlan":"yes"}"#, "/strict_vxlan", .wrongType, wanted: "true", found: #""yes""#),
        Bad(#"{"flow_limit":999}"#, "/flow_limit", .outOfRange, wanted: "from 1000", found: "999"),
        Bad(#"{"Listen":"::1"}"#, "/Listen", .unknownField, wanted: "one of listen", found: #""Listen""#),
    ]

    @Test("good settings are accepted and survive being written out", arguments: good)
    func accepts(body: String) throws {
        try checkGood(body, as: AgentSettings.self)
    }

    @Test("bad settings are refused with all four facts", arguments: bad)
    func refuses(bad: Bad) {
        bad.check(as: AgentSettings.self)
    }

    @Test("an empty file listens on loopback and uses the dynamic ports")
    func defaults() throws {
        let settings = try AgentSettings.parse(Array("{}".utf8))
        #expect(settings.listen.description == "127.0.0.1:8640")
        #expect(settings.socket == nil)
        #expect(settings.state == "/var/lib/viaduct/agent.db")
        #expect(settings.sourcePorts.ports == 49152...65535)
        #expect(settings.logLevel == .info)
        #expect(settings.logFormat == .text)
        #expect(!settings.guestNamespaces && settings.packetSockets)
        #expect(settings.underlayDriver == .auto)
        #expect(settings.strictVXLAN && settings.offload == .auto)
    }
}

extension Bad {
    /// The same with a path padded to `byteCount`; what is shown of it stays its first 64 characters.
    fileprivate func lengthened(to byteCount: Int) -> Bad {
        let path = "/" + String(repeating: "a", count: byteCount - 1)
        let shown = "\"/" + String(repeating: "a", count: 63) + "…\""
        return Bad(#"{"socket":"\#(path)"}"#, pointer, code, wanted: wanted, found: shown)
    }
}
