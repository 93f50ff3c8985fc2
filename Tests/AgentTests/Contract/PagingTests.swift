// Pages and filters of collections.

import JSON
import Testing

@testable import Agent

extension OnTheHost {
    @Suite struct PagingTests {
        /// Every page in turn, by name.
        private func pages(
            _ agent: TestAgent, _ path: String, _ query: [(name: String, value: String)],
            at location: SourceLocation = #_sourceLocation
        ) async -> [[String]] {
            var pages: [[String]] = []
            var token: String?
            repeat {
                let next = token.map { [(name: "page_token", value: $0)] } ?? []
                let answer = await agent.ask("GET", path, query: query + next, at: location)
                #expect(answer.status == 200, "\(answer.text)", sourceLocation: location)
                pages.append(answer.items.map { ($0["name"] ?? $0["mac"])?.stringValue ?? "" })
                token = answer.json["next_page_token"]?.stringValue
            } while token != nil && pages.count < 100
            return pages
        }

        /// A bridge with 25 tunnels: even ones to .7, odd ones to .8; VNI 100 and 101, every fifth by flow.
        private func tunnels(_ agent: TestAgent, _ port: Int) async -> (path: String, names: [String]) {
            let path = "/v1/bridges/\(agent.site.name("b"))"
            let names = (0..<25).map { "t\($0)" }
            let operations = names.enumerated().map { number, name in
                let vni = number % 5 == 0 ? #""flow""# : "\(100 + number)"
                return putting(
                    "\(path)/tunnels/\(name)",
                    #"{"remote_ip":"198.51.\#(number).\#(number % 2 + 7)","dst_port":\#(udp(port)),"vni":\#(vni)}"#
                )
            }
            #expect(await agent.batch([putting(path)] + operations).status == 200)
            return (path, names.sorted())
        }

        @Test("25 items in pages of 10 are three pages with each item once, in order")
        func threePages() async throws {
            try await TestAgent.run { agent async throws in
                let (path, names) = await tunnels(agent, 45)
                let list = "\(path)/tunnels"
                let found = await pages(agent, list, [("limit", "10")])
                #expect(found.map(\.count) == [10, 10, 5] && found.flatMap { $0 } == names)
                #expect(await pages(agent, list, []) == [names])
                #expect(await pages(agent, list, [("limit", "25")]) == [names], "no token on the last page")
                #expect(await pages(agent, list, [("limit", "1")]) == names.map { [$0] })
                #expect(await pages(agent, list, [("limit", "1000")]) == [names])
            }
        }

        @Test("a page goes on where the last one ended, whatever came and went in between")
        func changing() async throws {
            try await TestAgent.run { agent async throws in
                let (path, names) = await tunnels(agent, 46)
                let list = "\(path)/tunnels"
                let first = await agent.ask("GET", list, query: [("limit", "10")])
                let token = try #require(first.json["next_page_token"]?.stringValue)
                await agent.delete("\(list)/\(names[9])")
                await agent.delete("\(list)/\(names[10])")
                let second = await agent.ask("GET", list, query: [("limit", "10"), ("page_token", token)])
                #expect(second.items.map { $0["name"]?.stringValue ?? "" } == Array(names[11..<21]))
                for name in names.dropFirst(11) { await agent.delete("\(list)/\(name)") }
                let end = await agent.ask("GET", list, query: [("page_token", token)])
                #expect(end.status == 200 && end.items.isEmpty && end.json["next_page_token"] == nil)
            }
        }

        @Test("a token of another collection, a mangled one and a limit out of range are refused")
        func refused() async throws {
            try await TestAgent.run { agent async throws in
                let (path, _) = await tunnels(agent, 47)
                let list = "\(path)/tunnels"
                let answer = await agent.ask("GET", list, query: [("limit", "10")])
                let token = try #require(answer.json["next_page_token"]?.stringValue)
                for other in ["\(path)/ports", "\(path)/macs", "/v1/bridges"] {
                    let refused = await agent.ask("GET", other, query: [("page_token", token)])
                    #expect(refused.status == 400 && refused.code == "malformed_request", "\(other)")
                }
                let last = token.last == "0" ? "1" : "0"
                let mangled = ["", "x", "zzzz", "0", token + "0", token + "00", token.dropLast() + last, "é"]
                for text in mangled + [String(token.dropLast(2)), String(token.dropFirst())] {
                    let refused = await agent.ask("GET", list, query: [("page_token", text)])
                    #expect(refused.status == 400 && refused.code == "malformed_request", "\(text)")
                }
                for limit in ["0", "1001", "x", "-1", "", "1.5", "99999999999999999999", "+5", " 5"] {
                    let refused = await agent.ask("GET", list, query: [("limit", limit)])
                    #expect(refused.status == 400 && refused.code == "malformed_request", "limit \(limit)")
                }
                #expect(await agent.ask("GET", list, query: [("limit", "5"), ("limit", "5")]).status == 400)
                #expect(await agent.ask("GET", list, query: [("offset", "5")]).status == 400)
            }
        }

        @Test("filters alone, together and with pages show what they name and nothing else")
        func filters() async throws {
            try await TestAgent.run { agent async throws in
                let (path, names) = await tunnels(agent, 48)
                let list = "\(path)/tunnels"
                #expect(await pages(agent, list, [("remote_ip", "198.51.3.8")]) == [["t3"]])
                #expect(await pages(agent, list, [("vni", "106")]) == [["t6"]])
                let flows = ["t0", "t10", "t15", "t20", "t5"]
                #expect(await pages(agent, list, [("vni", "flow")]) == [flows])
                let paged = await pages(agent, list, [("vni", "flow"), ("limit", "2")])
                #expect(paged.flatMap { $0 } == flows && paged.allSatisfy { $0.count <= 2 })
                #expect(await pages(agent, list, [("vni", "106"), ("remote_ip", "198.51.3.8")]) == [[]])
                let healthy = await pages(agent, list, [("state", "ok")]).flatMap { $0 }
                let degraded = await pages(agent, list, [("state", "degraded")]).flatMap { $0 }
                #expect((healthy + degraded).sorted() == names)
                await agent.put("\(path)/tunnels/six", #"{"remote_ip":"2001:db8::7","dst_port":\#(udp(48))}"#)
                #expect(await pages(agent, list, [("remote_ip", "2001:DB8:0::7")]) == [["six"]])
                #expect(await pages(agent, list, [("vni", "0106")]) == [["t6"]], "the same number")

                let port = agent.site.name("p")
                await agent.put("\(path)/ports/p0", #"{"type":"tap","ifname":"\#(port)"}"#)
                #expect(await pages(agent, "\(path)/ports", [("type", "tap")]) == [["p0"]])
                #expect(await pages(agent, "\(path)/ports", [("type", "system")]) == [[]])
                #expect(await pages(agent, "\(path)/ports", [("state", "ok")]) == [["p0"]])
                await agent.put("\(path)/macs/02:00:00:00:00:01", #"{"port":"p0"}"#)
                await agent.put("\(path)/macs/02:00:00:00:00:02", #"{"port":"t1"}"#)
                let (one, two) = ("02:00:00:00:00:01", "02:00:00:00:00:02")
                #expect(await pages(agent, "\(path)/macs", [("type", "static")]) == [[one, two]])
                let atTunnel = [(name: "port", value: "t1"), (name: "type", value: "static")]
                #expect(await pages(agent, "\(path)/macs", atTunnel) == [[two]])
                let bridges = await pages(agent, "/v1/bridges", [("state", "ok")])
                #expect(bridges == [[agent.site.name("b")]])
                #expect(await agent.ask("GET", list, query: [("type", "tap")]).status == 400, "not a filter")
            }
        }

        @Test("a page that ends with the last match of a filter is the last page")
        func noEmptyPage() async throws {
            try await TestAgent.run { agent async throws in
                let (path, _) = await tunnels(agent, 49)
                let list = "\(path)/tunnels"
                // Five match, the last of them in the middle of the list.
                let flow = (name: "vni", value: "flow")
                #expect(await pages(agent, list, [flow, ("limit", "5")]).map(\.count) == [5])
                #expect(await pages(agent, list, [flow, ("limit", "1")]).map(\.count) == [1, 1, 1, 1, 1])
                #expect(await pages(agent, list, [flow, ("limit", "2")]).map(\.count) == [2, 2, 1])
            }
        }

        static let impossible: [(String, String, String)] = [
            ("", "state", "fine"), ("", "state", ""), ("/ports", "type", "tapp"), ("/ports", "type", "TAP"),
            ("/ports", "state", "1"), ("/tunnels", "vni", "99999999"), ("/tunnels", "vni", "-1"),
            ("/tunnels", "vni", "x"), ("/tunnels", "vni", ""), ("/tunnels", "vni", "99999999999999999999"),
            ("/tunnels", "remote_ip", "x"), ("/tunnels", "remote_ip", "224.0.0.1"),
            ("/tunnels", "remote_ip", "198.51.100.300"), ("/tunnels", "state", "OK"),
            ("/macs", "type", "dynamic"),
            ("/macs", "port", "a/b"), ("/macs", "port", "0123456789abcdef"),
        ]

        @Test("a filter that no item can pass is refused with what was wanted", arguments: impossible)
        func refusesImpossible(collection: String, name: String, value: String) async throws {
            try await TestAgent.run { agent async throws in
                let bridge = "/v1/bridges/\(agent.site.name("b"))"
                await agent.put(bridge)
                let path = collection.isEmpty ? "/v1/bridges" : bridge + collection
                let answer = await agent.ask("GET", path, query: [(name, value)])
                #expect(answer.status == 400 && answer.code == "malformed_request", "\(answer.text)")
                let error = answer.json["errors"]?[0]
                #expect(error?["parameter"]?.stringValue == name && error?["pointer"] == "")
                #expect(error?["wanted"]?.stringValue?.isEmpty == false)
                #expect(error?["found"] == .string(JSONValue.string(value).description))
            }
        }
    }
}
