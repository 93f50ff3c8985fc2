// How tunnels' datagrams leave this host and come in: the one resource that is always there.

import JSON

/// Who builds the outer headers.
public enum UnderlayDriver: String, CaseIterable, Sendable, FieldValue {
    /// The fastest that works here.
    case auto
    /// The kernel's UDP sockets.
    case socket
    /// Viaduct's own routes, neighbours and headers.
    case native
}

/// What the native underlay sends by.
public enum UnderlayOutput: String, CaseIterable, Sendable, FieldValue {
    case auto
    case uplinkTAP = "uplink_tap"
    case packetSocket = "packet_socket"
}

public struct Underlay: Resource {
    public static let kind = Kind("underlay", plural: "underlay", keys: [])

    public var driver = UnderlayDriver.auto
    public var output = UnderlayOutput.auto
    /// Probe the path for its MTU instead of believing routes and ICMP alone.
    public var pmtuProbe = false

    public init() {}

    public static let schema = Schema<Underlay>(
        summary: "How tunnels' datagrams leave this host and come in."
    ) {
        Field(
            "driver", \.driver,
            doc:
                "socket: the kernel's UDP sockets, routes and neighbours. native: Viaduct's own routes, neighbours "
                + "and outer headers. auto: what the agent's underlay_driver says, by default the fastest that works.",
            example: "auto")
        Field(
            "output", \.output,
            doc:
                "What native sends by. uplink_tap: a TAP that takes superframes, redirected to the interface; "
                + "packet_socket: a packet socket. auto: the first that can be had.",
            example: "auto")
        Field(
            "pmtu_probe", \.pmtuProbe,
            doc: "Find the MTU of each path by probing it, where ICMP is lost on the way.", example: false)
    }
}

extension Underlay {
    public typealias Document = API.Document<Underlay, UnderlayStatus>

    static let operations: [Operation] = [
        Operation(
            .getUnderlay, .get, kind.itemPath, tag: kind.plural,
            summary: "Read how datagrams leave this host, and why so.",
            answers: [.init(200, .json(Document.self))], problems: Operation.serviceProblems),
        Operation(
            .putUnderlay, .put, kind.itemPath, tag: kind.plural,
            summary:
                "Set it. Writing what is already there does nothing; an empty object sets every default.",
            query: [.dryRun], request: SchemaReference(Underlay.self), answers: [.init(200, written)],
            problems: problems),
        Operation(
            .patchUnderlay, .patch, kind.itemPath, tag: kind.plural,
            summary: "Change some fields of it: a JSON merge patch, null for the default.",
            query: [.dryRun], request: SchemaReference(MergePatch<Underlay>.self),
            answers: [.init(200, written)], problems: problems),
    ]

    private static let written = Operation.Answer.Body.either(
        SchemaReference(Document.self), SchemaReference(DryRun.self))
    /// It always exists, and nobody pushes it.
    private static let problems = Operation.writeProblems.subtracting([.notFound, .conflict, .limitExceeded])
}
