// What the forwarding threads have done, in the terms of `ovs-appctl dpctl/show`.

import JSON

public struct FlowLookups: Record {
    public var hit = 0
    public var missed = 0
    public var redecided = 0
    public var lost = 0

    public init() {}

    public static let schema = Schema<FlowLookups>(
        summary: "What looking for a frame's flow came to.", .answer
    ) {
        Field("hit", \.hit, as: .count, doc: "A flow was there and still stood.", example: 1200)
        Field("missed", \.missed, as: .count, doc: "There was none: decided, and one made.", example: 9)
        Field(
            "redecided", \.redecided, as: .count,
            doc: "A flow was there, but what it rests on had changed: decided anew.", example: 2)
        Field(
            "lost", \.lost, as: .count,
            doc: "Frames lost on the way to a decision. Always 0: the thread that misses decides at once.",
            example: 0)
    }
}

public struct FlowMasks: Record {
    public var total = 0
    public var hit = 0
    public var hitPerPacket = 0.0

    public init() {}

    public static let schema = Schema<FlowMasks>(
        summary: "Sets of fields that flows are matched by.", .answer
    ) {
        Field("total", \.total, as: .count, doc: "Masks in use.", example: 2)
        Field("hit", \.hit, as: .count, doc: "Masks tried, over all lookups.", example: 14)
        Field(
            "hit_per_packet", \.hitPerPacket, as: .number, doc: "Masks tried per lookup.", example: 0.01)
    }
}

public struct ExactCache: Record {
    public var hit = 0
    public var hitRate = 0.0

    public init() {}

    public static let schema = Schema<ExactCache>(
        summary: "The exact-match tier in front of the masks.", .answer
    ) {
        Field("hit", \.hit, as: .count, doc: "Lookups it answered.", example: 1190)
        Field("hit_rate", \.hitRate, as: .number, doc: "Of all lookups, 0 to 1.", example: 0.98)
    }
}

public struct DatapathCounts: Record {
    public var lookups = FlowLookups()
    public var flows = 0
    public var masks = FlowMasks()
    public var cache = ExactCache()
    public var evicted = 0
    public var expired = 0
    public var breaths = 0
    public var cpuSeconds = 0.0

    public init() {}

    public static let schema = Schema<DatapathCounts>(
        summary: "Counts of one forwarding thread, or of all.", .answer
    ) {
        Field("lookups", \.lookups, as: .record, doc: "One per frame that came in whole.")
        Field("flows", \.flows, as: .count, doc: "Flows kept now.", example: 9)
        Field("masks", \.masks, as: .record, doc: "What flows are matched by.")
        Field("cache", \.cache, as: .record, doc: "The exact-match tier.")
        Field("evicted", \.evicted, as: .count, doc: "Flows that made room for others.", example: 0)
        Field(
            "expired", \.expired, as: .count, doc: "Flows that went after 10 s without a frame.", example: 4)
        Field("breaths", \.breaths, as: .count, doc: "Times it looked for work.", example: 5000)
        Field("cpu_seconds", \.cpuSeconds, as: .number, doc: "CPU time, read once a second.", example: 1.5)
    }
}

public struct DatapathDocument: Record {
    public var driver = "socket"
    public var flowLimit = 0
    public var total = DatapathCounts()
    public var workers: [DatapathCounts] = []

    public init() {}

    public static let schema = Schema<DatapathDocument>(summary: "The datapath as a whole.", .answer) {
        Field(
            "driver", \.driver, as: .prose, doc: "How it reaches the underlay: socket or native.",
            example: "socket")
        Field("flow_limit", \.flowLimit, as: .count, doc: "Most flows each thread keeps.", example: 65536)
        Field("total", \.total, as: .record, doc: "All threads together.")
        Field("workers", \.workers, as: .answerList(of: .record), doc: "Each forwarding thread.")
    }
}

extension DatapathDocument {
    static let operations: [Operation] = [
        Operation(
            .getDatapath, .get, "/v1/datapath", tag: "datapath",
            summary: "Read what the forwarding threads have done.",
            answers: [.init(200, .json(DatapathDocument.self))], problems: Operation.serviceProblems)
    ]
}
