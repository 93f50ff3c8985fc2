// Every operation, every method, every way a request can be wrong before its content matters. `Contract` checks
// each answer against the declarations on top.

import API
import JSON
import REST
import Testing

@testable import Controller

@Suite struct ContractTests {
    private func path(_ template: String) -> String {
        template.replacing("{host}", with: "a").replacing("{network}", with: "blue")
            .replacing("{attachment}", with: "web1").replacing("{check}", with: "control")
    }

    @Test("every operation has exactly one handler, and every handler an operation")
    func handlers() {
        let served = ControllerAPI.routes.flatMap { $0.handlers.keys.map(\.rawValue) }.sorted()
        #expect(Operations.controller.map(\.id.rawValue).sorted() == served)
    }

    @Test("a path answers its methods, refuses the others with Allow, and says them all to OPTIONS")
    func methods() async throws {
        try await TestController.run { controller in
            await controller.furnish()
            controller.health.note(store: nil)
            let (events, commits) = (controller.api.events.lastID, await controller.commits)
            for (template, operations) in Dictionary(grouping: Operations.controller, by: \.path) {
                let path = path(template)
                var allowed = Set(operations.map(\.method.rawValue))
                if allowed.contains("GET") { allowed.insert("HEAD") }
                let allow = (allowed.sorted() + ["OPTIONS"]).joined(separator: ", ")
                for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"]
                where !allowed.contains(method) {
                    let answer = await controller.ask(method, path, "{}")
                    #expect(answer.status == (method == "OPTIONS" ? 204 : 405), "\(method) \(path)")
                    #expect(answer.header("Allow") == allow, "\(method) \(path)")
                }
                if allowed.contains("GET") {
                    let (get, head) = (await controller.get(path), await controller.ask("HEAD", path))
                    #expect(get.status == 200 && head.status == 200, "\(path)")
                    #expect(head.header("Content-Type") == get.header("Content-Type"), "\(path)")
                }
            }
            #expect(await controller.commits == commits)
            let written = await controller.happened(since: events).filter {
                !$0.hasPrefix("host.unreachable")
            }
            #expect(written == [])
        }
    }

    @Test("an answer is what its schema says: each field it has and no other")
    func shapes() async throws {
        try await TestController.run { controller in
            await controller.furnish()
            func check<R: Record>(_ type: R.Type, _ path: String) async throws {
                let json = await controller.get(path).json
                #expect(.object(try R.schema.decode(json).json) == json, "\(path)")
            }
            try await check(List<FleetHost.Document>.self, "/v1/hosts")
            try await check(FleetHost.Document.self, "/v1/hosts/a")
            try await check(HostDesired.self, "/v1/hosts/a/desired")
            try await check(List<Network.Document>.self, "/v1/networks")
            try await check(Network.Document.self, "/v1/networks/blue")
            try await check(List<API.Attachment.Document>.self, "/v1/networks/blue/attachments")
            try await check(List<API.Attachment.Document>.self, "/v1/attachments")
            try await check(API.Attachment.Document.self, "/v1/networks/blue/attachments/web1")
            try await check(FleetStatus.self, "/v1/status")
            try await check(EventPage.self, "/v1/events")
            try await check(Version.self, "/v1/version")
        }
    }

    @Test(
        "things that do not exist are not found, nor is anything below them; keys that are none are refused")
    func missing() async throws {
        try await TestController.run { controller in
            await controller.furnish()
            let gone = [
                "/v1/hosts/x", "/v1/hosts/x/desired", "/v1/networks/x", "/v1/networks/x/attachments",
                "/v1/networks/x/attachments/web1", "/v1/networks/blue/attachments/x", "/v1/nothing",
                "/v1/hosts/",
                "/v1/bridges", "/v1/state", "/readyz/worker",
            ]
            for path in gone {
                let answer = await controller.get(path)
                #expect(answer.status == 404 && answer.code == "not_found", "\(path)")
            }
            #expect(await controller.get("/v1/hosts/x/desired").detail == "there is no host x")
            #expect(await controller.ask("POST", "/v1/hosts/x/push", "{}").status == 404)
            let body = #"{"host":"a"}"#
            #expect(await controller.put("/v1/networks/x/attachments/web1", body).status == 404)
            #expect(await controller.patch("/v1/hosts/x", "{}").status == 404)
            #expect(await controller.delete("/v1/hosts/x").status == 404)
            for key in ["-x", "a b", "0123456789abcdef", "é", "lo", "all", "a:b"] {
                for path in ["/v1/hosts/", "/v1/networks/", "/v1/networks/blue/attachments/"] {
                    for method in ["GET", "PUT", "PATCH", "DELETE"] {
                        let answer = await controller.ask(method, path + key, body)
                        #expect(answer.status == 400, "\(method) \(path)\(key)")
                    }
                }
            }
        }
    }

    @Test("a query parameter the operation does not know, and a value that is none, are refused")
    func query() async throws {
        try await TestController.run { controller in
            await controller.furnish()
            for operation in Operations.controller {
                let answer = await controller.ask(
                    operation.method.rawValue, path(operation.path), "{}", query: [("surplus", "1")])
                #expect(answer.status == 400 && answer.detail.contains("surplus"), "\(operation.id)")
            }
            let wrong = [
                ("/v1/hosts", "state", "well"), ("/v1/hosts", "label", "=x"), ("/v1/networks", "vni", "x"),
                ("/v1/networks", "host", "a b"), ("/v1/attachments", "mac", "1:2"),
                ("/v1/attachments", "ip", "x"),
                ("/v1/attachments", "state", "gone"), ("/v1/hosts", "limit", "0"),
                ("/v1/hosts", "page_token", "x"),
                ("/v1/hosts/a/desired", "limit", "1001"), ("/v1/events", "since", "x"),
            ]
            for (path, name, value) in wrong {
                let answer = await controller.ask("GET", path, query: [(name, value)])
                #expect(answer.status == 400 && answer.detail.contains(name), "\(path) \(name)=\(value)")
            }
        }
    }
}
