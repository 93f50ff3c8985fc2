// Problem details (RFC 9457) and the closed set of codes.

import API
import JSON
import Testing

@Suite struct ProblemTests {
    @Test("a problem is written with type, title, status, code, detail and errors")
    func json() {
        var problem = Problem(.notFound, "no bridge br7")
        #expect(
            text(problem.json)
                == #"{"type":"urn:viaduct:problem:not_found","title":"Not found","status":404,"#
                + #""code":"not_found","detail":"no bridge br7","errors":[]}"#)
        problem.instance = "/v1/bridges/br7"
        problem.requestID = "abc"
        #expect(text(problem.json).hasSuffix(#","instance":"/v1/bridges/br7","request_id":"abc"}"#))
    }

    @Test("a field's error is written with pointer, code, wanted and found")
    func fieldErrorJSON() {
        let problem = #expect(throws: Problem.self) { try Bridge.parse(Array(#"{"mtu":10}"#.utf8)) }
        #expect(problem?.detail == "/mtu: wanted an integer from 68 to 65521, found 10")
        #expect(
            problem?.errors.first.map { text($0.json) }
                == #"{"pointer":"/mtu","code":"out_of_range","wanted":"an integer from 68 to 65521","#
                + #""found":"10"}"#
        )
    }

    @Test("the command line reads back the problem the agent wrote")
    func readBack() throws {
        let problem = #expect(throws: Problem.self) { try Tunnel.parse(Array(#"{"a/b":1,"vni":-1}"#.utf8)) }
        guard var problem else { return }
        problem.requestID = "abc"
        #expect(try Problem.parse(JSONValue.object(problem.json).serialized()) == problem)
    }

    @Test("every code has an error status, a title and a doc, and no two say the same")
    func codes() {
        let codes = ProblemCode.allCases
        for code in codes {
            #expect((400...599).contains(code.status), "\(code)")
            #expect(!code.title.isEmpty && !code.title.hasSuffix("."), "\(code)")
            #expect(code.doc.hasSuffix("."), "\(code)")
            #expect(code.rawValue.wholeMatch(of: /[a-z]+(_[a-z]+)*/) != nil)
            #expect(Problem(code, "").status == code.status)
        }
        #expect(Set(codes.map(\.title)).count == codes.count)
        #expect(Set(codes.map(\.doc)).count == codes.count)
    }

    @Test(
        "a body the parser refuses is malformed JSON, with the place",
        arguments: [
            ("", "line 1, column 1"), ("{", "line 1"), ("{\n  mtu: 1}", "line 2, column"), ("{}x", "line 1"),
            (#"{"mtu":99999999999999999999}"#, "line 1"),
        ])
    func malformed(body: String, place: String) {
        let problem = #expect(throws: Problem.self) { try Bridge.parse(Array(body.utf8)) }
        #expect(problem?.code == .malformedJSON)
        #expect(problem?.detail.hasPrefix(place) == true)
        #expect(problem?.errors == [])
    }

    @Test("a repeated key is malformed JSON and an error of its own kind")
    func duplicate() {
        let problem = #expect(throws: Problem.self) {
            try Bridge.parse(Array(#"{"mtu":1500,"mtu":9000}"#.utf8))
        }
        #expect(problem?.code == .malformedJSON)
        #expect(problem?.errors.map(\.code) == [.duplicateField])
    }

    @Test("a body beyond the limit is too large, not malformed")
    func tooLarge() {
        let limits = JSONLimits(byteCount: 8)
        let problem = #expect(throws: Problem.self) {
            try Bridge.parse(Array(#"{"mtu":1500}"#.utf8), limits: limits)
        }
        #expect(problem?.code == .bodyTooLarge)
    }
}
