// The binary as its users and its supervisor see it: what it prints, how it refuses, how it starts and ends.

import API
import Agent
import Foundation
import JSON
import Testing

@Suite(.serialized, .enabled(if: geteuid() == 0, "an agent makes interfaces, which needs root"))
struct BinaryTests {
    // MARK: Without starting

    @Test("it prints its version and its API, and nothing else")
    func prints() async throws {
        let version = try await run(["--version"])
        #expect(version.status == 0 && version.output == "\(Agent.version)\n" && version.error == "")
        for (arguments, title) in [([], "Viaduct agent"), (["--controller"], "Viaduct controller")] {
            let openapi = try await run(["openapi"] + arguments)
            #expect(openapi.status == 0 && openapi.error == "")
            let document = try JSONValue.parse(
                Array(openapi.output.utf8), limits: JSONLimits(memberCount: 100_000))
            #expect(document["openapi"] == "3.1.0" && document["info"]?["title"] == .string(title))
        }
        let services = [
            ("agent", AgentSettings.schema.fields.map(\.name)),
            ("controller", ControllerSettings.schema.fields.map(\.name)),
        ]
        for (service, fields) in services {
            let help = try await run([service, "--help"]).output
            for field in fields {
                #expect(help.contains("--" + field.replacing("_", with: "-")), "\(service) \(field)")
            }
        }
    }

    @Test(
        "a command line it does not understand is refused with exit code 64 and says what",
        arguments: [
            (["nonsense"], "nonsense"), (["agent", "--colour", "red"], "--colour"),
            (["agent", "--listen", "localhost"], "/listen: wanted an IP address and a port"),
            (["agent", "--strict-vxlan", "maybe"], "--strict-vxlan"),
            (["agent", "--config", "/nonexistent"], "cannot read the configuration file /nonexistent"),
        ])
    func badCommandLine(arguments: [String], expected: String) async throws {
        let outcome = try await run(arguments)
        #expect(outcome.status == 64)
        #expect(outcome.error.contains(expected), "\(outcome.error)")
        #expect(outcome.output == "")
    }

    @Test("an address that others could reach is refused, and nothing is made for it")
    func notLoopback() async throws {
        let place = try Place()
        for address in ["0.0.0.0:1", "[::]:8640", "192.0.2.1:8640"] {
            let outcome = try await run(["agent", "--listen", address, "--state", place.state])
            #expect(outcome.status == 1)
            #expect(
                outcome.error.contains(
                    "refusing to listen on \(address), which other hosts reach, without TLS and authentication"
                ))
            #expect(!FileManager.default.fileExists(atPath: place.state))
        }
    }

    @Test("a state it cannot have is refused with exit code 1 and the reason")
    func badState() async throws {
        let place = try Place()
        let file = "\(place.directory)/notes.txt"
        try "buy milk".write(toFile: file, atomically: true, encoding: .utf8)
        for (state, expected) in [
            (file, "not a readable state file"), ("/nonexistent/agent.db", "does its directory exist?"),
        ] {
            let outcome = try await run(["agent", "--listen", "127.0.0.1:0", "--state", state])
            #expect(outcome.status == 1)
            #expect(outcome.error.contains(expected) && outcome.error.contains(state), "\(outcome.error)")
        }
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "buy milk")
    }

    // MARK: Running

    @Test("it is ready in a moment, ends with 0 and leaves nothing", arguments: [SIGTERM, SIGINT])
    func life(signal: Int32) async throws {
        let place = try Place()
        let agent = try RunningAgent(place)
        // Loose, for a debug build on a busy machine; the topology suite holds the release build to 300 ms.
        #expect(try await agent.ready() < .seconds(20))
        let bridge = place.prefix + "b"
        #expect(try await agent.status("PUT", "/v1/bridges/\(bridge)", "{}") == 201)
        #expect(FileManager.default.fileExists(atPath: "/sys/class/net/\(bridge)"))
        #expect(try await agent.end(signal) == 0, "\(agent.output)")
        #expect(!FileManager.default.fileExists(atPath: "/sys/class/net/\(bridge)"))
        #expect(!FileManager.default.fileExists(atPath: place.socket))
        let messages = agent.output.split(separator: "\n").map { $0.split(separator: " ")[2] }
        #expect(messages == ["restored", "ready", "audit", "write", "stopping", "stopped"])
    }

    @Test("a second agent on the same state file is refused with a clear message, the first goes on")
    func secondAgent() async throws {
        let place = try Place()
        let first = try RunningAgent(place)
        _ = try await first.ready()
        let second = try await run(["agent", "--listen", "127.0.0.1:0", "--state", place.state])
        #expect(second.status == 1)
        let expected = "\(place.state) is in use by another process: one agent per state file"
        #expect(second.error.contains(expected), "\(second.error)")
        #expect(try await first.status("PUT", "/v1/bridges/\(place.prefix)b", "{}") == 201)
        #expect(try await first.end(SIGTERM) == 0)
    }

    @Test("what was acknowledged before a kill is there after it")
    func killed() async throws {
        let place = try Place()
        let bridge = "/v1/bridges/\(place.prefix)b"
        var agent = try RunningAgent(place)
        _ = try await agent.ready()
        #expect(try await agent.status("PUT", bridge, #"{"vni":7}"#) == 201)
        for number in 0..<5 {
            let body = #"{"remote_ip":"198.51.100.\#(number + 1)","dst_port":\#(place.port)}"#
            #expect(try await agent.status("PUT", "\(bridge)/tunnels/t\(number)", body) == 201)
        }
        let before = try await agent.get("\(bridge)/tunnels")["items"]?.arrayValue?.map { $0["spec"] }
        _ = try await agent.end(SIGKILL)
        // Its interface waits for it.
        #expect(FileManager.default.fileExists(atPath: "/sys/class/net/\(place.prefix)b"))
        agent = try RunningAgent(place)
        _ = try await agent.ready()
        #expect(try await agent.get("\(bridge)/tunnels")["items"]?.arrayValue?.map { $0["spec"] } == before)
        #expect(try await agent.get(bridge)["spec"]?["vni"] == 7)
        #expect(try await agent.end(SIGTERM) == 0)
        #expect(!FileManager.default.fileExists(atPath: "/sys/class/net/\(place.prefix)b"))
    }

    @Test("settings reach the agent from file and environment, and its log is one JSON object a line")
    func settings() async throws {
        let place = try Place()
        let config = "\(place.directory)/agent.json"
        let text = #"{"log_format":"json","log_level":"info"}"#
        try text.write(toFile: config, atomically: true, encoding: .utf8)
        let agent = try RunningAgent(
            place, ["--config", config], environment: ["VIADUCT_SOURCE_PORTS": "50000-50100"])
        _ = try await agent.ready()
        #expect(try await agent.status("PUT", "/v1/bridges/-", "{}") == 400)
        #expect(try await agent.end(SIGTERM) == 0)
        let lines = try agent.output.split(separator: "\n").map { try JSONValue.parse(Array($0.utf8)) }
        #expect(lines.map { $0["message"] } == ["restored", "ready", "write", "stopping", "stopped"])
        #expect(lines.allSatisfy { $0["time"]?.stringValue != nil && $0["level"]?.stringValue == "info" })
        #expect(lines[2]["status"] == "400" && lines[2]["path"] == "/v1/bridges/-")
        #expect(lines[2]["request_id"]?.stringValue?.isEmpty == false)
    }

    @Test("an address in use stops the start with exit code 1 and leaves the state as it was")
    func addressInUse() async throws {
        let place = try Place()
        let other = try Place()
        let first = try RunningAgent(place)
        _ = try await first.ready()
        let second = try RunningAgent(other, ["--socket", place.socket])
        #expect(try await second.ended() == 1)
        #expect(second.output.contains("cannot listen on unix:\(place.socket)"), "\(second.output)")
        let squatter = try Squatter()
        let refused = try RunningAgent(other, ["--listen", "127.0.0.1:\(squatter.port)"])
        #expect(try await refused.ended() == 1)
        #expect(refused.output.contains("cannot listen on 127.0.0.1:\(squatter.port)"), "\(refused.output)")
        // This process may more than an agent, which therefore may not look into it.
        #expect(refused.output.contains("(ss -anptu as root shows it)"), "\(refused.output)")
        squatter.leave()
        #expect(try await first.status("GET", "/livez") == 200)
        #expect(try await first.end(SIGTERM) == 0)
        let third = try RunningAgent(other)
        _ = try await third.ready()
        #expect(try await third.end(SIGTERM) == 0)
    }
}

/// Listens on a TCP port of 127.0.0.1 that the kernel chooses.
private struct Squatter {
    private let descriptor: Int32
    let port: UInt16

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let result = withUnsafeMutableBytes(of: &address) { bytes -> Int32 in
            guard let name = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                bind(descriptor, name, length) == 0, listen(descriptor, 1) == 0
            else { return -1 }
            return getsockname(descriptor, name, &length)
        }
        try #require(result == 0, "errno \(errno)")
        port = UInt16(bigEndian: address.sin_port)
    }

    func leave() { close(descriptor) }
}
