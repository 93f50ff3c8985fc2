// `field=value` on the command line, read by the resource's own schema: which fields there are, which are
// numbers, lists or words, and what is wrong with a value.

import API
import JSON

enum Assignments {
    /// The members to write. An empty value is null: it takes the field back to its default. Every mistake
    /// is found before this throws; nothing has been sent then.
    static func parse(_ arguments: [String], for type: ResourceType) throws(CommandError) -> JSONObject {
        let properties = type.properties
        var changes = JSONObject()
        var mistakes: [String] = []
        for argument in arguments {
            guard let (name, text) = split(argument) else {
                mistakes.append("wanted FIELD=VALUE, found \"\(argument)\"")
                continue
            }
            guard let property = properties[name] else {
                let known = properties.keys.joined(separator: ", ")
                mistakes.append("\(name): wanted one of the fields \(known)")
                continue
            }
            if changes[name] != nil { mistakes.append("\(name): wanted each field once, found it again") }
            let parsed = text.isEmpty ? JSONValue.null : value(text, property)
            changes[name] = parsed
            if !parsed.isNull { mistakes += faults(in: parsed, of: name, type).map { "\(name): \($0)" } }
        }
        guard mistakes.isEmpty else { throw .usage(mistakes) }
        return changes
    }

    /// Both sides of the first "=".
    static func split(_ argument: String) -> (name: String, value: String)? {
        guard let sign = argument.firstIndex(of: "="), sign > argument.startIndex else { return nil }
        return (String(argument[..<sign]), String(argument[argument.index(after: sign)...]))
    }

    /// Text as the kind of JSON that the field takes; a string where it fits none, for the schema to refuse.
    static func value(_ text: String, _ property: JSONValue) -> JSONValue {
        if let record = NestedText.record(of: property) { return NestedText.value(text, of: record) }
        let kinds = kinds(of: property)
        if kinds.contains("array") {
            let item = property["items"] ?? .object([:])
            return .array(NestedText.split(text).map { value($0, item) })
        }
        if kinds.contains("object") {
            return .object(
                JSONObject(
                    text.split(separator: ",").map { part in
                        split(String(part)).map { ($0.name, .string($0.value)) } ?? (String(part), "")
                    }))
        }
        if kinds.contains("integer"), let number = Int64(text) { return .integer(number) }
        if kinds.contains("boolean"), let flag = Bool(text) { return .bool(flag) }
        return .string(text)
    }

    private static func kinds(of property: JSONValue) -> [String] {
        if let kind = property["type"]?.stringValue { return [kind] }
        return (property["oneOf"]?.arrayValue ?? []).compactMap { $0["type"]?.stringValue }
    }

    /// What the schema says about one field alone. What several fields must agree on is the agent's to see:
    /// it knows the ones that were not given.
    private static func faults(in value: JSONValue, of name: String, _ type: ResourceType) -> [String] {
        do throws(Problem) {
            _ = try type.normalized(.object([name: value]))
            return []
        } catch {
            return error.errors.filter { $0.pointer.tokens.first == name && $0.code != .notAllowed }
                .map { "wanted \($0.wanted), found \($0.found)" }
        }
    }
}
