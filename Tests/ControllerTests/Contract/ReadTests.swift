// Pages, filters, what is pushed, and what a watcher is told of.

import API
import JSON
import REST
import Testing

@testable import Controller

@Suite struct ReadTests {
    /// Every page in turn, by name.
    private func pages(
        _ controller: TestController, _ path: String, _ query: [(name: String, value: String)]
    ) async -> [[String]] {
        var pages: [[String]] = []
        var token: String?
        repeat {
            let next = token.map { [(name: "page_token", value: $0)] } ?? []
            let answer = await controller.ask("GET", path, query: query + next)
            #expect(answer.status == 200, "\(answer.text)")
            pages.append(answer.items.map { ($0["name"] ?? $0["path"])?.stringValue ?? "" })
            token = answer.json["next_page_token"]?.stringValue
        } while token != nil && pages.count < 100
        return pages
    }

    private func names(
        _ controller: TestController, _ path: String, _ query: (name: String, value: String)...
    ) async -> [String] {
        await pages(controller, path, query).flatMap { $0 }
    }

    @Test("pages have each item once, in order, and go on where the last ended whatever came and went")
    func paging() async throws {
        try await TestController.run { controller async throws in
            await controller.batch(
                (1...25).map { putting("/v1/hosts/h\($0)", controller.hostBody("h\($0)", $0)) }
                    + [putting("/v1/networks/blue"), putting("/v1/networks/red")]
                    + (1...25).map {
                        putting(
                            "/v1/networks/\($0 % 2 == 0 ? "red" : "blue")/attachments/w\($0)",
                            #"{"host":"h\#($0)"}"#)
                    })
            let all = await pages(controller, "/v1/hosts", [("limit", "10")])
            #expect(all.map(\.count) == [10, 10, 5])
            #expect(all.flatMap { $0 } == (1...25).map { "h\($0)" }.sorted())
            let found = await pages(controller, "/v1/attachments", [("limit", "7")])
            let (odd, even) = ((1...25).filter { $0 % 2 == 1 }, (1...25).filter { $0 % 2 == 0 })
            #expect(found.map(\.count) == [7, 7, 7, 4])
            #expect(found.flatMap { $0 } == odd.map { "w\($0)" }.sorted() + even.map { "w\($0)" }.sorted())
            let first = await controller.ask("GET", "/v1/attachments", query: [("limit", "3")])
            let token = try #require(first.json["next_page_token"]?.stringValue)
            await controller.delete("/v1/networks/blue")
            let rest = await controller.ask("GET", "/v1/attachments", query: [("page_token", token)])
            #expect(rest.items.map { $0["name"]?.stringValue ?? "" } == even.map { "w\($0)" }.sorted())
            let other = await controller.ask("GET", "/v1/hosts", query: [("page_token", token)])
            #expect(other.status == 400, "a token of another collection")
        }
    }

    @Test("pages of all attachments are in one order, whatever is in the networks' names")
    func order() async throws {
        try await TestController.run { controller async throws in
            await controller.put("/v1/hosts/h", controller.hostBody("h", 1))
            let networks = ["a", "a-b", "a.b", "ab"]
            await controller.batch(
                networks.flatMap { network in
                    [putting("/v1/networks/\(network)")]
                        + (1...2).map {
                            putting("/v1/networks/\(network)/attachments/\(network)\($0)", #"{"host":"h"}"#)
                        }
                })
            for limit in 1...9 {
                let found = await pages(controller, "/v1/attachments", [("limit", "\(limit)")]).flatMap { $0 }
                #expect(found == networks.flatMap { ["\($0)1", "\($0)2"] }, "\(limit)")
            }
        }
    }

    @Test("filters leave out what does not fit, alone and together")
    func filters() async throws {
        try await TestController.run { controller async throws in
            try await controller.furnishWithAgents { a, b async throws in
                await controller.patch("/v1/hosts/a", #"{"labels":{"rack":"r1","row":"1"}}"#)
                let web = "/v1/networks/blue/attachments/web1"
                #expect(await names(controller, "/v1/hosts", ("label", "rack")) == ["a"])
                #expect(await names(controller, "/v1/hosts", ("label", "rack=r1")) == ["a"])
                #expect(await names(controller, "/v1/hosts", ("label", "rack=r2")) == [])
                #expect(await names(controller, "/v1/hosts", ("state", "in_sync")) == ["a", "b"])
                #expect(await names(controller, "/v1/hosts", ("state", "lying")) == [])
                #expect(await names(controller, "/v1/networks", ("vni", "4096")) == ["blue"])
                #expect(await names(controller, "/v1/networks", ("vni", "4097")) == [])
                #expect(await names(controller, "/v1/networks", ("host", "a")) == ["blue"])
                #expect(await names(controller, "/v1/networks", ("host", "c")) == [])
                let mac = await controller.get(web).json["status"]?["mac"]?.stringValue ?? ""
                for path in ["/v1/attachments", "/v1/networks/blue/attachments"] {
                    #expect(await names(controller, path, ("mac", mac)) == ["web1"])
                    #expect(await names(controller, path, ("mac", "02:00:00:00:00:01")) == [])
                    #expect(await names(controller, path, ("ip", "198.51.100.12")) == ["web2"])
                    #expect(await names(controller, path, ("ip", "198.51.100.13")) == [])
                    #expect(await names(controller, path, ("ip", "198.51.100.11"), ("mac", mac)) == ["web1"])
                    #expect(await names(controller, path, ("ip", "198.51.100.12"), ("mac", mac)) == [])
                    #expect(await names(controller, path, ("host", "b")) == ["web2"])
                    #expect(await names(controller, path, ("host", "b"), ("mac", mac)) == [])
                    #expect(await names(controller, path, ("state", "applied")) == ["web1", "web2"])
                    #expect(await names(controller, path, ("state", "pending")) == [])
                }
            }
        }
    }

    @Test("the pages of what a host is to have add up to what its agent was pushed, and to its digest")
    func desired() async throws {
        try await TestController.run { controller async throws in
            try await controller.furnishWithAgents { a, b async throws in
                for (host, agent) in [("a", a), ("b", b)] {
                    var resources: [String: JSONObject] = [:]
                    var token: String?
                    var wanted: JSONValue?
                    repeat {
                        let next = token.map { [(name: "page_token", value: $0)] } ?? []
                        let page = await controller.ask(
                            "GET", "/v1/hosts/\(host)/desired", query: [("limit", "2")] + next)
                        wanted = page.json["wanted"]
                        for item in page.items {
                            resources[item["path"]?.stringValue ?? ""] = item["body"]?.objectValue
                        }
                        token = page.json["next_page_token"]?.stringValue
                    } while token != nil
                    // A bridge, a port, a tunnel to the other and two MAC entries.
                    #expect(resources.count == 5 && wanted?["resources"] == 5)
                    #expect(resources == agent.now.resources)
                    let digest = StateDigest.value(of: resources.map { (path: $0.key, resource: $0.value) })
                    #expect(wanted?["digest"] == .string("\(digest)"))
                    let held = await controller.get("/v1/hosts/\(host)").json["status"]?["held"]
                    #expect(
                        held?["digest"] == wanted?["digest"] && held?["generation"] == wanted?["generation"])
                }
            }
        }
    }

    @Test("each change is an event with its path, in order, and a watcher goes on from its cursor")
    func events() async throws {
        try await TestController.run { controller async throws in
            let start = controller.api.events.lastID
            let (a, blue) = ("/v1/hosts/a", "/v1/networks/blue")
            let web = "\(blue)/attachments/web1"
            await controller.put(a, controller.hostBody("a", 1))
            await controller.put("/v1/hosts/b", controller.hostBody("b", 2))
            await controller.put(blue)
            await controller.put(web, #"{"host":"a"}"#)
            await controller.patch(web, #"{"host":"b"}"#)
            await controller.patch(blue, #"{"mtu":1400}"#)
            await controller.patch(a, #"{"labels":{"rack":"r1"}}"#)
            await controller.delete(blue)
            await controller.delete(a)
            let written = await controller.happened(since: start).filter { !$0.hasPrefix("host.unreachable") }
            #expect(
                written == [
                    "host.created \(a)", "host.created /v1/hosts/b", "network.created \(blue)",
                    "attachment.created \(web)", "attachment.changed \(web)", "attachment.moved \(web)",
                    "network.changed \(blue)", "host.changed \(a)", "network.deleted \(blue)",
                    "attachment.deleted \(web)", "host.deleted \(a)",
                ])
            let all = await controller.events(since: start)
            let moved = all.first { $0["type"] == "attachment.moved" }
            #expect(moved?["data"] == ["from": "a", "to": "b"])
            let cursor = "\(controller.api.events.boot)-\(all[2]["id"]?.integerValue ?? 0)"
            let page = await controller.ask("GET", "/v1/events", query: [("since", cursor)])
            #expect(page.json["gap"] == false && page.items.first == all[3])
            let other = await controller.ask("GET", "/v1/events", query: [("since", "0123-4")])
            #expect(other.json["gap"] == true)
        }
    }

    @Test("a host that fails and one that is well again are each told of once, with the reason")
    func trouble() async throws {
        try await TestController.run { controller async throws in
            try await controller.furnishWithAgents { a, b async throws in
                let start = controller.api.events.lastID
                b.answer(with: .problem(Problem(.managedElsewhere, "a local bridge is in the way")))
                await controller.patch("/v1/networks/blue", #"{"mtu":1400}"#)
                try await eventually("b refuses") {
                    await controller.get("/v1/hosts/b").json["status"]?["state"] == "refusing"
                }
                let error = await controller.get("/v1/hosts/b").json["status"]?["last_error"]
                #expect(
                    error?["code"] == "managed_elsewhere"
                        && error?["detail"] == "a local bridge is in the way")
                try await eventually("a is in sync") {
                    await controller.get("/v1/hosts/a").json["status"]?["state"] == "in_sync"
                }
                b.answer(with: nil)
                #expect(await controller.ask("POST", "/v1/hosts/b/push", "{}").status == 202)
                try await controller.converged()
                #expect(
                    await controller.happened(since: start) == [
                        "network.changed /v1/networks/blue", "host.refusing /v1/hosts/b",
                        "host.in_sync /v1/hosts/b",
                    ])
            }
        }
    }
}
