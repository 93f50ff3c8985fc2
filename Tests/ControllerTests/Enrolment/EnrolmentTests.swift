// How a new host gets its certificate: an authority on disk, invitations that are good once, and the API.

import API
import Foundation
import HTTP
import JSON
import Logging
import Testing
import Trust

@testable import Controller

@Suite struct EnrolmentTests {
    private let path = "/tmp/viaduct-pki-\(UUID().uuidString)"
    private let content = CertificateContent(
        name: "host-a", names: [.dns("host-a.example"), .address("192.0.2.7")], purposes: [.server], days: 30)

    private func scratch(_ body: (PKIDirectory) async throws -> Void) async throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let directory = PKIDirectory("\(path)/pki")
        try directory.create(name: "fleet", days: 100)
        try await body(directory)
    }

    private func request() throws -> SigningRequest { try .make(.generate(), name: "whatever") }

    @Test("an authority is made once, and its key and its invitations are for its owner")
    func create() async throws {
        try await scratch { directory in
            #expect(throws: TrustError.self) { try directory.create(name: "fleet", days: 100) }
            let token = try directory.invite(content, seconds: 60)
            for (file, mode) in [("ca.crt", 0o644), ("ca.key", 0o600), ("invitations", 0o700)] {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(path)/pki/\(file)")
                #expect(attributes[.posixPermissions] as? Int == mode, "\(file)")
            }
            let kept = try FileManager.default.contentsOfDirectory(atPath: "\(path)/pki/invitations")
            #expect(kept == ["\(SHA256(of: Array(token.utf8)))"])
        }
    }

    @Test("an invitation is good once, for the names it was made with, whatever the request says")
    func once() async throws {
        try await scratch { directory in
            let token = try directory.invite(content, seconds: 60)
            let issued = try #require(try directory.redeem(token, request()))
            #expect(issued.certificate.commonName == "host-a" && issued.certificate.names == content.names)
            #expect(issued.certificate.has(.server) && !issued.certificate.has(.client))
            #expect(issued.certificate.roles.isEmpty)
            #expect(try directory.redeem(token, request()) == nil)
            #expect(try directory.redeem("viaduct_guess", request()) == nil)
        }
    }

    @Test("a certificate is renewed with its names and key, until it is revoked")
    func renewal() async throws {
        try await scratch { directory in
            let old = try #require(try directory.redeem(directory.invite(content, seconds: 60), request()))
                .certificate
            let renewed = try directory.renew(old, days: 20)
            #expect(renewed.names == old.names && renewed.serial != old.serial)
            try directory.revoke(old)
            let refusal = #expect(throws: TrustError.self) { try directory.renew(old, days: 20) }
            #expect(refusal?.description.contains("revoked") == true)
            // They are of one key: who has the one has the other.
            #expect(throws: TrustError.self) { try directory.renew(renewed, days: 20) }
            let list = try RevocationList.parse(pem: GuardedFile.read(directory.listPath, .shared))
            #expect(list.has(old) && list.has(renewed))
        }
    }

    @Test("only what this authority has signed is renewed, whatever its names say")
    func renewalOfOthers() async throws {
        try await scratch { directory in
            let own = try #require(try directory.redeem(directory.invite(content, seconds: 60), request()))
            let name = try #require(own.authority.commonName)
            let (other, _) = try Authority.create(name: name, days: 1)
            let forged = try other.issue(content, for: PublicKey.of(own.certificate))
            let refusal = #expect(throws: TrustError.self) { try directory.renew(forged, days: 20) }
            #expect(refusal?.description.contains("another's") == true)
        }
    }

    @Test("of certificates that are revoked at once, all are on the list")
    func revokedAtOnce() async throws {
        try await scratch { directory in
            var all: [Certificate] = []
            for _ in 0..<8 {
                all.append(
                    try #require(try directory.redeem(directory.invite(content, seconds: 60), request()))
                        .certificate)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for pem in try all.map({ certificate in try certificate.pem }) {
                    group.addTask { try directory.revoke(Certificate.parse(pem: pem)) }
                }
                try await group.waitForAll()
            }
            let list = try RevocationList.parse(pem: GuardedFile.read(directory.listPath, .shared))
            #expect(all.allSatisfy(list.has))
        }
    }

    @Test("of many that use one invitation at once, one gets a certificate")
    func race() async throws {
        try await scratch { directory in
            let token = try directory.invite(content, seconds: 60)
            let won = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<16 {
                    group.addTask { (try? directory.redeem(token, request())) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(won == 1)
        }
    }

    @Test("an invitation that has expired is no good, nor is it afterwards")
    func expired() async throws {
        try await scratch { directory in
            let token = try directory.invite(content, seconds: 0)
            #expect(try directory.redeem(token, request()) == nil)
            #expect(try directory.redeem(token, request()) == nil)
        }
    }

    @Test(
        "by the API: a certificate for a token, 403 without a good one, 422 for a bad request, 404 where nobody enrols"
    )
    func api() async throws {
        try await scratch { directory in
            try await TestController.run { controller async throws in
                let api = ControllerAPI(
                    core: controller.core, health: controller.health, version: controller.api.version,
                    pki: directory, log: Logger(label: "test"))
                func ask(_ token: String, _ pem: String, of api: ControllerAPI) async -> HTTPResponse {
                    let body: JSONObject = ["token": .string(token), "request": .string(pem)]
                    return await api.handle(
                        HTTPRequest(
                            method: "POST", rawPath: Enrolment.path, path: ["v1", "enrolments"],
                            headers: [("Content-Type", "application/json")],
                            body: JSONValue.object(body).serialized(), remote: "192.0.2.7:1"))
                }
                let pem = String(decoding: try request().pem, as: UTF8.self)
                let token = try directory.invite(content, seconds: 60)
                #expect(await ask(token, "nonsense", of: api).status == 422)
                #expect(await ask(token, pem, of: controller.api).status == 404)
                let answer = await ask(token, pem, of: api)
                #expect(answer.status == 200)
                let document = try EnrolmentDocument.schema.decode(try JSONValue.parse(answer.body))
                #expect(document.name == "host-a")
                #expect(try Certificate.parse(pem: Array(document.authority.utf8)).isAuthority)
                #expect(await ask(token, pem, of: api).status == 403)
            }
        }
    }
}
