// What a small authority issues, read back by GnuTLS and judged as strictly as by anybody.

import Foundation
import Testing

@testable import Trust

@Suite struct AuthorityTests {
    private let content = CertificateContent(
        name: "host-a", names: [.dns("host-a.example"), .address("192.0.2.7"), .address("2001:db8::7")],
        purposes: [.server], days: 30)

    @Test("a certificate says what was asked for, by an authority that says it is one")
    func issues() throws {
        let (authority, _) = try Authority.create(name: "fleet", days: 3650)
        let key = try PrivateKey.generate()
        let issued = try authority.issue(content, for: PublicKey.of(key))
        #expect(authority.certificate.isAuthority && authority.certificate.commonName == "fleet")
        #expect(issued.commonName == "host-a" && issued.names == content.names)
        #expect(issued.has(.server) && !issued.has(.client) && !issued.isAuthority && issued.maySign)
        let now = Int(Date.now.timeIntervalSince1970)
        #expect(issued.startsAt < now && abs(issued.endsAt - now - 30 * 86_400) < 60)
        #expect(try Certificate.parse(pem: issued.pem).serial == issued.serial)
        let again = try authority.issue(content, for: PublicKey.of(key))
        #expect(again.serial != issued.serial)
    }

    @Test("roles are the names that say so, and no others")
    func roles() throws {
        let (authority, _) = try Authority.create(name: "fleet", days: 1)
        var content = content
        content.names += [.uri("viaduct://role/controller"), .uri("https://example/viaduct://role/operate")]
        let issued = try authority.issue(content, for: PublicKey.of(PrivateKey.generate()))
        #expect(issued.roles == ["controller"])
    }

    @Test("nothing outlives its authority")
    func end() throws {
        let (authority, _) = try Authority.create(name: "fleet", days: 2)
        let issued = try authority.issue(content, for: PublicKey.of(PrivateKey.generate()))
        #expect(issued.endsAt == authority.certificate.endsAt)
    }

    @Test("a renewed certificate says the same, with the same key, for longer")
    func renews() throws {
        let (authority, _) = try Authority.create(name: "fleet", days: 3650)
        let old = try authority.issue(content, for: PublicKey.of(PrivateKey.generate()))
        let renewed = try authority.issue(
            CertificateContent(renewing: old, days: 60), for: PublicKey.of(old))
        #expect(renewed.names == old.names && renewed.commonName == old.commonName)
        #expect(renewed.has(.server) && !renewed.has(.client) && renewed.endsAt > old.endsAt)
    }

    @Test("a certificate that is no authority's issues nothing")
    func noAuthority() throws {
        let (authority, _) = try Authority.create(name: "fleet", days: 1)
        let key = try PrivateKey.generate()
        let issued = try authority.issue(content, for: PublicKey.of(key))
        #expect(throws: TrustError.self) { try Authority(certificate: issued, key: key) }
    }

    @Test("what is revoked is on the list, with everything before it, and nobody else is")
    func revokes() throws {
        let (authority, _) = try Authority.create(name: "fleet", days: 30)
        let (other, _) = try Authority.create(name: "fleet", days: 30)
        let issued = try (0..<3).map { _ in
            try authority.issue(content, for: PublicKey.of(PrivateKey.generate()))
        }
        let empty = try authority.revoke([])
        #expect(!issued.contains(where: empty.has))
        let first = try authority.revoke([issued[0]], after: empty)
        let both = try authority.revoke([issued[0], issued[1]], after: first)
        #expect(issued.map(first.has) == [true, false, false])
        #expect(try issued.map(RevocationList.parse(pem: both.pem).has) == [true, true, false])
        #expect(throws: TrustError.self) { try other.revoke([issued[2]]) }
        #expect(throws: TrustError.self) { try RevocationList.parse(pem: issued[0].pem) }
    }

    @Test("when things expire is said of every certificate in a file, by the name of each")
    func ends() throws {
        let (first, _) = try Authority.create(name: "one", days: 1)
        let (second, _) = try Authority.create(name: "two", days: 2)
        let path = "/tmp/viaduct-ends-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try GuardedFile.write(first.certificate.pem + second.certificate.pem, to: path, mode: 0o644)
        let ends = try CertificateEnd.read(path, use: "x")
        #expect(ends.map(\.name) == ["one", "two"] && ends.allSatisfy { $0.use == "x" })
        #expect(ends.map(\.endsAt) == [first.certificate.endsAt, second.certificate.endsAt])
        try GuardedFile.write(Array("nothing".utf8), to: path, mode: 0o644)
        #expect(throws: TrustError.self) { try CertificateEnd.read(path, use: "x") }
    }

    @Test("a request is refused when its signature is not by the key it asks about")
    func forgedRequest() throws {
        let request = try SigningRequest.make(PrivateKey.generate(), name: "x")
        let pem = try request.pem
        #expect(try SigningRequest.parse(pem: pem).pem == pem)
        let lines = String(decoding: pem, as: UTF8.self).split(separator: "\n").map(String.init)
        var der = try #require(Data(base64Encoded: lines.dropFirst().dropLast().joined()))
        func framed(_ der: Data) -> [UInt8] {
            let text = der.base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
            return Array("\(lines[0])\n\(text)\n\(lines[lines.count - 1])\n".utf8)
        }
        #expect(throws: Never.self) { try SigningRequest.parse(pem: framed(der)) }
        der[der.count - 3] ^= 1
        #expect(throws: TrustError.self) { try SigningRequest.parse(pem: framed(der)) }
    }

    @Test("a key is read back, and text is none")
    func keys() throws {
        let pem = try PrivateKey.generate().pem
        #expect(try PrivateKey.parse(pem: pem).pem == pem)
        #expect(throws: TrustError.self) { try PrivateKey.parse(pem: Array("key".utf8)) }
    }
}
