// How a service knows who asks: the part of its configuration that agents and controllers have alike.

import JSON

public struct AccessSettings: Hashable, Sendable {
    public var certificate: String?
    public var key: String?
    public var clientAuthorities: String?
    public var clientRevocations: String?
    public var tokens: String?
    public var socketGroup: String?

    public init() {}

    /// Nobody is asked who they are.
    public var isOpen: Bool { clientAuthorities == nil && tokens == nil }
    /// Callers can be told apart, and nobody between hears or changes what they say.
    public var isSafeForNetworks: Bool { certificate != nil && key != nil && !isOpen }
    public var isEncrypted: Bool { certificate != nil && key != nil }
}

/// The settings of a service that listens.
public protocol ServiceSettings: Record {
    var listen: ListenAddress { get set }
    var socket: String? { get set }
    var access: AccessSettings { get set }
    /// Files of certificates besides those of `access`, by what they are for.
    var otherCertificates: [String: String] { get }
}

extension ServiceSettings {
    public var otherCertificates: [String: String] { [:] }
}

extension ServiceSettings {
    static var accessFields: [Field<Self>] {
        [
            Field(
                "tls_certificate", \Self.access.certificate, as: .text(.path),
                doc:
                    "PEM file of the certificate the API shows, with what issued it behind it. With it, TCP is TLS.",
                example: "/etc/viaduct/tls/host.crt"),
            Field(
                "tls_key", \Self.access.key, as: .text(.path),
                doc: "PEM file of the certificate's key, which nobody but its owner may read.",
                example: "/etc/viaduct/tls/host.key"),
            Field(
                "tls_client_ca", \Self.access.clientAuthorities, as: .text(.path),
                doc: "PEM file of the authorities whose client certificates are accepted.",
                example: "/etc/viaduct/tls/ca.crt"),
            Field(
                "tls_client_crl", \Self.access.clientRevocations, as: .text(.path),
                doc: "PEM file of lists of client certificates that those authorities have revoked.",
                example: "/etc/viaduct/tls/ca.crl"),
            Field(
                "tokens", \Self.access.tokens, as: .text(.path),
                doc: "File of accepted bearer tokens: a line each with name, role and SHA-256 of the token.",
                example: "/etc/viaduct/tokens"),
            Field(
                "socket_group", \Self.access.socketGroup, as: .text(.group),
                doc: "Group the Unix socket belongs to, whose members may operate.", example: "viaduct"),
        ]
    }
}
