// The digest of a state: what every other implementation must come to, and that it holds still.

import JSON
import Testing
import Wire

@testable import API

@Suite struct StateTests {
    @Test("SHA-256 is FIPS 180-4's, and its text is 64 lower-case digits")
    func digests() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(SHA256(of: []).description == empty)
        #expect(SHA256(of: Array("abc".utf8)).description == abc)
        #expect(SHA256(abc) == SHA256(of: Array("abc".utf8)))
        for text in ["", String(abc.dropLast()), abc + "0", abc.uppercased(), String(abc.dropLast()) + "g"] {
            #expect(SHA256(text) == nil, "\(text)")
        }
    }

    /// What hashlib makes of four resources, as the definition says.
    private let expected = "01a9cc9092eff99776fd229a2105047a47ecc80fed38ac28fb19e55710c42953"

    private var resources: [(path: String, resource: JSONObject)] {
        var tunnel = Tunnel(remoteIP: IPAddress("2001:db8:0::7") ?? .prototype)
        tunnel.ttl = .fixed(17)
        var bridge = Bridge()
        bridge.addresses = [IPPrefix("192.0.2.1/24")].compactMap { $0 }
        bridge.vni = VNI(truncating: 7)
        return [
            ("/v1/bridges/br0/tunnels/vxlan1", Tunnel.schema.encodeWithoutDefaults(tunnel)),
            ("/v1/bridges/br0.1", Bridge.schema.encodeWithoutDefaults(bridge)),
            ("/v1/bridges/br0", Bridge.schema.encodeWithoutDefaults(Bridge())),
            (
                "/v1/bridges/br0/macs/02:00:00:00:00:09",
                StaticMAC.schema.encodeWithoutDefaults(StaticMAC(port: "vxlan1"))
            ),
        ]
    }

    @Test("a digest is what hashlib computes by the definition, in whatever order resources are given")
    func vector() {
        #expect(StateDigest(resources).value.description == expected)
        #expect(StateDigest(resources.reversed()).value.description == expected)
        #expect(StateDigest().value == SHA256(of: []))
    }

    @Test("a digest that was kept up is the one computed anew, after any changes")
    func keptUp() {
        var kept = StateDigest()
        for number in 0..<200 {
            kept.note(["port": .integer(Int64(number))], at: "/v1/bridges/b\(number * 7 % 200)")
        }
        for (path, resource) in resources {
            kept.note(["old": true], at: path)
            kept.note(resource, at: path)
        }
        for number in 0..<200 { kept.note(nil, at: "/v1/bridges/b\(number)") }
        kept.note(nil, at: "/v1/bridges/none")
        #expect(kept == StateDigest(resources))
        #expect(kept.value.description == expected)
    }

    @Test("a field that says its default is as good as none, but what is required is always there")
    func defaults() throws {
        let spelled = try Tunnel.parse(
            Array(#"{"remote_ip":"192.0.2.7","ttl":64,"csum":true,"dst_port":4789,"df_default":true}"#.utf8))
        #expect(text(Tunnel.schema.encodeWithoutDefaults(spelled)) == #"{"remote_ip":"192.0.2.7"}"#)
        #expect(text(StaticMAC.schema.encodeWithoutDefaults(StaticMAC(port: ""))) == #"{"port":""}"#)
    }
}
