// A small certificate authority: one self-signed certificate and its key, which issue what hosts, controllers and
// people show each other. No intermediates: it is meant for one fleet and its own use.

import CGnuTLS
internal import Glibc

/// What an authority puts into a certificate.
public struct CertificateContent: Sendable {
    /// The subject's common name: what logs call it by.
    public var name: String
    public var names: [Certificate.Name]
    public var purposes: [Certificate.Purpose]
    public var days: Int

    public init(
        name: String, names: [Certificate.Name] = [], purposes: [Certificate.Purpose], days: Int
    ) {
        self.name = name
        self.names = names
        self.purposes = purposes
        self.days = days
    }

    /// What an earlier certificate says, for another time.
    public init(renewing old: Certificate, days: Int) throws(TrustError) {
        guard let name = old.commonName else { throw TrustError("the certificate names nobody") }
        self.init(
            name: name, names: old.names, purposes: Certificate.Purpose.allCases.filter(old.has), days: days)
    }
}

public final class Authority {
    public let certificate: Certificate
    let key: PrivateKey

    /// Clocks differ: a certificate is good a little earlier than it is made.
    static let leewaySeconds = 300
    private static let daySeconds = 86_400

    public init(certificate: Certificate, key: PrivateKey) throws(TrustError) {
        guard certificate.isAuthority else { throw TrustError("the certificate is not an authority's") }
        self.certificate = certificate
        self.key = key
    }

    /// A new one, with a key of its own.
    public static func create(name: String, days: Int) throws(TrustError) -> (Authority, PrivateKey) {
        let key = try PrivateKey.generate()
        let certificate = try Certificate.make()
        try fill(certificate, name, PublicKey.of(key), from: now, days: days)
        try GnuTLS.check(gnutls_x509_crt_set_basic_constraints(certificate.handle, 1, 0), "authority")
        let usage = UInt32(GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN)
        try GnuTLS.check(gnutls_x509_crt_set_key_usage(certificate.handle, usage), "authority")
        try GnuTLS.check(
            gnutls_x509_crt_sign2(certificate.handle, certificate.handle, key.handle, GNUTLS_DIG_SHA256, 0),
            "authority")
        return (try Authority(certificate: readBack(certificate), key: key), key)
    }

    /// Certifies a key. What is asked for may not outlive the authority.
    ///
    /// - Parameter start: seconds of Unix time; nil is now, a little back.
    public func issue(
        _ content: CertificateContent, for publicKey: PublicKey, start: Int? = nil
    ) throws(TrustError) -> Certificate {
        let issued = try Certificate.make()
        let handle = issued.handle
        try Authority.fill(
            issued, content.name, publicKey, from: start ?? Authority.now, days: content.days,
            atMost: certificate.endsAt)
        try GnuTLS.check(gnutls_x509_crt_set_basic_constraints(handle, 0, -1), "certificate")
        try GnuTLS.check(
            gnutls_x509_crt_set_key_usage(handle, UInt32(GNUTLS_KEY_DIGITAL_SIGNATURE)), "certificate")
        for purpose in content.purposes {
            try GnuTLS.check(
                gnutls_x509_crt_set_key_purpose_oid(handle, purpose.identifier, 0), "certificate")
        }
        for name in content.names { try Authority.add(name, to: handle) }
        if let identifier = keyIdentifier {
            try GnuTLS.check(
                gnutls_x509_crt_set_authority_key_id(handle, identifier, identifier.count), "certificate")
        }
        try GnuTLS.check(
            gnutls_x509_crt_sign2(handle, certificate.handle, key.handle, GNUTLS_DIG_SHA256, 0), "certificate"
        )
        return try Authority.readBack(issued)
    }

    /// Whether a certificate is one of its own, in time or not.
    public func hasSigned(_ other: Certificate) -> Bool {
        var (issuer, status): (OpaquePointer?, UInt32) = (certificate.handle, .max)
        let flags = UInt32(GNUTLS_VERIFY_DISABLE_TIME_CHECKS.rawValue)
        return gnutls_x509_crt_check_issuer(other.handle, certificate.handle) == 1
            && gnutls_x509_crt_verify(other.handle, &issuer, 1, flags, &status) == 0 && status == 0
    }

    /// Of its key, by which what it issues refers to it.
    var keyIdentifier: [UInt8]? {
        GnuTLS.read { gnutls_x509_crt_get_subject_key_id(certificate.handle, $0, $1, nil) }
    }

    private static var now: Int { time(nil) }

    /// What every certificate has.
    private static func fill(
        _ certificate: Certificate, _ name: String, _ key: PublicKey, from start: Int, days: Int,
        atMost end: Int = .max
    ) throws(TrustError) {
        let handle = certificate.handle
        // 127 random bits, positive as RFC 5280 §4.1.2.2 wants it.
        var serial = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        serial[0] = serial[0] & 0x7F | 0x40
        let last = min(end, start + days * daySeconds)
        try GnuTLS.check(gnutls_x509_crt_set_version(handle, 3), "certificate")
        try GnuTLS.check(gnutls_x509_crt_set_serial(handle, serial, serial.count), "certificate")
        try GnuTLS.check(gnutls_x509_crt_set_activation_time(handle, start - leewaySeconds), "certificate")
        try GnuTLS.check(gnutls_x509_crt_set_expiration_time(handle, last), "certificate")
        try GnuTLS.check(
            gnutls_x509_crt_set_dn_by_oid(
                handle, GNUTLS_OID_X520_COMMON_NAME, 0, name, UInt32(name.utf8.count)), "certificate")
        try GnuTLS.check(gnutls_x509_crt_set_pubkey(handle, key.handle), "certificate")
        var identifier = [UInt8](repeating: 0, count: 64)
        var count = identifier.count
        try GnuTLS.check(gnutls_x509_crt_get_key_id(handle, 0, &identifier, &count), "certificate")
        try GnuTLS.check(gnutls_x509_crt_set_subject_key_id(handle, identifier, count), "certificate")
    }

    /// GnuTLS finds names and issuers in what it has read, not in what it was told.
    private static func readBack(_ made: Certificate) throws(TrustError) -> Certificate {
        try Certificate.parse(pem: made.pem)
    }

    private static func add(_ name: Certificate.Name, to handle: OpaquePointer) throws(TrustError) {
        let (kind, bytes): (gnutls_x509_subject_alt_name_t, [UInt8])
        switch name {
        case .dns(let text): (kind, bytes) = (GNUTLS_SAN_DNSNAME, Array(text.utf8))
        case .uri(let text): (kind, bytes) = (GNUTLS_SAN_URI, Array(text.utf8))
        case .address(let text):
            guard let address = Certificate.bytes(address: text) else {
                throw TrustError("wanted an IP address, found \(text)")
            }
            (kind, bytes) = (GNUTLS_SAN_IPADDRESS, address)
        }
        try GnuTLS.check(
            gnutls_x509_crt_set_subject_alt_name(
                handle, kind, bytes, UInt32(bytes.count), UInt32(GNUTLS_FSAN_APPEND)), "certificate")
    }
}
