// What `apply` would do: the difference between what there is and a document, as operations of one batch and as a
// table. Pure. The agent's own plans (dry runs) print as the same table.

import API
import JSON

struct Plan: Sendable, Equatable {
    struct Step: Sendable, Equatable {
        var id: ResourceID
        /// Nil when it is not there yet.
        var from: JSONObject?
        /// Nil when it goes.
        var to: JSONObject?

        var action: String { from == nil ? "add" : to == nil ? "remove" : "change" }
    }

    /// In the order they are carried out.
    var steps: [Step] = []
    var unchangedCount = 0

    // MARK: - Making one

    /// Removes come first and from the inside out, so that a name is free before it is taken again; then
    /// everything else from the outside in; hosts go at the end, when nothing is on them any more. Without `prune`
    /// nothing is removed, nor what is of a sort the document does not speak of, nor what a controller pushed. A
    /// bridge takes what is in it along, so its members are not named beside it.
    init(from current: StateDocument, to wanted: StateDocument, prune: Bool) {
        var last: [Step] = []
        if prune {
            let gone = current.specs.filter { id, _ in
                wanted.specs[id] == nil && wanted.tops.contains(id.type.top) && current.pushed[id] == nil
            }
            for (id, spec) in gone.sorted(by: { $0.key > $1.key }) {
                guard id.type.isTop || gone[id.top] == nil else { continue }
                let step = Step(id: id, from: spec, to: nil)
                if id.type == .host { last.append(step) } else { steps.append(step) }
            }
        }
        for (id, spec) in wanted.specs.sorted(by: { $0.key < $1.key }) {
            let before = current.specs[id]
            // What was pushed and is only named, as the place of something local, stays as it is.
            if before == spec || current.pushed[id] != nil && id.type.withoutDefaults(spec).members.isEmpty {
                unchangedCount += 1
            } else {
                steps.append(Step(id: id, from: before, to: spec))
            }
        }
        steps += last
    }

    /// The agent's answer to a dry run. A path of no sort we know is shown as it is.
    init(agent answer: JSONValue) throws(CommandError) {
        guard let plan = answer["plan"]?.objectValue else {
            throw .strange("a dry run was not answered with a plan: the change may have been made")
        }
        for list in ["remove", "add", "change"] {
            for step in plan[list]?.arrayValue ?? [] {
                guard let path = step["path"]?.stringValue, let id = ResourceID(path: path) else {
                    throw .strange("the agent's plan names a path of no resource: \(step)")
                }
                steps.append(
                    Step(id: id, from: step["from"]?.objectValue, to: step["to"]?.objectValue))
            }
        }
    }

    var operations: [PlannedWrite] {
        steps.map { PlannedWrite(id: $0.id, spec: $0.to) }
    }

    // MARK: - Showing it

    func count(_ action: String) -> Int { steps.count { $0.action == action } }

    var summary: String {
        let counts = [("add", "to add"), ("change", "to change"), ("remove", "to remove")]
            .map { (count($0.0), $0.1) }.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
        let all = counts + (unchangedCount > 0 ? ["\(unchangedCount) unchanged"] : [])
        return steps.isEmpty ? "nothing to change" : all.joined(separator: ", ")
    }

    func text(_ terminal: Terminal) -> String {
        guard !steps.isEmpty else { return summary + "\n" }
        var table = Table(["ACTION", "RESOURCE", "FIELDS"])
        table.rows = steps.map { [$0.action, $0.id.title, Plan.fields(of: $0)] }
        return table.text(terminal) + summary + "\n"
    }

    /// The shape the API gives its own plans.
    var json: JSONObject {
        JSONObject(
            ["add", "change", "remove"].map { action in
                (action, .array(steps.filter { $0.action == action }.map(Plan.entry)))
            })
    }

    private static func entry(_ step: Step) -> JSONValue {
        var entry: JSONObject = ["path": .string(step.id.path)]
        entry["from"] = step.from.map(JSONValue.object)
        entry["to"] = step.to.map(JSONValue.object)
        return .object(entry)
    }

    private static func fields(of step: Step) -> String {
        guard let to = step.to else { return Table.absent }
        guard let from = step.from else { return Cell.assignments(step.id.type.withoutDefaults(to)) }
        let names = to.keys + from.keys.filter { to[$0] == nil }
        return names.filter { from[$0] != to[$0] }
            .map { "\($0): \(Cell.text(from[$0])) -> \(Cell.text(to[$0]))" }.joined(separator: ", ")
    }
}

/// One line of `POST /v1/batch`.
struct PlannedWrite: Sendable, Equatable {
    var id: ResourceID
    /// Nil deletes.
    var spec: JSONObject?

    var json: JSONObject {
        var object: JSONObject = [
            "method": .string(spec == nil ? "DELETE" : "PUT"), "path": .string(id.path),
        ]
        // The agent fills in its defaults, as it would for whoever wrote the document.
        object["body"] = spec.map { .object(id.type.withoutDefaults($0)) }
        return object
    }

    /// Where a fault of a batch stands in the document the batch was made from: "/operations/3/body/vni" →
    /// "/bridges/br0/tunnels/vxlan1/vni".
    static func pointer(_ fault: String, in operations: [PlannedWrite]) -> JSONPointer? {
        let parts = fault.split(separator: "/", omittingEmptySubsequences: false)
        let tokens = parts.dropFirst().map(String.init)
        guard tokens.count >= 2, tokens[0] == "operations", let index = Int(tokens[1]),
            operations.indices.contains(index)
        else { return nil }
        // Tokens of our own fields have no escapes.
        return tokens.dropFirst(3).reduce(operations[index].id.pointer) { $0.appending($1) }
    }
}
