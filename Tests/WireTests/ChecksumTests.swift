import Testing

@testable import Wire

/// RFC 1071 as its text has it: big-endian words, one at a time, carries folded at every step.
private func model(_ bytes: some Sequence<UInt8>) -> UInt16 {
    var sum: UInt32 = 0
    var high: UInt8?
    for byte in bytes {
        if let first = high {
            sum += UInt32(first) << 8 | UInt32(byte)
            high = nil
        } else {
            high = byte
        }
        sum = sum & 0xffff + sum >> 16
    }
    if let first = high { sum += UInt32(first) << 8 }
    return UInt16(sum & 0xffff + sum >> 16)
}

@Suite("checksums")
struct ChecksumTests {
    @Test("the example of RFC 1071 §3 sums to 0xddf2")
    func example() {
        withGuarded(hex("00 01 f2 03 f4 f5 f6 f7")) { base, count in
            #expect(Checksum.fold(Checksum.sum(base, count: count)) == 0xddf2)
            #expect(Checksum.finish(Checksum.sum(base, count: count)) == 0x220d)
        }
    }

    @Test("agrees with the model for every length to 700 at every alignment", arguments: 0..<16)
    func everyLength(alignment: Int) {
        var generator = SeededGenerator(seed: UInt64(alignment))
        let bytes = generator.bytes(716)
        let memory = GuardedMemory(capacity: 4096)
        defer { withExtendedLifetime(memory) {} }
        for count in 0...700 {
            let slice = bytes[alignment..<(alignment + count)]
            // Right before the guard: the alignment varies with the count, and a read too far crashes.
            let tight = memory.place(slice)
            #expect(Checksum.fold(Checksum.sum(tight, count: count)) == model(slice), "\(count)")
            let loose = memory.place(bytes) + alignment
            #expect(Checksum.fold(Checksum.sum(loose, count: count)) == model(slice), "\(count)")
        }
    }

    @Test("agrees with the model on 64 KiB of zeros, ones and noise", arguments: [65535, 65536, 65533])
    func large(count: Int) {
        var generator = SeededGenerator(seed: UInt64(count))
        let noise = generator.bytes(count)
        for bytes in [noise, Array(repeating: 0xff, count: count), Array(repeating: 0, count: count)] {
            withGuarded(bytes) { base, _ in
                #expect(Checksum.fold(Checksum.sum(base, count: count)) == model(bytes))
            }
        }
    }

    @Test("parts of even length add up to the whole, however it is cut")
    func parts() {
        var generator = SeededGenerator(seed: 1071)
        let bytes = generator.bytes(1501)
        withGuarded(bytes) { base, count in
            for _ in 0..<200 {
                let cut = Int.random(in: 0...750, using: &generator) * 2
                let head = Checksum.sum(base, count: cut)
                let tail = Checksum.sum(base + cut, count: count - cut)
                #expect(Checksum.fold(head &+ tail) == model(bytes))
                #expect(
                    Checksum.fold(Checksum.sum(base + cut, count: count - cut, adding: head)) == model(bytes))
            }
        }
    }

    @Test("each part stays below 2^34, the bound that makes adding parts safe")
    func bound() {
        withGuarded([UInt8](repeating: 0xff, count: 65536)) { base, count in
            #expect(Checksum.sum(base, count: count) < 1 << 34)
        }
    }

    @Test("a count of zero or less adds nothing and reads nothing")
    func nothing() {
        withGuarded([]) { base, _ in
            for count in [0, -1, -2, -31, -32, -33, Int.min] {
                #expect(Checksum.sum(base, count: count, adding: 7) == 7)
            }
        }
    }

    @Test("fold takes any 64-bit sum")
    func fold() {
        #expect(Checksum.fold(0) == 0)
        #expect(Checksum.fold(.max) == 0xffff)
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<1000 {
            let sum = generator.next()
            let words = (0..<4).flatMap { word -> [UInt8] in
                let value = UInt16(truncatingIfNeeded: sum >> UInt64(16 * word)).bigEndian
                return [UInt8(truncatingIfNeeded: value), UInt8(value >> 8)]
            }
            // The sum is of native-endian words; the model reads big-endian ones.
            let expected = UInt16(bigEndian: model(words))
            #expect(Checksum.fold(sum) == expected)
        }
    }

    @Test("pseudo-headers are those of RFC 768 and RFC 8200 §8.1, written out and summed")
    func pseudoHeaders() {
        let v4 = hex("c0 00 02 01 c6 33 64 02 00 11 05 78")
        let sum4 = Checksum.pseudoHeader(
            source: ip4("192.0.2.1"), destination: ip4("198.51.100.2"), protocol: .udp, length: 1400)
        #expect(Checksum.fold(sum4) == model(v4))
        let v6 = hex(
            """
            20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 # source
            20 01 0d b8 00 00 00 01 00 00 00 00 00 00 00 02 # destination
            00 01 00 00 # upper-layer packet length
            00 00 00 3a # zero, next header
            """)
        let sum6 = Checksum.pseudoHeader(
            source: ip6("2001:db8::1"), destination: ip6("2001:db8:0:1::2"), protocol: .icmpv6, length: 65536)
        #expect(Checksum.fold(sum6) == model(v6))
    }

    @Test("update gives what a full sum gives, RFC 1624's corner included")
    func update() {
        // RFC 1624 §4: the older equation gives 0xffff here.
        #expect(Checksum.update(0xdd2f, from: 0x5555, to: 0x3285) == 0x0000)
        var generator = SeededGenerator(seed: 1624)
        for _ in 0..<2000 {
            var bytes = generator.bytes(20)
            let before = ~model(bytes)
            let word = Int(generator.next() % 10) * 2
            let old = UInt16(bytes[word]) << 8 | UInt16(bytes[word + 1])
            let new = UInt16(truncatingIfNeeded: generator.next())
            bytes[word] = UInt8(new >> 8)
            bytes[word + 1] = UInt8(truncatingIfNeeded: new)
            #expect(Checksum.update(before, from: old, to: new) == ~model(bytes))
        }
    }

    @Test("a UDP checksum is never written as zero")
    func udpZero() {
        #expect(Checksum.finish(0xffff) == 0)
        #expect(Checksum.finishUDP(0xffff) == 0xffff)
        #expect(Checksum.finishUDP(0) == 0xffff)
        #expect(Checksum.finishUDP(UInt64(UInt16(0x1234).bigEndian)) == 0xedcb)
    }

    @Test("store is big-endian")
    func store() {
        #expect(emitted(2) { Checksum.store(0x1234, to: $0) } == [0x12, 0x34])
    }
}
