// The controller's resources, settings and answers: what they take, what they refuse and how they are written.

import API
import JSON
import Testing
import Wire

@Suite struct FleetTests {
    static let hosts = [
        #"{"agent_url":"http://192.0.2.7:8640","vtep_ips":["192.0.2.7"]}"#,
        #"{"agent_url":"https://host-a.example:8640","vtep_ips":["192.0.2.7"]}"#,
        #"{"agent_url":"http://[2001:db8::7]:8640","vtep_ips":["2001:db8::7","192.0.2.7"]}"#,
        #"{"agent_url":"unix:/run/a.sock","vtep_ips":["192.0.2.7"],"labels":{"rack":"r 12","a/b.c":""}}"#,
        #"{"agent_url":"http://a.example:1","vtep_ips":["192.0.2.7"],"credentials":"agents.token"}"#,
    ]

    private static func host(_ fields: String) -> String {
        #"{"agent_url":"unix:/a","vtep_ips":["192.0.2.7"],"# + fields + "}"
    }

    static let badHosts = [
        Bad(#"{"agent_url":"unix:/a"}"#, "/vtep_ips", .missingField, wanted: "an array", found: "nothing"),
        Bad(
            #"{"agent_url":"unix:/a","vtep_ips":[]}"#, "/vtep_ips", .invalidValue,
            wanted: "at least one address", found: "none"),
        Bad(
            #"{"agent_url":"unix:/a","vtep_ips":["192.0.2.7","192.0.2.8"]}"#, "/vtep_ips/1", .notAllowed,
            wanted: "one address of each family", found: #""192.0.2.8""#),
        Bad(
            #"{"agent_url":"ftp://a:1","vtep_ips":["192.0.2.7"]}"#, "/agent_url", .invalidValue,
            wanted: "https://HOST:PORT, http://HOST:PORT or unix:/PATH", found: #""ftp://a:1""#),
        Bad(host(#""labels":{"a":1}"#), "/labels/a", .wrongType, wanted: "a label value", found: "1"),
        Bad(host(#""labels":[]"#), "/labels", .wrongType, wanted: "an object", found: "an array of 0 items"),
        Bad(
            host(#""credentials":"../token""#), "/credentials", .invalidValue, wanted: "a file name",
            found: #""../token""#),
    ]

    static let networks = [
        "{}", #"{"vni":100,"mtu":1450,"subnets":["198.51.100.0/24","2001:db8::/64"],"dst_port":8472}"#,
        #"{"flooding":"disabled","neigh_suppress":false}"#,
    ]

    static let badNetworks = [
        Bad(#"{"vni":16777216}"#, "/vni", .outOfRange, wanted: "0 to 16777215", found: "16777216"),
        Bad(
            #"{"subnets":["198.51.100.1/24"]}"#, "/subnets/0", .invalidValue, wanted: "no host bits set",
            found: #""198.51.100.1/24""#),
        Bad(#"{"dst_port":0}"#, "/dst_port", .outOfRange, wanted: "1 to 65535", found: "0"),
        Bad(#"{"hosts":[]}"#, "/hosts", .unknownField, wanted: "one of vni", found: #""hosts""#),
    ]

    static let attachments = [
        #"{"host":"host-a"}"#,
        #"{"host":"h","mac":"02:00:00:00:00:0b","ips":["198.51.100.11"],"netns":"web1","ifname":"eth0"}"#,
        #"{"host":"h","type":"system","mac":"02:00:00:00:00:0b","ifname":"eth7"}"#,
    ]

    static let badAttachments = [
        Bad("{}", "/host", .missingField, wanted: "a name", found: "nothing"),
        Bad(#"{"host":"h","type":"vm"}"#, "/type", .invalidValue, wanted: "one of", found: #""vm""#),
        Bad(
            #"{"host":"h","type":"internal","netns":"x"}"#, "/netns", .notAllowed,
            wanted: "no netns unless type is tap", found: #""x""#),
        Bad(#"{"host":"h","ips":7}"#, "/ips", .wrongType, wanted: "an array", found: "7"),
    ]

    /// Beyond what JSON Schema sees.
    static let nobodysMAC = Bad(
        #"{"host":"h","type":"system"}"#, "/mac", .missingField,
        wanted: "the MAC address of the interface",
        found: "none")

    @Test("good bodies are accepted and survive being written out")
    func accepts() throws {
        for body in Self.hosts { try checkGood(body, as: FleetHost.self) }
        for body in Self.networks { try checkGood(body, as: Network.self) }
        for body in Self.attachments { try checkGood(body, as: Attachment.self) }
    }

    @Test("bad bodies are refused with all four facts")
    func refuses() {
        for bad in Self.badHosts { bad.check(as: FleetHost.self) }
        for bad in Self.badNetworks { bad.check(as: Network.self) }
        for bad in Self.badAttachments + [Self.nobodysMAC] { bad.check(as: Attachment.self) }
    }

    // MARK: Filters

    @Test("a label filter asks for a key, or for a key with a value")
    func labels() throws {
        let labels = ["rack": "r12", "empty": ""]
        let table: [(String, Bool)] = [
            ("rack", true), ("rack=r12", true), ("rack=r1", false), ("rack=", false), ("empty=", true),
            ("row", false),
        ]
        for (text, matches) in table {
            let selector = try FleetHost.labelFilter.parse(text)
            #expect(selector.matches(labels) == matches && selector.description == text, "\(text)")
        }
        for text in ["", "=r12", "a b", "rack=\u{e9}"] {
            let problem = #expect(throws: Problem.self) { try FleetHost.labelFilter.parse(text) }
            #expect(problem?.detail.hasPrefix("query parameter label: wanted a label") == true)
        }
    }

    @Test("attachments are found by host, MAC, IP and state, and not by what none can have")
    func attachmentFilters() throws {
        #expect(try Attachment.hostFilter.parse("host-a").description == "host-a")
        #expect(try Attachment.macFilter.parse("02:00:00:00:00:0B").description == "02:00:00:00:00:0b")
        #expect(try Attachment.ipFilter.parse("198.51.100.11") == IPAddress("198.51.100.11"))
        #expect(try Attachment.stateFilter.parse("pending") == .pending)
        #expect(throws: Problem.self) { try Attachment.macFilter.parse("01:00:00:00:00:00") }
        #expect(throws: Problem.self) { try Attachment.ipFilter.parse("127.0.0.1") }
        let query = try #require(Operations.controller[.findAttachments]).query.map(\.name)
        #expect(query == ["limit", "page_token", "host", "mac", "ip", "state"])
    }

    // MARK: Answers

    @Test("the counts of hosts have one field for each state")
    func counts() {
        var counts = HostCounts()
        for (index, state) in HostSyncState.allCases.enumerated() { counts[state] = index + 1 }
        counts.total = 36
        #expect(
            HostCounts.schema.fields.map(\.name) == ["total"] + HostSyncState.allCases.map(\.rawValue))
        for (index, state) in HostSyncState.allCases.enumerated() {
            #expect(counts[state] == index + 1)
            #expect(counts.json[state.rawValue] == .integer(Int64(index + 1)))
        }
    }

    @Test("a host's document says what it holds, what is wanted, and why the two differ")
    func hostDocument() throws {
        let host = try FleetHost.parse(Array(Self.hosts[0].utf8))
        var status = HostStatus()
        status.state = .refusing
        status.reachable = true
        status.lagSeconds = 2.5
        status.attempts = 3
        status.wanted = WantedState(epoch: 2, generation: 9, digest: SHA256(of: []), resources: 4)
        status.lastError = PushFailure(code: "mass_delete", detail: "would remove 40", at: "t")
        let name = try FleetHost.kind.name(in: "host-a")
        let document = FleetHost.Document(name: name, spec: host, status: status)
        #expect(
            text(document.json)
                == #"{"name":"host-a","spec":{"agent_url":"http://192.0.2.7:8640","vtep_ips":["192.0.2.7"],"#
                + #""labels":{}},"status":{"state":"refusing","reachable":true,"wanted":{"epoch":2,"#
                + #""generation":9,"digest":"\#(SHA256(of: []))","resources":4},"lag_seconds":2.5,"#
                + #""attempts":3,"last_error":{"code":"mass_delete","detail":"would remove 40","errors":[],"at":"t"},"#
                + #""networks":0,"attachments":0}}"#)
        #expect(try FleetHost.Document.schema.decode(.object(document.json)) == document)
    }
}

@Suite struct ControllerSettingsTests {
    static let good = [
        "{}", #"{"store":"etcd:http://192.0.2.1:2379,http://[2001:db8::1]:2379","lease_ttl_seconds":2}"#,
        #"{"listen":"[::1]:0","name":"fleet.1","vni_range":"1-1","advertise_url":"unix:/run/c.sock"}"#,
    ]

    private static func text(_ field: String, _ value: String, _ wanted: String) -> Bad {
        Bad(#"{"\#(field)":"\#(value)"}"#, "/\(field)", .invalidValue, wanted: wanted, found: #""\#(value)""#)
    }

    static let bad: [Bad] =
        [
            "controller.db", "sqlite:controller.db", "sqlite:", "etcd:", "etcd:192.0.2.1:2379",
            "etcd:http://a:1,", "etcd:http://a:1,http://a:1", "etcd:unix:/run/e.sock", "etcd:ftp://a:1",
        ].map { text("store", $0, "sqlite:/PATH, or etcd:https://HOST:PORT") }
        + ["4096", "0-10", "10-9"].map { text("vni_range", $0, "a range of VNIs") }
        + [
            text("name", "local", "not local"), text("advertise_url", "a:1", "http://HOST:PORT"),
            text("credentials_directory", "etc", "an absolute path"),
            Bad(
                #"{"push_concurrency":3}"#, "/push_concurrency", .outOfRange, wanted: "4 to 1024", found: "3"),
            Bad(
                #"{"lease_ttl_seconds":1}"#, "/lease_ttl_seconds", .outOfRange, wanted: "2 to 60", found: "1"),
        ]

    @Test("good settings are accepted and survive being written out", arguments: good)
    func accepts(body: String) throws {
        try checkGood(body, as: ControllerSettings.self)
    }

    @Test("bad settings are refused with all four facts", arguments: bad)
    func refuses(bad: Bad) {
        bad.check(as: ControllerSettings.self)
    }

    @Test("an empty file listens on loopback and keeps the fleet in a database of its own")
    func defaults() throws {
        let settings = try ControllerSettings.parse(Array("{}".utf8))
        #expect(settings.listen.description == "127.0.0.1:8650")
        #expect(settings.store == .sqlite(path: "/var/lib/viaduct/controller.db"))
        #expect(settings.name == "viaduct" && settings.vniRange.description == "4096-16777215")
        #expect(settings.socket == nil && settings.advertiseURL == nil)
    }

    @Test("the members of an etcd cluster are kept in their order")
    func members() {
        let store = StoreLocation("etcd:http://b:2379,http://a:2379")
        #expect(store == .etcd(["http://b:2379", "http://a:2379"]))
        let many = (1...10).map { "http://a:\($0)" }.joined(separator: ",")
        #expect(StoreLocation("etcd:" + many) == nil)
    }
}
