import JSON
import Testing

/// Values, order, text and pointers.
@Suite struct JSONValueTests {
    private func text(_ value: JSONValue, pretty: Bool = false) -> String {
        String(decoding: value.serialized(pretty: pretty), as: UTF8.self)
    }

    private func parse(_ text: String) throws -> JSONValue { try JSONValue.parse(Array(text.utf8)) }

    @Test("scalars, arrays and objects come through as themselves")
    func kinds() throws {
        #expect(try parse("null") == nil)
        #expect(try parse("true") == true)
        #expect(try parse("-9223372036854775808") == .integer(.min))
        #expect(try parse("9223372036854775807") == .integer(.max))
        #expect(try parse("1") == .integer(1))
        #expect(try parse("1.0") == .real(1))
        #expect(try parse("1.0") != .integer(1))
        #expect(try parse("-2.5e3") == -2500.0)
        #expect(try parse(#""\ud83d\ude00 \u00e9 \/""#) == "😀 é /")
        #expect(try parse("[1,[],{}]") == [1, [], [:]])
        #expect(try parse(" {\"a\" : [ 1 ] } \n") == ["a": [1]])
    }

    @Test("members keep their order in text and lose it in equality")
    func order() throws {
        let value = try parse(#"{"z":1,"a":2,"m":{"y":3,"b":4}}"#)
        #expect(text(value) == #"{"z":1,"a":2,"m":{"y":3,"b":4}}"#)
        #expect(value == ["a": 2, "m": ["b": 4, "y": 3], "z": 1])
        #expect(value.objectValue?.keys == ["z", "a", "m"])
    }

    @Test("canonical bytes are compact with sorted keys, whatever the order written")
    func canonical() throws {
        let left = try parse(#"{"b":[1,{"d":1,"c":2}],"a":"é"}"#)
        let right = try parse(#"{ "a": "\u00e9", "b": [1, {"c":2, "d":1}] }"#)
        #expect(String(decoding: left.canonicalBytes, as: UTF8.self) == #"{"a":"é","b":[1,{"c":2,"d":1}]}"#)
        #expect(left.canonicalBytes == right.canonicalBytes)
    }

    @Test("pretty text is indented by two")
    func pretty() {
        let value: JSONValue = ["a": [1, true], "b": [:]]
        #expect(text(value, pretty: true) == "{\n  \"a\": [\n    1,\n    true\n  ],\n  \"b\": {}\n}")
    }

    @Test("text is UTF-8 with the escapes that JSON demands and no others")
    func escapes() {
        #expect(text("é😀/\"\\\n\u{1}") == #""é😀/\"\\\n\u0001""#)
        #expect(text(.string("a\0b")) == #""a\u0000b""#)
        #expect(text("") == "\"\"")
    }

    @Test("reals are short where they can be and exact always")
    func reals() throws {
        #expect(text(0.1) == "0.1")
        #expect(text(1.0) == "1.0")
        #expect(text(.real(1e300)) == "1e300")
        for value in [
            0.1 + 0.2, 1.0 / 3, Double.leastNonzeroMagnitude, Double.greatestFiniteMagnitude, -0.0,
            123456789.123456789,
        ] {
            #expect(try parse(text(.real(value))) == .real(value))
        }
        #expect(text([.real(.nan), .real(.infinity)]) == "[null,null]")
    }

    @Test("random values survive the way to text and back")
    func roundTrip() throws {
        var random = SplitMix(state: 42)
        for _ in 0..<2_000 {
            let value = random.value(depth: 0)
            for bytes in [value.serialized(), value.serialized(pretty: true), value.canonicalBytes] {
                let back = try JSONValue.parse(bytes, limits: JSONLimits(memberCount: 1_000_000))
                #expect(back == value)
                #expect(back.canonicalBytes == value.canonicalBytes)
            }
        }
    }

    @Test("an object behaves as a dictionary with an order", arguments: [3, 11, 12, 13, 100])
    func objectModel(count: Int) {
        var random = SplitMix(state: UInt64(count))
        var object = JSONObject()
        var model: [String: JSONValue] = [:]
        var order: [String] = []
        for _ in 0..<count * 20 {
            let key = "k\(random.next() % UInt64(count * 2))"
            let value: JSONValue? = random.next() % 3 == 0 ? nil : .integer(Int64(random.next() % 100))
            object[key] = value
            if model[key] == nil, value != nil { order.append(key) }
            if value == nil { order.removeAll { $0 == key } }
            model[key] = value
            #expect(object[key] == value)
            #expect(object.count == model.count)
        }
        #expect(object.keys == order)
        #expect(object.members.allSatisfy { model[$0.key] == $0.value })
        #expect(object == JSONObject(object.members.reversed()))
    }

    @Test("accessors answer nil for the wrong kind")
    func accessors() {
        let value: JSONValue = ["n": 1, "r": 1.5, "s": "x", "a": [true], "z": nil]
        #expect(value["n"]?.integerValue == 1)
        #expect(value["n"]?.doubleValue == 1)
        #expect(value["r"]?.doubleValue == 1.5)
        #expect(value["r"]?.integerValue == nil)
        #expect(value["s"]?.stringValue == "x")
        #expect(value["a"]?[0]?.boolValue == true)
        #expect(value["a"]?[1] == nil)
        #expect(value["z"]?.isNull == true)
        #expect(value["missing"] == nil)
        #expect(value["n"]?["x"] == nil)
    }

    @Test("kinds have names that fit into a message")
    func kindNames() {
        let values: [JSONValue] = [nil, true, 1, 1.5, "x", [], [:]]
        let names = ["null", "a boolean", "an integer", "a real number", "a string", "an array", "an object"]
        #expect(values.map(\.kindName) == names)
    }

    @Test("a pointer escapes ~ and / as RFC 6901 wants")
    func pointers() {
        #expect(JSONPointer().description == "")
        #expect(JSONPointer().appending("addresses").appending(0).description == "/addresses/0")
        #expect(JSONPointer().appending("a/b").appending("m~n").appending("").description == "/a~1b/m~0n/")
        #expect(JSONPointer().appending("1") == JSONPointer().appending(1))
    }

    @Test("many threads may parse at once")
    func concurrency() async {
        await withTaskGroup(of: Bool.self) { group in
            for index in 0..<64 {
                group.addTask {
                    let text = "{\"index\":\(index),\"list\":[1,2,{\"x\":\"y\"}]}"
                    return (0..<50).allSatisfy { _ in
                        let value = try? JSONValue.parse(Array(text.utf8))
                        return value?.serialized() == Array(text.utf8)
                    }
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }
}

/// A small seeded generator, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func value(depth: Int) -> JSONValue {
        switch next() % (depth < 5 ? 8 : 6) {
        case 0: return .null
        case 1: return .bool(next() % 2 == 0)
        case 2: return .integer(Int64(bitPattern: next()))
        case 3: return .integer(Int64(next() % 1000))
        case 4:
            let real = Double(bitPattern: next())
            return .real(real.isFinite ? real : 0.5)
        case 5: return .string(text())
        case 6: return .array((0..<Int(next() % 5)).map { _ in value(depth: depth + 1) })
        default:
            let members = (0..<Int(next() % 20)).map { _ in (key: text(), value: value(depth: depth + 1)) }
            return .object(JSONObject(members))
        }
    }

    /// Any characters but NUL, surrogates being no characters; combining ones make keys equal, on purpose.
    mutating func text() -> String {
        var text = ""
        for _ in 0..<next() % 8 {
            let range: UInt64 = [0x7F, 0x3FF, 0xFFFF, 0x10FFFF][Int(next() % 4)]
            text.unicodeScalars.append(Unicode.Scalar(UInt32(next() % range) + 1) ?? "~")
        }
        return text
    }
}
