// Owns: the promise that no text makes the JSON room crash, and that what it takes it writes as text that reads the
// same.

import JSON

enum JSONTarget {
    @Sendable static func run(_ bytes: UnsafeRawBufferPointer) throws(Finding) {
        var script = Script(bytes)
        // Mostly the limits in force; sometimes so narrow that they are met.
        let choice = script.byte()
        let limits =
            choice & 0xf0 != 0xf0
            ? JSONLimits()
            : JSONLimits(
                byteCount: 200, depth: Int(choice & 7), memberCount: 5 + Int(choice & 15), stringByteCount: 16
            )
        guard let value = parse(script.bytes(), limits) else { return }
        let compact = value.serialized()
        for text in [compact, value.serialized(pretty: true), value.canonicalBytes] {
            try demand(String(validating: text, as: UTF8.self) != nil, "writes UTF-8")
            // Written text may be longer than what was read, and no deeper.
            try demand(parse(text, JSONLimits()) == value, "reads what it wrote")
        }
        try demand(parse(compact, JSONLimits())?.serialized() == compact, "writes the same text again")
        let merged = value.merging(value)
        try demand(merged.merging(value) == merged, "a merge done twice is a merge done once")
    }

    static func parse(_ bytes: [UInt8], _ limits: JSONLimits) -> JSONValue? {
        do throws(JSONError) { return try JSONValue.parse(bytes, limits: limits) } catch {
            // A refusal can always be told.
            return error.description.isEmpty ? .null : nil
        }
    }
}
