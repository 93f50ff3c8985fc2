// The smallest service there is: bridges on a shelf, kept in a dictionary and forwarding nothing.

import API
import HTTP
import JSON
import Logging
import REST
import Synchronization

struct BridgeAddress: ResourceAddress {
    static let kinds = [Bridge.kind]
    var kind: Kind { Bridge.kind }
    static let wantedPath = "the path of a bridge"
    let name: Name

    init(_ kind: Kind, _ keys: [String]) throws(Problem) { name = try kind.name(in: keys.first ?? "") }

    var path: String { Bridge.kind.path(["\(name)"]) }
    func spec(_ value: JSONValue) throws(Problem) -> Bridge { try Bridge.schema.decode(value) }
}

struct BridgeChange: WrittenChange {
    let path: String
    let before: JSONObject?
    let after: JSONObject?
}

struct Shelf: WritingService {
    /// What may change.
    final class State: Sendable {
        let bridges = Mutex<[BridgeAddress: Bridge]>([:])
        let isServing = Atomic(true)
    }

    let state = State()
    let events = EventLog(boot: "bb")
    let version = Version(version: "7", swift: "6", kernel: "0", features: [])
    let dispatcher: Dispatcher<Shelf>

    init(
        access: AccessControl = .open,
        log: Logger = Logger(label: "shelf") { _ in SwiftLogNoOpLogHandler() }
    ) {
        dispatcher = Dispatcher<Shelf>(
            Operations.agent, [BridgeRoutes.self, ServiceRoutes<Shelf>.self], access: access, log: log)
    }

    var isServing: Bool { state.isServing.load(ordering: .relaxed) }
    var openAPI: JSONObject { ["openapi": "3.1.0"] }
    func live() -> [HealthResult] { [HealthResult("shelf", failure: nil)] }
    func ready() -> [HealthResult] {
        live() + [HealthResult("full", failure: state.bridges.withLock { $0.isEmpty } ? "it is empty" : nil)]
    }
    func addMetrics(to page: inout MetricsPage) async {
        page.family("shelf_bridges", .gauge, "Bridges.")
        page.sample([], UInt64(state.bridges.withLock { $0.count }))
    }

    func document(of id: BridgeAddress) throws(Problem) -> (JSONObject, EntityTag) {
        guard let bridge = state.bridges.withLock({ $0[id] }) else {
            throw Problem(.notFound, "there is no bridge \(id.name)")
        }
        return (bridge.json, EntityTag(bridge.json))
    }

    func write(
        _ writes: [ResourceWrite<BridgeAddress>], _ preconditions: Preconditions, dryRun: Bool
    ) throws(Problem) -> Outcome<BridgeChange> {
        var outcome = Outcome<BridgeChange>(changes: [], areNew: [])
        for write in writes {
            let before = state.bridges.withLock { $0[write.id] }
            try preconditions.check(before.map { EntityTag($0.json) }, write.id.path)
            if before != write.spec {
                outcome.changes.append(
                    BridgeChange(path: write.id.path, before: before?.json, after: write.spec?.json))
            }
            outcome.areNew.append(before == nil)
            if !dryRun { state.bridges.withLock { $0[write.id] = write.spec } }
        }
        return outcome
    }

    func patch(
        _ id: BridgeAddress, _ patch: JSONValue, _ preconditions: Preconditions, dryRun: Bool
    ) throws(Problem) -> Outcome<BridgeChange> {
        let spec = try id.spec(JSONValue.object(document(of: id).0).merging(patch))
        return try write([ResourceWrite(id: id, spec: spec)], preconditions, dryRun: dryRun)
    }

    func batch(
        _ writes: [ResourceWrite<BridgeAddress>], _ preconditions: Preconditions, dryRun: Bool
    ) throws(Problem) -> (Outcome<BridgeChange>, EntityTag) {
        (try write(writes, .none, dryRun: dryRun), EntityTag(of: "shelf".utf8))
    }
}

private enum BridgeRoutes: Routes {
    static let handlers: [OperationID: Handler<Shelf>] = [
        .getBridge: WriteHandlers.get(Bridge.kind),
        .putBridge: WriteHandlers.put(Bridge.kind),
        .patchBridge: WriteHandlers.patch(Bridge.kind),
        .deleteBridge: WriteHandlers.delete(Bridge.kind),
        .batch: WriteHandlers.batch,
    ]
}
