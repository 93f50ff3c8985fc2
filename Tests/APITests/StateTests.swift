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

    /// What hashlib makes of four resources in two bridges, as the definition says; and of those without the
    /// first bridge itself.
    private let expected = "99de4fd3192f1082b18ccf5f6b6fa869ebe124a4b023cc2a70542f716ad39024"
    private let withoutBridge = "396db36a96b701145aa28cc0de11236455e9bb91692da900d8e1f1c7ac085515"

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
        #expect(StateDigest.value(of: resources).description == expected)
        #expect(StateDigest.value(of: resources.reversed()).description == expected)
        #expect(StateDigest.value(of: []) == SHA256(of: []))
        let orphans = resources.filter { $0.path != "/v1/bridges/br0" }
        #expect(StateDigest.value(of: orphans).description == withoutBridge)
    }

    @Test(
        "a digest that was kept up is the one computed anew, after any changes and however often it is asked")
    func keptUp() {
        var kept = StateDigest()
        for number in 0..<200 {
            kept.note(["port": .integer(Int64(number))], at: "/v1/bridges/b\(number * 7 % 20)/macs/\(number)")
            if number % 30 == 0 { _ = kept.value }
        }
        #expect(kept.count == 200)
        for (path, resource) in resources {
            kept.note(["old": true], at: path)
            _ = kept.value
            kept.note(resource, at: path)
        }
        for number in 0..<200 { kept.note(nil, at: "/v1/bridges/b\(number * 7 % 20)/macs/\(number)") }
        kept.note(nil, at: "/v1/bridges/none")
        #expect(kept == StateDigest(resources))
        #expect(kept.count == resources.count)
        #expect(kept.value.description == expected)
        kept.note(nil, at: "/v1/bridges/br0")
        #expect(kept.value.description == withoutBridge)
        #expect(kept != StateDigest(resources))
    }

    @Test("random lives of a digest end where a model that hashes everything each time does")
    func lives() {
        var seed: UInt64 = 5
        func choose(_ count: UInt64) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((seed >> 33) % count)
        }
        var kept = StateDigest()
        var model: [String: JSONObject] = [:]
        for step in 0..<2_000 {
            let bridge = "/v1/bridges/b\(choose(12))"
            let member = choose(9)
            let path = member == 0 ? bridge : "\(bridge)/ports/p\(member)"
            let value = Int64(choose(4))
            let resource: JSONObject? = value == 0 ? nil : ["mtu": .integer(value)]
            model[path] = resource
            if step.isMultiple(of: 2) {
                kept.note(resource, at: path)
            } else {
                kept.note(digestOfResource: resource.map { StateDigest.digest(of: $0) }, at: path)
            }
            if step.isMultiple(of: 7) {
                #expect(kept.value == StateDigest.value(of: model.map { ($0.key, $0.value) }), "step \(step)")
            }
        }
        #expect(kept.count == model.count)
    }

    @Test("a field that says its default is as good as none, but what is required is always there")
    func defaults() throws {
        let spelled = try Tunnel.parse(
            Array(#"{"remote_ip":"192.0.2.7","ttl":64,"csum":true,"dst_port":4789,"df_default":true}"#.utf8))
        #expect(text(Tunnel.schema.encodeWithoutDefaults(spelled)) == #"{"remote_ip":"192.0.2.7"}"#)
        #expect(text(StaticMAC.schema.encodeWithoutDefaults(StaticMAC(port: ""))) == #"{"port":""}"#)
    }
}
