// Bodies that are refused: each with its status and code, each leaving documents, store and interfaces as
// they were, on a resource that exists and on one that does not.

import API
import Testing

@testable import Agent

/// A body, or a header with one, that no PUT takes.
struct Refused: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var status: Int
    var code: String
    var body: @Sendable (_ good: String) -> String
    var contentType: String?

    init(
        _ description: String, _ status: Int, _ code: String, type: String? = nil,
        _ body: @escaping @Sendable (_ good: String) -> String
    ) {
        testDescription = description
        self.status = status
        self.code = code
        contentType = type
        self.body = body
    }

    static let all = [
        Refused("an unknown field", 422, "invalid_resource") { with(#""colour":"red""#, $0) },
        Refused("a duplicate key", 400, "malformed_json") { with(#""x":1,"x":2"#, $0) },
        Refused("a good body's keys twice", 400, "malformed_json") {
            with(String($0.dropFirst().dropLast()), $0)
        },
        Refused("an array", 422, "invalid_resource") { "[\($0)]" },
        Refused("a string", 422, "invalid_resource") { _ in "\"br0\"" },
        Refused("null", 422, "invalid_resource") { _ in "null" },
        Refused("nothing", 400, "malformed_json") { _ in "" },
        Refused("blanks", 400, "malformed_json") { _ in " \n" },
        Refused("half a body", 400, "malformed_json") { String($0.dropLast()) },
        Refused("a body and a half", 400, "malformed_json") { $0 + "{" },
        Refused("a comment", 400, "malformed_json") { $0 + "// hello" },
        Refused("a form", 400, "malformed_json") { _ in "mtu=1500&vni=1" },
        Refused("a NUL in a string", 400, "malformed_json") { with(#""x":"\u0000""#, $0) },
        Refused("deep nesting", 400, "malformed_json") { _ in String(repeating: "[", count: 100) },
        Refused("a number beyond 63 bits", 400, "malformed_json") { with(#""x":99999999999999999999"#, $0) },
        Refused("more than a mebibyte", 413, "body_too_large") {
            with("\"x\":\"\(String(repeating: "x", count: 1 << 20))\"", $0)
        },
        Refused("plain text", 415, "unsupported_media_type", type: "text/plain") { $0 },
        Refused("XML", 415, "unsupported_media_type", type: "application/xml") { $0 },
        Refused("a merge patch", 415, "unsupported_media_type", type: "application/merge-patch+json") { $0 },
        Refused("an empty type", 415, "unsupported_media_type", type: "") { $0 },
    ]

    /// A good object with more members.
    private static func with(_ members: String, _ good: String) -> String {
        good.dropLast() + "," + members + "}"
    }
}

extension OnTheHost {
    @Suite struct BodyTests {
        /// What each PUT takes, and the fields of wrong types it does not.
        private struct Target {
            var existing: String
            var new: String
            var good: String
            var fields: [String]
        }

        private func furnish(_ agent: TestAgent) async -> [Target] {
            let site = agent.site
            let bridge = "/v1/bridges/\(site.name("b"))"
            let port = #"{"type":"internal","ifname":"\#(site.name("p"))"}"#
            let tunnel = #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(2))}"#
            let targets = [
                Target(
                    existing: bridge, new: "/v1/bridges/\(site.name("n"))",
                    good: #"{"vni":7}"#,
                    fields: [
                        "addresses", "mac", "mtu", "vni", "mac_aging_seconds", "mac_table_size",
                        "forward_bpdu", "flooding", "neigh_suppress",
                    ]),
                Target(
                    existing: "\(bridge)/ports/p0", new: "\(bridge)/ports/p1", good: port,
                    fields: ["type", "netns", "ifname", "mac", "addresses"]),
                Target(
                    existing: "\(bridge)/tunnels/t0", new: "\(bridge)/tunnels/t1", good: tunnel,
                    fields: [
                        "remote_ip", "local_ip", "vni", "dst_port", "ttl", "tos", "df_default", "csum",
                    ]),
                Target(
                    existing: "\(bridge)/macs/02:00:00:00:00:01", new: "\(bridge)/macs/02:00:00:00:00:02",
                    good: #"{"port":"p0"}"#, fields: ["port", "ips"]),
            ]
            for target in targets { #expect(await agent.put(target.existing, target.good).status == 201) }
            return targets
        }

        @Test("a body that is wrong by form is refused and changes nothing")
        func form() async throws {
            try await TestAgent.run { agent in
                let targets = await furnish(agent)
                let before = try await agent.state()
                for target in targets {
                    for refused in Refused.all {
                        for path in [target.existing, target.new] {
                            let headers = refused.contentType.map { [("Content-Type", $0)] } ?? []
                            let body = refused.body(target.good)
                            let answer = await agent.ask("PUT", path, body, headers: headers)
                            let what: Comment = "\(refused.testDescription) to \(path): \(answer.text)"
                            #expect(answer.status == refused.status, what)
                            #expect(answer.code == refused.code, what)
                        }
                    }
                    #expect(try await agent.isAgain(before), "\(target.existing)")
                }
            }
        }

        @Test("a field of a wrong type is refused with a pointer to it and changes nothing")
        func types() async throws {
            try await TestAgent.run { agent in
                let targets = await furnish(agent)
                let before = try await agent.state()
                for target in targets {
                    for field in target.fields {
                        for value in ["null", "{}", "1.5", "[[]]", "-1", "\"\""] {
                            for path in [target.existing, target.new] {
                                let answer = await agent.put(path, "{\"\(field)\":\(value)}")
                                let what: Comment = "\(field) \(value) to \(path): \(answer.text)"
                                #expect(answer.status == 422, what)
                                let pointers = answer.json["errors"]?.arrayValue?.compactMap {
                                    $0["pointer"]?.stringValue
                                }
                                let place = "/\(field)"
                                #expect(pointers?.contains { $0.hasPrefix(place) } == true, what)
                            }
                        }
                    }
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("every wrong field of a body is pointed at in one answer")
        func allErrors() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let answer = await agent.put(path, #"{"mtu":1,"vni":"x","colour":1,"addresses":["y"]}"#)
                #expect(answer.status == 422)
                let errors = answer.json["errors"]?.arrayValue ?? []
                #expect(
                    Set(errors.map { "\($0["pointer"] ?? nil) \($0["code"] ?? nil)" }) == [
                        #""/mtu" "out_of_range""#, #""/vni" "wrong_type""#,
                        #""/colour" "unknown_field""#, #""/addresses/0" "invalid_value""#,
                    ])
                #expect(await agent.get(path).status == 404)
            }
        }

        @Test("what curl sends when it is not told otherwise is JSON here, as is JSON with parameters")
        func mediaTypes() async throws {
            try await TestAgent.run { agent in
                let path = "/v1/bridges/\(agent.site.name("b"))"
                let types = [
                    "application/x-www-form-urlencoded", "application/json",
                    "application/json; charset=utf-8", "Application/JSON",
                ]
                for (number, type) in types.enumerated() {
                    let headers = [("Content-Type", type)]
                    let answer = await agent.ask("PUT", path, #"{"vni":\#(number)}"#, headers: headers)
                    #expect(answer.status == (number == 0 ? 201 : 200), "\(type)")
                    #expect(answer.json["spec"]?["vni"] == .integer(Int64(number)), "\(type)")
                }
            }
        }
    }
}
