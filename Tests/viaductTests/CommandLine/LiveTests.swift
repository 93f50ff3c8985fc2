// The command line as a process against a real agent: arguments, streams and exit codes.

import Foundation
import JSON
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0, "an agent makes interfaces, which needs root"))
struct LiveTests {
    /// As a script does: no terminal anywhere.
    private func viaduct(_ arguments: String..., server: String) async throws -> Outcome {
        try await run(arguments + ["--server", server])
    }

    @Test("a host is made, looked at, written down and made again from the document")
    func tour() async throws {
        let place = try Place()
        let agent = try RunningAgent(place)
        _ = try await agent.ready()
        let (server, bridge) = ("unix:\(place.socket)", place.prefix + "b")

        func succeed(_ outcome: Outcome, at location: SourceLocation = #_sourceLocation) -> String {
            #expect(outcome.status == 0, "\(outcome.error)", sourceLocation: location)
            #expect(outcome.error == "", sourceLocation: location)
            #expect(!outcome.output.contains("\u{1B}"), "no colour in a pipe", sourceLocation: location)
            return outcome.output
        }
        let made = try await viaduct("bridge", "set", bridge, "vni=100", server: server)
        #expect(succeed(made) == "")
        let fields = ["remote_ip=198.51.100.2", "dst_port=20611"]
        let tunnel = try await viaduct("tunnel", "set", bridge, "t1", fields[0], fields[1], server: server)
        #expect(succeed(tunnel) == "")
        _ = succeed(try await viaduct("tunnel", "set", bridge, "t1", "ttl=9", server: server))
        _ = succeed(try await viaduct("mac", "set", bridge, "02:00:00:00:00:09", "port=t1", server: server))
        let shown = succeed(try await viaduct("show", server: server))
        #expect(shown.contains("\(bridge)  ok") && shown.contains("198.51.100.2:20611"), "\(shown)")
        #expect(succeed(try await viaduct("status", server: server)).contains("state     ready"))
        #expect(succeed(try await viaduct("datapath", server: server)).contains("flow_limit: 65536\n"))
        let flows = try await viaduct("flows", "bridge=nope", "--json", server: server)
        #expect(succeed(flows).contains("\"items\": []"))
        #expect(succeed(try await viaduct("flows", "--flush", server: server)) == "")

        let route = ["route", "add", "r0", "destination=198.18.255.0/24", "type=blackhole"]
        #expect(succeed(try await run(route + ["--server", server])) == "")
        let looked = succeed(try await viaduct("route", "lookup", "198.18.255.9", server: server))
        #expect(looked.hasPrefix("198.18.255.9 blackhole\n"), "\(looked)")
        let below = succeed(try await viaduct("show", server: server))
        let drivers = ["native", "socket"].map { "\nunderlay\n  driver   \($0): auto: " }
        #expect(drivers.contains(where: below.contains), "\(below)")
        #expect(below.contains("r0    198.18.255.0/24"), "\(below)")
        _ = succeed(
            try await viaduct("neigh", "add", "none0", "fe80::9", "mac=02:00:00:00:00:09", server: server))
        let neighbors = succeed(try await viaduct("neigh", "list", "type=static", server: server))
        #expect(neighbors.contains("none0   fe80::9  02:00:00:00:00:09  static  permanent"), "\(neighbors)")
        #expect(succeed(try await viaduct("underlay", "set", "driver=socket", server: server)) == "")
        let underlay = succeed(try await viaduct("underlay", "show", server: server))
        #expect(underlay.contains("  driver: socket\n"), "\(underlay)")

        let document = succeed(try await viaduct("get", server: server))
        let file = try TemporaryFile(document)
        let nothing = "bridges: {}\nunderlay: {}\nroutes: {}\nneighbors: {}\n"
        let empty = try TemporaryFile(nothing)
        #expect(
            succeed(try await viaduct("apply", "-f", empty.path, "--prune", server: server)).hasSuffix(
                "done\n"))
        #expect(succeed(try await viaduct("get", server: server)) == nothing)
        let planned = succeed(try await viaduct("apply", "-f", file.path, "--dry-run", server: server))
        #expect(
            planned.hasSuffix("5 to add, 1 to change\ndry run: the agent would accept it\n"), "\(planned)")
        #expect(succeed(try await viaduct("get", server: server)) == nothing)
        #expect(succeed(try await viaduct("apply", "-f", file.path, server: server)).hasSuffix("done\n"))
        #expect(succeed(try await viaduct("get", server: server)) == document)
        let again = try await viaduct("apply", "-f", file.path, "--prune", server: server)
        #expect(succeed(again) == "nothing to change\n")
        #expect(try await agent.end(SIGTERM) == 0)
    }

    @Test("exit codes are what the help says, and nothing but the answer is on standard output")
    func exitCodes() async throws {
        let place = try Place()
        let agent = try RunningAgent(place)
        _ = try await agent.ready()
        let server = "unix:\(place.socket)"
        for (status, arguments, expected) in [
            (1, ["tunnel", "get", "nope", "t1"], "not_found"),
            (1, ["bridge", "list", "colour=red"], "colour"),
            (1, ["port", "set", "nope", "p1", "type=internal"], "bridge nope"),
            (64, ["tunnel", "set", "br0", "t1", "vni=fast"], "vni: wanted an integer"),
            (64, ["tunnel", "set", "br0"], "tunnel"),
            (64, ["flows", "web1"], "wanted FIELD=VALUE"),
            (64, ["flows", "--flush", "in_port=web1"], "wanted no filters"),
            (1, ["flows", "colour=red"], "colour"),
            (64, ["apply", "-f", "/nonexistent"], "/nonexistent"),
        ] as [(Int32, [String], String)] {
            let outcome = try await run(arguments + ["--server", server])
            #expect(outcome.status == status, "\(arguments): \(outcome.error)")
            #expect(outcome.error.contains(expected), "\(outcome.error)")
            #expect(outcome.output == "")
        }
        #expect(try await agent.end(SIGTERM) == 0)
        let gone = try await run(["show", "--json", "--server", server])
        #expect(gone.status == 3 && gone.output == "")
        #expect(try JSONValue.parse(Array(gone.error.utf8))["code"] == "unreachable", "\(gone.error)")
    }
}
