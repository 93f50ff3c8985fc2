// What an authority has taken back before its time (RFC 5280 §5).

import CGnuTLS
internal import Glibc

/// Owns GnuTLS's object, which is never changed once it is here.
public final class RevocationList {
    fileprivate let handle: OpaquePointer

    private init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { gnutls_x509_crl_deinit(handle) }

    fileprivate static func make() throws(TrustError) -> RevocationList {
        var handle: OpaquePointer?
        try GnuTLS.check(gnutls_x509_crl_init(&handle), "list of revoked certificates")
        guard let handle else { throw TrustError("list of revoked certificates: out of memory") }
        return RevocationList(owning: handle)
    }

    public static func parse(pem: [UInt8]) throws(TrustError) -> RevocationList {
        let list = try make()
        let result = GnuTLS.lend(pem) { gnutls_x509_crl_import(list.handle, $0, GNUTLS_X509_FMT_PEM) }
        try GnuTLS.check(result, "list of revoked certificates")
        return list
    }

    /// All of a file, at least one.
    static func parseAll(pem: [UInt8]) throws(TrustError) -> [RevocationList] {
        var handles: UnsafeMutablePointer<OpaquePointer?>?
        var count: UInt32 = 0
        let result = GnuTLS.lend(pem) {
            gnutls_x509_crl_list_import2(&handles, &count, $0, GNUTLS_X509_FMT_PEM, 0)
        }
        try GnuTLS.check(result, "lists of revoked certificates")
        defer { viaduct_gnutls_free(handles) }
        return UnsafeBufferPointer(start: handles, count: Int(count)).compactMap { handle in
            handle.map { RevocationList(owning: $0) }
        }
    }

    /// When there should be a newer one: seconds of Unix time; never for one that does not say.
    var endsAt: Int {
        let end = gnutls_x509_crl_get_next_update(handle)
        return end < 0 ? .max : end
    }

    /// Throws unless one of `authorities` has signed it. That it is over is no fault here.
    func verify(by authorities: [Certificate]) throws(TrustError) {
        let issuers = authorities.filter { gnutls_x509_crl_check_issuer(handle, $0.handle) == 1 }
        for issuer in issuers {
            var (issuer, status): (OpaquePointer?, UInt32) = (issuer.handle, .max)
            let over = UInt32(GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED.rawValue)
            let invalid = UInt32(GNUTLS_CERT_INVALID.rawValue)
            let result = gnutls_x509_crl_verify(handle, &issuer, 1, 0, &status)
            if result == 0, status & ~(over | invalid) == 0, status & over != 0 || status == 0 { return }
        }
        throw TrustError(
            "wanted lists of revoked certificates by the authorities, found one that none of them has signed")
    }

    public var pem: [UInt8] {
        get throws(TrustError) {
            var datum = gnutls_datum_t()
            let result = gnutls_x509_crl_export2(handle, GNUTLS_X509_FMT_PEM, &datum)
            try GnuTLS.check(result, "list of revoked certificates")
            return GnuTLS.take(datum)
        }
    }

    public func has(_ certificate: Certificate) -> Bool {
        var list: OpaquePointer? = handle
        return gnutls_x509_crt_check_revocation(certificate.handle, &list, 1) == 1
    }
}

extension Authority {
    /// A list that is good as long as the authority, or until `end`, in seconds of Unix time.
    ///
    /// - Parameter earlier: whose certificates it has too.
    public func revoke(
        _ certificates: [Certificate], after earlier: RevocationList? = nil, until end: Int? = nil
    ) throws(TrustError) -> RevocationList {
        let what = "list of revoked certificates"
        // GnuTLS changes what it has read: a copy.
        let list =
            if let earlier { try RevocationList.parse(pem: earlier.pem) } else { try RevocationList.make() }
        let now = time(nil)
        for revoked in certificates where earlier?.has(revoked) != true {
            guard gnutls_x509_crt_check_issuer(revoked.handle, certificate.handle) == 1 else {
                throw TrustError("wanted a certificate of this authority, found another's")
            }
            try GnuTLS.check(gnutls_x509_crl_set_crt(list.handle, revoked.handle, now), what)
        }
        try GnuTLS.check(gnutls_x509_crl_set_version(list.handle, 2), what)
        try GnuTLS.check(gnutls_x509_crl_set_this_update(list.handle, now - Authority.leewaySeconds), what)
        try GnuTLS.check(gnutls_x509_crl_set_next_update(list.handle, end ?? certificate.endsAt), what)
        let number = withUnsafeBytes(of: Int64(now).bigEndian) { Array($0) }
        try GnuTLS.check(gnutls_x509_crl_set_number(list.handle, number, number.count), what)
        if let identifier = keyIdentifier {
            try GnuTLS.check(
                gnutls_x509_crl_set_authority_key_id(list.handle, identifier, identifier.count), what)
        }
        try GnuTLS.check(
            gnutls_x509_crl_sign2(list.handle, certificate.handle, key.handle, GNUTLS_DIG_SHA256, 0), what)
        return try RevocationList.parse(pem: list.pem)
    }
}
