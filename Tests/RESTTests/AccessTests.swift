// Who may do what: roles, tokens, certificates, users of a Unix socket, pages of other sites.

import API
import Foundation
import HTTP
import JSON
import Logging
import Synchronization
import Testing
import Trust

@testable import REST

/// A shelf that knows its callers, by a file of tokens that tests change.
private final class Guarded: Sendable {
    let directory = "/tmp/viaduct-access-\(UUID().uuidString)"
    let shelf: Shelf
    let lines = LogLines()
    var tokens: String { "\(directory)/tokens" }

    /// - Parameter text: what the file holds; nil: nobody is asked who they are.
    init(_ text: String?, group: String? = nil) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var settings = AccessSettings()
        if let text {
            settings.tokens = "\(directory)/tokens"
            try GuardedFile.write(Array(text.utf8), to: "\(directory)/tokens", mode: 0o600)
        }
        settings.socketGroup = group
        let lines = lines
        shelf = Shelf(
            access: try AccessControl(settings), log: Logger(label: "shelf") { _ in LineKeeper(lines: lines) }
        )
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func ask(
        _ method: String, _ path: String, token: String? = nil, peer: HTTPPeer = .address,
        remote: String = "127.0.0.1:7", headers: [(name: String, value: String)] = []
    ) async -> HTTPResponse {
        let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        return await shelf.handle(
            HTTPRequest(
                method: method, rawPath: path, path: segments.map(String.init),
                headers: headers + (token.map { [("Authorization", "Bearer \($0)")] } ?? []),
                body: method == "GET" ? [] : Array("{}".utf8), id: "r1", remote: remote, peer: peer))
    }
}

/// Everything that is logged, with what comes with it.
final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}

struct LineKeeper: LogHandler {
    let lines: LogLines
    var metadata = Logger.Metadata()
    var logLevel = Logger.Level.trace
    init(lines: LogLines) { self.lines = lines }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
        lines.add("\(event.message) \((event.metadata ?? [:]).sorted { $0.key < $1.key })")
    }
}

private func line(_ name: String, _ role: String, _ token: String) -> String {
    "\(name) \(role) \(SHA256(of: Array(token.utf8)))\n"
}

@Suite struct AccessTests {
    private let path = "/v1/bridges/br0"

    private func code(_ answer: HTTPResponse) -> ProblemCode? { try? Problem.parse(answer.body).code }
    private func header(_ name: String, _ answer: HTTPResponse) -> String? {
        answer.headers.first { $0.name == name }?.value
    }

    @Test("a service that is told of no tokens and no authorities asks nobody, and listens to this host only")
    func open() async throws {
        let open = try Guarded(nil)
        #expect(await open.ask("PUT", path).status == 201)
        #expect(await open.ask("PUT", path, token: "whatever").status == 200)
        let outside = try #require(ListenAddress("192.0.2.7:8640"))
        let refusal = #expect(throws: StartError.self) { try [HTTPEndpoint](outside, socket: nil) }
        for flag in ["--tls-certificate", "--tls-key", "--tls-client-ca or --tokens"] {
            #expect(refusal?.description.contains(flag) == true)
        }
        var access = AccessSettings()
        access.tokens = "/t"
        let half = #expect(throws: StartError.self) { try [HTTPEndpoint](outside, socket: nil, access) }
        #expect(half?.description.contains("missing --tls-certificate, --tls-key;") == true)
        (access.certificate, access.key) = ("/c", "/k")
        #expect(try [HTTPEndpoint](outside, socket: nil, access).count == 1)
    }

    @Test("each role may do what it is for: reading is for all of them, writing for operators")
    func roles() async throws {
        let guarded = try Guarded(
            "# people\n\n" + line("ann", "read", "t1") + line("bob", "operate", "t2")
                + line("core", "controller", "t3"))
        let nobody = await guarded.ask("GET", path)
        #expect(nobody.status == 401 && code(nobody) == .unauthenticated)
        #expect(header("WWW-Authenticate", nobody) == #"Bearer realm="viaduct""#)
        #expect(header("Content-Type", nobody) == Problem.mediaType)
        for token in ["t1", "t3"] {
            let refused = await guarded.ask("PUT", path, token: token)
            #expect(refused.status == 403 && code(refused) == .forbidden)
            #expect(await guarded.ask("GET", path, token: token).status == 404)
        }
        #expect(await guarded.ask("PUT", path, token: "t2").status == 201)
        #expect(await guarded.ask("GET", path, token: "t1").status == 200)
        #expect(await guarded.ask("HEAD", path, token: "t1").status == 200)
        for token in ["", "t4", "t1 t2", "t1x", String(repeating: "x", count: 5000)] {
            #expect(await guarded.ask("GET", path, token: token).status == 401, "\(token.prefix(9))")
        }
    }

    @Test("only a controller's role pushes states, and everything says which role it takes")
    func declared() {
        for operation in Operations.agent + Operations.controller {
            switch operation.id {
            case .livez, .livezCheck, .readyz, .readyzCheck, .healthz, .enrol:
                #expect(operation.access == .anyone, "\(operation.id)")
            case .putState, .patchState: #expect(operation.access == .role(.controller), "\(operation.id)")
            case .capture: #expect(operation.access == .role(.operate))
            case .trace, .traceFleet: #expect(operation.access == .role(.read), "\(operation.id)")
            default:
                let wanted = operation.method == .get ? AccessRole.read : .operate
                #expect(operation.access == .role(wanted), "\(operation.id)")
            }
        }
        let trace = Operations.agent.first { $0.id == .trace }
        #expect(trace?.query.first { $0.name == "inject" }?.role == .operate)
        #expect(AccessRole.controller.includes(.read) && !AccessRole.controller.includes(.operate))
        #expect(AccessRole.operate.includes(.read) && !AccessRole.operate.includes(.controller))
        #expect(!AccessRole.read.includes(.operate) && !AccessRole.read.includes(.controller))
    }

    @Test("who is nobody learns nothing of what there is, but that the service lives")
    func unknownPaths() async throws {
        let guarded = try Guarded(line("ann", "read", "t1"))
        for (method, path) in [
            ("GET", "/nowhere"), ("POST", "/v1/bridges"), ("OPTIONS", path), ("GET", "/metrics"),
        ] {
            #expect(await guarded.ask(method, path).status == 401, "\(method) \(path)")
        }
        #expect(await guarded.ask("GET", "/nowhere", token: "t1").status == 404)
        #expect(await guarded.ask("GET", "/livez").status == 200)
        #expect(await guarded.ask("GET", "/readyz/shelf").status == 200)
    }

    @Test("while a token is exchanged both are good, and a replaced file counts without a restart")
    func rotation() async throws {
        let guarded = try Guarded(line("ann", "read", "t1"))
        func write(_ text: String) throws {
            try GuardedFile.write(Array(text.utf8), to: guarded.tokens, mode: 0o600)
            guarded.shelf.dispatcher.access.refresh(
                force: false, Logger(label: "x") { _ in SwiftLogNoOpLogHandler() })
        }
        try write(line("ann", "read", "t1") + line("ann", "read", "t2"))
        for token in ["t1", "t2"] {
            #expect(await guarded.ask("GET", "/v1/version", token: token).status == 200)
        }
        try write(line("ann", "read", "t2"))
        #expect(await guarded.ask("GET", "/v1/version", token: "t1").status == 401)
        #expect(await guarded.ask("GET", "/v1/version", token: "t2").status == 200)
        // A file that is no good changes nothing.
        try write("ann read t3\n")
        #expect(await guarded.ask("GET", "/v1/version", token: "t2").status == 200)
    }

    @Test(
        "a bad file of tokens is refused by its line, and nothing of the line is shown",
        arguments: [
            "ann read secret-token", "ann write \(SHA256(of: []))", "a/b read \(SHA256(of: []))", "ann read",
            "ann read \(SHA256(of: [])) more",
        ])
    func badTokens(text: String) {
        let bytes = Array("# first\n\(text)\n".utf8)
        let error = #expect(throws: TrustError.self) { try TokenTable(bytes, path: "/f") }
        #expect(error?.description.hasPrefix("/f, line 2: ") == true)
        #expect(error?.description.contains("secret-token") == false)
    }

    @Test("a name has two tokens at most; a third takes the place of the oldest")
    func adding() throws {
        var bytes = Array("# people\nbob read \(SHA256(of: [1]))\n".utf8)
        for token in ["a", "b", "c"] {
            bytes = try TokenFile.adding("ann", .operate, token: token, to: bytes, path: "/f")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.hasPrefix("# people\nbob read "))
        let table = try TokenTable(bytes, path: "/f")
        #expect(table.entry(of: "a") == nil && table.entry(of: "b")?.name == "ann")
        #expect(table.entry(of: "c")?.role == .operate && table.entries.count == 3)
        let three = Array((line("x", "read", "1") + line("x", "read", "2") + line("x", "read", "3")).utf8)
        #expect(throws: TrustError.self) { try TokenTable(three, path: "/f") }
    }

    @Test(
        "a certificate has the roles of its names; one that is not accepted is refused whatever comes with it"
    )
    func certificates() async throws {
        let guarded = try Guarded(line("ann", "operate", "t1"))
        func peer(_ roles: [String]) -> HTTPPeer {
            .certificate(ClientCertificate(name: "core", roles: roles, serial: "1", endsAt: .max))
        }
        #expect(await guarded.ask("PUT", path, peer: peer(["operate"])).status == 201)
        #expect(await guarded.ask("GET", path, peer: peer(["controller"])).status == 200)
        #expect(await guarded.ask("PUT", path, peer: peer(["read"])).status == 403)
        for roles in [[], ["root"], ["operate "]] {
            #expect(await guarded.ask("GET", path, peer: peer(roles)).status == 403)
        }
        #expect(await guarded.ask("PUT", path, token: "t1", peer: .refused("it has expired")).status == 401)
        // What else is shown must be right too.
        #expect(await guarded.ask("GET", path, token: "t2", peer: peer(["operate"])).status == 401)
    }

    @Test("at a Unix socket root, the service's own user and a group may operate, and nobody else")
    func users() async throws {
        let guarded = try Guarded(line("ann", "read", "t1"), group: "4242")
        func ask(_ user: UInt32, _ groups: [UInt32], token: String? = nil) async -> Int {
            let peer = HTTPPeer.process(user: user, groups: groups)
            return await guarded.ask("PUT", path, token: token, peer: peer, remote: "unix").status
        }
        #expect(await ask(0, [0]) == 201)
        #expect(await ask(geteuid(), []) == 200)
        #expect(await ask(60_001, [100, 4242]) == 200)
        #expect(await ask(60_001, [100]) == 403)
        #expect(await ask(60_001, [100], token: "t1") == 403)
        #expect(throws: StartError.self) { try Guarded(nil, group: "no-such-group-here") }
    }

    @Test("of all certificates in use it is said when they expire; one that has is a reason not to be ready")
    func expiry() throws {
        let directory = "/tmp/viaduct-expiry-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (authority, _) = try Authority.create(name: "fleet", days: 9)
        let key = try PrivateKey.generate()
        func issue(days: Int) throws -> Int {
            let content = CertificateContent(
                name: "host-a", names: [.dns("a.example")], purposes: [.server], days: days)
            let issued = try authority.issue(content, for: PublicKey.of(key))
            try GuardedFile.write(issued.pem, to: "\(directory)/host.crt", mode: 0o644)
            return issued.endsAt
        }
        let end = try issue(days: 3)
        try GuardedFile.write(key.pem, to: "\(directory)/host.key", mode: 0o600)
        try GuardedFile.write(authority.certificate.pem, to: "\(directory)/ca.crt", mode: 0o644)
        var settings = AccessSettings()
        (settings.certificate, settings.key) = ("\(directory)/host.crt", "\(directory)/host.key")
        settings.clientAuthorities = "\(directory)/ca.crt"
        let access = try AccessControl(settings, others: ["agent_authority": "\(directory)/ca.crt"])
        #expect(access.certificates.map(\.use) == ["agent_authority", "client_authority", "server"])
        #expect(access.certificates.map(\.name) == ["fleet", "fleet", "host-a"])
        #expect(access.certificates.last?.endsAt == end && access.expiry == nil)
        _ = try issue(days: 0)
        access.refresh(force: true, Logger(label: "x") { _ in SwiftLogNoOpLogHandler() })
        #expect(access.expiry == "the certificate has expired")
        #expect(AccessControl.open.certificates.isEmpty && AccessControl.open.expiry == nil)
        settings.clientAuthorities = nil
        settings.clientRevocations = "\(directory)/ca.crl"
        #expect(throws: StartError.self) { try AccessControl(settings) }
        #expect(throws: StartError.self) {
            try AccessControl(AccessSettings(), others: ["x": "\(directory)/none"])
        }
    }

    @Test("an audit says who, and no log ever has a token")
    func audit() async throws {
        let guarded = try Guarded(line("ann", "operate", "the-secret-token"))
        #expect(await guarded.ask("PUT", path, token: "the-secret-token").status == 201)
        _ = await guarded.ask("PUT", path, token: "a-wrong-secret-token")
        let lines = guarded.lines.all
        #expect(lines.contains { $0.hasPrefix("audit ") && $0.contains("token:ann") && $0.contains(path) })
        #expect(lines.contains { $0.hasPrefix("not authenticated ") })
        #expect(!lines.contains { $0.contains("secret-token") })
    }

    @Test("pages of other sites are refused, and names that are not this server's")
    func browsers() async throws {
        let open = try Guarded(nil)
        func status(_ headers: [(name: String, value: String)]) async -> Int {
            await open.ask("PUT", path, headers: headers).status
        }
        #expect(await status([("Host", "127.0.0.1:8640")]) == 201)
        #expect(await status([("Host", "127.0.0.1:8640"), ("Origin", "http://127.0.0.1:8640")]) == 200)
        for origin in ["http://evil.example", "null", "https://127.0.0.1:8640", "http://127.0.0.1:80", ""] {
            #expect(await status([("Host", "127.0.0.1:8640"), ("Origin", origin)]) == 403, "\(origin)")
        }
        #expect(await status([("Host", "rebound.example:8640")]) == 400)
    }

    @Test("who fails too often is told to wait, and does not keep out who is right")
    func failures() async throws {
        let guarded = try Guarded(line("ann", "read", "t1"))
        var statuses: [Int] = []
        for _ in 0..<15 { statuses.append(await guarded.ask("GET", "/v1/version", token: "no").status) }
        #expect(statuses.prefix(10).allSatisfy { $0 == 401 } && statuses.suffix(5).allSatisfy { $0 == 429 })
        let late = await guarded.ask("GET", "/v1/version")
        #expect(code(late) == .rateLimited && (Int(header("Retry-After", late) ?? "") ?? 0) > 0)
        #expect(await guarded.ask("GET", "/v1/version", token: "t1").status == 200)
        let other = await guarded.ask("GET", "/v1/version", remote: "192.0.2.9:1")
        #expect(other.status == 401)
        #expect(guarded.lines.all.count { $0.hasPrefix("not authenticated ") } == 11)
    }

    @Test("a source may ask so many times at once and then so many a second; this host as often as it likes")
    func requests() async throws {
        let limits = SourceLimits()
        func asks(_ remote: String, as name: String? = nil, now: Double = 5) -> Double? {
            limits.asks(remote, as: name, now: now)
        }
        for _ in 0..<Int(SourceLimits.requestBurst) { #expect(asks("192.0.2.7:1") == nil) }
        #expect(asks("192.0.2.7:2") ?? 0 > 0 && asks("192.0.2.7:3", as: "token:ann") == nil)
        #expect(asks("192.0.2.8:1") == nil && asks("192.0.2.7:1", now: 5.1) == nil)
        for _ in 0..<2000 {
            #expect(asks("127.0.0.1:1") == nil && asks("unix") == nil)
        }
        #expect(SourceLimits.source("[2001:db8::1]:7")?.key == SourceLimits.source("[2001:db8::ffff]:9")?.key)
        #expect(
            SourceLimits.source("[2001:db8:0:1::1]:7")?.key != SourceLimits.source("[2001:db8::1]:7")?.key)
    }

    @Test("sources that are forgotten could have asked anyway; those there is no room for share what one has")
    func bounded() {
        var buckets = Buckets(burst: 2, perSecond: 1, capacity: 3)
        for key in ["a", "b", "c"] { #expect(buckets.take(key, now: 0) == nil) }
        #expect(buckets.take("d", now: 0) == nil && buckets.take("e", now: 0) == nil)
        #expect(buckets.take("f", now: 0) != nil && buckets.take("a", now: 0) == nil)
        #expect(buckets.take("g", now: 10) == nil && buckets.count <= 4)
    }
}
