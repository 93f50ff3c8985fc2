// An agent's side of /v1/state without a host: bodies are decoded by the API's schemas, pushes judged by its fence,
// and what they hold is kept as digests, with as much beside them as removing takes.

import API
import JSON
import Synchronization

/// What goes wrong with an agent; set from the control interface.
struct Faults: Record {
    /// It takes requests and answers when this is over.
    var hangs = false
    var delayMilliseconds = 0
    var refuses = false

    static let schema = Schema<Faults>(summary: "What goes wrong with an agent.") {
        Field("hangs", \.hangs, doc: "It takes requests and answers when this is over.")
        Field("delay_ms", \.delayMilliseconds, range: 0...60_000, doc: "It answers so much later.")
        Field("refuses", \.refuses, doc: "It answers 503.")
    }
}

/// A push that was accepted.
struct Acknowledged {
    var document: HostStateDocument
    var isFirst: Bool
    var isUnchanged = false
    /// Those of the push.
    var paths: [String] = []
}

final class SimulatedAgent: Sendable {
    /// Stays with the state; `bootID` does not.
    let id = SimulatedAgent.randomID()
    /// "127.1.0.1"
    let address: String
    private let state = Mutex(State())

    init(address: String) { self.address = address }

    var faults: Faults {
        get { state.withLock { $0.faults } }
        set { state.withLock { $0.faults = newValue } }
    }

    var version: Version {
        var version = Version(version: "0", swift: "", kernel: "", features: [])
        version.agentID = id
        version.bootID = state.withLock { $0.bootID }
        return version
    }

    /// The answer to GET.
    var document: HostStateDocument { state.withLock { document($0) } }

    /// The process starts again, with its state file or with an empty one.
    func restart(forgetting: Bool) {
        state.withLock { state in
            let faults = state.faults
            if forgetting { state = State() }
            state.faults = faults
            state.bootID = SimulatedAgent.randomID()
        }
    }

    /// Carries a complete state out, or refuses it and leaves everything as it is.
    func put(_ body: HostState, at time: String) throws(Problem) -> Acknowledged {
        var writes: [Written] = []
        writes.reserveCapacity(body.resources.count)
        for resource in body.resources { writes.append(try Written(resource.path, resource.body)) }
        let paths = Set(writes.map(\.path))
        guard paths.count == writes.count else {
            throw Problem(
                .invalidResource, "wanted each path once, found \(writes.count - paths.count) again")
        }
        let head = StateHead(
            controller: body.controller, epoch: body.epoch, generation: body.generation, digest: body.digest,
            appliedAt: time)
        return try push(head, writes) { (new) throws(Problem) in
            let removed = new.resources.keys.filter { !paths.contains($0) }
            try StateFence.checkRemoval(
                of: removed.count, ofAll: new.resources.count, isAllowed: body.allowMassDelete, new.held)
            for path in removed { new.note(nil, at: path) }
            for write in writes { new.note(write.held, at: write.path) }
        }
    }

    /// The same for a delta.
    func patch(_ body: StateDelta, at time: String) throws(Problem) -> Acknowledged {
        var writes: [Written] = []
        for operation in body.operations { writes.append(try Written(operation.path, operation.body)) }
        let head = StateHead(
            controller: body.controller, epoch: body.epoch, generation: body.generation, digest: body.digest,
            appliedAt: time)
        return try push(head, writes) { (new) throws(Problem) in
            try StateFence.checkBase(body.base, new.held, isInSync: new.isInSync)
            for write in writes {
                if write.held == nil { new.removeDependants(of: write) }
                new.note(write.held, at: write.path)
            }
        }
    }

    private func push(
        _ head: StateHead, _ writes: [Written], _ edit: (inout State) throws(Problem) -> Void
    ) throws(Problem) -> Acknowledged {
        try state.withLock { (state) throws(Problem) in
            let isFirst = state.held == nil
            if try StateFence.isHeld(head, state.held), state.isInSync {
                return Acknowledged(
                    document: document(state, StateChanges()), isFirst: false, isUnchanged: true)
            }
            state.begin()
            do throws(Problem) {
                try edit(&state)
                for write in writes { try state.check(write) }
                try state.finish(head)
            } catch {
                state.takeBack()
                throw error
            }
            return Acknowledged(
                document: document(state, state.changes), isFirst: isFirst, paths: writes.map(\.path))
        }
    }

    private func document(_ state: State, _ changes: StateChanges? = nil) -> HostStateDocument {
        var document = HostStateDocument()
        document.agentID = id
        document.bootID = state.bootID
        document.held = state.held
        document.digest = state.digest
        document.counts = state.counts
        document.changes = changes
        return document
    }

    fileprivate static func randomID() -> String {
        let digits = String(UInt64.random(in: .min ... .max), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private struct State {
        var bootID = SimulatedAgent.randomID()
        var faults = Faults()
        var held: StateHead?
        /// By path.
        var resources: [String: Held] = [:]
        var counts = StateCounts()
        var lines = StateDigest()
        /// Of the lines, as of the last push.
        var digest = SHA256(of: [])
        /// Of the push that is being carried out, and what was there before, in the order it was changed.
        var changes = StateChanges()
        private var before: [(path: String, held: Held?)] = []

        var isInSync: Bool { held.map { $0.digest == digest } ?? resources.isEmpty }

        mutating func begin() {
            changes = StateChanges()
            before = []
        }

        mutating func finish(_ head: StateHead) throws(Problem) {
            let found = lines.value
            guard found == head.digest else {
                throw Problem(
                    .digestMismatch,
                    "/digest: wanted \(found), which these resources have, found \(head.digest)")
            }
            digest = found
            held = head
        }

        mutating func takeBack() {
            for (path, held) in before.reversed() { note(held, at: path) }
        }

        mutating func note(_ new: Held?, at path: String) {
            let old = resources.updateValue(new, forKey: path)
            guard old != new else { return }
            before.append((path, old))
            lines.note(digestOfResource: new?.digest, at: path)
            switch (old, new) {
            case (nil, _): changes.added += 1
            case (_, nil): changes.removed += 1
            default: changes.changed += 1
            }
            if let new { count(new.sort, 1) }
            if let old { count(old.sort, -1) }
        }

        private mutating func count(_ sort: Held.Sort, _ change: Int) {
            switch sort {
            case .bridge: counts.bridges += change
            case .port: counts.ports += change
            case .tunnel: counts.tunnels += change
            case .mac: counts.macs += change
            }
        }

        /// What goes with a bridge, and the entries that lead to a port or tunnel.
        mutating func removeDependants(of write: Written) {
            guard let sort = resources[write.path]?.sort, sort != .mac else { return }
            let below = write.bridge + "/"
            let name = write.path.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) }
            let gone = resources.filter { path, held in
                path.hasPrefix(below) && (sort == .bridge || held.port == name)
            }
            for path in gone.keys { note(nil, at: path) }
        }

        /// Throws unless what was written has its bridge, and its port.
        func check(_ write: Written) throws(Problem) {
            guard let port = resources[write.path]?.port else { return }
            let bridge = write.bridge
            guard resources[bridge] != nil else {
                throw Problem(.notFound, "\(write.path): there is no \(bridge)")
            }
            guard !port.isEmpty, resources["\(bridge)/tunnels/\(port)"] == nil,
                resources["\(bridge)/ports/\(port)"] == nil, bridge != Bridge.kind.path([port])
            else { return }
            throw Problem(.conflict, "\(write.path): \(bridge) has no port or tunnel \(port)")
        }
    }
}

extension Dictionary {
    /// - Returns: the old value.
    fileprivate mutating func updateValue(_ value: Value?, forKey key: Key) -> Value? {
        guard let value else { return removeValue(forKey: key) }
        return updateValue(value, forKey: key)
    }
}
