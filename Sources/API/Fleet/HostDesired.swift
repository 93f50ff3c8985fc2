// What is or would be pushed to one host, and how to have it pushed at once.

import JSON

/// The answer to `GET /v1/hosts/{host}/desired`.
public struct HostDesired: Record {
    public var wanted = WantedState()
    public var items: [StateResource] = []
    public var nextPageToken: String?

    public init() {}

    public static let schema = Schema<HostDesired>(
        summary: "The state a host should hold, by path: the body of the push, a page at a time.", .answer
    ) {
        Field("wanted", \.wanted, as: .record, doc: "Of the whole state, not of this page.")
        Field("items", \.items, as: .answerList(of: .record), doc: "The resources of this page, by path.")
        Field(
            "next_page_token", \.nextPageToken, as: .prose,
            doc: "page_token of the next page; absent on the last.", example: "3f0a7431")
    }
}

extension HostDesired {
    static let operations: [Operation] = [
        Operation(
            .getDesired, .get, FleetHost.kind.itemPath + "/desired", tag: FleetHost.kind.plural,
            summary: "Read what is or would be pushed to a host.", query: [.limit, .pageToken],
            answers: [.init(200, .json(HostDesired.self))],
            problems: Operation.readProblems.union([.notLeader]))
    ]
}

/// The body of `POST /v1/hosts/{host}/push`.
public struct HostPush: Record {
    public var allowMassDelete = false

    public init() {}

    public static let schema = Schema<HostPush>(summary: "How a host is to be pushed to.") {
        Field(
            "allow_mass_delete", \.allowMassDelete,
            doc:
                "true: the agent may remove more than half of what it holds. What a controller does not send by "
                + "itself after a restart: its operator has to mean it.", example: false)
    }
}

extension HostPush {
    static let operations: [Operation] = [
        Operation(
            .pushHost, .post, FleetHost.kind.itemPath + "/push", tag: FleetHost.kind.plural,
            summary:
                "Push the complete state to a host now, without waiting for its next attempt. The answer does not wait "
                + "for the agent: state is pushing until it has answered or its time is over.",
            request: SchemaReference(HostPush.self), answers: [.init(202, .json(FleetHost.Document.self))],
            problems: Operation.readProblems.union([
                .notLeader, .malformedJSON, .bodyTooLarge, .unsupportedMediaType, .invalidResource,
            ]))
    ]
}
