// The building blocks codecs are made of: text, integers, words, unions, lists, maps and nested records.

public import JSON

extension Codec {
    /// A JSON string holding the text form of a value. `parse` gives nil for text it does not accept.
    public static func text(
        wanted: String, jsonSchema: JSONObject, example: JSONValue? = nil,
        parse: @escaping @Sendable (String) -> Value?, print: @escaping @Sendable (Value) -> String
    ) -> Codec {
        Codec(
            wanted: wanted, jsonSchema: jsonSchema, example: example,
            decode: { value, pointer, findings in
                guard case .string(let text) = value else {
                    findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                if let parsed = parse(text) { return parsed }
                findings.add(.invalidValue, at: pointer, wanted: wanted, found: value)
                return nil
            },
            encode: { .string(print($0)) })
    }

    /// An integer in a range, or one word in its place: `"inherit"`, `"flow"`. `step` is what a number must
    /// be a multiple of.
    static func number(
        _ range: ClosedRange<Int>, step: Int = 1, orWord word: String, meaning wordValue: Value,
        make: @escaping @Sendable (Int) -> Value?, number: @escaping @Sendable (Value) -> Int?
    ) -> Codec {
        let multiple = step == 1 ? "an integer" : "a multiple of \(step)"
        let wanted = "\(multiple) from \(range.lowerBound) to \(range.upperBound), or \"\(word)\""
        var integer = Codec<Int>.integer(range).jsonSchema
        if step > 1 { integer["multipleOf"] = .integer(Int64(step)) }
        let schema: JSONObject = [
            "oneOf": .array([.object(integer), .object(["type": "string", "const": .string(word)])])
        ]
        return Codec(
            wanted: wanted, jsonSchema: schema,
            decode: { value, pointer, findings in
                switch value {
                case .string(word): return wordValue
                case .integer(let wide):
                    guard let narrow = Int(exactly: wide), range.contains(narrow) else {
                        findings.add(.outOfRange, at: pointer, wanted: wanted, found: value)
                        return nil
                    }
                    if narrow.isMultiple(of: step), let made = make(narrow) { return made }
                    findings.add(.invalidValue, at: pointer, wanted: wanted, found: value)
                case .string: findings.add(.invalidValue, at: pointer, wanted: wanted, found: value)
                default: findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                }
                return nil
            },
            encode: { value in number(value).map { .integer(Int64($0)) } ?? .string(word) })
    }
}

extension Codec where Value == Bool {
    /// The one value of a member that is there or not.
    static var onlyTrue: Codec {
        Codec(
            wanted: "true", jsonSchema: ["type": "boolean", "const": true], example: true,
            decode: { value, pointer, findings in
                if value == .bool(true) { return true }
                let code: FieldErrorCode = if case .bool = value { .invalidValue } else { .wrongType }
                findings.add(code, at: pointer, wanted: "true", found: value)
                return nil
            },
            encode: { .bool($0) })
    }
}

extension Codec where Value == Int {
    /// A JSON integer in a closed range. `10.0` is not an integer here.
    public static func integer(_ range: ClosedRange<Int>) -> Codec {
        var schema: JSONObject = ["type": "integer", "minimum": .integer(Int64(range.lowerBound))]
        if range.upperBound < .max { schema["maximum"] = .integer(Int64(range.upperBound)) }
        let wanted =
            range.upperBound < .max
            ? "an integer from \(range.lowerBound) to \(range.upperBound)"
            : "an integer of at least \(range.lowerBound)"
        return Codec(
            wanted: wanted, jsonSchema: schema,
            decode: { value, pointer, findings in
                guard case .integer(let wide) = value else {
                    findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                if let narrow = Int(exactly: wide), range.contains(narrow) { return narrow }
                findings.add(.outOfRange, at: pointer, wanted: wanted, found: value)
                return nil
            },
            encode: { .integer(Int64($0)) })
    }

    /// A count that starts at 0 and only its type bounds.
    public static var count: Codec { .integer(0...Int.max) }
}

extension Codec where Value == Double {
    /// A number of at least 0, in answers. A whole one may come without its point.
    static var number: Codec {
        let wanted = "a number of at least 0"
        return Codec(
            wanted: wanted, jsonSchema: ["type": "number", "minimum": 0],
            decode: { value, pointer, findings in
                if let number = value.doubleValue { return number }
                findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                return nil
            },
            encode: { .real($0) })
    }
}

extension Codec where Value == [String: Int] {
    /// An open map from a name to a count. Zeros are left out, names are in byte order.
    public static var counts: Codec {
        let wanted = "an object of integers"
        let member = Codec<Int>.count
        return Codec(
            wanted: wanted,
            jsonSchema: ["type": "object", "additionalProperties": .object(member.jsonSchema)],
            decode: { value, pointer, findings in
                guard case .object(let object) = value else {
                    findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                var counts: [String: Int] = [:]
                for (key, value) in object.members {
                    counts[key] = member.decode(value, pointer.appending(key), &findings)
                }
                return counts
            },
            encode: { counts in
                var object = JSONObject()
                for (key, count) in counts.sorted(by: { $0.key < $1.key }) where count != 0 {
                    object[key] = .integer(Int64(count))
                }
                return .object(object)
            })
    }
}

extension Codec where Value == [String: String] {
    /// A map from label to value, encoded in byte order of the labels.
    public static func labels(limit: Int) -> Codec {
        let (key, value) = (TextRule.labelKey, TextRule.labelValue)
        let wanted = "an object of at most \(limit) labels"
        return Codec(
            wanted: wanted,
            jsonSchema: [
                "type": "object", "maxProperties": .integer(Int64(limit)),
                "propertyNames": .object(key.jsonSchema), "additionalProperties": .object(value.jsonSchema),
            ],
            decode: { found, pointer, findings in
                guard case .object(let object) = found else {
                    findings.add(.wrongType, at: pointer, wanted: wanted, found: found)
                    return nil
                }
                guard object.members.count <= limit else {
                    findings.add(.outOfRange, at: pointer, wanted: wanted, found: found)
                    return nil
                }
                var labels: [String: String] = [:]
                for (name, text) in object.members {
                    if !key.accepts(name) {
                        findings.add(
                            .invalidValue, at: pointer.appending(name), wanted: key.wanted,
                            found: .string(name))
                    }
                    labels[name] = Codec<String>.text(value).decode(text, pointer.appending(name), &findings)
                }
                return labels
            },
            encode: { labels in
                .object(JSONObject(labels.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
            })
    }
}

extension Codec where Value: Record {
    /// A record inside another, by reference to its own schema.
    public static var record: Codec {
        let reference = SchemaReference(Value.self)
        return Codec(
            wanted: "an object", jsonSchema: reference.reference, example: reference.example(),
            references: [reference],
            decode: { Value.schema.decode($0, at: $1, into: &$2) },
            encode: { .object(Value.schema.encode($0)) })
    }
}

extension Codec {
    /// A list of distinct values, at most `limit` of them.
    public static func list<Element: Equatable>(of element: Codec<Element>, limit: Int) -> Codec
    where Value == [Element] {
        let wanted = "an array of at most \(limit) items"
        return Codec(
            wanted: wanted,
            jsonSchema: [
                "type": "array", "items": .object(element.jsonSchema), "maxItems": .integer(Int64(limit)),
                "uniqueItems": true,
            ],
            example: element.example.map { .array([$0]) }, references: element.references,
            decode: { value, pointer, findings in
                guard case .array(let items) = value else {
                    findings.add(.wrongType, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                guard items.count <= limit else {
                    findings.add(.outOfRange, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                var elements: [Element] = []
                for (index, item) in items.enumerated() {
                    let place = pointer.appending(index)
                    guard let decoded = element.decode(item, place, &findings) else { continue }
                    if elements.contains(decoded) {
                        findings.add(.invalidValue, at: place, wanted: "each item once", found: item)
                    }
                    elements.append(decoded)
                }
                return elements
            },
            encode: { .array($0.map(element.encode)) })
    }

    /// A list in an answer, which nothing limits but the sender.
    static func answerList<Element>(of element: Codec<Element>) -> Codec where Value == [Element] {
        Codec(
            wanted: "an array",
            jsonSchema: ["type": "array", "items": .object(element.jsonSchema)],
            example: element.example.map { .array([$0]) }, references: element.references,
            decode: { value, pointer, findings in
                guard case .array(let items) = value else {
                    findings.add(.wrongType, at: pointer, wanted: "an array", found: value)
                    return nil
                }
                return items.enumerated().compactMap { index, item in
                    element.decode(item, pointer.appending(index), &findings)
                }
            },
            encode: { .array($0.map(element.encode)) })
    }
}

extension Codec where Value == JSONObject {
    /// A JSON object whose members are not looked at here.
    static var object: Codec {
        Codec(
            wanted: "an object", jsonSchema: ["type": "object"],
            decode: { value, pointer, findings in
                if case .object(let object) = value { return object }
                findings.add(.wrongType, at: pointer, wanted: "an object", found: value)
                return nil
            },
            encode: { .object($0) })
    }
}

extension Codec {
    /// A list in order, repetitions allowed, at most `limit` items.
    static func sequence<Element>(of element: Codec<Element>, limit: Int) -> Codec where Value == [Element] {
        let wanted = "an array of at most \(limit) items"
        return Codec(
            wanted: wanted,
            jsonSchema: [
                "type": "array", "items": .object(element.jsonSchema), "maxItems": .integer(Int64(limit)),
            ],
            example: element.example.map { .array([$0]) }, references: element.references,
            decode: { value, pointer, findings in
                guard case .array(let items) = value, items.count <= limit else {
                    let code: FieldErrorCode = if case .array = value { .outOfRange } else { .wrongType }
                    findings.add(code, at: pointer, wanted: wanted, found: value)
                    return nil
                }
                return items.enumerated().compactMap { index, item in
                    element.decode(item, pointer.appending(index), &findings)
                }
            },
            encode: { .array($0.map(element.encode)) })
    }
}
