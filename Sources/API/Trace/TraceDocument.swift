// What a trace answers: the way of one frame step by step, what leaves, and what becomes of it.

import JSON
public import Wire

public enum TraceVerdict: String, CaseIterable, Sendable, FieldValue {
    /// At least one copy leaves.
    case delivered
    /// Its copies wait until their next hops are resolved.
    case held
    /// It ends at the bridge, in an answer to its sender.
    case answered
    case dropped
}

/// What a step is about, in the order in which there may be some.
public enum TraceStepKind: String, CaseIterable, Sendable, FieldValue {
    case tunnelIn = "tunnel_in"
    case parse
    case vlan
    case portSecurity = "port_security"
    case rules
    case learn
    case fdb
    case flood
    case output
    case tunnel
    case mtu
    case route
    case nextHop = "next_hop"
    case outer
    case answer
    case drop
}

public struct TraceStep: Record {
    public var kind = TraceStepKind.parse
    public var depth = 0
    public var text = ""

    public init() {}

    public init(_ kind: TraceStepKind, depth: Int, _ text: String) {
        self.kind = kind
        self.depth = depth
        self.text = text
    }

    public static let schema = Schema<TraceStep>(summary: "One step of a frame's way.", .answer) {
        Field("step", \.kind, doc: "What it is about.", example: "fdb")
        Field(
            "depth", \.depth, as: .count,
            doc: "How far it is indented: what follows from a step is below it.",
            example: 0)
        Field(
            "text", \.text, as: .prose, doc: "What was found, in words.",
            example: "02:00:00:00:00:02 is at vxlan1, learned 3 s ago")
    }
}

public struct TraceOutput: Record {
    public var port = ""
    public var frame: [UInt8] = []
    public var text = ""
    public var count = 1
    public var offload: String?
    public var isAnswer = false
    public var vni: VNI?
    public var remoteIP: IPAddress?
    public var driver: DriverInUse?
    public var outer: [UInt8]?

    public init() {}

    public static let schema = Schema<TraceOutput>(
        summary: "A frame that leaves, or a segment of one.", .answer
    ) {
        Field("port", \.port, as: .prose, doc: "Port or tunnel it leaves by.", example: "vxlan1")
        Field("frame", \.frame, as: .bytes, doc: "In hexadecimal; the inner one where it is encapsulated.")
        Field(
            "frame_text", \.text, as: .prose, doc: "The frame in words.",
            example: "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype 0x88b5, length 0")
        Field("count", \.count, as: .count, doc: "Frames on the wire it stands for.", example: 1)
        Field(
            "offload", \.offload, as: .prose,
            doc: "What whoever takes it has still to do: complete its checksum, cut it.",
            example: "checksum, tcp4 segments of 1400 bytes")
        Field("answer", \.isAnswer, doc: "Made here, for the frame's sender.", example: false)
        Field("vni", \.vni, doc: "Of a tunnel: the network identifier it leaves with.", example: 100)
        Field("remote_ip", \.remoteIP, doc: "Of a tunnel: where it goes.", example: "192.0.2.7")
        Field("driver", \.driver, doc: "Of a tunnel: who sends it.", example: "native")
        Field(
            "outer", \.outer, as: .bytes,
            doc:
                "Of a tunnel, in hexadecimal: with native Ethernet, IP, UDP and VXLAN headers; with socket VXLAN "
                + "alone, since the rest is the kernel's.")
    }
}

public struct TraceCounts: Record {
    public var name = ""
    public var counters: [String: Int] = [:]

    public init() {}

    public static let schema = Schema<TraceCounts>(summary: "Counters that have moved.", .answer) {
        Field(
            "name", \.name, as: .prose,
            doc: "A port or tunnel; a listener or uplink after \"listener \" or \"uplink \".", example: "web1"
        )
        Field(
            "counters", \.counters, as: .counts, doc: "By how much; drops as drops.REASON.",
            example: ["rx_packets": 1])
    }
}

public struct TraceDocument: Record {
    /// Ports whose copies are shown.
    public static let copyLimit = 64

    public var bridge = ""
    public var inPort = ""
    public var frame: [UInt8] = []
    public var text = ""
    public var steps: [TraceStep] = []
    public var outputs: [TraceOutput] = []
    public var verdict = TraceVerdict.dropped
    public var reason: String?
    public var why: String?
    public var flow: FlowDocument?
    public var injected = false
    public var counted: [TraceCounts] = []

    public init() {}

    public static let schema = Schema<TraceDocument>(
        summary: "The way of one frame through the datapath.", .answer
    ) {
        Field("bridge", \.bridge, as: .prose, doc: "As it was asked.", example: "br0")
        Field("in_port", \.inPort, as: .prose, doc: "As it was asked.", example: "web1")
        Field("frame", \.frame, as: .bytes, doc: "The frame as it came in, in hexadecimal.")
        Field(
            "frame_text", \.text, as: .prose, doc: "The frame in words.",
            example: "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype 0x88b5, length 0")
        Field("steps", \.steps, as: .answerList(of: .record), doc: "In order.")
        Field(
            "outputs", \.outputs, as: .answerList(of: .record),
            doc: "What leaves, in order; of a flood by the first \(copyLimit) ports.")
        Field("verdict", \.verdict, doc: "What becomes of it.", example: "delivered")
        Field(
            "reason", \.reason, as: .prose, doc: "Of a drop: the reason it is counted under.",
            example: "unknown_vni")
        Field("reason_text", \.why, as: .prose, doc: "The reason in words.")
        Field(
            "flow", \.flow, as: .record,
            doc: "The decision as the flow cache keeps it: all frames like this go the same way.")
        Field("injected", \.injected, doc: "Whether it was sent for real.", example: false)
        Field(
            "counted", \.counted, as: .answerList(of: .record),
            doc: "Counters that move for it; with inject those that have moved.")
    }

    /// As ofproto/trace prints it.
    public var description: String {
        var lines = ["Frame: \(text), \(frame.count) bytes", "", "bridge \(bridge), in_port \(inPort)"]
        lines += steps.map { step in
            String(repeating: "  ", count: step.depth + 1) + "\(step.kind.rawValue): \(step.text)"
        }
        let because = reason.map { " (\($0): \(why ?? ""))" } ?? ""
        lines += ["", "Final verdict: \(verdict.rawValue)\(because)"]
        if let flow {
            lines += ["Datapath flow: \(flow.match.text)", "Datapath actions: \(flow.actionsText)"]
        }
        if injected {
            lines += ["", "Injected; counters moved:"]
            lines += counted.map { counts in
                let words = counts.counters.sorted { $0.key < $1.key }.map { "\($0.key) +\($0.value)" }
                return "  \(counts.name): \(words.joined(separator: ", "))"
            }
            if counted.isEmpty { lines.append("  none") }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension Codec where Value == [UInt8] {
    /// In answers.
    static var bytes: Codec {
        .text(
            wanted: "bytes in hexadecimal", jsonSchema: ["type": "string", "pattern": "^([0-9a-f]{2})*$"],
            example: "02000000000202000000000188b5",
            parse: { HexText.bytes($0) }, print: { HexText.text($0) })
    }
}

extension TraceDocument {
    public static let injectQuery = Operation.Query(
        name: "inject", doc: "true: send the frame for real, and say what it was counted for.",
        schema: ["type": "boolean"], role: .operate)

    static let operations: [Operation] = [
        Operation(
            .trace, .post, TraceRequest.path, tag: "datapath",
            summary: "Follow one frame through the datapath without sending it: where would my packet go?",
            query: [injectQuery], request: SchemaReference(TraceRequest.self),
            answers: [
                .init(
                    200, .jsonOrText(SchemaReference(TraceDocument.self), Operations.plainMediaType))
            ],
            access: .role(.read),
            problems: Operation.readProblems.union([
                .malformedJSON, .bodyTooLarge, .unsupportedMediaType, .invalidResource, .timeout,
            ]))
    ]
}
