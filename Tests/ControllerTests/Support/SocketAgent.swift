// Servers on Unix sockets in the place of agents: one that keeps what is pushed, by the agent's own rules, and any
// other.

import API
import HTTP
import JSON
import REST
import Synchronization

/// Answers every request as a test says.
final class SocketServer: Sendable {
    let url: String
    private let server: HTTPServer

    init(_ path: String, _ answer: @escaping @Sendable (HTTPRequest) async -> HTTPResponse) throws {
        url = "unix:\(path)"
        server = try HTTPServer(
            endpoints: [.unix(path: path)], limits: HTTPLimits(bodyByteCount: 1 << 24),
            renderFailure: HTTPResponse.failure, onLog: { _ in }, handler: answer)
    }

    func stop() async { await server.stop(drainSeconds: 0.1) }
}

/// An agent without a host.
final class SocketAgent: Sendable {
    struct State {
        /// Another one for each: an agent is pushed to as one host only.
        let id = String(UInt64.random(in: .min ... .max), radix: 16)
        var held: StateHead?
        var resources: [String: JSONObject] = [:]
        /// Methods of the requests it has taken, in order.
        var methods: [String] = []
        /// Given in the place of every answer.
        var answer: HTTPResponse?
    }

    private let state = Mutex(State())

    var now: State { state.withLock { $0 } }
    var pushes: [String] { now.methods.filter { $0 != "GET" } }

    /// Nil: it is well again.
    func answer(with answer: HTTPResponse?) { state.withLock { $0.answer = answer } }

    @Sendable
    func handle(_ request: HTTPRequest) async -> HTTPResponse {
        do throws(Problem) {
            let document = try state.withLock { (state) throws(Problem) -> HostStateDocument? in
                state.methods.append(request.method)
                guard state.answer == nil else { return nil }
                try state.take(request)
                return state.document
            }
            return document.map { .document($0.json) } ?? now.answer ?? .noContent
        } catch {
            return .problem(error)
        }
    }
}

extension SocketAgent.State {
    fileprivate mutating func take(_ request: HTTPRequest) throws(Problem) {
        var resources = resources
        let head: StateHead
        switch request.method {
        case "PUT":
            let push = try HostState.parse(request.body, limits: .large)
            head = StateHead(push.controller, push.epoch, push.generation, push.digest)
            let kept = Set(push.resources.map(\.path))
            try StateFence.checkRemoval(
                of: resources.keys.count { !kept.contains($0) }, ofAll: resources.count,
                isAllowed: push.allowMassDelete, held)
            resources = [:]
            for resource in push.resources { resources[resource.path] = resource.body }
        case "PATCH":
            let push = try StateDelta.parse(request.body, limits: .large)
            head = StateHead(push.controller, push.epoch, push.generation, push.digest)
            try StateFence.checkBase(push.base, held, isInSync: true)
            for operation in push.operations {
                if operation.body == nil {
                    resources = resources.filter { !$0.key.hasPrefix("\(operation.path)/") }
                }
                resources[operation.path] = operation.body
            }
        default: return
        }
        if try StateFence.isHeld(head, held) { return }
        guard StateDigest.value(of: resources.map { (path: $0.key, resource: $0.value) }) == head.digest
        else {
            throw Problem(.digestMismatch, "comes to another digest")
        }
        (self.held, self.resources) = (head, resources)
    }

    fileprivate var document: HostStateDocument {
        var document = HostStateDocument()
        (document.agentID, document.bootID, document.held) = (id, "boot", held)
        document.digest = StateDigest.value(of: resources.map { (path: $0.key, resource: $0.value) })
        return document
    }
}

extension StateHead {
    fileprivate init(_ controller: String, _ epoch: Int, _ generation: Int, _ digest: SHA256) {
        self.init(controller: controller, epoch: epoch, generation: generation, digest: digest, appliedAt: "")
    }
}

extension JSONLimits {
    fileprivate static let large = JSONLimits(byteCount: Batch.bodyByteCount, memberCount: Batch.memberCount)
}
