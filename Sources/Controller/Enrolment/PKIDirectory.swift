// A directory with a small certificate authority and its invitations:
//
//     ca.crt                   the authority's certificate, which everybody may have
//     ca.key                   its key
//     ca.crl                   what it has revoked, which everybody may have
//     issued/SERIAL.crt        what it has issued: of one key there may be several, which are revoked together
//     invitations/SHA-256      one file for each token that has not been used: whom it invites, and until when
//
// An invitation is used by removing its file, which one process can do once: so a token is good once, whichever
// controllers share the directory, and whatever ends in between. The tokens themselves are nowhere here.

internal import API
internal import Foundation
internal import JSON
public import Trust

public struct PKIDirectory: Sendable {
    public let path: String
    public init(_ path: String) { self.path = path }

    public var certificatePath: String { "\(path)/ca.crt" }
    /// Of what it has revoked.
    public var listPath: String { "\(path)/ca.crl" }
    private var keyPath: String { "\(path)/ca.key" }
    private var invitations: String { "\(path)/invitations" }
    private var records: String { "\(path)/issued" }

    /// Makes a new authority; never replaces one.
    public func create(name: String, days: Int) throws(TrustError) {
        guard !FileManager.default.fileExists(atPath: keyPath) else {
            throw TrustError("\(keyPath) exists: wanted a directory without an authority")
        }
        let (authority, key) = try Authority.create(name: name, days: days)
        try make(invitations)
        try GuardedFile.write(authority.certificate.pem, to: certificatePath, mode: 0o644)
        try GuardedFile.write(key.pem, to: keyPath, mode: 0o600)
        try GuardedFile.write(authority.revoke([]).pem, to: listPath, mode: 0o644)
    }

    public func authority() throws(TrustError) -> Authority {
        try Authority(
            certificate: Certificate.parse(pem: GuardedFile.read(certificatePath, .shared)),
            key: PrivateKey.parse(pem: GuardedFile.read(keyPath, .secret)))
    }

    // MARK: What is issued

    /// Certifies a key.
    public func issue(_ content: CertificateContent, for key: PublicKey) throws(TrustError) -> Certificate {
        let issued = try authority().issue(content, for: key)
        try make(records)
        try GuardedFile.write(issued.pem, to: record(of: issued), mode: 0o644)
        return issued
    }

    private func record(of issued: Certificate) -> String { "\(records)/\(issued.serial).crt" }

    /// The same certificate for another time. A key that was revoked stays revoked.
    public func renew(_ old: Certificate, days: Int) throws(TrustError) -> Certificate {
        guard try authority().hasSigned(old) else {
            throw TrustError("wanted a certificate of this authority, found another's")
        }
        // Whoever revokes it meanwhile finds the new one too.
        return try GuardedFile.alone(with: listPath) { () throws(TrustError) in
            let list = try list()
            guard try !withKey(of: old).contains(where: list.has) else {
                throw TrustError("the certificate has been revoked")
            }
            return try issue(CertificateContent(renewing: old, days: days), for: PublicKey.of(old))
        }
    }

    /// Takes a certificate back for whoever reads the list, and with it every other one of its key.
    public func revoke(_ certificate: Certificate) throws(TrustError) {
        try GuardedFile.alone(with: listPath) { () throws(TrustError) in
            let list = try authority().revoke(withKey(of: certificate), after: list())
            try GuardedFile.write(list.pem, to: listPath, mode: 0o644, keepingOwner: true)
        }
    }

    /// It, and all of its key that were issued here.
    private func withKey(of certificate: Certificate) throws(TrustError) -> [Certificate] {
        let key = certificate.keyDigest
        var all = [certificate]
        for name in (try? FileManager.default.contentsOfDirectory(atPath: records)) ?? []
        where name.hasSuffix(".crt") && name != "\(certificate.serial).crt" {
            let record = "\(records)/\(name)"
            let pem = try GuardedFile.read(record, .shared)
            guard let other = try? Certificate.parse(pem: pem) else {
                throw TrustError("\(record): wanted a certificate that was issued here, found none")
            }
            if other.keyDigest == key { all.append(other) }
        }
        return all
    }

    private func list() throws(TrustError) -> RevocationList {
        try RevocationList.parse(pem: GuardedFile.read(listPath, .shared))
    }

    // MARK: Invitations

    /// Lets whoever has the returned token have a certificate with this content, once, within so many seconds.
    public func invite(_ content: CertificateContent, seconds: Int) throws(TrustError) -> String {
        let token = Secret.make()
        try make(invitations)
        let names = content.names.map { JSONValue.string(PKIDirectory.text($0)) }
        let invitation: JSONObject = [
            "name": .string(content.name), "names": .array(names), "days": .integer(Int64(content.days)),
            "expires": .integer(Int64(PKIDirectory.now + seconds)),
        ]
        try GuardedFile.write(
            JSONValue.object(invitation).serialized(), to: place(token), mode: 0o600)
        return token
    }

    /// Uses up an invitation and certifies the key of a request. Nil when there is none for the token, or it has
    /// expired.
    public func redeem(
        _ token: String, _ request: SigningRequest
    ) throws(TrustError) -> (content: CertificateContent, certificate: Certificate, authority: Certificate)? {
        let place = place(token)
        guard FileManager.default.fileExists(atPath: place) else { return nil }
        let key = try PublicKey.of(request)
        let authority = try authority()
        let bytes = try GuardedFile.read(place, .secret)
        guard let (content, expires) = PKIDirectory.read(bytes), expires > PKIDirectory.now else {
            unlink(place)
            return nil
        }
        // On the disk before the invitation is used up: one that cannot be kept has cost nobody's token.
        let issued = try issue(content, for: key)
        guard unlink(place) == 0 else {
            unlink(record(of: issued))
            return nil
        }
        return (content, issued, authority.certificate)
    }

    /// The digest is hexadecimal digits, so a token names a file in one directory and no other.
    private func place(_ token: String) -> String { "\(invitations)/\(SHA256(of: Array(token.utf8)))" }

    private static func read(_ bytes: [UInt8]) -> (CertificateContent, expires: Int)? {
        guard let value = try? JSONValue.parse(bytes), let name = value["name"]?.stringValue,
            case .integer(let days)? = value["days"], case .integer(let expires)? = value["expires"]
        else { return nil }
        let names = (value["names"]?.arrayValue ?? []).compactMap {
            $0.stringValue.flatMap(PKIDirectory.name)
        }
        let content = CertificateContent(name: name, names: names, purposes: [.server], days: Int(days))
        return (content, Int(expires))
    }

    private static func text(_ name: Certificate.Name) -> String {
        switch name {
        case .dns(let text): "dns:\(text)"
        case .address(let text): "ip:\(text)"
        case .uri(let text): "uri:\(text)"
        }
    }

    private static func name(_ text: String) -> Certificate.Name? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let rest = String(text[text.index(after: colon)...])
        switch text[..<colon] {
        case "dns": return .dns(rest)
        case "ip": return .address(rest)
        default: return nil
        }
    }

    private static var now: Int { Int(Date.now.timeIntervalSince1970) }

    private func make(_ directory: String) throws(TrustError) {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw TrustError("cannot make \(directory): \(error.localizedDescription)")
        }
    }
}
