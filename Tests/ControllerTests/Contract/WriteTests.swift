// Writes: what they answer, what they do, and what they leave alone.

import API
import JSON
import Testing

@testable import Controller

@Suite struct WriteTests {
    private static let paths = ["/v1/hosts/a", "/v1/networks/blue", "/v1/networks/blue/attachments/web1"]

    @Test("PUT answers 201 for what is new and 200 for what was there, DELETE 204, and one tag for one spec")
    func statuses() async throws {
        try await TestController.run { controller async throws in
            var host = await controller.put("/v1/hosts/a", controller.hostBody("a", 1))
            #expect(host.status == 201)
            let tag = try #require(host.tag)
            #expect(await controller.get("/v1/hosts/a").tag == tag)
            host = await controller.put("/v1/hosts/a", controller.hostBody("a", 1))
            #expect(host.status == 200 && host.tag == tag)
            host = await controller.put("/v1/hosts/a", controller.hostBody("a", 7))
            #expect(host.status == 200 && host.tag != tag)
            #expect(await controller.put("/v1/networks/blue").status == 201)
            let web = "/v1/networks/blue/attachments/web1"
            #expect(await controller.put(web, #"{"host":"a"}"#).status == 201)
            #expect(await controller.delete("/v1/hosts/a").code == "conflict", "it has an attachment")
            for path in [web, "/v1/networks/blue", "/v1/hosts/a"] {
                let answer = await controller.delete(path)
                #expect(answer.status == 204 && answer.text.isEmpty, "\(path)")
                #expect(await controller.get(path).status == 404)
            }
        }
    }

    @Test("a write that changes nothing commits nothing, pushes nothing and tells nobody")
    func idle() async throws {
        try await TestController.run { controller async throws in
            try await controller.furnishWithAgents { a, b async throws in
                let (events, commits) = (controller.api.events.lastID, await controller.commits)
                let pushes = a.pushes.count + b.pushes.count
                let tag = await controller.get("/v1/hosts").tag
                for path in WriteTests.paths {
                    let spec = await controller.get(path).json["spec"] ?? .null
                    #expect(await controller.put(path, "\(spec)").status == 200)
                    #expect(await controller.patch(path, "{}").status == 200)
                }
                let spec = await controller.get("/v1/hosts/a").json["spec"] ?? .null
                #expect(await controller.batch([putting("/v1/hosts/a", "\(spec)")]).status == 200)
                #expect(await controller.commits == commits && controller.api.events.lastID == events)
                #expect(await controller.get("/v1/hosts").tag == tag)
                try await Task.sleep(for: .milliseconds(100))
                #expect(a.pushes.count + b.pushes.count == pushes)
            }
        }
    }

    @Test("PATCH merges: null takes the default, what is not there stays, and an error points at its field")
    func patch() async throws {
        try await TestController.run { controller async throws in
            await controller.furnish()
            let path = "/v1/networks/blue"
            #expect(await controller.patch(path, #"{"mtu":1400,"vni":77}"#).status == 200)
            var spec = await controller.get(path).json["spec"]
            #expect(spec?["mtu"] == 1400 && spec?["vni"] == 77 && spec?["subnets"]?[0] == "198.51.100.0/24")
            #expect(await controller.patch(path, #"{"mtu":null}"#).status == 200)
            spec = await controller.get(path).json["spec"]
            #expect(spec?["mtu"] == nil && spec?["vni"] == 77)
            let wrong = await controller.patch(path, #"{"mtu":1,"colour":"x"}"#)
            #expect(wrong.status == 422 && Set(wrong.pointers) == ["/mtu", "/colour"])
            let labels = await controller.patch("/v1/hosts/a", #"{"labels":{"rack":"r1"}}"#)
            #expect(labels.json["spec"]?["labels"]?["rack"] == "r1")
            let type = await controller.patch(path, "{}", headers: [("Content-Type", "text/plain")])
            #expect(type.status == 415 && type.header("Accept-Patch") == "application/merge-patch+json")
        }
    }

    @Test("If-Match and If-None-Match are held against what is written; a reader who has it gets a 304")
    func conditions() async throws {
        try await TestController.run { controller async throws in
            await controller.furnish()
            for path in WriteTests.paths {
                let tag = try #require(await controller.get(path).tag)
                let spec = "\(await controller.get(path).json["spec"] ?? .null)"
                for method in ["PUT", "PATCH"] {
                    func status(_ name: String, _ value: String) async -> Int {
                        await controller.ask(method, path, spec, headers: [(name, value)]).status
                    }
                    #expect(await status("If-Match", tag) == 200, "\(path)")
                    #expect(await status("If-Match", #""0000""#) == 412, "\(path)")
                    #expect(await status("If-None-Match", "*") == 412, "\(path)")
                }
                for read in [path, "/v1/hosts", "/v1/version"] {
                    let held = try #require(await controller.get(read).tag)
                    let answer = await controller.ask("GET", read, headers: [("If-None-Match", held)])
                    #expect(answer.status == 304 && answer.tag == held, "\(read)")
                }
                let refused = await controller.ask("DELETE", path, headers: [("If-Match", #""0000""#)])
                #expect(refused.status == 412 && refused.code == "precondition_failed")
            }
            let none = await controller.ask("PUT", "/v1/hosts/x", "{}", headers: [("If-Match", "*")])
            #expect(none.status == 422 || none.status == 412)
            let fleet = try #require(await controller.get("/v1/hosts").tag)
            let body = #"{"operations":[\#(deleting("/v1/networks/blue/attachments/web1"))]}"#
            func batch(_ tag: String) async -> Answer {
                await controller.ask(
                    "POST", "/v1/batch", body,
                    headers: [("Content-Type", "application/json"), ("If-Match", tag)])
            }
            #expect(await batch(#""0000""#).status == 412)
            let done = await batch(fleet)
            #expect(done.status == 200 && done.tag != fleet)
            #expect(await batch(fleet).status == 412, "what it was read from is no more")
        }
    }

    @Test("a dry run checks as strictly, says what would be done, and does nothing")
    func dryRun() async throws {
        try await TestController.run { controller async throws in
            await controller.furnish()
            let (commits, tag) = (await controller.commits, await controller.get("/v1/hosts").tag)
            let add = await controller.dryRun("PUT", "/v1/networks/red", "{}")
            #expect(add.status == 200 && add.json["dry_run"] == true)
            #expect(add.planned("add") == ["/v1/networks/red"])
            let change = await controller.dryRun("PATCH", "/v1/networks/blue", #"{"mtu":1400}"#)
            #expect(change.planned("change") == ["/v1/networks/blue"])
            #expect(change.json["plan"]?["change"]?[0]?["to"]?["mtu"] == 1400)
            let remove = await controller.dryRun("DELETE", "/v1/networks/blue")
            #expect(
                remove.planned("remove") == [
                    "/v1/networks/blue", "/v1/networks/blue/attachments/web1",
                    "/v1/networks/blue/attachments/web2",
                ])
            let idle = await controller.dryRun("PUT", "/v1/hosts/a", controller.hostBody("a", 1))
            for verb in ["add", "change", "remove"] { #expect(idle.planned(verb) == []) }
            #expect(await controller.dryRun("PUT", "/v1/hosts/c", controller.hostBody("c", 1)).status == 409)
            #expect(await controller.dryRun("DELETE", "/v1/hosts/a").status == 409)
            #expect(await controller.batch([deleting("/v1/networks/blue")], isDryRun: true).status == 200)
            #expect(await controller.commits == commits)
            #expect(await controller.get("/v1/hosts").tag == tag)
            #expect(await controller.get("/v1/networks/red").status == 404)
        }
    }

    @Test("a batch is carried out whole or not at all, and its errors point into it")
    func batch() async throws {
        try await TestController.run { controller async throws in
            await controller.furnish()
            let (commits, events) = (await controller.commits, controller.api.events.lastID)
            let good = putting("/v1/networks/red")
            let bad: [(String, Int, String)] = [
                (putting("/v1/networks/green", #"{"mtu":1}"#), 422, "/operations/1/body/mtu"),
                (putting("/v1/bridges/br0"), 422, "/operations/1/path"),
                (putting("/v1/hosts/c", controller.hostBody("c", 1)), 409, "/operations/1"),
                (deleting("/v1/networks/none"), 404, "/operations/1"),
                (deleting("/v1/hosts/a"), 409, "/operations/1"),
            ]
            for (operation, status, pointer) in bad {
                let answer = await controller.batch([good, operation])
                #expect(answer.status == status, "\(operation): \(answer.text)")
                #expect(answer.pointers.contains { $0.hasPrefix(pointer) }, "\(operation): \(answer.text)")
            }
            #expect(await controller.get("/v1/networks/red").status == 404)
            #expect(await controller.commits == commits)
            let told = await controller.happened(since: events)
            #expect(!told.contains { $0.contains("network") })
            let done = await controller.batch([
                good, putting("/v1/hosts/a", controller.hostBody("a", 1)), deleting("/v1/networks/blue"),
            ])
            #expect(
                done.json["results"]?.arrayValue?.map { $0["status"]?.integerValue } == [201, 200, 204],
                "\(done.text)")
            #expect(await controller.commits == commits + 1, "one transaction")
        }
    }

    @Test(
        "a host is asked what it holds as soon as it is written, although nothing is wanted there; so is one that moved"
    )
    func adopted() async throws {
        try await TestController.run { controller async throws in
            let agents = ["a": SocketAgent(), "b": SocketAgent()]
            let servers = try agents.map { try SocketServer("\(controller.directory)/\($0).sock", $1.handle) }
            for name in ["a", "b"] {
                await controller.put("/v1/hosts/x", controller.hostBody(name, 1))
                try await eventually("\(name) holds the empty state") {
                    agents[name]?.now.held?.digest == SHA256(of: [])
                }
                try await controller.converged()
            }
            for server in servers { await server.stop() }
        }
    }
}
