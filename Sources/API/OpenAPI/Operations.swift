// Every operation of the agent, in the order the documentation shows them.

import JSON

public enum Operations {
    /// One line per resource.
    public static let all: [Operation] =
        Bridge.operations
        + Port.operations
        + Tunnel.operations
        + StaticMAC.operations
        + Batch.operations
        + EventPage.operations
        + ListenerDocument.operations
        + DatapathDocument.operations
        + FlowDocument.operations
        + Version.operations
        + service

    /// The kinds whose keys appear in paths.
    static let kinds: [Kind] = [Bridge.kind, Port.kind, Tunnel.kind, StaticMAC.kind]

    public static subscript(id: OperationID) -> Operation? { byID[id] }

    private static let byID = Dictionary(all.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })

    /// Prometheus text exposition format 0.0.4.
    static let metricsMediaType = "text/plain; version=0.0.4; charset=utf-8"
    static let textMediaType = "text/plain; charset=utf-8"

    private static let service: [Operation] = [
        health(.livez, "/livez", "Whether the process makes progress. Asks nobody else."),
        healthCheck(.livezCheck, "/livez/{check}", "One check of /livez: its line, or why it fails."),
        health(
            .readyz, "/readyz",
            "Whether it forwards: stored state in force, threads running for the last seconds, not stopping."),
        healthCheck(.readyzCheck, "/readyz/{check}", "One check of /readyz: its line, or why it fails."),
        health(.healthz, "/healthz", "The same as /readyz, for tools that know this name."),
        Operation(
            .metrics, .get, "/metrics", tag: Operation.serviceTag, summary: "Counters for Prometheus.",
            answers: [.init(200, .text(metricsMediaType))], problems: Operation.serviceProblems),
        Operation(
            .openapi, .get, "/openapi.json", tag: Operation.serviceTag, summary: "This document.",
            answers: [.init(200, .anyJSON)], problems: Operation.serviceProblems),
    ]

    private static func health(_ id: OperationID, _ path: String, _ summary: String) -> Operation {
        Operation(
            id, .get, path, tag: Operation.serviceTag, summary: summary, query: [.verbose],
            answers: [.init(200, .text(textMediaType))], problems: Operation.serviceProblems)
    }

    private static func healthCheck(_ id: OperationID, _ path: String, _ summary: String) -> Operation {
        Operation(
            id, .get, path, tag: Operation.serviceTag, summary: summary,
            answers: [.init(200, .text(textMediaType))], problems: Operation.readProblems)
    }
}
