// A frame from one attachment to another, through the agents of both hosts.

import JSON

public struct FleetTraceRequest: Record {
    public var network = Name.prototype
    public var from = Name.prototype
    public var to: Name?
    public var frame: [UInt8]?
    public var fields: TraceFields?

    public init() {}

    public static let schema = Schema<FleetTraceRequest>(summary: "A frame between guests of a network.") {
        Field("network", \.network, doc: "The network.", example: "blue", required: true)
        Field("from", \.from, doc: "The attachment that sends it.", example: "web1", required: true)
        Field("to", \.to, doc: "The attachment it is for. Without it, fields or frame say.", example: "db1")
        Field("frame", \.frame, as: .frame, doc: "The frame in hexadecimal. Not with fields.")
        Field(
            "fields", \.fields, as: .record,
            doc:
                "The frame by its fields. Addresses that are not given are those of the attachments; without any "
                + "fields it is an echo request.")
    }

    public func crossFieldErrors() -> [FieldError] {
        var errors: [FieldError] = []
        if frame != nil, fields != nil {
            errors.append(
                FieldError(
                    at: JSONPointer().appending("frame"), .notAllowed, wanted: "either frame or fields",
                    found: "both"))
        }
        if to == nil, frame == nil, fields == nil {
            errors.append(
                FieldError(
                    at: JSONPointer().appending("to"), .missingField, wanted: "to, fields or frame",
                    found: "nothing"))
        }
        return errors
    }
}

/// What one agent said.
public struct TraceHop: Record {
    public var host = ""
    public var trace: TraceDocument?
    public var error: String?

    public init() {}

    public static let schema = Schema<TraceHop>(summary: "The frame's way through one host.", .answer) {
        Field("host", \.host, as: .prose, doc: "The host.", example: "host-a")
        Field("trace", \.trace, as: .record, doc: "What its agent says.")
        Field("error", \.error, as: .prose, doc: "Why its agent says nothing.")
    }
}

public struct FleetTraceDocument: Record {
    public static let path = TraceRequest.path
    /// Hosts that are asked about one frame.
    public static let hostLimit = 16

    public var network = ""
    public var from = ""
    public var to: String?
    public var delivered = false
    public var stoppedAt: String?
    public var summary = ""
    public var hops: [TraceHop] = []

    public init() {}

    public static let schema = Schema<FleetTraceDocument>(
        summary: "The way of one frame through the hosts of a network.", .answer
    ) {
        Field("network", \.network, as: .prose, doc: "As it was asked.", example: "blue")
        Field("from", \.from, as: .prose, doc: "As it was asked.", example: "web1")
        Field("to", \.to, as: .prose, doc: "As it was asked.", example: "db1")
        Field(
            "delivered", \.delivered, doc: "Whether it reaches to; without to, whether it reaches anybody.",
            example: true)
        Field("stopped_at", \.stoppedAt, as: .prose, doc: "The host where it ends; absent where it arrives.")
        Field(
            "summary", \.summary, as: .prose, doc: "Where it arrives, or where it stops and why, in words.",
            example: "delivered to db1 at host-b")
        Field(
            "hops", \.hops, as: .answerList(of: .record),
            doc: "Each host it comes to, the one it starts from first; at most \(hostLimit).")
    }

    /// Host by host.
    public var description: String {
        let hosts = hops.map { hop in
            "host \(hop.host)\n" + (hop.trace?.description ?? "error: \(hop.error ?? "none")\n")
        }
        return hosts.joined(separator: "\n") + "\nResult: \(summary)\n"
    }

    static let operations: [Operation] = [
        Operation(
            .traceFleet, .post, path, tag: "trace",
            summary:
                "Follow one frame from an attachment through the hosts of its network, without sending it.",
            request: SchemaReference(FleetTraceRequest.self),
            answers: [
                .init(
                    200, .jsonOrText(SchemaReference(FleetTraceDocument.self), Operations.plainMediaType))
            ],
            access: .role(.read),
            problems: Operation.readProblems.union([
                .malformedJSON, .bodyTooLarge, .unsupportedMediaType, .invalidResource, .timeout, .notLeader,
            ]))
    ]
}
