// YAML in and out. What is read follows the YAML 1.2 core schema, so `no` and `12:34:56:12:34:56` are texts
// and not what YAML 1.1 makes of them; every place is remembered, so that an error names line and column.

import JSON
import Yams

/// A document of a person's: its value, and where each part of it stands.
struct ParsedText: Sendable {
    var value: JSONValue
    /// Where each part stands, by its pointer's text. Empty for JSON.
    var places: [String: Place] = [:]

    /// Counted from 1.
    struct Place: Sendable, Equatable {
        var line: Int
        var column: Int
    }

    /// Of the part, or of the nearest one around it: a field that is missing is missed in its parent.
    func place(of pointer: String) -> Place? {
        var pointer = pointer[...]
        while places[String(pointer)] == nil, let slash = pointer.lastIndex(of: "/") {
            pointer = pointer[..<slash]
        }
        return places[String(pointer)]
    }
}

/// Why a text is not a document: what, and where if that is known.
struct TextFault: Error, Equatable {
    var place: ParsedText.Place?
    var message: String
}

enum YAMLText {
    /// Aliases let a short text stand for a huge value. As many as the agent takes in one batch.
    static let valueLimit = 500_000

    // MARK: - Reading

    static func parse(_ text: String) throws(TextFault) -> ParsedText {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw fault(error)
        } catch {
            throw TextFault(message: "\(error)")
        }
        guard let root else { throw TextFault(message: "wanted a document, found nothing") }
        var reader = Reader()
        let value = try reader.read(root, at: JSONPointer())
        return ParsedText(value: value, places: reader.places)
    }

    private static func fault(_ error: YamlError) -> TextFault {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            TextFault(place: .init(line: mark.line, column: mark.column), message: problem)
        case .duplicatedKeysInMapping(let keys, let context):
            TextFault(
                place: .init(line: context.mark.line, column: context.mark.column),
                message: "wanted each key once, found again: "
                    + keys.joined(separator: ", "))
        default: TextFault(message: "\(error)")
        }
    }

    private struct Reader {
        var places: [String: ParsedText.Place] = [:]
        var valueCount = 0

        mutating func read(_ node: Node, at pointer: JSONPointer) throws(TextFault) -> JSONValue {
            let place = node.mark.map { ParsedText.Place(line: $0.line, column: $0.column) }
            // A key's own place is better than its value's: that is where a person looks.
            let name = pointer.description
            if places[name] == nil { places[name] = place }
            valueCount += 1
            guard valueCount <= YAMLText.valueLimit else {
                throw TextFault(
                    place: place, message: "wanted at most \(YAMLText.valueLimit) values, found more")
            }
            switch node {
            case .scalar(let scalar): return try YAMLText.value(of: scalar, place)
            case .sequence(let sequence):
                var items: [JSONValue] = []
                for (index, item) in sequence.enumerated() {
                    items.append(try read(item, at: pointer.appending(index)))
                }
                return .array(items)
            case .mapping(let mapping): return .object(try read(mapping, at: pointer))
            case .alias:
                throw TextFault(place: place, message: "wanted a value, found an alias of nothing")
            }
        }

        private mutating func read(_ mapping: Node.Mapping, at pointer: JSONPointer) throws(TextFault)
            -> JSONObject
        {
            var object = JSONObject()
            for (key, value) in mapping {
                guard let name = key.scalar?.string else {
                    throw TextFault(
                        place: key.mark.map { .init(line: $0.line, column: $0.column) },
                        message: "wanted a name for a key, found a list or a mapping")
                }
                let below = pointer.appending(name)
                places[below.description] = key.mark.map { .init(line: $0.line, column: $0.column) }
                object[name] = try read(value, at: below)
            }
            return object
        }
    }

    /// YAML 1.2 §10.3.2: what a plain scalar without a tag means; a quoted one is text.
    private static func value(of scalar: Node.Scalar, _ place: ParsedText.Place?) throws(TextFault)
        -> JSONValue
    {
        let text = scalar.string
        guard scalar.style == .plain || scalar.style == .any else { return .string(text) }
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        let digits = text.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
        guard text.utf8.count - digits.count <= 1, let first = digits.first, isDigit(first) else {
            return .string(text)
        }
        if digits.allSatisfy(isDigit) {
            guard let number = Int64(text) else {
                throw TextFault(place: place, message: "wanted an integer of 64 bits, found \(text)")
            }
            return .integer(number)
        }
        // Double would also take hexadecimal digits, which a MAC address may begin with.
        let isReal = digits.allSatisfy { isDigit($0) || ".eE+-".utf8.contains($0) }
        return isReal ? Double(text).map(JSONValue.real) ?? .string(text) : .string(text)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    // MARK: - Writing

    /// Members in order, lists of scalars on one line. Mappings below `flowDepth` levels are on one line too:
    /// a document of thousands of tunnels has a line for each.
    static func text(of value: JSONValue, flowDepth: Int = .max) -> String {
        let node = node(value, flowDepth)
        // The tree is made of plain values: there is nothing the emitter could refuse.
        return (try? Yams.serialize(node: node, indent: 2, width: -1, allowUnicode: true)) ?? "\(value)\n"
    }

    private static func node(_ value: JSONValue, _ flowDepth: Int) -> Node {
        switch value {
        // Quoted by Yams where a reader of YAML 1.1 would take it for something else.
        case .string(let text): return (try? text.represented()) ?? Node(text)
        case .array(let items):
            let isFlat = items.allSatisfy { $0.arrayValue == nil && $0.objectValue == nil }
            return .sequence(.init(items.map { node($0, flowDepth - 1) }, .implicit, isFlat ? .flow : .block))
        case .object(let object):
            let pairs = object.members.map { (node(.string($0.key), 0), node($0.value, flowDepth - 1)) }
            return .mapping(.init(pairs, .implicit, object.isEmpty || flowDepth <= 0 ? .flow : .block))
        default: return Node(value.description)
        }
    }
}
