// Who leads, health, and metrics.

import API
import HTTP
import JSON
import REST
import Store
import Testing

@testable import Controller

@Suite struct ServiceTests {
    @Test("a controller that does not lead answers so to everything about the fleet, and for itself")
    func standby() async throws {
        try await TestController.run(waits: true) { controller async throws in
            let path = ["{host}": "a", "{network}": "blue", "{attachment}": "web1", "{check}": "control"]
            for operation in Operations.controller where operation.problems.contains(.notLeader) {
                let place = path.reduce(operation.path) { $0.replacing($1.key, with: $1.value) }
                let body = operation.id == .batch ? #"{"operations":[]}"# : controller.hostBody("a", 1)
                let answer = await controller.ask(
                    operation.method.rawValue, place, operation.id == .pushHost ? "{}" : body)
                // A body of another kind is looked at first.
                guard answer.status != 422 else { continue }
                #expect(
                    answer.status == 503 && answer.code == "not_leader", "\(operation.id): \(answer.text)")
                #expect(answer.detail.contains("no instance of controller viaduct leads"))
            }
            let status = await controller.get("/v1/status").json
            #expect(status["role"] == "standby" && status["leader"] == nil && status["epoch"] == nil)
            #expect(await controller.get("/v1/events").status == 200)
            #expect(await controller.get("/livez").text == "ok\n")
            #expect(await controller.samples["viaduct_controller_leader"] == 0)
            try await controller.lead()
            #expect(await controller.get("/v1/status").json["role"] == "leader")
            #expect(await controller.get("/v1/hosts").items.isEmpty)
            #expect(await controller.samples["viaduct_controller_leader"] == 1)
        }
    }

    @Test("a standby says where the leader is, and has the fleet once it leads itself")
    func takesOver() async throws {
        let etcd = try await EtcdProcess()
        try await TestController.inDirectory { directory in
            let first = TestController(directory, etcd.store("c1"))
            let second = TestController(directory, etcd.store("c2"))
            try await first.lead()
            await first.furnish()
            let (epoch, start) = (
                await first.get("/v1/status").json["epoch"]?.integerValue, second.api.events.lastID
            )
            let answer = await second.put("/v1/networks/red")
            #expect(answer.code == "not_leader" && answer.detail.hasSuffix("leads: ask http://c1"))
            let status = await second.get("/v1/status").json
            #expect(status["role"] == "standby" && status["leader"] == "http://c1")
            await first.stop()
            try await second.lead()
            #expect(await second.get("/v1/networks/blue").json["status"]?["attachments"] == 2)
            #expect(await second.put("/v1/networks/red").status == 201)
            let later = await second.get("/v1/status").json["epoch"]?.integerValue
            #expect(later ?? 0 > epoch ?? 0)
            #expect(await second.happened(since: start).first == "leader.elected /v1/status")
            #expect(await first.get("/v1/hosts").code == "not_leader")
            await second.stop()
        }
    }

    @Test("a second controller cannot have the same file")
    func fileInUse() async throws {
        try await TestController.run { controller async throws in
            let member = LeaderInfo(name: "other", url: "http://127.0.0.1:8651")
            #expect(throws: StoreError.self) {
                try SQLiteFleetStore(path: "\(controller.directory)/c.db", as: member)
            }
        }
    }

    @Test("a commit that fails changes nothing, and what was written before stays in force")
    func storeFails() async throws {
        try await TestController.run { controller async throws in
            await controller.furnish()
            let (tag, events) = (await controller.get("/v1/hosts").tag, controller.api.events.lastID)
            for (kind, code) in [(StoreError.Kind.failed, "storage_failed"), (.full, "storage_full")] {
                controller.store.failure = kind
                for answer in [
                    await controller.put("/v1/networks/red"), await controller.delete("/v1/networks/blue"),
                    await controller.patch("/v1/networks/blue", #"{"mtu":1400}"#),
                    await controller.batch([putting("/v1/networks/red")]),
                ] {
                    #expect(answer.code == code, "\(answer.text)")
                }
            }
            controller.store.failure = nil
            #expect(await controller.get("/v1/hosts").tag == tag)
            #expect(await controller.get("/v1/networks/red").status == 404)
            #expect(!(await controller.happened(since: events)).contains { $0.hasPrefix("network") })
            #expect(await controller.put("/v1/networks/red").status == 201)
        }
    }

    @Test("ready says what is wrong: the store, or that it stops; live asks neither")
    func health() async throws {
        try await TestController.run { controller async throws in
            #expect(await controller.get("/readyz").detail == "state: the store has not been read yet")
            controller.health.note(store: nil)
            #expect(await controller.get("/readyz").text == "ok\n")
            let verbose = await controller.ask("GET", "/healthz", query: [("verbose", "")])
            #expect(verbose.text == "[+]control ok\n[+]state ok\n[+]serving ok\n[+]certificate ok\n")
            controller.health.note(store: "etcd: nobody answers")
            #expect(await controller.get("/readyz/state").detail == "state: etcd: nobody answers")
            #expect(await controller.get("/readyz/control").text == "[+]control ok\n")
            controller.health.note(store: nil)
            controller.health.stopping()
            let stopping = await controller.get("/readyz")
            #expect(
                stopping.detail == "serving: the controller is stopping"
                    && stopping.header("Retry-After") == "1")
            #expect(await controller.get("/livez").text == "ok\n")
            #expect(await controller.get("/livez/state").status == 404)
        }
    }

    @Test("a family of metrics is said once, before its samples, under a name as Prometheus has them")
    func families() async throws {
        try await TestController.run { controller async throws in
            try await controller.furnishWithAgents { _, _ async throws in
                var helped: Set<Substring> = []
                var (family, type): (Substring, Substring) = ("", "")
                for line in await controller.get("/metrics").text.split(separator: "\n") {
                    let words = line.split(separator: " ")
                    if line.hasPrefix("# HELP ") {
                        #expect(helped.insert(words[2]).inserted && words.count > 3, "\(line)")
                        continue
                    }
                    if line.hasPrefix("# TYPE ") {
                        (family, type) = (words[2], words[3])
                        #expect(helped.contains(family), "\(line)")
                        #expect(family.hasSuffix("_total") == (type == "counter"), "\(line)")
                        #expect(type != "histogram" || family.hasSuffix("_seconds"), "\(line)")
                        continue
                    }
                    let name = words[0].prefix { $0 != "{" }
                    let suffixes = type == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
                    #expect(suffixes.contains { name == family + $0 }, "\(line)")
                    #expect(name.hasPrefix("viaduct_") || name.hasPrefix("process_"), "\(line)")
                }
            }
        }
    }

    @Test("hosts by state add up to all hosts, and pushes, bytes and commits are counted as they happen")
    func counts() async throws {
        try await TestController.run { controller async throws in
            try await controller.furnishWithAgents { a, b async throws in
                await controller.put("/v1/hosts/gone", controller.hostBody("gone", 3))
                try await eventually("it is unreachable") {
                    await controller.samples[#"viaduct_controller_hosts{state="unreachable"}"#] == 1
                }
                func hosts(_ samples: [String: Double]) -> Double {
                    samples.filter { $0.key.hasPrefix("viaduct_controller_hosts{") }.values.reduce(0, +)
                }
                let before = await controller.samples
                #expect(hosts(before) == 3)
                #expect(before[#"viaduct_controller_hosts{state="in_sync"}"#] == 2)
                #expect(
                    before["viaduct_controller_networks"] == 1
                        && before["viaduct_controller_attachments"] == 2)
                #expect(before["viaduct_controller_epoch"] == 1)
                let delta = #"viaduct_controller_pushes_total{kind="delta",result="acknowledged"}"#
                let pushes = a.pushes.count + b.pushes.count
                await controller.patch("/v1/networks/blue", #"{"mtu":1400}"#)
                try await eventually("both have it") { a.pushes.count + b.pushes.count == pushes + 2 }
                try await eventually("both are counted") {
                    await controller.samples[delta] == (before[delta] ?? 0) + 2
                }
                let after = await controller.samples
                let grown = [
                    "viaduct_controller_push_bytes_total": 1.0,
                    "viaduct_controller_push_lag_seconds_count": 2,
                    "viaduct_controller_push_duration_seconds_count": 2,
                    "viaduct_controller_convergence_seconds_count": 1,
                    "viaduct_store_commit_duration_seconds_count": 1,
                ]
                for (name, least) in grown {
                    #expect((after[name] ?? 0) - (before[name] ?? 0) >= least, "\(name)")
                }
                #expect(after[#"viaduct_controller_host_lag_seconds{host="a"}"#] == nil)
                await controller.delete("/v1/hosts/gone")
                #expect(hosts(await controller.samples) == 2)
            }
        }
    }
}
