// Whole commands against an agent in the process: what they ask for, what they print, how they end.

import JSON
import Testing

@testable import viaduct

@Suite struct CommandTests {
    static let host: [String: JSONObject] = [
        "/v1/bridges/br0": ["addresses": ["192.0.2.1/24"], "vni": 100],
        "/v1/bridges/br0/ports/web1": ["type": "tap", "netns": "web1"],
        "/v1/bridges/br0/tunnels/t1": ["remote_ip": "10.0.0.1"],
        "/v1/bridges/br0/tunnels/t2": ["remote_ip": "10.0.0.2"],
        "/v1/bridges/br0/tunnels/t3": ["remote_ip": "10.0.0.3"],
        "/v1/bridges/br0/macs/02:00:00:00:00:01": ["port": "t1"],
        "/v1/bridges/br1": [:],
    ]

    /// As an agent holds them: whole.
    private func agent() throws -> FakeAgent {
        var specs: [String: JSONObject] = [:]
        for (path, spec) in Self.host {
            specs[path] = try ResourceID(path: path)?.type.normalized(.object(spec))
        }
        return FakeAgent(specs)
    }

    // MARK: Looking

    @Test("a list follows its pages to the last one")
    func pages() async throws {
        let agent = try agent()
        let run = try await CommandRun("tunnel list br0", on: agent)
        #expect(
            run.output == """
                BRIDGE  NAME  REMOTE_IP  DST_PORT  STATE
                br0     t1    10.0.0.1       4789  ok
                br0     t2    10.0.0.2       4789  ok
                br0     t3    10.0.0.3       4789  ok

                """)
        #expect(agent.requests.map { $0.query["page_token"] } == [nil, "2"])
    }

    @Test("a list of every bridge's members names the bridge, and filters go to the agent")
    func filters() async throws {
        let agent = try agent()
        let run = try await CommandRun("tunnel list state=ok vni=7 --json", on: agent)
        let items = try JSONValue.parse(Array(run.output.utf8))["items"]?.arrayValue ?? []
        #expect(items.map { $0["bridge"] } == ["br0", "br0", "br0"])
        let lists = agent.requests.filter { $0.path.hasSuffix("/tunnels") }
        #expect(lists.allSatisfy { $0.query["state"] == "ok" && $0.query["vni"] == "7" })
        #expect(try await CommandRun("bridge list br0", on: agent).exitCode == 64)
    }

    @Test("one resource is shown as YAML, with members this build has never heard of")
    func get() async throws {
        let run = try await CommandRun("tunnel get br0 t1", on: try agent())
        let value = try YAMLText.parse(run.output).value
        #expect(value["spec"]?["remote_ip"] == "10.0.0.1" && value["status"]?["novelty"] != nil)
        let missing = try await CommandRun("tunnel get br0 t9", on: try agent())
        #expect(missing.exitCode == 1 && missing.failure?.text.contains("not_found") == true)
    }

    @Test("show has every bridge, port, tunnel and drop")
    func show() async throws {
        let run = try await CommandRun("show", on: try agent())
        for part in [
            "br0  ok", "vni 100", "address  192.0.2.1/24", "web1  tap", "t3    10.0.0.3:4789", "br1  ok",
            "unknown_vni 5",
        ] { #expect(run.output.contains(part), "\(part) in \(run.output)") }
        let json = try await CommandRun("show --json", on: try agent())
        let value = try JSONValue.parse(Array(json.output.utf8))
        #expect(value["bridges"]?[0]?["tunnels"]?.arrayValue?.count == 3)
    }

    @Test("show and status say who manages what was not written locally, and only then")
    func managers() async throws {
        let agent = try agent()
        for command in ["show", "status"] {
            let run = try await CommandRun(command, on: agent)
            #expect(!run.output.lowercased().contains("manage") && !run.output.contains("pushed"))
        }
        agent.state.withLock { state in
            for path in ["", "/tunnels/t1", "/tunnels/t2"] {
                state.managers["/v1/bridges/br0\(path)"] = "fleet1"
            }
        }
        let shown = try await CommandRun("show", on: agent).output
        #expect(shown.contains("managed  by fleet1") && shown.contains("MANAGED BY"), "\(shown)")
        let lines = shown.split(separator: "\n")
        for (tunnel, isPushed) in [("t1 ", true), ("t2 ", true), ("t3 ", false)] {
            let line = lines.first { $0.contains(tunnel) }
            #expect(line?.contains("fleet1") == isPushed, "\(tunnel) in \(shown)")
        }
        let status = try await CommandRun("status", on: agent).output
        #expect(status.contains("pushed by fleet1 3"), "\(status)")
    }

    @Test("status counts, and ends with 1 when a check fails")
    func status() async throws {
        let run = try await CommandRun("status", on: try agent())
        #expect(run.exitCode == 0)
        #expect(run.output.contains("bridges 2, ports 1, tunnels 3"))
        let sick = FakeAgent(health: (503, "[+]worker ok\n[-]control failed: not run for 12000 ms\n"))
        let failed = try await CommandRun("status", on: sick)
        #expect(failed.exitCode == 1)
        #expect(failed.output.contains("control failed: not run for 12000 ms"))
    }

    @Test("checks are read from text and from a problem alike")
    func health() {
        let text = HealthReport(status: 503, text: "[+]a ok\n[-]b failed: too slow\n[-]c failed\nb")
        #expect(text.checks.map(\.failure) == [nil, "too slow", ""])
        let problem = HealthReport(status: 503, text: #"{"detail":"b: too slow; c: gone: far"}"#)
        #expect(problem.checks.map(\.name) == ["b", "c"])
        #expect(problem.checks.map(\.failure) == ["too slow", "gone: far"])
        #expect(!problem.isReady && HealthReport(status: 200, text: "ok\n").isReady)
    }

    @Test("top prints as many tables as asked for, without control characters in a pipe")
    func top() async throws {
        let run = try await CommandRun("top -n 2 --interval 0.1", on: try agent())
        #expect(run.output.split(separator: "BRIDGE").count == 2)
        #expect(run.output.contains("t1") && !run.output.contains("\u{1B}"))
    }

    // MARK: Writing

    @Test("set merges into what exists")
    func setMerges() async throws {
        let agent = try agent()
        let run = try await CommandRun("tunnel set br0 t1 vni=7 csum=false", on: agent)
        #expect(run.exitCode == 0 && run.output == "")
        #expect(agent.writes.map(\.method) == ["PATCH"])
        #expect(agent.writes[0].headers["Content-Type"] == "application/merge-patch+json")
        let spec = agent.specs["/v1/bridges/br0/tunnels/t1"]
        #expect(spec?["vni"] == 7 && spec?["remote_ip"] == "10.0.0.1" && spec?["csum"] == false)
        _ = try await CommandRun("tunnel set br0 t1 vni=", on: agent)
        #expect(agent.specs["/v1/bridges/br0/tunnels/t1"]?["vni"] == nil)
    }

    @Test("set creates what does not exist, and never replaces what came to be meanwhile")
    func setCreates() async throws {
        let agent = try agent()
        let run = try await CommandRun("tunnel set br0 t9 remote_ip=10.0.0.9 vni=", on: agent)
        #expect(run.exitCode == 0)
        #expect(agent.writes.map(\.method) == ["PATCH", "PUT"])
        #expect(agent.writes[1].headers["If-None-Match"] == "*")
        #expect(agent.specs["/v1/bridges/br0/tunnels/t9"]?["remote_ip"] == "10.0.0.9")
    }

    @Test("a refusal names every field and ends with 1")
    func refusal() async throws {
        let run = try await CommandRun("tunnel set br0 t9 vni=7", on: try agent())
        #expect(run.exitCode == 1)
        let text = run.failure?.text ?? ""
        #expect(
            text.hasPrefix("viaduct: The resource is invalid (invalid_resource, 422)\n  /remote_ip: wanted"))
        #expect(text.hasSuffix("found nothing\n"))
        let orphan = try await CommandRun("port set br9 p type=tap", on: try agent())
        #expect(orphan.failure?.text.contains("there is no bridge br9") == true)
    }

    @Test("a dry run changes nothing and shows the agent's plan")
    func dryRun() async throws {
        let agent = try agent()
        let run = try await CommandRun("tunnel set br0 t9 remote_ip=10.0.0.9 --dry-run", on: agent)
        #expect(run.output.contains("add     br0/tunnels/t9  remote_ip=10.0.0.9"))
        _ = try await CommandRun("bridge delete br0 --dry-run", on: agent)
        #expect(agent.specs.count == Self.host.count)
    }

    @Test("a static MAC entry is written whole, and delete takes only what is named")
    func macs() async throws {
        let agent = try agent()
        _ = try await CommandRun("mac set br0 02:00:00:00:00:02 port=web1", on: agent)
        #expect(agent.writes.map(\.method) == ["PUT"])
        #expect(agent.specs["/v1/bridges/br0/macs/02:00:00:00:00:02"] == ["port": "web1", "ips": []])
        _ = try await CommandRun(
            "mac set br0 02:00:00:00:00:02 port=web1 ips=192.0.2.1,2001:db8::1", on: agent)
        let ips: JSONValue = ["192.0.2.1", "2001:db8::1"]
        #expect(agent.specs["/v1/bridges/br0/macs/02:00:00:00:00:02"] == ["port": "web1", "ips": ips])
        let empty = try await CommandRun("mac delete br0", on: agent, arguments: [""])
        #expect(empty.exitCode == 64 && agent.writes.count == 2)
        _ = try await CommandRun("bridge delete br0", on: agent)
        #expect(agent.specs.keys.sorted() == ["/v1/bridges/br1"])
    }

    // MARK: Documents

    @Test("get prints a document that apply finds nothing to do for", arguments: ["yaml", "json"])
    func getApply(format: String) async throws {
        let agent = try agent()
        let document = try await CommandRun("get -o \(format)", on: agent).output
        let run = try await apply(document, on: agent, "--prune")
        #expect(run.output == "nothing to change\n" && agent.writes.isEmpty)
        let other = FakeAgent()
        let made = try await apply(document, on: other)
        #expect(made.exitCode == 0 && made.output.hasSuffix("7 to add\ndone\n"))
        #expect(other.specs == agent.specs && other.writes.count == 1)
    }

    @Test("apply prunes only when told to, in one batch")
    func prune() async throws {
        let agent = try agent()
        let text = "bridges: {br0: {vni: 100, ports: {web1: {type: tap, netns: web1}}}}"
        _ = try await apply(text, on: agent)
        #expect(agent.specs.count == Self.host.count)
        #expect(agent.specs["/v1/bridges/br0"]?["addresses"] == [])
        let run = try await apply(text, on: agent, "--prune")
        #expect(agent.specs.keys.sorted() == ["/v1/bridges/br0", "/v1/bridges/br0/ports/web1"])
        #expect(agent.writes.map(\.path) == ["/v1/batch", "/v1/batch"])
        #expect(run.output.contains("remove  br1"))
    }

    @Test("a dry run of apply asks the agent and changes nothing")
    func applyDryRun() async throws {
        let agent = try agent()
        let run = try await apply("bridges: {br7: }", on: agent, "--prune", "--dry-run")
        #expect(run.exitCode == 0 && run.output.contains("dry run: the agent would accept it"))
        #expect(agent.writes.map { $0.query["dry_run"] } == ["true"])
        #expect(agent.specs.count == Self.host.count)
        let json = try await apply("bridges: {br7: }", on: agent, "--dry-run", "--json")
        #expect(
            try JSONValue.parse(Array(json.output.utf8))["plan"]?["add"]?[0]?["path"] == "/v1/bridges/br7")
    }

    @Test("an agent's refusal of a batch points into the file")
    func applyRefused() throws {
        let text = DocumentText(
            source: "a.yaml", bytes: Array("bridges:\n  br0:\n    mtu: 1400\n    vni: 7\n".utf8))
        let (state, places) = try text.decode()
        let plan = Plan(from: StateDocument(), to: state, prune: false)
        let refusal = Refusal(
            status: 422,
            document: [
                "code": "invalid_resource", "title": "The resource is invalid",
                "errors": [["pointer": "/operations/0/body/mtu", "wanted": "more", "found": "1400"]],
            ])
        let located = text.located(refusal, plan.operations, places)
        #expect(located.errors.map(\.line) == ["a.yaml:3:5: /bridges/br0/mtu: wanted more, found 1400"])
    }

    private func apply(_ text: String, on agent: FakeAgent, _ flags: String...) async throws -> CommandRun {
        let file = try TemporaryFile(text)
        return try await CommandRun("apply -f \(file.path) " + flags.joined(separator: " "), on: agent)
    }
}
