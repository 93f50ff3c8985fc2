// One X.509 certificate (RFC 5280) and what it says.

import CGnuTLS
internal import Glibc

/// Owns GnuTLS's object, which is never changed once it is here.
public final class Certificate: @unchecked Sendable {
    /// Who else a certificate says it is.
    public enum Name: Hashable, Sendable {
        case dns(String)
        case address(String)
        case uri(String)
    }

    public enum Purpose: Sendable, CaseIterable {
        case server
        case client

        var identifier: String {
            switch self {
            case .server: GNUTLS_KP_TLS_WWW_SERVER
            case .client: GNUTLS_KP_TLS_WWW_CLIENT
            }
        }
    }

    let handle: OpaquePointer

    /// Takes over the object.
    init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { gnutls_x509_crt_deinit(handle) }

    static func make() throws(TrustError) -> Certificate {
        var handle: OpaquePointer?
        try GnuTLS.check(gnutls_x509_crt_init(&handle), "certificate")
        guard let handle else { throw TrustError("certificate: out of memory") }
        return Certificate(owning: handle)
    }

    public static func parse(der: [UInt8]) throws(TrustError) -> Certificate {
        try parse(der, GNUTLS_X509_FMT_DER)
    }

    /// The first of a file.
    public static func parse(pem: [UInt8]) throws(TrustError) -> Certificate {
        try parse(pem, GNUTLS_X509_FMT_PEM)
    }

    private static func parse(
        _ bytes: [UInt8], _ form: gnutls_x509_crt_fmt_t
    ) throws(TrustError) -> Certificate {
        let certificate = try make()
        let result = GnuTLS.lend(bytes) { gnutls_x509_crt_import(certificate.handle, $0, form) }
        try GnuTLS.check(result, "certificate")
        return certificate
    }

    /// All of a file, at least one.
    static func parseAll(pem: [UInt8]) throws(TrustError) -> [Certificate] {
        var handles: UnsafeMutablePointer<OpaquePointer?>?
        var count: UInt32 = 0
        let result = GnuTLS.lend(pem) {
            gnutls_x509_crt_list_import2(&handles, &count, $0, GNUTLS_X509_FMT_PEM, 0)
        }
        try GnuTLS.check(result, "certificates")
        defer { viaduct_gnutls_free(handles) }
        return UnsafeBufferPointer(start: handles, count: Int(count)).compactMap { handle in
            handle.map { Certificate(owning: $0) }
        }
    }

    public var pem: [UInt8] {
        get throws(TrustError) {
            var datum = gnutls_datum_t()
            try GnuTLS.check(gnutls_x509_crt_export2(handle, GNUTLS_X509_FMT_PEM, &datum), "certificate")
            return GnuTLS.take(datum)
        }
    }

    /// SHA-1 or SHA-256 of its public key, as GnuTLS names keys.
    public var keyDigest: [UInt8]? { GnuTLS.read { gnutls_x509_crt_get_key_id(handle, 0, $0, $1) } }

    /// The subject's common name.
    public var commonName: String? {
        GnuTLS.read { gnutls_x509_crt_get_dn_by_oid(handle, GNUTLS_OID_X520_COMMON_NAME, 0, 0, $0, $1) }?.text
    }

    /// The subject's alternative names of the sorts that matter here.
    public var names: [Name] {
        var names: [Name] = []
        for index in 0..<Certificate.nameLimit {
            var kind: Int32 = 0
            let bytes = GnuTLS.read { bytes, count in
                kind = gnutls_x509_crt_get_subject_alt_name(handle, index, bytes, count, nil)
                return kind
            }
            guard let bytes else { break }
            switch gnutls_x509_subject_alt_name_t(UInt32(kind)) {
            case GNUTLS_SAN_DNSNAME: names.append(.dns(bytes.text))
            case GNUTLS_SAN_URI: names.append(.uri(bytes.text))
            case GNUTLS_SAN_IPADDRESS:
                if let text = Certificate.address(bytes) { names.append(.address(text)) }
            default: break
            }
        }
        return names
    }

    /// Alternative names that are looked at.
    private static let nameLimit: UInt32 = 64

    /// Extended key usage; one that says nothing has none here.
    public func has(_ purpose: Purpose) -> Bool {
        for index in 0..<UInt32(16) {
            let oid = GnuTLS.read { gnutls_x509_crt_get_key_purpose_oid(handle, index, $0, $1, nil) }
            guard let oid else { return false }
            if oid.text == purpose.identifier { return true }
        }
        return false
    }

    /// Whether its key may sign, which is all that TLS 1.3 and ECDHE do with it. True when it says nothing.
    var maySign: Bool {
        var usage: UInt32 = 0
        let result = gnutls_x509_crt_get_key_usage(handle, &usage, nil)
        if result == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE { return true }
        return result >= 0 && usage & UInt32(GNUTLS_KEY_DIGITAL_SIGNATURE) != 0
    }

    /// Whether it may issue others.
    public var isAuthority: Bool { gnutls_x509_crt_get_ca_status(handle, nil) > 0 }

    /// Seconds of Unix time.
    public var startsAt: Int { gnutls_x509_crt_get_activation_time(handle) }
    public var endsAt: Int { gnutls_x509_crt_get_expiration_time(handle) }

    /// In hexadecimal digits.
    public var serial: String {
        let bytes = GnuTLS.read { gnutls_x509_crt_get_serial(handle, $0, $1) } ?? []
        return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func address(_ bytes: [UInt8]) -> String? {
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(family, bytes, &text, socklen_t(text.count)) != nil else { return nil }
        return text.map { UInt8(bitPattern: $0) }.text
    }

    /// The bytes of an address as it stands in a certificate.
    static func bytes(address: String) -> [UInt8]? {
        let isIPv6 = address.utf8.contains(UInt8(ascii: ":"))
        var bytes = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
        return inet_pton(isIPv6 ? AF_INET6 : AF_INET, address, &bytes) == 1 ? bytes : nil
    }
}
