// When certificates expire, for those who have to be told in time.

/// What a certificate in use is for, whom it names, and when it expires.
public struct CertificateEnd: Hashable, Sendable {
    /// "server", "client_authority", or what else the service says.
    public var use: String
    /// The subject's common name; empty without one.
    public var name: String
    /// Seconds of Unix time.
    public var endsAt: Int

    init(_ certificate: Certificate, use: String) {
        self.use = use
        name = certificate.commonName ?? ""
        endsAt = certificate.endsAt
    }

    /// Of every certificate in a file.
    public static func read(_ path: String, use: String) throws(TrustError) -> [CertificateEnd] {
        let bytes = try GuardedFile.read(path, .shared)
        do throws(TrustError) {
            return try Certificate.parseAll(pem: bytes).map { CertificateEnd($0, use: use) }
        } catch {
            throw TrustError("\(path): \(error)")
        }
    }
}
