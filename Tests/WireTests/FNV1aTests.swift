// Owns: the hash's published values: what was stored by it must be found by every later version.

import Testing
import Wire

@Suite struct FNV1aTests {
    @Test(
        "the published values (draft-eastlake-fnv, appendix C)",
        arguments: [
            ("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8),
        ] as [(String, UInt64)])
    func published(text: String, hash: UInt64) { #expect(FNV1a(text.utf8).value == hash) }

    @Test("bytes may come one at a time, and a seed gives another hash")
    func pieces() {
        var hash = FNV1a()
        for byte in "foobar".utf8 { hash.add(byte) }
        #expect(hash.value == FNV1a("foobar".utf8).value)
        var seeded = FNV1a(seed: 1)
        seeded.add("foobar".utf8)
        #expect(seeded.value != hash.value)
    }
}
