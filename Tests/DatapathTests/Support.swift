// Owns: what every test of this room uses: short spellings, annotated hexadecimal, frames in memory that ends
// at a page nobody may touch, a checksum that shares no code with the real one, and a seeded generator.

import Glibc
import Testing
import Wire

@testable import Datapath

/// Bytes from hexadecimal text; `#` begins a comment that runs to the end of the line.
func hex(_ text: String) -> [UInt8] {
    text.split(separator: "\n").flatMap { line in
        line.prefix { $0 != "#" }.split(separator: " ").map { UInt8($0, radix: 16)! }
    }
}

func ip4(_ text: String) -> IPv4Address { IPv4Address(text)! }
func ip6(_ text: String) -> IPv6Address { IPv6Address(text)! }
func mac(_ text: String) -> MACAddress { MACAddress(text)! }
/// A unicast address of its own for every number.
func mac(_ number: Int) -> MACAddress { MACAddress(rawValue: 0x0200_0000_0000 | UInt64(number)) }
func packed(_ text: String) -> PackedAddress { PackedAddress(IPAddress(text)!) }

/// The Internet checksum as RFC 1071 explains it: big-endian words, carries added back, complement.
func plainChecksum(_ bytes: some Collection<UInt8>) -> UInt16 { ~plainSum(bytes) }

func plainSum(_ bytes: some Collection<UInt8>) -> UInt16 {
    var sum: UInt32 = 0
    for (index, byte) in bytes.enumerated() { sum += index % 2 == 0 ? UInt32(byte) << 8 : UInt32(byte) }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    return UInt16(sum)
}

func bigEndian(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }
func bigEndian(_ value: UInt32) -> [UInt8] {
    bigEndian(UInt16(value >> 16)) + bigEndian(UInt16(value & 0xffff))
}

/// What one of Wire's `emit` functions writes.
func emitted(_ byteCount: Int, _ emit: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
        emit(UnsafeMutableRawPointer(buffer.baseAddress!))
        count = byteCount
    }
}

/// Pages of memory followed by one without access: a byte read or written too far is a crash, not luck.
final class GuardedMemory {
    private static let pageByteCount = 4096
    private let mapping: UnsafeMutableRawPointer
    private let capacity: Int

    init(capacity: Int) {
        let pages = max(1, (capacity + Self.pageByteCount - 1) / Self.pageByteCount)
        self.capacity = pages * Self.pageByteCount
        mapping = mmap(
            nil, self.capacity + Self.pageByteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
            0)
        precondition(mapping != MAP_FAILED, "mmap failed")
        precondition(mprotect(mapping + self.capacity, Self.pageByteCount, PROT_NONE) == 0, "mprotect failed")
    }

    deinit { munmap(mapping, capacity + Self.pageByteCount) }

    /// The last `count` bytes before the guard.
    func last(_ count: Int) -> UnsafeMutableRawPointer {
        precondition(count >= 0 && count <= capacity)
        return mapping + capacity - count
    }

    /// Puts `bytes` right before the guard and returns where they begin.
    func place(_ bytes: [UInt8]) -> UnsafeMutableRawPointer {
        let base = last(bytes.count)
        bytes.withUnsafeBytes { if let source = $0.baseAddress { memcpy(base, source, bytes.count) } }
        return base
    }
}

/// Calls `body` with `bytes` as a frame in guarded memory.
func withFrame<Result>(
    _ bytes: [UInt8], _ offload: Offload = .none, _ body: (inout Superframe) throws -> Result
) rethrows -> Result {
    let memory = GuardedMemory(capacity: bytes.count)
    defer { withExtendedLifetime(memory) {} }
    var frame = Superframe(base: memory.place(bytes), byteCount: bytes.count, offload: offload)
    return try body(&frame)
}

func shape(_ bytes: [UInt8]) -> FrameShape { withFrame(bytes) { FrameShape($0) } }

extension Superframe {
    /// All of it in one piece, a train's payload gathered.
    var bytes: [UInt8] {
        guard isTrain else { return [UInt8](UnsafeRawBufferPointer(start: base, count: byteCount)) }
        var result = [UInt8](UnsafeRawBufferPointer(start: base, count: train.headerByteCount))
        var payload = train.payload
        while result.count < byteCount {
            let count = min(Int(offload.segmentByteCount), byteCount - result.count)
            result += UnsafeRawBufferPointer(start: payload, count: count)
            payload += train.strideByteCount
        }
        return result
    }
}

/// Splitmix64: small, seeded, the same everywhere.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    /// 0…limit-1.
    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}
