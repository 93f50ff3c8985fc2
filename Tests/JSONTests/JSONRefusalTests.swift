import JSON
import Testing

/// What the parser must refuse, and how it says so. Each row was or could be a way to be misunderstood.
@Suite struct JSONRefusalTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: [UInt8]
        let kind: JSONError.Kind

        init(_ name: String, _ text: String, _ kind: JSONError.Kind = .syntax) {
            self.init(name, Array(text.utf8), kind)
        }

        init(_ name: String, _ bytes: [UInt8], _ kind: JSONError.Kind = .syntax) {
            (self.name, self.bytes, self.kind) = (name, bytes, kind)
        }

        var testDescription: String { name }
    }

    static let rows: [Row] = [
        Row("nothing", ""),
        Row("blanks only", " \r\n\t"),
        Row("a lone brace", "{"),
        Row("a lone bracket", "["),
        Row("a closing brace", "}"),
        Row("brace closed by bracket", "{]"),
        Row("bracket closed by brace", "[1}"),
        Row("missing colon", "{\"a\" 1}"),
        Row("missing value", "{\"a\":}"),
        Row("missing comma in an array", "[1 2]"),
        Row("missing comma in an object", "{\"a\":1 \"b\":2}"),
        Row("trailing comma in an array", "[1,]"),
        Row("trailing comma in an object", "{\"a\":1,}"),
        Row("leading comma", "[,1]"),
        Row("two values", "1 2"),
        Row("trailing garbage", "{}x"),
        Row("a second document", "{}{}"),
        Row("trailing NUL byte", Array("{}".utf8) + [0]),
        Row("bare word", "nul"),
        Row("upper-case literal", "TRUE"),
        Row("NaN", "NaN"),
        Row("Infinity", "Infinity"),
        Row("minus Infinity", "-Infinity"),
        Row("number key", "{1:2}"),
        Row("bare key", "{a:1}"),
        Row("single quotes", "{'a':1}"),
        Row("line comment", "{} // no"),
        Row("block comment", "/* no */ {}"),
        Row("leading plus", "+1"),
        Row("leading zero", "01"),
        Row("no digit before the point", ".5"),
        Row("no digit after the point", "1."),
        Row("no exponent digit", "1e"),
        Row("hexadecimal", "0x10"),
        Row("lone minus", "-"),
        Row("open string", "\"abc"),
        Row("unknown escape", "\"\\x41\""),
        Row("short \\u escape", "\"\\u12\""),
        Row("\\u with a non-hex digit", "\"\\u12g4\""),
        Row("string ends in a backslash", "\"\\"),
        Row("raw newline in a string", "\"a\nb\""),
        Row("raw control byte in a string", [0x22, 0x01, 0x22]),
        Row("raw NUL in a string", [0x22, 0x00, 0x22]),
        Row("byte-order mark", [0xEF, 0xBB, 0xBF, 0x7B, 0x7D]),
        Row("UTF-16", [0x7B, 0x00, 0x7D, 0x00]),
        Row("escaped NUL", "\"a\\u0000b\"", .nulCharacter),
        Row("escaped NUL in a key", "{\"a\\u0000b\":1}", .nulCharacter),
        Row("high surrogate alone", "\"\\ud83d\"", .invalidUTF8),
        Row("low surrogate alone", "\"\\ude00\"", .invalidUTF8),
        Row("two high surrogates", "\"\\ud83d\\ud83d\"", .invalidUTF8),
        Row("high surrogate then letter", "\"\\ud83dx\"", .invalidUTF8),
        Row("continuation byte alone", [0x22, 0x80, 0x22], .invalidUTF8),
        Row("truncated sequence", [0x22, 0xE2, 0x82, 0x22], .invalidUTF8),
        Row("overlong slash", [0x22, 0xC0, 0xAF, 0x22], .invalidUTF8),
        Row("surrogate in UTF-8", [0x22, 0xED, 0xA0, 0x80, 0x22], .invalidUTF8),
        Row("beyond U+10FFFF", [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], .invalidUTF8),
        Row("byte FF", [0x22, 0xFF, 0x22], .invalidUTF8),
        Row("bad UTF-8 in a key", [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], .invalidUTF8),
        Row("2^63", "9223372036854775808", .numberOutOfRange),
        Row("below -2^63", "-9223372036854775809", .numberOutOfRange),
        Row("a 40-digit integer", String(repeating: "9", count: 40), .numberOutOfRange),
        Row("a real beyond a double", "1e999", .numberOutOfRange),
        Row("duplicate key", "{\"a\":1,\"a\":2}", .duplicateKey),
        Row("duplicate key with equal values", "{\"a\":1,\"a\":1}", .duplicateKey),
        Row("duplicate key deep inside", "[{\"x\":[{\"a\":1,\"b\":2,\"a\":3}]}]", .duplicateKey),
        Row("duplicate key by escape", "{\"a\":1,\"\\u0061\":2}", .duplicateKey),
        Row("duplicate key by normalization", "{\"\u{E9}\":1,\"e\u{301}\":2}", .duplicateKey),
    ]

    @Test("a document that is not strict JSON is refused with its kind", arguments: rows)
    func refusal(row: Row) {
        let error = #expect(throws: JSONError.self) { try JSONValue.parse(row.bytes) }
        #expect(error?.kind == row.kind, "\(String(describing: error))")
        #expect(error?.message.isEmpty == false)
        #expect((0...row.bytes.count).contains(error?.byteOffset ?? -1))
    }

    @Test("every prefix of a valid document is refused")
    func prefixes() {
        let text = #"{"name":"br0","vni":[1,2.5,null],"deep":{"ok":true,"text":"\u00e9\n"}}"#
        let bytes = Array(text.utf8)
        for count in 0..<bytes.count {
            #expect(throws: JSONError.self) { try JSONValue.parse(Array(bytes[..<count])) }
        }
    }

    @Test("every single-byte change of a valid document is refused or parsed, never a crash")
    func mutations() throws {
        let bytes = Array(#"{"a":[1,-2.5e3,"\ud83d\ude00"],"b":{"c":null}}"#.utf8)
        for index in bytes.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = bytes
                changed[index] = byte
                guard let value = try? JSONValue.parse(changed) else { continue }
                #expect(try JSONValue.parse(value.serialized()) == value)
            }
        }
    }

    @Test("an error tells line, column and byte of the place where reading stopped")
    func position() throws {
        let text = "{\n  \"é\": 1,\n  \"b\": tru\n}"
        let error = try #require(throws: JSONError.self) { try JSONValue.parse(Array(text.utf8)) }
        #expect(error.line == 3)
        #expect(error.column == 11)
        #expect(error.byteOffset == 23)
        #expect("\(error)" == "line 3, column 11: \(error.message)")
        #expect(error.message.contains("tru"))
    }

    @Test("a message names what was found")
    func messages() throws {
        func message(_ text: String) throws -> String {
            try #require(throws: JSONError.self) { try JSONValue.parse(Array(text.utf8)) }.message
        }
        #expect(try message("") == "wanted a JSON value, found an empty document")
        #expect(try message("{\"vni\":1,\"vni\":2}").contains("\"vni\""))
        #expect(try message("{} x").contains("end of the document"))
    }
}
