import Testing

@testable import Wire

@Suite("VNIs")
struct VNITests {
    @Test("0 to 16777215 are VNIs and nothing else is")
    func range() {
        #expect(VNI(0)?.rawValue == 0)
        #expect(VNI(0xff_ffff)?.rawValue == 0xff_ffff)
        for value in [-1, 0x100_0000, Int.min, Int.max, 1 << 32] { #expect(VNI(value) == nil, "\(value)") }
    }

    @Test("truncating keeps the low 24 bits")
    func truncating() {
        #expect(VNI(truncating: 0xff00_0001) == VNI(1))
        #expect(VNI(truncating: .max).rawValue == UInt32(VNI.maximum))
    }

    @Test("text is plain decimal")
    func text() {
        #expect(VNI("0") == VNI(0))
        #expect(VNI("16777215") == VNI(VNI.maximum))
        for text in ["", "16777216", "-1", "+1", "01", "1 ", "0x1", "99999999999999999999999", "flow", "١"] {
            #expect(VNI(text) == nil, "\(text)")
        }
        #expect(VNI(truncating: 100).description == "100")
        #expect(VNI(truncating: 1) < VNI(truncating: 2))
    }
}
