// Options of services and of clients that are about who may do what. No secret is ever among them: they name files.

import API
import ArgumentParser
import Foundation
import HTTP
import JSON
import Trust

/// Of `agent` and `controller`.
struct AccessOptions: ParsableArguments {
    @Option(help: "PEM file of the certificate the API shows; with it, TCP is TLS.") var tlsCertificate:
        String?
    @Option(help: "PEM file of the certificate's key.") var tlsKey: String?
    @Option(help: "PEM file of the authorities whose client certificates are accepted.")
    var tlsClientCA: String?
    @Option(help: "PEM file of lists of client certificates that are revoked.") var tlsClientCRL: String?
    @Option(help: "File of accepted bearer tokens: name, role and SHA-256 on each line.") var tokens: String?
    @Option(help: "Group of the Unix socket, whose members may operate.") var socketGroup: String?

    /// By field.
    var flags: [String: JSONValue?] {
        [
            "tls_certificate": tlsCertificate.map(JSONValue.string), "tls_key": tlsKey.map(JSONValue.string),
            "tls_client_ca": tlsClientCA.map(JSONValue.string),
            "tls_client_crl": tlsClientCRL.map(JSONValue.string), "tokens": tokens.map(JSONValue.string),
            "socket_group": socketGroup.map(JSONValue.string),
        ]
    }
}

/// Of commands that ask an agent or a controller.
struct ClientAccessOptions: ParsableArguments, Sendable {
    @Option(
        help: ArgumentHelp(
            "Authorities that certify the server: PEM. Default: $VIADUCT_CACERT.", valueName: "file"))
    var cacert: String?
    @Option(help: ArgumentHelp("Certificate to show: PEM. Default: $VIADUCT_CERT.", valueName: "file"))
    var cert: String?
    @Option(help: ArgumentHelp("Key of the certificate: PEM. Default: $VIADUCT_KEY.", valueName: "file"))
    var key: String?
    @Option(help: ArgumentHelp("File with a bearer token. Default: $VIADUCT_TOKEN_FILE.", valueName: "file"))
    var tokenFile: String?

    /// Flags before environment.
    func files(_ environment: [String: String]) -> ClientAccess {
        var access = ClientAccess(environment)
        access.identity.authorities = cacert ?? access.identity.authorities
        access.identity.certificate = cert ?? access.identity.certificate
        access.identity.key = key ?? access.identity.key
        access.tokenPath = tokenFile ?? access.tokenPath
        return access
    }
}

/// What a command shows a server, and by whom it lets it be certified.
struct ClientAccess: Sendable {
    var identity: HTTPClientIdentity
    var tokenPath: String?

    init(_ environment: [String: String]) {
        /// An empty variable says nothing.
        func file(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        identity = HTTPClientIdentity(
            authorities: file("VIADUCT_CACERT"), certificate: file("VIADUCT_CERT"), key: file("VIADUCT_KEY"))
        tokenPath = file("VIADUCT_TOKEN_FILE")
    }

    /// A client for an address. A token goes nowhere where others can listen.
    func transport(
        to address: HTTPClientAddress, limits: HTTPClientLimits
    ) -> Result<any AgentTransport, CommandError> {
        Result { () throws(CommandError) in
            let client = HTTPClient(address, limits: limits, identity: identity)
            guard let tokenPath else { return client }
            guard address.isPrivate else {
                throw .usage(
                    "a token is sent by https, to a Unix socket or a loopback address only, not to \(address)"
                )
            }
            return Authorized(transport: client, token: try ClientAccess.token(in: tokenPath))
        }
    }

    static func token(in path: String) throws(CommandError) -> String {
        do throws(TrustError) {
            let text = String(decoding: try GuardedFile.read(path, .secret), as: UTF8.self)
            let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
            guard !token.isEmpty, token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw TrustError("\(path): wanted a token, found none")
            }
            return token
        } catch {
            throw .usage(error.description)
        }
    }
}

/// Sends a bearer token along.
struct Authorized: AgentTransport {
    let transport: any AgentTransport
    let token: String

    func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
        var request = request
        request.headers.append(("Authorization", "Bearer \(token)"))
        return try await transport.send(request)
    }
}
