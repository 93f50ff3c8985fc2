// A pusher with a hand on it: what it sends, what it is told, and a clock that is turned.

import API
import Testing

@testable import Controller

struct PusherRig {
    var pusher: Pusher<String>
    var now = Duration.zero
    var random = Seeded(1)
    /// What is wanted; only its digest counts here.
    var wanted = "a"
    /// The one under way.
    var last: Transmission<String>?
    private var lastID = 0

    init(epoch: Int = 1) {
        pusher = Pusher<String>(controller: "fleet1", now: .zero)
        pusher.lead(epoch: epoch, now: .zero)
    }

    static func digest(_ wanted: String) -> SHA256 { SHA256(of: Array(wanted.utf8)) }

    static func held(
        _ epoch: Int, _ generation: Int, _ content: String, by controller: String = "fleet1"
    ) -> StateHead {
        StateHead(
            controller: controller, epoch: epoch, generation: generation, digest: digest(content),
            appliedAt: "")
    }

    /// What goes out at this moment: "GET", "PUT 1.1 a", "PATCH 1.2 b on 1.1 a: x y"; nil for nothing.
    mutating func send() -> String? {
        guard let sent = pusher.start(lastID + 1, now: now, digest: { [wanted] in PusherRig.digest(wanted) })
        else {
            return nil
        }
        (last, lastID) = (sent, sent.id)
        func name(_ place: StateBase) -> String {
            let names = ["", "a", "b", "c", "d"]
            let name = names.first { PusherRig.digest($0) == place.digest } ?? "?"
            return "\(place.epoch).\(place.generation) \(name)"
        }
        switch sent.content {
        case .probe: return "GET"
        case .complete(let place, let allowed): return "PUT \(name(place))" + (allowed ? " allowed" : "")
        case .delta(let place, let base, let paths):
            return "PATCH \(name(place)) on \(name(base)): \(paths.sorted().joined(separator: " "))"
        }
    }

    /// Waits until there is something, and sends it.
    mutating func sendWhenDue() -> String? {
        if let due = pusher.due { now = max(now, due) }
        return send()
    }

    @discardableResult
    mutating func answer(_ answer: AgentAnswer, to id: Int? = nil) -> PushOutcome {
        pusher.answered(id ?? last?.id ?? 0, answer, now: now, using: &random)
    }

    /// The agent holds this now, and it is in force.
    @discardableResult
    mutating func answer(_ held: StateHead?, isInSync: Bool = true, boot: String = "1") -> PushOutcome {
        answer(.standing(Standing(held: held, isInSync: isInSync, bootID: boot)))
    }

    /// The agent has done as it was told.
    @discardableResult
    mutating func acknowledge() -> PushOutcome {
        guard let place = last?.place else { return .ignored }
        return answer(
            StateHead(
                controller: "fleet1", epoch: place.epoch, generation: place.generation, digest: place.digest,
                appliedAt: ""))
    }

    @discardableResult
    mutating func refuse(_ code: ProblemCode, _ held: StateHead? = nil) -> PushOutcome {
        var problem = Problem(
            code, "no: \(code.rawValue)",
            errors: (0..<12).map { FieldError(at: .init(), .invalidValue, wanted: "\($0)", found: "") })
        problem.held = held
        return answer(.problem(problem))
    }

    @discardableResult
    mutating func fail(_ text: String = "timed out") -> PushOutcome {
        pusher.failed(last?.id ?? 0, text, now: now, using: &random)
    }

    mutating func want(_ content: String, _ paths: String...) {
        wanted = content
        pusher.changed(paths, now: now)
    }

    /// One that has been given "a" and is content.
    static func settled(epoch: Int = 1) -> PusherRig {
        var rig = PusherRig(epoch: epoch)
        _ = rig.send()
        rig.answer(nil as StateHead?)
        _ = rig.send()
        rig.acknowledge()
        return rig
    }
}
