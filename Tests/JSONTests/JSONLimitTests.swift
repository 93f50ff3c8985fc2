import Glibc
import JSON
import Testing

/// Each limit exactly at its bound and one beyond.
@Suite struct JSONLimitTests {
    private func kind(_ text: String, _ limits: JSONLimits) -> JSONError.Kind? {
        do {
            _ = try JSONValue.parse(Array(text.utf8), limits: limits)
            return nil
        } catch { return error.kind }
    }

    @Test("the byte count includes every blank")
    func byteCount() {
        let limits = JSONLimits(byteCount: 10)
        #expect(kind("[1,2]     ", limits) == nil)
        #expect(kind("[1,2]      ", limits) == .tooLarge)
    }

    @Test("depth counts arrays and objects, and closing gives it back")
    func depth() {
        let limits = JSONLimits(depth: 3)
        #expect(kind("[[[1]]]", limits) == nil)
        #expect(kind("[{\"a\":[1]},{\"b\":[2]}]", limits) == nil)
        #expect(kind("[[[[]]]]", limits) == .tooDeep)
        #expect(kind("[{\"a\":[{}]}]", limits) == .tooDeep)
        #expect(kind("\"[[[[[[\"", limits) == nil)
        #expect(kind("1", JSONLimits(depth: 0)) == nil)
        #expect(kind("[]", JSONLimits(depth: 0)) == .tooDeep)
    }

    @Test("a million open brackets are refused before a tree is built")
    func hostileDepth() {
        #expect(kind(String(repeating: "[", count: 1 << 20), JSONLimits()) == .tooDeep)
        #expect(kind(String(repeating: "{\"a\":", count: 100_000), JSONLimits()) == .tooDeep)
    }

    @Test("the default depth is 16 and no limit goes beyond 512")
    func defaultDepth() {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(kind(nested(16), JSONLimits()) == nil)
        #expect(kind(nested(17), JSONLimits()) == .tooDeep)
        #expect(kind(nested(512), JSONLimits(depth: 100_000)) == nil)
        #expect(kind(nested(513), JSONLimits(depth: 100_000)) == .tooDeep)
    }

    @Test(
        "values are counted, keys and their text are not",
        arguments: [
            "[1,2,3,4]", "{\"a\":1,\"b\":[2,3]}", "[[],{},\"x\",null]", " [ 1 , true , -2.5e3 , \"a,b:c\" ] ",
            "{\"a\\\"b\":{\"c\":{\"d\":{\"e\":{}}}}}",
        ])
    func memberCount(text: String) {
        #expect(kind(text, JSONLimits(memberCount: 5)) == nil)
        #expect(kind(text, JSONLimits(memberCount: 4)) == .tooManyMembers)
    }

    @Test("10,000 values pass by default and 10,001 do not")
    func defaultMemberCount() {
        func array(_ count: Int) -> String {
            "[" + Array(repeating: "0", count: count).joined(separator: ",") + "]"
        }
        #expect(kind(array(9_999), JSONLimits()) == nil)
        #expect(kind(array(10_000), JSONLimits()) == .tooManyMembers)
    }

    @Test("a string is measured by its decoded bytes, keys too")
    func stringByteCount() {
        let limits = JSONLimits(stringByteCount: 4)
        #expect(kind("\"abcd\"", limits) == nil)
        #expect(kind("\"abcde\"", limits) == .stringTooLong)
        #expect(kind("\"\\n\\t\\\"\\\\\"", limits) == nil)
        #expect(kind("\"\\n\\t\\\"\\\\x\"", limits) == .stringTooLong)
        #expect(kind("\"\\ud83d\\ude00\"", limits) == nil)
        #expect(kind("\"\\ud83d\\ude00x\"", limits) == .stringTooLong)
        #expect(kind("\"\\u20acx\"", limits) == nil)
        #expect(kind("\"\\u20acxy\"", limits) == .stringTooLong)
        #expect(kind("\"\\u00e9\\u00e9\"", limits) == nil)
        #expect(kind("\"😀\"", limits) == nil)
        #expect(kind("\"😀x\"", limits) == .stringTooLong)
        #expect(kind("{\"abcde\":1}", limits) == .stringTooLong)
    }

    @Test("an object of 10,000 members is read and searched in linear time")
    func manyMembers() throws {
        let members = (0..<9_999).map { "\"key\($0)\":\($0)" }
        let start = threadSeconds()
        let value = try JSONValue.parse(Array("{\(members.joined(separator: ","))}".utf8))
        let object = try #require(value.objectValue)
        for index in 0..<9_999 { #expect(object["key\(index)"] == .integer(Int64(index))) }
        #expect(threadSeconds() - start < 2)
    }

    /// Processor time: other tests run beside this one.
    private func threadSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
