// An agent as the controller sees it: the real rules of which pushes count, around a dictionary. What is in `stored`
// survives a crash; nothing else does.

import API
import JSON

@testable import Controller

/// Resources of a host by path; their content is a number.
typealias Content = [String: Int]

extension JSONObject {
    init(_ value: Int) { self = ["n": .integer(Int64(value))] }
}

func digest(of content: Content) -> SHA256 {
    var lines = StateDigest(content.map { (path: $0.key, resource: JSONObject($0.value)) })
    return lines.value
}

/// What travels to an agent.
struct Request {
    var controller: String
    var transmission: Transmission<String>
    /// Of a complete state.
    var resources: Content = [:]
    /// Of a delta; nil removes.
    var operations: [(path: String, value: Int?)] = []
}

struct SimulatedAgent {
    struct Stored {
        var head: StateHead?
        var content: Content = [:]
        /// Of the content as it is.
        var digest = API.SHA256(of: [])
    }

    enum Mood {
        case well
        /// Takes requests and never answers.
        case hanging
        /// Answers that it is not ready.
        case failing
        /// Something written locally is in the way of all pushes.
        case refusing
        /// Answers what was so before.
        case lying
    }

    var stored = Stored()
    var isUp = true
    var mood = Mood.well
    var bootCount = 1
    /// Whether it has ever lied, or was written to by others: its answers may be wrong.
    var isCrooked = false
    /// Whose it was taken for.
    var hosts: Set<Int> = []
    /// Places it has ever held.
    var history: [StateBase] = []
    /// The last answer it gave as it is.
    private var previous = Standing(held: nil, isInSync: true)

    var isInSync: Bool { stored.head.map { $0.digest == stored.digest } ?? stored.content.isEmpty }

    private var standing: Standing {
        Standing(held: stored.head, isInSync: isInSync, bootID: "boot\(bootCount)", agentID: "agent")
    }

    /// Somebody else changes what is stored.
    mutating func corrupt() -> Bool {
        guard let path = stored.content.keys.min() else { return false }
        stored.content[path] = 99
        stored.digest = digest(of: stored.content)
        isCrooked = true
        return true
    }

    /// The answer, and whether something was stored.
    mutating func handle(_ request: Request, _ plants: Set<Plant>) -> (answer: AgentAnswer, isStored: Bool) {
        switch mood {
        case .failing: return (.problem(Problem(.unavailable, "not ready")), false)
        case .refusing where request.transmission.place != nil:
            return (.problem(Problem(.managedElsewhere, "a local bridge is in the way")), false)
        default: break
        }
        do throws(Problem) {
            let isStored = try carryOut(request, plants)
            defer { previous = standing }
            return (.standing(mood == .lying ? previous : standing), isStored)
        } catch {
            return (.problem(error), false)
        }
    }

    private mutating func carryOut(_ request: Request, _ plants: Set<Plant>) throws(Problem) -> Bool {
        guard let place = request.transmission.place else { return false }
        let head = StateHead(
            controller: request.controller, epoch: place.epoch, generation: place.generation,
            digest: place.digest, appliedAt: "")
        let wasInSync = isInSync
        let isHeld = plants.contains(.noFence) ? false : try StateFence.isHeld(head, stored.head)
        if isHeld, wasInSync { return false }
        var content = stored.content
        switch request.transmission.content {
        case .probe: return false
        case .complete(_, let allowMassDelete):
            let removed = content.keys.count { request.resources[$0] == nil }
            try StateFence.checkRemoval(
                of: removed, ofAll: content.count, isAllowed: allowMassDelete, stored.head)
            content = request.resources
        case .delta(_, let base, _):
            if !plants.contains(.noBaseCheck) {
                try StateFence.checkBase(base, stored.head, isInSync: wasInSync)
            }
            for (path, value) in request.operations { content[path] = value }
        }
        let digest = digest(of: content)
        guard digest == place.digest || plants.contains(.noBaseCheck) else {
            throw Problem(.digestMismatch, "comes to another digest")
        }
        stored = Stored(head: head, content: content, digest: digest)
        history.append(place)
        return true
    }
}
