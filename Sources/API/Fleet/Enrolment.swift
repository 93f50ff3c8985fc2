// How a new host gets its certificate: with a token that is good once, from the controller's own authority.

import JSON

/// The body of `POST /v1/enrolments`.
public struct Enrolment: Record {
    public static let path = "/v1/enrolments"

    public var token = ""
    public var request = ""

    public init() {}

    public static let schema = Schema<Enrolment>(summary: "A new host's request for a certificate.") {
        Field(
            "token", \.token, as: .prose, doc: "From viaduct pki invite. Good once, until it expires.",
            example: "viaduct_2Zt7…", required: true)
        Field(
            "request", \.request, as: .prose,
            doc:
                "Certificate signing request in PEM. Only its key counts: the names are those of the invitation.",
            example: "-----BEGIN NEW CERTIFICATE REQUEST-----…", required: true)
    }
}

/// What comes back.
public struct EnrolmentDocument: Record {
    public var name = ""
    public var certificate = ""
    public var authority = ""

    public init() {}

    public static let schema = Schema<EnrolmentDocument>(summary: "A new host's certificate.", .answer) {
        Field("name", \.name, as: .prose, doc: "Whom the certificate names.", example: "host-a")
        Field(
            "certificate", \.certificate, as: .prose, doc: "In PEM.", example: "-----BEGIN CERTIFICATE-----…")
        Field(
            "authority", \.authority, as: .prose, doc: "Who issued it, in PEM.",
            example: "-----BEGIN CERTIFICATE-----…")
    }

    static let operations = [
        Operation(
            .enrol, .post, Enrolment.path, tag: Operation.serviceTag,
            summary: "Exchange an invitation and a signing request for a host's certificate.",
            request: SchemaReference(Enrolment.self), answers: [.init(200, .json(EnrolmentDocument.self))],
            access: .anyone,
            problems: Operation.serviceProblems.union([
                .malformedJSON, .notFound, .bodyTooLarge, .unsupportedMediaType, .invalidResource,
                .storageFailed,
            ]))
    ]
}
