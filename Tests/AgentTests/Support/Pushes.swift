// Pushes as a controller would make them.

import API
import JSON
import Testing

@testable import Agent

/// A state to be pushed, complete or as a delta.
struct TestPush {
    var controller = "fleet1"
    var epoch = 1
    var generation = 1
    /// Paths and bodies; a body nil in an operation is a DELETE.
    var resources: [(path: String, body: String)] = []
    /// Nil for the right one.
    var digest: String?
    var allowMassDelete: Bool?

    init(_ epoch: Int = 1, _ generation: Int = 1, _ resources: [(path: String, body: String)] = []) {
        self.epoch = epoch
        self.generation = generation
        self.resources = resources
    }

    /// Bodies of tests leave defaults out and have one member.
    var rightDigest: String {
        let lines = resources.map { resource in
            (
                path: resource.path,
                resource: (try? JSONValue.parse(Array(resource.body.utf8)))?.objectValue ?? [:]
            )
        }
        return StateDigest.value(of: lines).description
    }

    private var head: String {
        #""controller":"\#(controller)","epoch":\#(epoch),"generation":\#(generation),"#
            + #""digest":"\#(digest ?? rightDigest)""#
    }

    var complete: String {
        let items = resources.map { #"{"path":"\#($0.path)","body":\#($0.body)}"# }
        let flag = allowMassDelete.map { #","allow_mass_delete":\#($0)"# } ?? ""
        return #"{\#(head),"resources":[\#(items.joined(separator: ","))]\#(flag)}"#
    }

    /// - Parameter operations: what leads from the base to this.
    func delta(on base: TestPush, _ operations: [String]) -> String {
        let text =
            #"{"epoch":\#(base.epoch),"generation":\#(base.generation),"digest":"\#(base.digest ?? base.rightDigest)"}"#
        return #"{\#(head),"base":\#(text),"operations":[\#(operations.joined(separator: ","))]}"#
    }

    /// The next generation, edited.
    func next(_ edit: (inout TestPush) -> Void = { _ in }) -> TestPush {
        var next = self
        next.generation += 1
        edit(&next)
        return next
    }

    mutating func remove(_ path: String) { resources.removeAll { $0.path == path } }
}

extension TestAgent {
    @discardableResult
    func push(_ push: TestPush, at location: SourceLocation = #_sourceLocation) async -> Answer {
        await put("/v1/state", push.complete, at: location)
    }

    @discardableResult
    func push(
        _ push: TestPush, on base: TestPush, _ operations: [String],
        at location: SourceLocation = #_sourceLocation
    ) async -> Answer {
        await ask("PATCH", "/v1/state", push.delta(on: base, operations), at: location)
    }

    /// What is held: "fleet1 1.3", and whether it is there.
    func held() async -> String {
        let answer = await get("/v1/state").json
        let held = answer["held"]
        return "\(held?["controller"]?.stringValue ?? "nobody") \(held?["epoch"]?.integerValue ?? 0)."
            + "\(held?["generation"]?.integerValue ?? 0)\(answer["in_sync"] == true ? "" : " drifted")"
    }
}

extension TestAgent {
    /// Programs the worker has adopted.
    var programs: String? { get async { await metric("viaduct_programs_adopted_total") } }

    /// The value of a sample as /metrics writes it; nil when there is none.
    func metric(_ sample: String) async -> String? {
        await get("/metrics").text.split(separator: "\n").first { $0.hasPrefix("\(sample) ") }
            .map { String($0.dropFirst(sample.count + 1)) }
    }
}
