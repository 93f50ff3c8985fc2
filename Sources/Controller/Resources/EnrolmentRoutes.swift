// POST /v1/enrolments: a new host's certificate for its one-time token.

internal import API
internal import HTTP
internal import JSON
internal import REST
internal import Trust

enum EnrolmentRoutes: Routes {
    static let handlers: [OperationID: Handler<ControllerAPI>] = [.enrol: enrol]

    /// What an audit says of it.
    private struct Enrolled: WrittenChange {
        let path: String
        let before: JSONObject? = nil
        let after: JSONObject?
    }

    @Sendable
    private static func enrol(_ call: Call, _ service: ControllerAPI) async throws(Problem) -> HTTPResponse {
        let enrolment = try Enrolment.schema.decode(try call.body())
        guard let directory = service.pki else {
            throw Problem(.notFound, "this controller enrols nobody: it has no pki_directory")
        }
        let request = try request(enrolment)
        guard let (document, serial) = try redeem(enrolment.token, request, in: directory) else {
            throw Problem(.forbidden, "token: wanted an invitation that is neither used nor expired")
        }
        let path = "\(Enrolment.path)/\(document.name)"
        service.dispatcher.audit(call.request, Enrolled(path: path, after: ["serial": .string(serial)]))
        return .document(document.json)
    }

    private static func request(_ enrolment: Enrolment) throws(Problem) -> SigningRequest {
        do throws(TrustError) {
            return try SigningRequest.parse(pem: Array(enrolment.request.utf8))
        } catch {
            let wanted = "a signing request in PEM, signed with its own key"
            let found = FieldError(
                at: JSONPointer().appending("request"), .invalidValue, wanted: wanted, found: "\(error)")
            throw Problem(.invalidResource, "/request: wanted \(wanted), found \(error)", errors: [found])
        }
    }

    private static func redeem(
        _ token: String, _ request: SigningRequest, in directory: PKIDirectory
    ) throws(Problem) -> (EnrolmentDocument, serial: String)? {
        do throws(TrustError) {
            guard let issued = try directory.redeem(token, request) else { return nil }
            var document = EnrolmentDocument()
            document.name = issued.content.name
            document.certificate = String(decoding: try issued.certificate.pem, as: UTF8.self)
            document.authority = String(decoding: try issued.authority.pem, as: UTF8.self)
            return (document, issued.certificate.serial)
        } catch {
            throw Problem(.storageFailed, "the certificate could not be issued: \(error)")
        }
    }
}
