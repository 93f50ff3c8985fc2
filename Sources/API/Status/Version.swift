// What runs: for people, for scripts and for a controller that meets agents of several ages.

import JSON

/// What a service is.
public enum Role: String, CaseIterable, Sendable, FieldValue {
    case agent
    case controller
}

public struct Version: Record {
    public var role = Role.agent
    /// Nil of a controller.
    public var agentID: String?
    public var bootID = ""
    public var version: String
    /// Newest version of the REST API; the first path segment.
    public var api = "v1"
    /// Compiler's version.
    public var swift: String
    /// `uname -r`.
    public var kernel: String
    /// What this build and this kernel can do, by name.
    public var features: [String]

    public init(version: String, swift: String, kernel: String, features: [String]) {
        self.version = version
        self.swift = swift
        self.kernel = kernel
        self.features = features
    }

    public init() { self.init(version: "", swift: "", kernel: "", features: []) }

    public static let schema = Schema<Version>(summary: "What runs.", .answer) {
        Field("role", \.role, doc: "Whether this is an agent or a controller.", example: "agent")
        Field("agent_id", \.agentID, as: .prose, doc: agentIDDoc, example: .string(agentIDExample))
        Field("boot_id", \.bootID, as: .prose, doc: bootIDDoc, example: .string(bootIDExample))
        Field("version", \.version, as: .prose, doc: "Of Viaduct.", example: "0.1.0")
        Field("api", \.api, as: .prose, doc: "Of the REST API.", example: "v1")
        Field("swift", \.swift, as: .prose, doc: "Of the compiler.", example: "6.3.1")
        Field("kernel", \.kernel, as: .prose, doc: "As uname -r says.", example: "6.18.0")
        Field(
            "features", \.features, as: .answerList(of: .prose), doc: "What this build can do here.",
            example: ["udp_gso", "udp_gro"])
    }
}

extension Version {
    static let agentIDDoc =
        "Of an agent: 16 hexadecimal digits that stay with its state file. Two agents that have the same were copied."
    static let bootIDDoc = "Another one after each start of the process; the boot of events."
    static let agentIDExample = "00c0ffee5eed2a17"
    static let bootIDExample = "5f0c9e0d2b7a4411"

    static let operations: [Operation] = [
        Operation(
            .getVersion, .get, "/v1/version", tag: Operation.serviceTag, summary: "Say what runs.",
            answers: [.init(200, .json(Version.self))], problems: Operation.serviceProblems),
        Operation(
            .restart, .post, "/v1/restart", tag: Operation.serviceTag,
            summary:
                "Become the next process, of this or another version, without a gap: try it, then restart.",
            answers: [.init(202, .json(Version.self))],
            problems: Operation.serviceProblems.union([.conflict, .unavailable])),
    ]
}
