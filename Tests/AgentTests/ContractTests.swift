// The table of the REST behaviour: every operation, every method, every way a request can be wrong before
// its content matters. `Contract` checks each answer against the declarations on top.

import API
import HTTP
import REST
import Testing

@testable import Agent

@Suite struct HandlerTests {
    @Test("every operation has exactly one handler, and every handler an operation")
    func handlers() {
        let served = AgentAPI.routes.flatMap { $0.handlers.keys.map(\.rawValue) }.sorted()
        #expect(Operations.agent.map(\.id.rawValue).sorted() == served)
    }
}

extension OnTheHost {
    @Suite struct ContractTests {
        static let methods = [
            "GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get",
        ]

        /// A bridge with one of everything, and the paths of all of it.
        private struct Furnished {
            let bridge: String
            let station = "02:00:00:00:00:09"

            init(_ agent: TestAgent) async {
                bridge = agent.site.name("b")
                #expect(await agent.put("/v1/bridges/\(bridge)").status == 201)
                let port = #"{"type":"internal","ifname":"\#(agent.site.name("p"))"}"#
                #expect(await agent.put("/v1/bridges/\(bridge)/ports/p0", port).status == 201)
                let tunnel = #"{"remote_ip":"198.51.100.7","dst_port":\#(udp(1))}"#
                #expect(await agent.put("/v1/bridges/\(bridge)/tunnels/t0", tunnel).status == 201)
                let path = "/v1/bridges/\(bridge)/macs/\(station)"
                #expect(await agent.put(path, #"{"port":"p0"}"#).status == 201)
                let rule = #"{"match":{"in_port":"p0"},"actions":[{"normal":true}]}"#
                #expect(await agent.put("/v1/bridges/\(bridge)/rules/r0", rule).status == 201)
                let mirror = #"{"select_src_port":["p0"],"output_port":"t0"}"#
                #expect(await agent.put("/v1/bridges/\(bridge)/mirrors/m0", mirror).status == 201)
                let route = #"{"destination":"198.51.100.128/25","type":"blackhole"}"#
                #expect(await agent.put("/v1/routes/r0", route).status == 201)
                let neighbor = #"{"mac":"\#(station)"}"#
                #expect(await agent.put("/v1/neighbors/none0/198.51.100.9", neighbor).status == 201)
            }

            /// What the operation cannot do without.
            func query(_ template: String) -> [(name: String, value: String)] {
                switch template {
                case RouteLookup.path: [(name: "destination", value: "198.51.100.7")]
                // It would go on for ever.
                case CaptureQuery.path: [(name: "duration", value: "1")]
                default: []
                }
            }

            /// A template with the keys of things that exist.
            func path(_ template: String) -> String {
                template.replacing("{bridge}", with: bridge).replacing("{port}", with: "p0")
                    .replacing("{tunnel}", with: "t0").replacing("{mac}", with: station)
                    .replacing("{check}", with: "worker").replacing("{route}", with: "r0")
                    .replacing("{rule}", with: "r0").replacing("{mirror}", with: "m0")
                    .replacing("{ifname}/{ip}", with: "none0/198.51.100.9")
            }
        }

        @Test("a path answers its methods, refuses the others with Allow, and says them all to OPTIONS")
        func methods() async throws {
            try await TestAgent.run { agent in
                let furnished = await Furnished(agent)
                let before = try await agent.state()
                for (template, operations) in Dictionary(grouping: Operations.agent, by: \.path) {
                    let path = furnished.path(template)
                    var allowed = Set(operations.map(\.method.rawValue))
                    if allowed.contains("GET") { allowed.insert("HEAD") }
                    let allow = (allowed.sorted() + ["OPTIONS"]).joined(separator: ", ")
                    for method in ContractTests.methods where !allowed.contains(method) {
                        let answer = await agent.ask(method, path, "{}")
                        #expect(answer.status == (method == "OPTIONS" ? 204 : 405), "\(method) \(path)")
                        #expect(answer.header("Allow") == allow, "\(method) \(path)")
                    }
                    if allowed.contains("GET") {
                        let query = furnished.query(template)
                        let get = await agent.ask("GET", path, query: query)
                        let head = await agent.ask("HEAD", path, query: query)
                        #expect(get.status == 200 && head.status == 200, "\(path)")
                        #expect(head.header("Content-Type") == get.header("Content-Type"), "\(path)")
                    }
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("paths that lead nowhere are not found, whatever the method")
        func unknownPaths() async throws {
            try await TestAgent.run { agent in
                let bridge = await Furnished(agent).bridge
                let nowhere = [
                    "/", "/v1", "/v1/", "/v2/bridges", "/v1/bridge", "/v1/bridges/", "/metrics/",
                    "/v1/bridges/\(bridge)/", "/v1/bridges/\(bridge)/ports/", "/v1/bridges/\(bridge)/nics",
                    "/v1/bridges/\(bridge)/ports/p0/x", "/v1//bridges", "/V1/bridges", "/openapi",
                ]
                for path in nowhere {
                    for method in ContractTests.methods {
                        let answer = await agent.ask(method, path, "{}")
                        #expect(answer.status == 404 && answer.code == "not_found", "\(method) \(path)")
                    }
                }
            }
        }

        @Test("things that do not exist are not found, nor is anything below them")
        func missing() async throws {
            try await TestAgent.run { agent in
                let bridge = await Furnished(agent).bridge
                let before = try await agent.state()
                let none = agent.site.name("none")
                let bodies = [
                    "ports/p9": #"{"type":"internal"}"#, "tunnels/t9": #"{"remote_ip":"198.51.100.8"}"#,
                    "macs/02:00:00:00:00:08": #"{"port":"p0"}"#,
                ]
                for (path, body) in bodies {
                    #expect(await agent.put("/v1/bridges/\(none)/\(path)", body).status == 404)
                    for method in ["GET", "HEAD", "DELETE"] {
                        for owner in [none, bridge] {
                            let answer = await agent.ask(method, "/v1/bridges/\(owner)/\(path)")
                            #expect(answer.status == 404, "\(method) \(owner)/\(path)")
                        }
                    }
                }
                for path in ["", "/ports", "/tunnels", "/macs"] {
                    let answer = await agent.get("/v1/bridges/\(none)\(path)")
                    #expect(answer.status == 404)
                    #expect(answer.detail == "there is no bridge \(none)")
                }
                #expect(await agent.delete("/v1/bridges/\(none)").status == 404)
                #expect(await agent.delete("/v1/bridges/\(none)/macs").status == 404)
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("keys that cannot be a name or a station are refused as such")
        func badKeys() async throws {
            try await TestAgent.run { agent in
                let bridge = await Furnished(agent).bridge
                let before = try await agent.state()
                for key in ["-x", "a b", "0123456789abcdef", "é", "lo", "all", "default", "%41", "a:b"] {
                    for path in ["", "\(bridge)/ports/", "\(bridge)/tunnels/", "\(bridge)/macs/"] {
                        let body = path.hasSuffix("tunnels/") ? #"{"remote_ip":"198.51.100.8"}"# : "{}"
                        for method in ["GET", "PUT", "DELETE"] {
                            let answer = await agent.ask(method, "/v1/bridges/\(path)\(key)", body)
                            #expect(answer.status == 400, "\(method) \(path)\(key)")
                            #expect(answer.code == "malformed_request", "\(method) \(path)\(key)")
                        }
                    }
                }
                for mac in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "1:2:3:4:5:6"] {
                    let answer = await agent.put("/v1/bridges/\(bridge)/macs/\(mac)", #"{"port":"p0"}"#)
                    #expect(answer.status == 400, "\(mac)")
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("an Accept header without room for the answer is refused before anything happens")
        func accept() async throws {
            try await TestAgent.run { agent in
                let furnished = await Furnished(agent)
                let before = try await agent.state()
                for operation in Operations.agent {
                    guard let answer = operation.answers.first, answer.body != .empty else { continue }
                    let (wanted, other) =
                        switch answer.body {
                        case .text: ("text/plain", "application/json")
                        case .bytes(let type): (type, "text/plain")
                        default: ("application/json", "text/plain")
                        }
                    let path = furnished.path(operation.path)
                    func status(_ accept: String) async -> Int {
                        let headers = [("Accept", accept), ("Content-Type", "application/json")]
                        let query = furnished.query(operation.path)
                        return await agent.ask(
                            operation.method.rawValue, path, "", headers: headers, query: query
                        ).status
                    }
                    let isEither = if case .jsonOrText(_, other) = answer.body { true } else { false }
                    let others = isEither ? [] : [other]
                    for refused in others + ["text/html", "image/*, text/html;q=0.9", "\(wanted)x"] {
                        #expect(await status(refused) == 406, "\(operation.id) \(refused)")
                    }
                    let family = wanted.split(separator: "/")[0]
                    for accepted in ["*/*", wanted, "text/html, \(wanted);q=0.5", "\(family)/*"] {
                        // A PUT gets as far as its empty body, a restart to a process that cannot.
                        let takesBody = [.put, .patch, .post].contains(operation.method)
                        let expected = operation.id == .restart ? 503 : takesBody ? 400 : 200
                        #expect(await status(accepted) == expected, "\(operation.id) \(accepted)")
                    }
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("a query parameter the operation does not know is refused, never ignored")
        func query() async throws {
            try await TestAgent.run { agent in
                let furnished = await Furnished(agent)
                let before = try await agent.state()
                for operation in Operations.agent {
                    let path = furnished.path(operation.path)
                    for name in ["dryrun", "Verbose", "limits"] {
                        let answer = await agent.ask(
                            operation.method.rawValue, path, "{}", query: [(name: name, value: "true")])
                        #expect(answer.status == 400, "\(operation.id) \(name)")
                        #expect(answer.detail.contains(name), "\(operation.id) \(name)")
                    }
                }
                #expect(try await agent.isAgain(before))
            }
        }

        @Test("before the state is restored only the agent's health is answered")
        func notRestored() async throws {
            try await Site.run { site in
                let agent = try await TestAgent(site, saysRestored: false)
                for path in ["/v1/bridges", "/v1/bridges/b", "/readyz"] {
                    let answer = await agent.get(path)
                    #expect(answer.status == 503 && answer.detail.contains("being restored"), "\(path)")
                    #expect(answer.header("Retry-After") == "1")
                }
                #expect(await agent.put("/v1/bridges/\(site.name("b"))").status == 503)
                #expect(await agent.get("/livez").status == 200)
                agent.api.health.restored()
                #expect(await agent.get("/v1/bridges").status == 200)
                await agent.core.shutDown()
            }
        }

        @Test("the service paths answer what their readers expect")
        func service() async throws {
            try await TestAgent.run { agent in
                for path in ["/livez", "/readyz", "/healthz"] {
                    #expect(await agent.get(path).text == "ok\n")
                    let verbose = await agent.ask("GET", path, query: [(name: "verbose", value: "")])
                    #expect(verbose.text.hasPrefix("[+]worker ok\n[+]control ok\n"))
                    #expect(verbose.text.contains("[+]state ok\n") == (path != "/livez"))
                }
                #expect(await agent.get("/v1/version").json["version"]?.stringValue == Agent.version)
                let openapi = await agent.get("/openapi.json").json
                #expect(openapi == .object(OpenAPI.document(of: .agent, version: Agent.version)))
                #expect(await agent.get("/v1/listeners").text == "{\n  \"items\": []\n}\n")
                agent.api.health.stopping()
                let stopping = await agent.get("/readyz")
                #expect(stopping.status == 503 && stopping.detail == "serving: the agent is stopping")
                #expect(stopping.header("Retry-After") == "1")
                #expect(await agent.get("/livez").status == 200)
            }
        }
    }
}
