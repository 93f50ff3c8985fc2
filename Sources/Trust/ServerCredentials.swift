// What a server shows, and by whom it lets clients be certified: one state of its files, never changed. A connection
// keeps the one it began with, so files may be replaced while connections live.

import CGnuTLS
internal import Glibc

/// `@unchecked Sendable`: filled in `init` and only read by GnuTLS from then on, which allows that from any number of
/// threads.
public final class ServerCredentials: @unchecked Sendable {
    /// Certificates, keys and authorities as they lie in their files, in PEM.
    public struct Material: Sendable {
        public var certificate: [UInt8]
        public var key: [UInt8]
        /// Nil: clients are not asked for certificates.
        public var authorities: [UInt8]?
        /// Lists of clients' certificates that the authorities have taken back.
        public var revocations: [UInt8]?

        public init(
            certificate: [UInt8], key: [UInt8], authorities: [UInt8]?, revocations: [UInt8]? = nil
        ) {
            self.certificate = certificate
            self.key = key
            self.authorities = authorities
            self.revocations = revocations
        }
    }

    /// TLS 1.2 and 1.3 with forward secrecy and authenticated ciphers, nothing else; certificates with at least 112
    /// bits (RSA 2048) and signatures no weaker than SHA-256.
    public static let priorities =
        "NORMAL:%PROFILE_MEDIUM:%SERVER_PRECEDENCE:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:"
        + "-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:"
        + "-MAC-ALL:+AEAD:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1"

    private let handle: OpaquePointer
    /// The server's own.
    public let certificate: Certificate
    /// DNS names of the certificate, in lower case.
    public let hostNames: Set<String>
    public let asksClients: Bool
    /// Of everything in `certificate` and `authorities`.
    public let ends: [CertificateEnd]
    /// When the first of the lists of revoked certificates should have been replaced: seconds of Unix time. From then
    /// on nobody is accepted, for what it lacks cannot be known.
    public let listsEndAt: Int

    public init(_ material: Material) throws(TrustError) {
        certificate = try Certificate.parse(pem: material.certificate)
        hostNames = Set(
            certificate.names.compactMap { if case .dns(let name) = $0 { name.lowercased() } else { nil } })
        asksClients = material.authorities != nil
        var ends = try Certificate.parseAll(pem: material.certificate).map {
            CertificateEnd($0, use: "server")
        }
        let authorities = try material.authorities.map { pem throws(TrustError) in
            try Certificate.parseAll(pem: pem)
        }
        ends += (authorities ?? []).map { CertificateEnd($0, use: "client_authority") }
        self.ends = ends
        // GnuTLS takes any list for true, and for good.
        var listsEndAt = Int.max
        if let revocations = material.revocations {
            for list in try RevocationList.parseAll(pem: revocations) {
                try list.verify(by: authorities ?? [])
                listsEndAt = min(listsEndAt, list.endsAt)
            }
        }
        self.listsEndAt = listsEndAt
        var handle: OpaquePointer?
        try GnuTLS.check(gnutls_certificate_allocate_credentials(&handle), "credentials")
        guard let handle else { throw TrustError("credentials: out of memory") }
        self.handle = handle
        let result = GnuTLS.lend(material.certificate) { certificate in
            GnuTLS.lend(material.key) { key in
                gnutls_certificate_set_x509_key_mem(handle, certificate, key, GNUTLS_X509_FMT_PEM)
            }
        }
        try GnuTLS.check(result, "certificate and key")
        guard let authorities = material.authorities else { return }
        let count = GnuTLS.lend(authorities) {
            gnutls_certificate_set_x509_trust_mem(handle, $0, GNUTLS_X509_FMT_PEM)
        }
        guard count > 0 else { throw TrustError("wanted certificates of authorities, found none") }
        guard let revocations = material.revocations else { return }
        let lists = GnuTLS.lend(revocations) {
            gnutls_certificate_set_x509_crl_mem(handle, $0, GNUTLS_X509_FMT_PEM)
        }
        guard lists > 0 else { throw TrustError("wanted lists of revoked certificates, found none") }
    }

    deinit { gnutls_certificate_free_credentials(handle) }

    /// Has a session that has not begun its handshake use these, and no others.
    public func begin(_ session: OpaquePointer) -> Bool {
        guard use(in: session) else { return false }
        // Asked for, not demanded by the handshake: who has none may have a token, and learns what is missing.
        if asksClients { gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST) }
        return true
    }

    private func use(in session: OpaquePointer) -> Bool {
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, UnsafeMutableRawPointer(handle)) == 0
    }

    /// Looks at what the client of a session showed in its handshake, by these credentials' authorities.
    ///
    /// libmicrohttpd and GnuTLS only ask for a certificate: whether it is any good is decided here, and nowhere else.
    /// Without one GnuTLS reports an error and leaves a status of 0, so both must be right.
    public func verdict(on session: OpaquePointer) -> PeerVerdict {
        var count: UInt32 = 0
        guard let chain = gnutls_certificate_get_peers(session, &count), count > 0 else { return .none }
        guard asksClients, use(in: session) else { return .refused("nobody's certificates are accepted") }
        var status = UInt32.max
        let result = ServerCredentials.verify(session, &status)
        guard result == 0, status == 0 else {
            return .refused(
                result < 0 ? String(cString: gnutls_strerror(result)) : ServerCredentials.text(status))
        }
        do throws(TrustError) {
            let leaf = try Certificate.parse(der: ServerCredentials.bytes(chain[0]))
            guard leaf.has(.client) else {
                return .refused("its extended key usage is not client authentication")
            }
            guard leaf.maySign else { return .refused("its key usage is not digital signature") }
            guard !leaf.isAuthority else { return .refused("it is an authority's") }
            guard let name = leaf.commonName, ClientCertificate.isName(name) else {
                return .refused("its common name is missing or no name")
            }
            var end = leaf.endsAt
            for index in 1..<max(Int(count), 1) {
                end = min(end, try Certificate.parse(der: ServerCredentials.bytes(chain[index])).endsAt)
            }
            return .accepted(
                ClientCertificate(name: name, roles: leaf.roles, serial: leaf.serial, endsAt: end))
        } catch {
            return .refused(error.description)
        }
    }

    private static func verify(_ session: OpaquePointer, _ status: inout UInt32) -> Int32 {
        var purpose = Array(Certificate.Purpose.client.identifier.utf8) + [0]
        return purpose.withUnsafeMutableBufferPointer { purpose in
            var wanted = gnutls_typed_vdata_st(
                type: GNUTLS_DT_KEY_PURPOSE_OID, data: purpose.baseAddress, size: 0)
            return gnutls_certificate_verify_peers(session, &wanted, 1, &status)
        }
    }

    private static func bytes(_ datum: gnutls_datum_t) -> [UInt8] {
        Array(UnsafeBufferPointer(start: datum.data, count: Int(datum.size)))
    }

    private static func text(_ status: UInt32) -> String {
        var datum = gnutls_datum_t()
        guard gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &datum, 0) == 0 else {
            return "status \(status)"
        }
        let text = GnuTLS.take(datum).text
        return text.split(separator: " ").joined(separator: " ")
    }
}
