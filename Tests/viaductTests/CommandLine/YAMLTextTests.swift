// YAML as people write it: what means what, where it stood, and that what is written reads back.

import JSON
import Testing

@testable import viaduct

@Suite struct YAMLTextTests {
    @Test(
        "a plain word is a string unless YAML 1.2's core schema says otherwise",
        arguments: [
            ("no", JSONValue.string("no")), ("on", "on"), ("yes", "yes"), ("true", true), ("False", false),
            ("~", nil), ("", nil), ("null", nil), ("100", 100), ("-7", -7), ("+7", 7), ("0100", 100),
            ("1.5", 1.5), ("1e3", 1000.0), ("12:34:56:12:34:56", "12:34:56:12:34:56"),
            ("02:00:00:00:00:01", "02:00:00:00:00:01"), ("10.0.0.2", "10.0.0.2"),
            ("2001:db8::1", "2001:db8::1"),
            ("0x10", "0x10"), ("\"100\"", "100"), ("'true'", "true"), ("1_000", "1_000"), (".5", ".5"),
            ("--1", "--1"), ("2026-01-02", "2026-01-02"),
        ])
    func scalars(text: String, value: JSONValue) throws {
        #expect(try YAMLText.parse("a: \(text)").value["a"] == value)
    }

    @Test("every key's place is remembered, and what is missing is missed in its parent")
    func places() throws {
        let parsed = try YAMLText.parse("bridges:\n  br0:\n    tunnels:\n      t1: {vni: 1}\n")
        #expect(parsed.place(of: "/bridges/br0") == .init(line: 2, column: 3))
        #expect(parsed.place(of: "/bridges/br0/tunnels/t1/vni") == .init(line: 4, column: 12))
        #expect(parsed.place(of: "/bridges/br0/tunnels/t1/remote_ip") == .init(line: 4, column: 7))
        #expect(parsed.place(of: "") == .init(line: 1, column: 1))
    }

    @Test(
        "what is no document is refused with its place",
        arguments: [
            ("a: [1", 1, "did not find expected ',' or ']'"),
            ("a: 1\na: 2\n", 1, "wanted each key once, found again: a"),
            ("{a: 1, a: 2}", 1, "each key once"), ("? [1, 2]\n: 3", 1, "wanted a name for a key"),
            ("a: 99999999999999999999", 1, "wanted an integer of 64 bits"), ("a: *x", 1, "alias"),
            ("a: 1\n---\nb: 2\n", 2, "document"), ("\tb: 2", 1, "token"),
        ])
    func refused(text: String, line: Int, message: String) {
        let fault = #expect(throws: TextFault.self) { try YAMLText.parse(text) }
        #expect(fault?.message.contains(message) == true, "\(fault?.message ?? "")")
        #expect((fault?.place?.line ?? 0) >= line, "\(String(describing: fault?.place))")
    }

    @Test("an empty text is no document")
    func empty() {
        #expect(throws: TextFault.self) { try YAMLText.parse("") }
        #expect(throws: TextFault.self) { try YAMLText.parse("# nothing\n") }
    }

    @Test("aliases are followed, but not into a value larger than any host")
    func aliases() throws {
        #expect(try YAMLText.parse("a: &x {b: 1}\nc: *x\n").value == ["a": ["b": 1], "c": ["b": 1]])
        var bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...8 {
            let items = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            bomb += "a\(level): &a\(level) [\(items)]\n"
        }
        let fault = #expect(throws: TextFault.self) { try YAMLText.parse(bomb) }
        #expect(fault?.message.contains("wanted at most 500000 values") == true)
    }

    @Test("what is written reads back as it was, also the words that YAML would take for something else")
    func roundTrip() throws {
        let value: JSONValue = [
            "bridges": [
                "on": [
                    "mac": "12:34:56:12:34:56", "flag": true, "text": "true", "number": 7, "digits": "7",
                    "empty": "", "list": ["a", "2001:db8::1/64"], "nothing": [:], "none": [],
                    "quote": "it's \"so\"", "colon": "a: b", "hash": "a #b", "null": "null", "~": "~",
                    "line": "a\nb", "unicode": "Brücke", "dash": "-", "date": "2026-01-02", "hex": "0x10",
                ]
            ]
        ]
        for depth in [0, 1, 2, 3, .max] {
            let text = YAMLText.text(of: value, flowDepth: depth)
            #expect(try YAMLText.parse(text).value == value, "\(text)")
        }
    }
}
