// Commands about the fleet against a controller in the process: what they ask for, what they print, how they end.

import API
import JSON
import Testing

@testable import viaduct

@Suite struct FleetCommandTests {
    static let fleet: [String: JSONObject] = [
        "/v1/hosts/host-a": ["agent_url": "http://10.0.0.1:8640", "vtep_ips": ["10.0.0.1"]],
        "/v1/hosts/host-b": [
            "agent_url": "unix:/run/b.sock", "vtep_ips": ["10.0.0.2"], "labels": ["rack": "r12"],
        ],
        "/v1/networks/blue": ["subnets": ["192.0.2.0/24"]],
        "/v1/networks/blue/attachments/web1": ["host": "host-a", "netns": "web1", "ips": ["192.0.2.11"]],
        "/v1/networks/blue/attachments/web2": ["host": "host-b"],
        "/v1/networks/red": ["vni": 7, "mtu": 1400],
    ]

    private func controller() throws -> FakeAgent {
        var specs: [String: JSONObject] = [:]
        for (path, spec) in Self.fleet {
            specs[path] = try ResourceID(path: path)?.type.normalized(.object(spec))
        }
        return FakeAgent(specs, role: .controller)
    }

    private func apply(
        _ text: String, on agent: FakeAgent, controller: FakeAgent? = nil, _ flags: String...
    ) async throws -> CommandRun {
        let file = try TemporaryFile(text)
        return try await CommandRun(
            "apply -f \(file.path) " + flags.joined(separator: " "), on: agent, controller: controller)
    }

    // MARK: Resources

    @Test("attachments of all networks are one list with the network beside each, and filters go along")
    func list() async throws {
        let controller = try controller()
        let run = try await CommandRun("attachment list host=host-a", on: controller)
        #expect(
            run.output == """
                NETWORK  NAME  HOST    TYPE  MAC                IPS         NETNS  VTEP_IPS  STATE
                blue     web1  host-a  tap   02:00:00:00:00:0a  192.0.2.11  web1   10.0.0.1  applied
                blue     web2  host-b  tap   02:00:00:00:00:0a  -           -      10.0.0.1  applied

                """)
        #expect(controller.requests.map(\.path) == ["/v1/attachments"])
        #expect(controller.requests[0].query["host"] == "host-a")
        let json = try await CommandRun("attachment list blue --json", on: controller)
        let items = try JSONValue.parse(Array(json.output.utf8))["items"]?.arrayValue ?? []
        #expect(items.map { $0["network"] } == ["blue", "blue"])
        #expect(controller.requests.last?.path == "/v1/networks/blue/attachments")
        #expect(try await CommandRun("host list host-a", on: controller).exitCode == 64)
    }

    @Test("set merges into a host, labels and all, and creates what does not exist")
    func set() async throws {
        let controller = try controller()
        let labels = try await CommandRun("host set host-a labels=rack=r1,row=x=y", on: controller)
        #expect(labels.exitCode == 0)
        #expect(controller.writes.map(\.method) == ["PATCH"])
        #expect(controller.specs["/v1/hosts/host-a"]?["labels"] == ["rack": "r1", "row": "x=y"])
        let made = try await CommandRun("attachment set red db1 host=host-b ips=198.51.100.5", on: controller)
        #expect(made.exitCode == 0 && controller.writes.last?.headers["If-None-Match"] == "*")
        #expect(controller.specs["/v1/networks/red/attachments/db1"]?["ips"] == ["198.51.100.5"])
        let wrong = try await CommandRun("network set red flooding=some", on: controller)
        #expect(wrong.exitCode == 64 && wrong.failure?.text.contains("head_end_replication") == true)
    }

    @Test("what is wanted of a host is shown whole, page after page")
    func desired() async throws {
        let run = try await CommandRun("host desired host-a", on: try controller())
        #expect(
            run.output == """
                epoch 2, generation 7, digest d1, 2 resources
                RESOURCE         FIELDS
                blue             vni=4096
                blue/ports/web1  type=tap netns=web1

                """)
        let json = try await CommandRun("host desired host-a --json", on: try controller())
        let value = try JSONValue.parse(Array(json.output.utf8))
        #expect(value["items"]?.arrayValue?.count == 2 && value["wanted"]?["generation"] == 7)
    }

    @Test("a push is waited for until the agent has answered")
    func push() async throws {
        let controller = try controller()
        controller.state.withLock {
            $0.pushes = [["state": "pushing"], ["state": "pushing"], ["state": "in_sync"]]
        }
        let run = try await CommandRun("host push host-a --allow-mass-delete", on: controller)
        #expect(run.exitCode == 0 && run.output == "host-a  in_sync\n")
        #expect(controller.writes.map(\.path) == ["/v1/hosts/host-a/push"])
        #expect(controller.writes[0].body == ["allow_mass_delete": true])
        #expect(controller.requests.count == 3)
    }

    @Test("a push that is refused says why and ends with 1")
    func pushRefused() async throws {
        let controller = try controller()
        controller.state.withLock {
            $0.pushes = [
                ["state": "refusing", "last_error": ["code": "mass_delete", "detail": "would remove 40"]]
            ]
        }
        let run = try await CommandRun("host push host-a", on: controller)
        #expect(run.exitCode == 1)
        #expect(
            run.failure?.text == "viaduct: host-a is refusing (mass_delete, 503)\n  would remove 40\n")
        #expect(controller.writes[0].body == ["allow_mass_delete": false])
    }

    // MARK: Looking

    @Test("status names the hosts that are behind, by how much and why, and ends with 1")
    func behind() async throws {
        let controller = try controller()
        controller.state.withLock { state in
            state.fleet.epoch = 3
            state.fleet.store = "sqlite:/x.db"
            (state.fleet.hosts.total, state.fleet.hosts.inSync, state.fleet.hosts.unreachable) = (5, 2, 3)
            var host = LaggingHost()
            host.name = Name("host-b") ?? host.name
            host.state = .unreachable
            host.lagSeconds = 12.54
            host.lastError = PushFailure(code: "unreachable", detail: "connection refused", at: "t")
            state.fleet.behind = [host]
        }
        let run = try await CommandRun("status", on: controller)
        #expect(run.exitCode == 1)
        #expect(
            run.failure?.text.contains("Not every host is in sync (behind, 503)\n  host-b and 2 more") == true
        )
        for part in [
            "controller  http://controller\nstate       behind\n", "role        leader, epoch 3\n",
            "hosts       in_sync 2, unreachable 3\n", "checks      worker ok\n            control ok\n",
            "HOST    STATE           LAG  WHY\n",
            "host-b  unreachable  12.5 s  unreachable: connection refused\n",
        ] { #expect(run.output.contains(part), "\(part) in \(run.output)") }
        let json = try await CommandRun("status --json", on: controller)
        #expect(json.exitCode == 1)
        let value = try JSONValue.parse(Array(json.output.utf8))
        #expect(value["status"]?["behind"]?[0]?["name"] == "host-b" && value["ready"] == true)
    }

    @Test("status ends with 0 when every host is in sync, and of a standby, which leads nobody")
    func converged() async throws {
        let controller = try controller()
        controller.state.withLock { $0.fleet.converged = true }
        let run = try await CommandRun("status --controller", on: FakeAgent(), controller: controller)
        #expect(run.exitCode == 0 && run.output.contains("state       converged\n"), "\(run.output)")
        #expect(!run.output.contains("WHY"))
        controller.state.withLock { state in
            state.fleet.converged = false
            state.fleet.role = .standby
            state.fleet.leader = "http://10.0.0.9:8650"
        }
        let standby = try await CommandRun("status", on: controller)
        #expect(standby.exitCode == 0)
        #expect(standby.output.contains("role        standby; leader http://10.0.0.9:8650\n"))
    }

    @Test("show has every network with its attachments, and every host")
    func show() async throws {
        let run = try await CommandRun("show --controller", on: FakeAgent(), controller: try controller())
        #expect(
            run.output == """
                viaduct 9.9 at http://controller
                blue  vni 4096  1 of 2 hosts in sync
                  subnets     192.0.2.0/24
                  attachment  NAME  HOST    TYPE  MAC                IPS         STATE
                              web1  host-a  tap   02:00:00:00:00:0a  192.0.2.11  applied
                              web2  host-b  tap   02:00:00:00:00:0a  -           applied

                red  vni 7  mtu 1400  1 of 2 hosts in sync

                hosts
                  NAME    STATE    AGENT                 VTEP      NETWORKS  ATTACHMENTS
                  host-a  in_sync  http://10.0.0.1:8640  10.0.0.1         1            2
                  host-b  in_sync  unix:/run/b.sock      10.0.0.2         1            2

                """)
        let json = try await CommandRun("show --json", on: try controller())
        let value = try JSONValue.parse(Array(json.output.utf8))
        #expect(value["networks"]?[0]?["attachments"]?.arrayValue?.count == 2)
        #expect(
            try await CommandRun("show", on: FakeAgent(role: .controller)).output.hasSuffix(
                "no networks\nno hosts\n"))
    }

    // MARK: Documents

    @Test("get prints a fleet's document that apply finds nothing to do for", arguments: ["yaml", "json"])
    func getApply(format: String) async throws {
        let controller = try controller()
        let document = try await CommandRun("get --controller -o \(format)", on: controller).output
        let run = try await apply(document, on: FakeAgent(), controller: controller, "--prune")
        #expect(run.output == "nothing to change\n" && controller.writes.isEmpty)
        let (agent, other) = (FakeAgent(), FakeAgent(role: .controller))
        let made = try await apply(document, on: agent, controller: other)
        #expect(made.exitCode == 0 && made.output.hasSuffix("6 to add\ndone\n"), "\(made.output)")
        #expect(other.specs == controller.specs && other.writes.count == 1)
        #expect(agent.requests.isEmpty)
    }

    @Test("what a fleet's document looks like")
    func document() async throws {
        let run = try await CommandRun("get --controller", on: try controller())
        #expect(
            run.output == """
                hosts:
                  host-a:
                    agent_url: http://10.0.0.1:8640
                    vtep_ips: [10.0.0.1]
                  host-b:
                    agent_url: unix:/run/b.sock
                    vtep_ips: [10.0.0.2]
                    labels:
                      rack: r12
                networks:
                  blue:
                    subnets: [192.0.2.0/24]
                    attachments:
                      web1: {host: host-a, ips: [192.0.2.11], netns: web1}
                      web2: {host: host-b}
                  red:
                    vni: 7
                    mtu: 1400

                """)
    }

    @Test("pruning takes a host after its guests have left it, and only sorts the document speaks of")
    func prune() async throws {
        let controller = try controller()
        let networks = "networks: {blue: {subnets: [192.0.2.0/24], attachments: {web2: {host: host-a}}}}"
        let some = try await apply(networks, on: controller, "--prune")
        #expect(some.exitCode == 0 && controller.specs["/v1/hosts/host-b"] != nil)
        #expect(controller.specs["/v1/networks/red"] == nil)
        controller.state.withLock { $0.specs["/v1/networks/blue/attachments/web2"]?["host"] = "host-b" }
        let hosts = "hosts: {host-a: {agent_url: 'http://10.0.0.1:8640', vtep_ips: [10.0.0.1]}}"
        let all = try await apply(hosts + "\n" + networks, on: controller, "--prune")
        #expect(all.exitCode == 0, "\(all.failure?.text ?? "")")
        let operations = controller.writes.last?.body?["operations"]?.arrayValue ?? []
        #expect(
            operations.map { "\($0["method"]?.stringValue ?? "") \($0["path"]?.stringValue ?? "")" } == [
                "PUT /v1/networks/blue/attachments/web2", "DELETE /v1/hosts/host-b",
            ])
    }

    @Test("a document for a controller is not sent to the agent that was named")
    func wrongServer() async throws {
        let run = try await apply("hosts: {}", on: FakeAgent(), "--server", "http://a:1")
        #expect(run.exitCode == 64)
        #expect(run.failure?.text.contains("the document is for a controller") == true)
    }

    @Test("a dry run names who would accept it")
    func dryRun() async throws {
        let controller = try controller()
        let run = try await apply("networks: {green: }", on: FakeAgent(), controller: controller, "--dry-run")
        #expect(run.output.contains("add     networks/green"))
        #expect(run.output.hasSuffix("dry run: the controller would accept it\n"))
        #expect(controller.specs.count == Self.fleet.count)
    }
}

@Suite struct PushedDocumentTests {
    /// br0 and its tunnel are fleet1's, the port in it and br1 are local.
    private func agent() throws -> FakeAgent {
        var specs: [String: JSONObject] = [:]
        for (path, spec) in CommandTests.host {
            specs[path] = try ResourceID(path: path)?.type.normalized(.object(spec))
        }
        let agent = FakeAgent(specs)
        agent.state.withLock { state in
            for path in ["", "/tunnels/t1", "/tunnels/t2", "/tunnels/t3", "/macs/02:00:00:00:00:01"] {
                state.managers["/v1/bridges/br0\(path)"] = "fleet1"
            }
        }
        return agent
    }

    @Test("get leaves out what was pushed, says so, and keeps the place of what is local")
    func get() async throws {
        let run = try await CommandRun("get", on: try agent())
        #expect(
            run.output == """
                bridges:
                  br0:
                    ports:
                      web1: {type: tap, netns: web1}
                  br1: {}

                """)
        #expect(run.notes == "viaduct: what fleet1 pushed is left out, 5 resources; --all has it\n")
        let all = try await CommandRun("get --all", on: try agent())
        #expect(all.output.contains("remote_ip: 10.0.0.3") && all.notes == "")
    }

    @Test("apply of such a document finds nothing to do, and pruning removes nothing that was pushed")
    func apply() async throws {
        let agent = try agent()
        let file = try TemporaryFile(try await CommandRun("get", on: agent).output)
        let same = try await CommandRun("apply --prune -f \(file.path)", on: agent)
        #expect(same.output == "nothing to change\n" && agent.writes.isEmpty)
        let empty = try TemporaryFile("bridges: {}")
        let run = try await CommandRun("apply --prune -f \(empty.path)", on: agent)
        #expect(run.exitCode == 0)
        let operations = agent.writes.last?.body?["operations"]?.arrayValue ?? []
        #expect(
            operations.map { $0["path"]?.stringValue } == ["/v1/bridges/br1", "/v1/bridges/br0/ports/web1"])
        #expect(agent.specs.count == 5)
    }
}
