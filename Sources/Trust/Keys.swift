// Private keys, public keys and requests to have one certified (PKCS #10, RFC 2986).

import CGnuTLS

/// Elliptic curve P-256: every TLS library has it, and it makes short certificates.
public final class PrivateKey {
    let handle: OpaquePointer

    private init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { gnutls_x509_privkey_deinit(handle) }

    private static func make() throws(TrustError) -> PrivateKey {
        var handle: OpaquePointer?
        try GnuTLS.check(gnutls_x509_privkey_init(&handle), "key")
        guard let handle else { throw TrustError("key: out of memory") }
        return PrivateKey(owning: handle)
    }

    public static func generate() throws(TrustError) -> PrivateKey {
        let key = try make()
        let curve = UInt32(1 << 31) | GNUTLS_ECC_CURVE_SECP256R1.rawValue
        try GnuTLS.check(gnutls_x509_privkey_generate(key.handle, GNUTLS_PK_ECDSA, curve, 0), "key")
        return key
    }

    public static func parse(pem: [UInt8]) throws(TrustError) -> PrivateKey {
        let key = try make()
        let result = GnuTLS.lend(pem) {
            gnutls_x509_privkey_import2(key.handle, $0, GNUTLS_X509_FMT_PEM, nil, 0)
        }
        try GnuTLS.check(result, "key")
        return key
    }

    /// PKCS #8, not encrypted: what protects it is the file's mode.
    public var pem: [UInt8] {
        get throws(TrustError) {
            var datum = gnutls_datum_t()
            let plain = GNUTLS_PKCS_PLAIN.rawValue
            try GnuTLS.check(
                gnutls_x509_privkey_export2_pkcs8(handle, GNUTLS_X509_FMT_PEM, nil, plain, &datum), "key")
            return GnuTLS.take(datum)
        }
    }
}

/// What an authority certifies.
public final class PublicKey {
    let handle: OpaquePointer

    private init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { gnutls_pubkey_deinit(handle) }

    private static func make() throws(TrustError) -> PublicKey {
        var handle: OpaquePointer?
        try GnuTLS.check(gnutls_pubkey_init(&handle), "public key")
        guard let handle else { throw TrustError("public key: out of memory") }
        return PublicKey(owning: handle)
    }

    /// The key a certificate is about already.
    public static func of(_ certificate: Certificate) throws(TrustError) -> PublicKey {
        let key = try make()
        try GnuTLS.check(gnutls_pubkey_import_x509(key.handle, certificate.handle, 0), "public key")
        return key
    }

    public static func of(_ key: PrivateKey) throws(TrustError) -> PublicKey {
        try of(SigningRequest.make(key, name: "key"))
    }

    public static func of(_ request: SigningRequest) throws(TrustError) -> PublicKey {
        let key = try make()
        try GnuTLS.check(gnutls_pubkey_import_x509_crq(key.handle, request.handle, 0), "public key")
        return key
    }
}

/// A public key, with the proof that whoever asks has the private one.
public final class SigningRequest {
    let handle: OpaquePointer

    private init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { gnutls_x509_crq_deinit(handle) }

    private static func make() throws(TrustError) -> SigningRequest {
        var handle: OpaquePointer?
        try GnuTLS.check(gnutls_x509_crq_init(&handle), "request")
        guard let handle else { throw TrustError("request: out of memory") }
        return SigningRequest(owning: handle)
    }

    public static func make(_ key: PrivateKey, name: String) throws(TrustError) -> SigningRequest {
        let request = try make()
        try GnuTLS.check(gnutls_x509_crq_set_version(request.handle, 1), "request")
        try GnuTLS.check(
            gnutls_x509_crq_set_dn_by_oid(
                request.handle, GNUTLS_OID_X520_COMMON_NAME, 0, name, UInt32(name.utf8.count)), "request")
        try GnuTLS.check(gnutls_x509_crq_set_key(request.handle, key.handle), "request")
        try GnuTLS.check(gnutls_x509_crq_sign2(request.handle, key.handle, GNUTLS_DIG_SHA256, 0), "request")
        return request
    }

    /// Refuses one that is not signed with the key it asks about.
    public static func parse(pem: [UInt8]) throws(TrustError) -> SigningRequest {
        let request = try make()
        let result = GnuTLS.lend(pem) { gnutls_x509_crq_import(request.handle, $0, GNUTLS_X509_FMT_PEM) }
        try GnuTLS.check(result, "request")
        try GnuTLS.check(gnutls_x509_crq_verify(request.handle, 0), "request")
        return request
    }

    public var pem: [UInt8] {
        get throws(TrustError) {
            var datum = gnutls_datum_t()
            try GnuTLS.check(gnutls_x509_crq_export2(handle, GNUTLS_X509_FMT_PEM, &datum), "request")
            return GnuTLS.take(datum)
        }
    }
}
