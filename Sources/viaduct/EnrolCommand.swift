// `viaduct pki enrol`: on a new host, a key that never leaves it, and a certificate from the controller.

import API
import ArgumentParser
import Foundation
import HTTP
import JSON
import Trust

extension PKICommand {
    struct Enrol: ClientCommand {
        static let configuration = CommandConfiguration(
            abstract: "Have this host's key certified by the controller, with a token of viaduct pki invite.",
            discussion: """
                --token-file names the file with that token, --cacert the authority the controller is certified by. \
                Writes NAME.key, NAME.crt and ca.crt; NAME is the invitation's.
                """)
        @OptionGroup var options: FleetOptions
        @Option(help: "Directory for the files.") var out = "."

        func run(_ session: Session) async throws(CommandError) {
            guard let path = options.access.files(ProcessInfo.processInfo.environment).tokenPath else {
                throw .usage("wanted --token-file with the token of the invitation")
            }
            var enrolment = Enrolment()
            enrolment.token = try ClientAccess.token(in: path)
            let key: PrivateKey
            do throws(TrustError) {
                key = try PrivateKey.generate()
                let request = try SigningRequest.make(key, name: "host").pem
                enrolment.request = String(decoding: request, as: UTF8.self)
            } catch {
                throw .usage(error.description)
            }
            let answer = try await session.client.enrol(enrolment)
            guard let document = try? EnrolmentDocument.schema.decode(answer) else {
                throw .strange("the controller's answer has no certificate")
            }
            do throws(TrustError) {
                // A name is never a path.
                guard !document.name.isEmpty, !document.name.contains("/"), !document.name.hasPrefix(".")
                else {
                    throw TrustError("wanted the name of a host, found \(document.name.debugDescription)")
                }
                let certificate = try Certificate.parse(pem: Array(document.certificate.utf8))
                try GuardedFile.write(Array(document.authority.utf8), to: "\(out)/ca.crt", mode: 0o644)
                try PKICommand.write(certificate, key, name: document.name, to: out)
            } catch {
                throw .strange(error.description)
            }
        }
    }
}
