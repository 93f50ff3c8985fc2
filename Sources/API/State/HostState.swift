// What a controller pushes: everything it wants on a host (PUT /v1/state) or the difference to what it pushed
// before (PATCH). Epoch and generation say which push is newer, the digest says what it comes to.

public import JSON

/// A push's place among all pushes, and what the host is like after it.
public struct StateBase: Record {
    public var epoch = 1
    public var generation = 1
    public var digest = SHA256(of: [])

    public init() {}

    public init(epoch: Int, generation: Int, digest: SHA256) {
        self.epoch = epoch
        self.generation = generation
        self.digest = digest
    }

    public static let schema = Schema<StateBase>(summary: "The push a delta is on.") {
        Field("epoch", \.epoch, range: 1...Int.max, doc: "Its epoch.", example: 3, required: true)
        Field(
            "generation", \.generation, range: 1...Int.max, doc: "Its generation.", example: 16,
            required: true)
        Field("digest", \.digest, doc: "Its digest.", required: true)
    }
}

/// One resource of a complete state.
public struct StateResource: Record {
    public var path = ""
    public var body: JSONObject = [:]

    public init() {}

    public init(path: String, body: JSONObject) {
        self.path = path
        self.body = body
    }

    public static let schema = Schema<StateResource>(summary: "One resource of a state.") {
        Field(
            "path", \.path, as: .prose, doc: "Path of a bridge, port, tunnel or static MAC entry.",
            example: "/v1/bridges/br0/tunnels/vxlan1", required: true)
        Field(
            "body", \.body, as: .object, doc: "The resource, as PUT of the path takes it.",
            example: ["remote_ip": "192.0.2.7"], required: true)
    }
}

/// The body of `PUT /v1/state`.
public struct HostState: Record {
    /// Resources in one state.
    public static let resourceLimit = Batch.operationLimit
    /// What a complete state may always remove; above it, no more than half of what was pushed.
    public static let removalFloor = 10
    public static let path = "/v1/state"

    public var controller = ""
    public var epoch = 1
    public var generation = 1
    public var digest = SHA256(of: [])
    public var allowMassDelete = false
    public var resources: [StateResource] = []

    public init() {}

    public static let schema = Schema<HostState>(
        summary: "Everything a controller wants on this host; what it pushed before and is not here, goes."
    ) {
        Field(
            "controller", \.controller, as: .text(.controller), doc: Manager.nameDoc, example: "fleet1",
            required: true)
        Field("epoch", \.epoch, range: 1...Int.max, doc: Manager.epochDoc, example: 3, required: true)
        Field(
            "generation", \.generation, range: 1...Int.max, doc: Manager.generationDoc, example: 17,
            required: true)
        Field("digest", \.digest, doc: "Of the resources. " + StateDigest.definition, required: true)
        Field(
            "allow_mass_delete", \.allowMassDelete,
            doc:
                "Without it, a state that removes more than \(removalFloor) resources and more than half of "
                + "those pushed is refused: an empty controller must not empty its hosts.", example: false)
        Field(
            "resources", \.resources, as: .sequence(of: .record, limit: resourceLimit),
            doc: "In any order, each path once. Everything below a bridge needs the bridge.", required: true)
    }
}

/// The body of `PATCH /v1/state`.
public struct StateDelta: Record {
    public var controller = ""
    public var epoch = 1
    public var generation = 1
    public var digest = SHA256(of: [])
    public var base = StateBase()
    public var operations: [BatchOperation] = []

    public init() {}

    public static let schema = Schema<StateDelta>(summary: "What differs from a state pushed before.") {
        Field(
            "controller", \.controller, as: .text(.controller), doc: Manager.nameDoc, example: "fleet1",
            required: true)
        Field("epoch", \.epoch, range: 1...Int.max, doc: Manager.epochDoc, example: 3, required: true)
        Field(
            "generation", \.generation, range: 1...Int.max, doc: Manager.generationDoc, example: 17,
            required: true)
        Field("digest", \.digest, doc: "Of all resources once the operations are done.", required: true)
        Field("base", \.base, as: .record, doc: "What the operations are to be done on.", required: true)
        Field(
            "operations", \.operations, as: .sequence(of: .record, limit: Batch.operationLimit),
            doc:
                "In order: a bridge before what is below it. DELETE of what is not there does nothing.",
            required: true)
    }
}

/// Who manages a resource.
public enum Manager {
    /// Whoever writes to this agent's API.
    public static let local = "local"
    static let doc = "local: written here. Else the controller that pushed it; local writes are refused."
    static let nameDoc = "Name of the controller, the same for all its instances."
    static let epochDoc = "Grows when another instance of the controller, or another controller, takes over."
    static let generationDoc = "Grows with every different state within an epoch."
}
