// `viaduct pki`: a small certificate authority, what it issues, tokens, and how a new host gets its certificate.

import API
import ArgumentParser
import Controller
import Foundation
import HTTP
import JSON
import REST
import Trust

struct PKICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pki",
        abstract: "Certificates and tokens: a small authority for one fleet.",
        discussion: """
            The authority is a directory with ca.crt, ca.key and invitations. Certificates with --dns or --ip are for \
            servers, those with --role for clients; a controller's is both. A role is the name viaduct://role/ROLE in \
            the certificate. Agents and controllers read renewed files by themselves.
            """,
        subcommands: [
            Init.self, Issue.self, Renew.self, Revoke.self, Token.self, Invite.self, Enrol.self,
        ])
}

extension PKICommand {
    /// Long enough that renewing is no daily worry, short enough that a lost key does not matter for ever.
    static let days = 90

    struct Init: PKISubcommand {
        static let configuration = CommandConfiguration(abstract: "Make an authority in an empty directory.")
        @Option(help: "Where it is made.") var directory = "/etc/viaduct/pki"
        @Option(help: "What its certificate calls it.") var name = "viaduct"
        @Option(help: "Days it is good for.") var days = 3650

        func perform() throws(TrustError) {
            try PKIDirectory(directory).create(name: name, days: days)
            print(PKIDirectory(directory).certificatePath)
        }
    }

    struct Issue: PKISubcommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key and issue a certificate: NAME.crt and NAME.key.")
        @Argument(help: "Whom it names.") var name: String
        @Option(help: "The authority's directory.") var directory = "/etc/viaduct/pki"
        @OptionGroup var names: NameOptions
        @Option(
            help: "Of a client: read, operate or controller; may be repeated.", transform: PKICommand.role)
        var role: [AccessRole] = []
        @Option(help: "Days it is good for.") var days = PKICommand.days
        @Option(help: "Directory for the files.") var out = "."

        func perform() throws(TrustError) {
            var content = names.content(name, days: days)
            content.names += role.map { .uri(Certificate.rolePrefix + $0.rawValue) }
            content.purposes = (names.isEmpty ? [] : [.server]) + (role.isEmpty ? [] : [.client])
            guard !content.purposes.isEmpty else {
                throw TrustError("wanted --dns or --ip for a server, --role for a client, or both")
            }
            let key = try PrivateKey.generate()
            let issued = try PKIDirectory(directory).issue(content, for: PublicKey.of(key))
            try PKICommand.write(issued, key, name: name, to: out)
        }
    }

    struct Renew: PKISubcommand {
        static let configuration = CommandConfiguration(
            abstract: "Issue a certificate again, with the same names and key, in the same file.")
        @Argument(help: "PEM file of the certificate.") var file: String
        @Option(help: "The authority's directory.") var directory = "/etc/viaduct/pki"
        @Option(help: "Days it is good for.") var days = PKICommand.days

        func perform() throws(TrustError) {
            let old = try Certificate.parse(pem: GuardedFile.read(file, .shared))
            let issued = try PKIDirectory(directory).renew(old, days: days)
            try GuardedFile.write(issued.pem, to: file, mode: 0o644)
            print(file)
        }
    }

    struct Revoke: PKISubcommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a certificate back: it comes onto the authority's list, ca.crl.",
            discussion: """
                Services that are told of the list (tls_client_crl, agent_crl) refuse what is on it; it has to be \
                copied to them.
                """)
        @Argument(help: "PEM file of the certificate.") var file: String
        @Option(help: "The authority's directory.") var directory = "/etc/viaduct/pki"

        func perform() throws(TrustError) {
            let directory = PKIDirectory(directory)
            try directory.revoke(Certificate.parse(pem: GuardedFile.read(file, .shared)))
            print(directory.listPath)
        }
    }

    struct Token: PKISubcommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a bearer token: its digest goes into a file, the token to standard output.",
            discussion: """
                A name has two tokens at most, so that a new one can be handed out while the old one is still good; \
                a third takes the place of the oldest.
                """)
        @Argument(help: "Whose it is: what audits call it by.") var name: String
        @Option(help: "read, operate or controller.", transform: PKICommand.role) var role: AccessRole
        @Option(help: "The file of digests, as an agent's or controller's tokens setting names it.")
        var file = "/etc/viaduct/tokens"

        func perform() throws(TrustError) {
            let token = Secret.make()
            try GuardedFile.alone(with: file) { () throws(TrustError) in
                let bytes =
                    FileManager.default.fileExists(atPath: file) ? try GuardedFile.read(file, .shared) : []
                let changed = try TokenFile.adding(name, role, token: token, to: bytes, path: file)
                // Digests, which the service's user must be able to read.
                try GuardedFile.write(changed, to: file, mode: 0o644, keepingOwner: true)
            }
            print(token)
        }
    }

    struct Invite: PKISubcommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a new host have a certificate, once: prints the token for its viaduct pki enrol.")
        @Argument(help: "Whom the certificate will name.") var name: String
        @Option(help: "The authority's directory, as the controller's pki_directory names it.")
        var directory = "/etc/viaduct/pki"
        @OptionGroup var names: NameOptions
        @Option(help: "Days the certificate will be good for.") var days = PKICommand.days
        @Option(help: "Minutes in which the token can be used.") var minutes = 60

        func perform() throws(TrustError) {
            guard !names.isEmpty else {
                throw TrustError("wanted --dns or --ip: what the host is reached by")
            }
            print(try PKIDirectory(directory).invite(names.content(name, days: days), seconds: minutes * 60))
        }
    }

    @Sendable
    static func role(_ text: String) throws -> AccessRole {
        guard let role = AccessRole(rawValue: text) else {
            throw ValidationError("wanted read, operate or controller, found \(text)")
        }
        return role
    }

    /// Key and certificate side by side, the key first: who watches the certificate finds both.
    static func write(
        _ certificate: Certificate, _ key: PrivateKey, name: String, to directory: String
    ) throws(TrustError) {
        try GuardedFile.write(key.pem, to: "\(directory)/\(name).key", mode: 0o600)
        try GuardedFile.write(certificate.pem, to: "\(directory)/\(name).crt", mode: 0o644)
        print("\(directory)/\(name).crt\n\(directory)/\(name).key")
    }
}

/// The names of a server.
struct NameOptions: ParsableArguments {
    @Option(help: "DNS name of the server; may be repeated.") var dns: [String] = []
    @Option(help: "IP address of the server; may be repeated.") var ip: [String] = []

    var isEmpty: Bool { dns.isEmpty && ip.isEmpty }

    func content(_ name: String, days: Int) -> CertificateContent {
        CertificateContent(
            name: name, names: dns.map { .dns($0) } + ip.map { .address($0) }, purposes: [.server], days: days
        )
    }
}

/// A command that works on files; what is wrong with them is said in one line.
protocol PKISubcommand: ParsableCommand {
    func perform() throws(TrustError)
}

extension PKISubcommand {
    func run() throws {
        do throws(TrustError) {
            try perform()
        } catch {
            Terminal.standard(ProcessInfo.processInfo.environment).writeError("viaduct: \(error)\n")
            throw ExitCode(1)
        }
    }
}
