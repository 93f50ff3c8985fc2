// What a server found of a client's certificate.

/// A client's certificate that was verified.
public struct ClientCertificate: Equatable, Sendable {
    /// The subject's common name.
    public var name: String
    /// From alternative names `viaduct://role/ROLE`, as they stand there.
    public var roles: [String]
    public var serial: String
    /// When it, or what it rests on, expires: seconds of Unix time.
    public var endsAt: Int

    public init(name: String, roles: [String], serial: String, endsAt: Int) {
        self.name = name
        self.roles = roles
        self.serial = serial
        self.endsAt = endsAt
    }

    /// It goes into logs: letters, digits and the marks of names, at most 64 (ub-common-name, RFC 5280 appendix A.1).
    static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF)
                    || " ._-@:".utf8.contains(byte)
            }
    }
}

public enum PeerVerdict: Equatable, Sendable {
    /// None was shown.
    case none
    case accepted(ClientCertificate)
    /// One was shown that is not acceptable; why.
    case refused(String)
}

extension Certificate {
    /// What a name in a certificate looks like that gives a role.
    public static let rolePrefix = "viaduct://role/"

    /// The roles it gives, whatever they mean.
    public var roles: [String] {
        names.compactMap { name in
            guard case .uri(let uri) = name, uri.hasPrefix(Certificate.rolePrefix) else { return nil }
            return String(uri.dropFirst(Certificate.rolePrefix.count))
        }
    }
}
