// TLS with real sockets and real certificates: who is let in as whom, what happens when files change, and who waits.

import Foundation
import Glibc
import Testing
import Trust

@testable import HTTP

/// A directory with an authority, and files of what it issued.
private final class Papers: Sendable {
    let directory = "/tmp/viaduct-tls-\(UUID().uuidString)"

    init() throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// All authorities have one name, as nobody can tell a forged one from the right one by that.
    func authority(_ file: String) throws -> Authority {
        let (authority, key) = try Authority.create(name: "fleet", days: 100)
        try GuardedFile.write(authority.certificate.pem, to: path("\(file).crt"), mode: 0o644)
        try GuardedFile.write(key.pem, to: path("\(file).key"), mode: 0o600)
        return authority
    }

    /// - Parameter start: days from now at which it begins to be good, for 30 days.
    @discardableResult
    func issue(
        _ file: String, by authority: Authority, names: [Certificate.Name], _ purposes: [Certificate.Purpose],
        start: Int = 0
    ) throws -> Certificate {
        let key = try PrivateKey.generate()
        let content = CertificateContent(name: file, names: names, purposes: purposes, days: 30)
        let begin = Int(Date.now.timeIntervalSince1970) + start * 86_400
        let issued = try authority.issue(content, for: PublicKey.of(key), start: begin)
        try GuardedFile.write(issued.pem, to: path("\(file).crt"), mode: 0o644)
        try GuardedFile.write(key.pem, to: path("\(file).key"), mode: 0o600)
        return issued
    }

    func server(_ authority: Authority, _ file: String = "server") throws -> Certificate {
        try issue(file, by: authority, names: [.address("127.0.0.1"), .dns("server.example")], [.server])
    }

    func keep(
        authorities: String? = "ca.crt", revocations: String? = nil
    ) throws -> Kept<ServerCredentials> {
        try CredentialPaths(
            certificate: path("server.crt"), key: path("server.key"), authorities: authorities.map(path),
            revocations: revocations.map(path)
        ).keep()
    }

    func revoke(_ certificates: [Certificate], by authority: Authority, until end: Int? = nil) throws {
        try GuardedFile.write(authority.revoke(certificates, until: end).pem, to: path("ca.crl"), mode: 0o644)
    }

    func client(
        _ server: TestServer, as file: String? = nil, trusting authority: String = "ca.crt",
        host: String? = nil
    ) throws -> HTTPClient {
        let address =
            host.map { "\($0):\(server.address.split(separator: ":").last ?? "")" } ?? server.address
        return HTTPClient(
            try HTTPClientAddress("https://\(address)"),
            identity: HTTPClientIdentity(
                authorities: path(authority), certificate: file.map { path("\($0).crt") },
                key: file.map { path("\($0).key") }))
    }
}

@Suite struct TLSTests {
    private let get = HTTPClientRequest("GET", "/x")
    private let role = [Certificate.Name.uri("viaduct://role/controller")]

    /// What the server took the client for.
    private func peer(_ papers: Papers, _ server: TestServer, as file: String?) async throws -> HTTPPeer? {
        _ = try await papers.client(server, as: file).send(get)
        return server.record.requests.last?.peer
    }

    @Test("a client is whom its certificate names, and nobody without one")
    func accepted() async throws {
        let papers = try Papers()
        let authority = try papers.authority("ca")
        _ = try papers.server(authority)
        let issued = try papers.issue("controller", by: authority, names: role, [.client])
        let server = try TestServer(tls: papers.keep())
        let expected = ClientCertificate(
            name: "controller", roles: ["controller"], serial: issued.serial, endsAt: issued.endsAt)
        #expect(try await peer(papers, server, as: "controller") == .certificate(expected))
        #expect(try await peer(papers, server, as: nil) == .address)
        await server.stop()
    }

    @Test("a certificate that is no good makes nobody of a client, whatever is wrong with it")
    func refused() async throws {
        let papers = try Papers()
        let (authority, other) = (try papers.authority("ca"), try papers.authority("other"))
        _ = try papers.server(authority)
        try papers.issue("forged", by: other, names: role, [.client])
        try papers.issue("expired", by: authority, names: role, [.client], start: -31)
        try papers.issue("early", by: authority, names: role, [.client], start: 2)
        try papers.issue("host", by: authority, names: role, [.server])
        try papers.issue("aimless", by: authority, names: role, [])
        let server = try TestServer(tls: papers.keep())
        for file in ["forged", "expired", "early", "host", "aimless"] {
            let found = try await peer(papers, server, as: file)
            guard case .refused(let reason) = found else {
                Issue.record("\(file): \(String(describing: found))")
                continue
            }
            #expect(!reason.isEmpty)
        }
        // An authority's key is not for this: GnuTLS does not even finish the handshake.
        await #expect(throws: HTTPClientError.self) { try await peer(papers, server, as: "ca") }
        await server.stop()
    }

    @Test("clients are not asked for certificates when there is nobody to certify them")
    func notAsked() async throws {
        let papers = try Papers()
        let authority = try papers.authority("ca")
        _ = try papers.server(authority)
        try papers.issue("controller", by: authority, names: role, [.client])
        let server = try TestServer(tls: papers.keep(authorities: nil))
        #expect(try await peer(papers, server, as: "controller") == .address)
        await server.stop()
    }

    @Test("a client goes on only with a server that its authority certified by the name it asked for")
    func servers() async throws {
        let papers = try Papers()
        let (authority, _) = (try papers.authority("ca"), try papers.authority("other"))
        _ = try papers.server(authority)
        let server = try TestServer(tls: papers.keep())
        for client in [
            try papers.client(server, trusting: "other.crt"), try papers.client(server, host: "localhost"),
        ] {
            let error = await #expect(throws: HTTPClientError.self) { try await client.send(get) }
            #expect(error?.kind == .unreachable && error?.mayBeDelivered == false)
            #expect(error?.description.contains("TLS") == true)
        }
        #expect(server.record.requests.isEmpty)
        await server.stop()
    }

    @Test("the plain port's clients and TLS's do not understand each other, and nothing is served")
    func plain() async throws {
        let papers = try Papers()
        _ = try papers.server(papers.authority("ca"))
        let server = try TestServer(tls: papers.keep())
        let plain = HTTPClient(try HTTPClientAddress("http://\(server.address)"))
        await #expect(throws: HTTPClientError.self) { try await plain.send(get) }
        #expect(server.record.requests.isEmpty)
        await server.stop()
    }

    @Test("replaced files count for kept connections at their next request, and none of them is closed")
    func reload() async throws {
        let papers = try Papers()
        let authority = try papers.authority("ca")
        let first = try papers.server(authority)
        let issued = try papers.issue("controller", by: authority, names: role, [.client])
        let kept = try papers.keep()
        let server = try TestServer(tls: kept)
        let client = try papers.client(server, as: "controller")
        _ = try await client.send(get)
        let second = try papers.server(authority)
        #expect(try kept.refresh())
        #expect(kept.current.certificate.serial == second.serial && second.serial != first.serial)
        _ = try await client.send(get)
        // Another authority takes over: who was certified by the first is nobody from now on.
        let next = try papers.authority("ca")
        _ = try papers.server(next)
        #expect(try kept.refresh())
        _ = try await client.send(get)
        let seen = server.record.requests
        #expect(Set(seen.map(\.remote)).count == 1)
        for request in seen.prefix(2) {
            guard case .certificate(let found) = request.peer else {
                Issue.record("\(request.peer)")
                continue
            }
            #expect(found.serial == issued.serial)
        }
        if case .refused? = seen.last?.peer {} else { Issue.record("\(String(describing: seen.last?.peer))") }
        await server.stop()
    }

    @Test(
        "a list that is over accepts nobody, on kept connections too, and one of another authority is not taken"
    )
    func lists() async throws {
        let papers = try Papers()
        let authority = try papers.authority("ca")
        _ = try papers.server(authority)
        try papers.issue("controller", by: authority, names: role, [.client])
        try papers.revoke([], by: authority, until: time(nil) + 2)
        let kept = try papers.keep(revocations: "ca.crl")
        let server = try TestServer(tls: kept)
        let client = try papers.client(server, as: "controller")
        _ = try await client.send(get)
        try await Task.sleep(for: .seconds(2.5))
        _ = try await client.send(get)
        let seen = server.record.requests
        guard case .certificate = seen[0].peer, case .refused(let reason) = seen[1].peer else {
            Issue.record("\(seen.map(\.peer))")
            return
        }
        #expect(reason == "a list of revoked certificates is over" && seen[0].remote == seen[1].remote)
        // Of the same name, which is all that a certificate says of who issued it.
        let (other, _) = try Authority.create(name: "ca", days: 1)
        try papers.revoke([], by: other)
        let refusal = #expect(throws: TrustError.self) { try kept.refresh() }
        #expect(refusal?.description.contains("none of them has signed") == true)
        try papers.revoke([], by: authority)
        #expect(try kept.refresh())
        _ = try await client.send(get)
        if case .certificate? = server.record.requests.last?.peer {
        } else {
            Issue.record("not accepted again")
        }
        await server.stop()
    }

    @Test("a revoked client is nobody from its next request on, and a revoked server is not talked to")
    func revoked() async throws {
        let papers = try Papers()
        let authority = try papers.authority("ca")
        let own = try papers.server(authority)
        let issued = try papers.issue("controller", by: authority, names: role, [.client])
        try papers.issue("other", by: authority, names: role, [.client])
        try papers.revoke([], by: authority)
        let kept = try papers.keep(revocations: "ca.crl")
        let server = try TestServer(tls: kept)
        let (client, other) = (
            try papers.client(server, as: "controller"), try papers.client(server, as: "other")
        )
        _ = try await client.send(get)
        try papers.revoke([issued], by: authority)
        #expect(try kept.refresh())
        _ = try await client.send(get)
        _ = try await other.send(get)
        let seen = server.record.requests
        #expect(seen[0].remote == seen[1].remote)
        guard case .certificate = seen[0].peer, case .refused(let reason) = seen[1].peer,
            case .certificate = seen[2].peer
        else {
            Issue.record("\(seen.map(\.peer))")
            return
        }
        #expect(reason.contains("revoked"))
        try papers.revoke([own], by: authority)
        let strict = HTTPClient(
            try HTTPClientAddress("https://\(server.address)"),
            identity: HTTPClientIdentity(
                authorities: papers.path("ca.crt"), revocations: papers.path("ca.crl")))
        let error = await #expect(throws: HTTPClientError.self) { try await strict.send(get) }
        #expect(error?.kind == .unreachable)
        await server.stop()
    }

    @Test(
        "a server that is revoked meanwhile is asked by a kept connection no longer than the list may be old")
    func revokedLater() async throws {
        let papers = try Papers()
        let authority = try papers.authority("ca")
        let own = try papers.server(authority)
        try papers.revoke([], by: authority)
        let server = try TestServer(tls: papers.keep(authorities: nil))
        func client(_ revocations: String?) throws -> HTTPClient {
            HTTPClient(
                try HTTPClientAddress("https://\(server.address)"),
                limits: HTTPClientLimits(listedSeconds: 1),
                identity: HTTPClientIdentity(
                    authorities: papers.path("ca.crt"), revocations: revocations.map(papers.path)))
        }
        let (strict, lenient) = (try client("ca.crl"), try client(nil))
        for client in [strict, lenient] { _ = try await client.send(get) }
        try papers.revoke([own], by: authority)
        try await Task.sleep(for: .seconds(2.5))
        let error = await #expect(throws: HTTPClientError.self) { try await strict.send(get) }
        #expect(error?.kind == .unreachable)
        _ = try await lenient.send(get)
        let remotes = server.record.requests.map(\.remote)
        #expect(remotes[1] == remotes[2], "connections are kept")
        await server.stop()
    }

    @Test("files that are no good leave the state before in force")
    func badFiles() async throws {
        let papers = try Papers()
        let authority = try papers.authority("ca")
        let first = try papers.server(authority)
        let kept = try papers.keep()
        let server = try TestServer(tls: kept)
        // A certificate whose key is another one.
        try papers.issue("stray", by: authority, names: [.address("127.0.0.1")], [.server])
        try GuardedFile.write(
            GuardedFile.read(papers.path("stray.crt"), .shared), to: papers.path("server.crt"), mode: 0o644)
        #expect(throws: TrustError.self) { try kept.refresh() }
        #expect(kept.current.certificate.serial == first.serial)
        #expect(try await papers.client(server).send(get).status == 200)
        await server.stop()
    }

    /// Connections that have sent a record's header, and nothing of what it announces.
    private func halfShaken(_ address: String) throws -> [RawClient] {
        let clients = try (0..<20).map { _ in try RawClient(address) }
        for client in clients { client.send([0x16, 0x03, 0x01, 0x01, 0x00, 0x01]) }
        return clients
    }

    @Test("nobody waits for clients that do not shake hands")
    func unhindered() async throws {
        let papers = try Papers()
        _ = try papers.server(papers.authority("ca"))
        let server = try TestServer(TestServer.limits { $0.headerSeconds = 60 }, tls: papers.keep())
        let idle = try halfShaken(server.address)
        let start = ContinuousClock.now
        let client = try papers.client(server)
        for _ in 0..<10 { #expect(try await client.send(get).status == 200) }
        #expect(ContinuousClock.now - start < .seconds(30))
        withExtendedLifetime(idle) {}
        await server.stop()
    }

    @Test("clients that do not shake hands are cut at the deadline of the head")
    func slow() async throws {
        let papers = try Papers()
        _ = try papers.server(papers.authority("ca"))
        let server = try TestServer(TestServer.limits { $0.headerSeconds = 1 }, tls: papers.keep())
        let idle = try halfShaken(server.address)
        let closed = try await blocking { idle.allSatisfy { $0.closes(withinSeconds: 10) } }
        #expect(closed)
        await server.stop()
    }

    @Test("at a Unix socket a client is the user it runs as, with all groups")
    func process() async throws {
        let papers = try Papers()
        let path = papers.path("api.sock")
        let server = try TestServer(endpoints: [.unix(path: path, mode: 0o660, group: 4242)])
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_gid == 4242)
        _ = try await HTTPClient(try HTTPClientAddress("unix:\(path)")).send(get)
        guard case .process(let user, let groups)? = server.record.requests.last?.peer else {
            Issue.record("\(String(describing: server.record.requests.last?.peer))")
            return
        }
        #expect(user == geteuid() && groups.contains(getegid()))
        await server.stop()
    }
}
