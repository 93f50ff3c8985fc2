// Which VNIs a controller gives to networks by itself.

import API
import Testing
import Wire

@Suite("VNI range")
struct VNIRangeTests {
    @Test("is two numbers and a dash, both ends included")
    func text() {
        #expect(VNIRange("4096-16777215") == .standard)
        #expect(VNIRange("7-7")?.vnis == 7...7)
        #expect(VNIRange("1-2")?.description == "1-2")
    }

    @Test(
        "is refused when it is empty, reversed, too large or not in decimal",
        arguments: ["", "-", "5", "9-8", "1-16777216", "0-5", "a-b", "+1-5", "01-5", "1-5-9", "1 -5", "1-٣"])
    func refused(_ text: String) {
        #expect(VNIRange(text) == nil)
    }
}
