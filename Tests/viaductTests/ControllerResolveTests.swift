// Where a setting of the controller comes from. What sources are worth is SettingsSources', and tested with the
// agent's.

import API
import Foundation
import JSON
import Testing

@testable import viaduct

@Suite struct ControllerResolveTests {
    /// A different good value for each source.
    struct Setting: Sendable, CustomTestStringConvertible {
        var field: String
        var environment: String
        var flag: String
        var testDescription: String { field }
    }

    static let settings = [
        Setting(field: "listen", environment: "127.0.0.1:2", flag: "[::1]:3"),
        Setting(field: "socket", environment: "/run/2", flag: "/run/3"),
        Setting(field: "tls_certificate", environment: "/c2", flag: "/c3"),
        Setting(field: "tls_key", environment: "/k2", flag: "/k3"),
        Setting(field: "tls_client_ca", environment: "/a2", flag: "/a3"),
        Setting(field: "tls_client_crl", environment: "/r2", flag: "/r3"),
        Setting(field: "tokens", environment: "/t2", flag: "/t3"),
        Setting(field: "socket_group", environment: "adm", flag: "7"),
        Setting(field: "name", environment: "fleet2", flag: "fleet3"),
        Setting(field: "store", environment: "sqlite:/x.db", flag: "etcd:http://a:2379,http://b:2379"),
        Setting(field: "vni_range", environment: "1-2", flag: "2-3"),
        Setting(field: "store_ca", environment: "/a2", flag: "/a3"),
        Setting(field: "store_certificate", environment: "/c2", flag: "/c3"),
        Setting(field: "store_key", environment: "/k2", flag: "/k3"),
        Setting(field: "credentials_directory", environment: "/etc/2", flag: "/etc/3"),
        Setting(field: "agent_ca", environment: "/a2", flag: "/a3"),
        Setting(field: "agent_crl", environment: "/r2", flag: "/r3"),
        Setting(field: "agent_certificate", environment: "/c2", flag: "/c3"),
        Setting(field: "agent_key", environment: "/k2", flag: "/k3"),
        Setting(field: "pki_directory", environment: "/p2", flag: "/p3"),
        Setting(field: "push_concurrency", environment: "5", flag: "6"),
        Setting(field: "probe_interval_seconds", environment: "2", flag: "3"),
        Setting(field: "lease_ttl_seconds", environment: "2", flag: "3"),
        Setting(field: "advertise_url", environment: "unix:/run/2", flag: "http://c:3"),
        Setting(field: "log_level", environment: "debug", flag: "error"),
        Setting(field: "log_format", environment: "json", flag: "text"),
    ]

    private func resolve(_ flags: [String] = [], _ environment: [String: String] = [:]) throws -> JSONObject {
        try ControllerCommand.parse(flags).resolve(environment).json
    }

    @Test("the table has every setting")
    func complete() {
        #expect(Self.settings.map(\.field) == ControllerSettings.schema.fields.map(\.name))
    }

    @Test("nothing said gives the defaults, and the agent's variables are not the controller's")
    func defaults() throws {
        #expect(try resolve() == ControllerSettings().json)
        let agents = ["VIADUCT_LISTEN": "127.0.0.1:1", "VIADUCT_CONTROLLER": "http://c:1"]
        #expect(try resolve([], agents) == ControllerSettings().json)
    }

    @Test("a flag wins over the environment", arguments: settings)
    func precedence(_ setting: Setting) throws {
        func text(_ value: JSONValue?) -> String? { value?.stringValue ?? value?.description }
        let environment = ["VIADUCT_CONTROLLER_" + setting.field.uppercased(): setting.environment]
        let flags = ["--" + setting.field.replacing("_", with: "-"), setting.flag]
        #expect(text(try resolve([], environment)[setting.field]) == setting.environment)
        #expect(text(try resolve(flags, environment)[setting.field]) == setting.flag)
    }

    @Test("a bad value is refused with its field and what was wanted")
    func bad() throws {
        let problem = try #require(throws: Problem.self) { try resolve(["--store", "mysql:/x"]) }
        #expect(problem.detail.hasPrefix("/store: wanted sqlite:/PATH, or etcd:https://HOST:PORT"))
    }
}
