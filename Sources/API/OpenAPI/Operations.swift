// Every operation of the agent and of the controller, in the order the documentation shows them. What both have
// is declared once.

import JSON

extension Role {
    public var operations: [Operation] {
        switch self {
        case .agent: Operations.agent
        case .controller: Operations.controller
        }
    }

    /// The kinds whose keys appear in paths.
    public var kinds: [Kind] {
        switch self {
        case .agent:
            [
                Bridge.kind, Port.kind, Tunnel.kind, StaticMAC.kind, Rule.kind, Mirror.kind, Underlay.kind,
                StaticRoute.kind,
                Neighbor.kind,
            ]
        case .controller: [FleetHost.kind, Network.kind, Attachment.kind]
        }
    }
}

public enum Operations {
    /// One line per resource.
    public static let agent: [Operation] =
        Bridge.operations
        + Port.operations
        + Tunnel.operations
        + StaticMAC.operations
        + Rule.operations
        + Mirror.operations
        + Underlay.operations
        + StaticRoute.operations
        + Neighbor.operations
        + Batch.operations(of: .agent)
        + HostState.operations
        + EventPage.operations
        + ListenerDocument.operations
        + LivenessDocument.operations
        + DatapathDocument.operations
        + FlowDocument.operations
        + CaptureQuery.operations
        + TraceDocument.operations
        + Version.operations
        + service(
            ready:
                "Whether it forwards: stored state in force, threads running for the last seconds, not stopping."
        )

    /// One line per resource.
    public static let controller: [Operation] =
        FleetHost.operations
        + HostDesired.operations
        + HostPush.operations
        + Network.operations
        + Attachment.operations
        + Batch.operations(of: .controller)
        + FleetStatus.operations
        + EnrolmentDocument.operations
        + FleetTraceDocument.operations
        + LivenessPair.operations
        + EventPage.operations
        + Version.operations
        + service(
            ready:
                "Whether it serves: the fleet is read, the store answers, the control plane ran for the last seconds, "
                + "not stopping. A standby is ready too; /v1/status says which one leads.")

    /// Prometheus text exposition format 0.0.4.
    static let metricsMediaType = "text/plain; version=0.0.4; charset=utf-8"
    /// What a client asks for that wants text for people.
    public static let plainMediaType = "text/plain"
    static let textMediaType = "text/plain; charset=utf-8"

    private static func service(ready: String) -> [Operation] {
        [
            health(.livez, "/livez", "Whether the process makes progress. Asks nobody else."),
            healthCheck(.livezCheck, "/livez/{check}", "One check of /livez: its line, or why it fails."),
            health(.readyz, "/readyz", ready),
            healthCheck(.readyzCheck, "/readyz/{check}", "One check of /readyz: its line, or why it fails."),
            health(.healthz, "/healthz", "The same as /readyz, for tools that know this name."),
            Operation(
                .metrics, .get, "/metrics", tag: Operation.serviceTag, summary: "Counters for Prometheus.",
                answers: [.init(200, .text(metricsMediaType))], problems: Operation.serviceProblems),
            Operation(
                .openapi, .get, "/openapi.json", tag: Operation.serviceTag, summary: "This document.",
                answers: [.init(200, .anyJSON)], problems: Operation.serviceProblems),
        ]
    }

    private static func health(_ id: OperationID, _ path: String, _ summary: String) -> Operation {
        Operation(
            id, .get, path, tag: Operation.serviceTag, summary: summary, query: [.verbose],
            answers: [.init(200, .text(textMediaType))], access: .anyone, problems: Operation.serviceProblems)
    }

    private static func healthCheck(_ id: OperationID, _ path: String, _ summary: String) -> Operation {
        Operation(
            id, .get, path, tag: Operation.serviceTag, summary: summary,
            answers: [.init(200, .text(textMediaType))], access: .anyone, problems: Operation.readProblems)
    }
}

extension [Operation] {
    /// An id is declared once in each service.
    public subscript(id: OperationID) -> Operation? { first { $0.id == id } }
}
