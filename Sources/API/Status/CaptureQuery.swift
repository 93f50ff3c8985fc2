// What a capture is asked for by: query parameters only, since it leaves nothing behind. The answer is a file.

import JSON

/// Where frames are captured.
public enum CapturePoint: String, CaseIterable, Sendable, FieldValue {
    /// As received from, or written to, a local port.
    case port
    /// Before encapsulation, after decapsulation.
    case tunnel
    /// Outer frames.
    case underlay
    /// What was not delivered.
    case drop
}

/// As its port, tunnel or underlay sees it.
public enum CaptureDirection: String, CaseIterable, Sendable, FieldValue {
    case `in`, out
}

public enum CaptureQuery {
    public static let path = "/v1/captures"
    /// `application/x-pcapng`; IANA has no media type for it.
    public static let mediaType = "application/x-pcapng"
    /// Bytes kept of a frame: no frame is as large as the most.
    public static let snapLengths = 14...262_144
    /// Frames after which it ends.
    public static let counts = 1...1_000_000_000
    /// A day.
    public static let durationSeconds = 1...86_400
    /// Bytes of a filter.
    public static let filterByteCounts = 1...1024

    public static let bridge = Filter<Name>("bridge", "Only its ports and tunnels, its local port included.")
    public static let port = Filter<Name>("port", "Only this port; a bridge's name is its local port.")
    public static let tunnel = Filter<Name>("tunnel", "Only this tunnel.")
    public static let points = Filter(
        "point", as: .capturePoints,
        "Where: port, tunnel, underlay and drop, or several with commas. Without it: port for a port, tunnel for a "
            + "tunnel, drop for a reason, else port and tunnel.")
    public static let direction = Filter<CaptureDirection>(
        "direction", "in: from the port, tunnel or underlay; out: to it. Both without it.")
    public static let filter = Filter(
        "filter", as: .captureFilter, "In pcap's words (pcap-filter(7)), compiled by libpcap.")
    public static let snapLength = Filter(
        "snaplen", as: .integer(snapLengths), "Bytes kept of each frame; the most without it.")
    public static let count = Filter("count", as: .integer(counts), "Ends after so many frames.")
    public static let duration = Filter(
        "duration", as: .integer(durationSeconds), "Ends after so many seconds.")

    /// `reasons`: names of drop reasons, which belong to the datapath.
    public static let reason = Filter("reason", as: .prose, "Only what was dropped for this reason.")
    public static let split = Operation.Query(
        name: "split",
        doc:
            "true: superframes and trains are cut and checksums completed, as a wire would have carried them.",
        schema: ["type": "boolean"])

    static let operations: [Operation] = [
        Operation(
            .capture, .get, path, tag: "captures",
            summary: "Capture frames: a pcapng file, as long as somebody reads it.",
            query: [
                bridge.query, port.query, tunnel.query, points.query, direction.query, reason.query,
                filter.query,
                snapLength.query, count.query, duration.query, split,
            ],
            answers: [.init(200, .bytes(mediaType))], access: .role(.operate),
            problems: Operation.readProblems.union([.invalidFilter, .limitExceeded]))
    ]
}

extension Codec where Value == Set<CapturePoint> {
    static var capturePoints: Codec {
        let words = CapturePoint.allCases.map(\.rawValue)
        let any = words.joined(separator: "|")
        return .text(
            wanted: "one or more of \(words.joined(separator: ", ")), with commas",
            jsonSchema: ["type": "string", "pattern": .string("^(\(any))(,(\(any)))*$")],
            example: "tunnel,drop",
            parse: { text in
                let parts = text.split(separator: ",", omittingEmptySubsequences: false)
                let points = parts.compactMap { CapturePoint(rawValue: String($0)) }
                return points.count == parts.count ? Set(points) : nil
            },
            print: { points in words.filter { points.map(\.rawValue).contains($0) }.joined(separator: ",") })
    }
}

extension Codec where Value == String {
    /// Printable ASCII: what pcap's words are made of.
    static var captureFilter: Codec {
        let (least, most) = (
            CaptureQuery.filterByteCounts.lowerBound, CaptureQuery.filterByteCounts.upperBound
        )
        return .text(
            wanted: "a filter of \(least) to \(most) printable ASCII characters",
            jsonSchema: [
                "type": "string", "minLength": .integer(Int64(least)), "maxLength": .integer(Int64(most)),
                "pattern": "^[ -~]*$",
            ], example: "tcp port 80",
            parse: { text in
                CaptureQuery.filterByteCounts.contains(text.utf8.count)
                    && text.utf8.allSatisfy { (0x20...0x7E).contains($0) } ? text : nil
            }, print: { $0 })
    }
}
