// Where a setting comes from: flags before environment before file before defaults, and what is said about
// a value that cannot be.

import API
import ArgumentParser
import Foundation
import JSON
import Testing

@testable import viaduct

@Suite struct ResolveTests {
    /// One setting: a different good value for each source, as JSON text where it is not a string.
    struct Setting: Sendable, CustomTestStringConvertible {
        var field: String
        var file: String
        var environment: String
        var flag: String
        var bad: String
        var wanted: String
        var testDescription: String { field }

        var flagName: String { "--" + field.replacing("_", with: "-") }
        var variable: String { "VIADUCT_" + field.uppercased() }
    }

    static let settings = [
        Setting(
            field: "listen", file: "127.0.0.1:1", environment: "127.0.0.1:2", flag: "[::1]:3",
            bad: "localhost:80", wanted: "an IP address and a port"),
        Setting(
            field: "socket", file: "/run/1", environment: "/run/2", flag: "/run/3", bad: "run/agent",
            wanted: "an absolute path of at most 107"),
        Setting(
            field: "tls_certificate", file: "/c/1", environment: "/c/2", flag: "/c/3", bad: "c/1",
            wanted: "an absolute path of at most 4095"),
        Setting(
            field: "tls_key", file: "/k/1", environment: "/k/2", flag: "/k/3", bad: "k/1",
            wanted: "an absolute path of at most 4095"),
        Setting(
            field: "tls_client_ca", file: "/a/1", environment: "/a/2", flag: "/a/3", bad: "a/1",
            wanted: "an absolute path of at most 4095"),
        Setting(
            field: "tls_client_crl", file: "/r/1", environment: "/r/2", flag: "/r/3", bad: "r/1",
            wanted: "an absolute path of at most 4095"),
        Setting(
            field: "tokens", file: "/t/1", environment: "/t/2", flag: "/t/3", bad: "t/1",
            wanted: "an absolute path of at most 4095"),
        Setting(
            field: "socket_group", file: "adm", environment: "viaduct", flag: "g7", bad: "a b",
            wanted: "the name or number of a group"),
        Setting(
            field: "state", file: "/var/1", environment: "/var/2", flag: "/var/3", bad: "./agent.db",
            wanted: "an absolute path of at most 4095"),
        Setting(
            field: "underlay_driver", file: "auto", environment: "socket", flag: "auto", bad: "native9",
            wanted: "one of \"auto\""),
        Setting(
            field: "offload", file: "off", environment: "auto", flag: "off", bad: "on",
            wanted: "one of \"auto\""),
        Setting(
            field: "spin_microseconds", file: "10", environment: "20", flag: "30", bad: "1001",
            wanted: "an integer from 0 to 1000"),
        Setting(
            field: "workers", file: "2", environment: "4", flag: "16", bad: "17",
            wanted: "an integer from 1 to 16"),
        Setting(
            field: "log_level", file: "debug", environment: "error", flag: "trace", bad: "loud",
            wanted: "one of \"trace\""),
        Setting(
            field: "log_format", file: "json", environment: "text", flag: "json", bad: "xml",
            wanted: "one of \"text\""),
        Setting(
            field: "source_ports", file: "2000-3000", environment: "3000-4000", flag: "4000-5000",
            bad: "80-90", wanted: "a range of at least"),
        Setting(
            field: "strict_vxlan", file: "false", environment: "true", flag: "false", bad: "maybe",
            wanted: "true or false"),
        Setting(
            field: "flow_limit", file: "1000", environment: "2000", flag: "3000", bad: "many",
            wanted: "an integer from 1000"),
        Setting(
            field: "guest_namespaces", file: "false", environment: "true", flag: "false", bad: "maybe",
            wanted: "true or false"),
        Setting(
            field: "packet_sockets", file: "false", environment: "true", flag: "false", bad: "maybe",
            wanted: "true or false"),
    ]

    private func resolve(
        flags: [String] = [], environment: [String: String] = [:], file: String? = nil
    ) throws -> JSONObject {
        var arguments = flags
        let path = "/tmp/viaduct-config-\(UUID().uuidString).json"
        defer { try? FileManager.default.removeItem(atPath: path) }
        if let file {
            try file.write(toFile: path, atomically: true, encoding: .utf8)
            arguments += ["--config", path]
        }
        return try AgentCommand.parse(arguments).resolve(environment).json
    }

    /// The value of a setting in a file: a number, a boolean or a string.
    private func json(_ setting: Setting, _ value: String) -> String {
        Int(value) != nil || Bool(value) != nil ? value : "\"\(value)\""
    }

    private func text(_ value: JSONValue?) -> String? { value?.stringValue ?? value?.description }

    @Test("the table has every setting")
    func complete() {
        #expect(ResolveTests.settings.map(\.field) == AgentSettings.schema.fields.map(\.name))
    }

    @Test("nothing said gives the defaults")
    func defaults() throws {
        #expect(try resolve() == AgentSettings().json)
        #expect(try resolve(file: "{}") == AgentSettings().json)
    }

    @Test("a flag wins over the environment, the environment over the file", arguments: settings)
    func precedence(_ setting: Setting) throws {
        let file = "{\"\(setting.field)\":\(json(setting, setting.file))}"
        let environment = [setting.variable: setting.environment]
        let flags = [setting.flagName, setting.flag]
        let field = setting.field
        #expect(text(try resolve(file: file)[field]) == setting.file)
        #expect(text(try resolve(environment: environment, file: file)[field]) == setting.environment)
        let all = try resolve(flags: flags, environment: environment, file: file)
        #expect(text(all[field]) == setting.flag)
        #expect(text(try resolve(flags: flags, file: file)[field]) == setting.flag)
        // And nothing else is different.
        var rest = AgentSettings().json
        rest[field] = all[field]
        #expect(all == rest)
    }

    @Test("a bad value is refused with its field and what was wanted", arguments: settings)
    func badValue(_ setting: Setting) throws {
        func refusal(_ body: () throws -> JSONObject) throws -> String {
            let problem = try #require(throws: Problem.self) { try body() }
            #expect(problem.code == .invalidResource)
            return problem.detail
        }
        var refusals = [
            try refusal { try resolve(environment: [setting.variable: setting.bad]) },
            try refusal { try resolve(file: "{\"\(setting.field)\":\(json(setting, setting.bad))}") },
        ]
        // The argument parser itself refuses a word that is no Boolean or no number.
        if !["strict_vxlan", "guest_namespaces", "packet_sockets"].contains(setting.field),
            Int(setting.file) == nil || Int(setting.bad) != nil
        {
            refusals.append(try refusal { try resolve(flags: [setting.flagName, setting.bad]) })
        }
        for text in refusals {
            #expect(text.contains("/\(setting.field): wanted \(setting.wanted)"), "\(text)")
            let found = Int(setting.bad) == nil ? "\"\(setting.bad)\"" : setting.bad
            #expect(text.contains("found \(found)"), "\(text)")
        }
    }

    @Test("a bad value in the file is refused even when a flag would hide it")
    func hiddenBadValue() {
        #expect(throws: Problem.self) {
            try resolve(flags: ["--log-level", "info"], file: #"{"log_level":"loud"}"#)
        }
    }

    @Test(
        "a file that is not what it should be is refused by its name",
        arguments: [
            (#"{"colour":"red"}"#, "/colour: wanted one of listen, socket, tls_certificate"),
            (#"{"listen":"127.0.0.1:1","listen":"127.0.0.1:2"}"#, "duplicate"),
            (#"{"listen":8640}"#, "/listen: wanted an IP address and a port"),
            ("[]", "wanted an object"), ("", "empty document"), (#"{"listen": }"#, "line 1, column"),
        ])
    func badFile(file: String, expected: String) throws {
        let problem = try #require(throws: Problem.self) { _ = try resolve(file: file) }
        #expect(problem.detail.hasPrefix("/tmp/viaduct-config-"), "\(problem.detail)")
        #expect(problem.detail.contains(expected), "\(problem.detail)")
    }

    @Test("a file that cannot be read is named, whether a flag or the environment chose it")
    func missingFile() throws {
        for (arguments, environment) in [
            (["--config", "/nonexistent/c.json"], [:]), ([], ["VIADUCT_CONFIG": "/nonexistent/c.json"]),
        ] {
            let command = try AgentCommand.parse(arguments)
            let problem = try #require(throws: Problem.self) { _ = try command.resolve(environment) }
            #expect(problem.detail == "cannot read the configuration file /nonexistent/c.json")
        }
    }

    @Test("the flag's configuration file wins over the environment's")
    func configPrecedence() throws {
        let environment = ["VIADUCT_CONFIG": "/nonexistent/c.json"]
        let settings = try resolve(environment: environment, file: #"{"log_level":"error"}"#)
        #expect(settings["log_level"] == "error")
    }

    @Test("variables that are no settings are left alone")
    func otherVariables() throws {
        #expect(try resolve(environment: ["VIADUCT": "x", "VIADUCT_HOME": "/x"]) == AgentSettings().json)
    }
}
