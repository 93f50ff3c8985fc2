/// By whom a client lets servers be certified, and what it shows them. Files, which are read for each connection: they
/// are renewed by replacing them.
public struct HTTPClientIdentity: Hashable, Sendable {
    /// PEM file of authorities; nil: those the system trusts.
    public var authorities: String?
    /// PEM file of lists of servers' certificates that have been revoked.
    public var revocations: String?
    /// PEM files of a certificate and its key; nil: none is shown.
    public var certificate: String?
    public var key: String?

    public init(
        authorities: String? = nil, revocations: String? = nil, certificate: String? = nil,
        key: String? = nil
    ) {
        self.authorities = authorities
        self.revocations = revocations
        self.certificate = certificate
        self.key = key
    }
}
