// Owns: what every test of this room uses: annotated hexadecimal, memory that ends at a page that can not be
// touched (so one byte read or written too far is a crash, not luck), and a seeded generator.

import Glibc
import Testing

@testable import Wire

/// Bytes from hexadecimal text; `#` begins a comment that runs to the end of the line.
func hex(_ text: String) -> [UInt8] {
    text.split(separator: "\n").flatMap { line in
        line.prefix { $0 != "#" }.split(separator: " ").map { UInt8($0, radix: 16)! }
    }
}

func ip4(_ text: String) -> IPv4Address { IPv4Address(text)! }
func ip6(_ text: String) -> IPv6Address { IPv6Address(text)! }
func mac(_ text: String) -> MACAddress { MACAddress(text)! }

/// Pages of memory followed by one without access.
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
    func place(_ bytes: some Collection<UInt8>) -> UnsafeRawPointer {
        let base = last(bytes.count)
        for (index, byte) in bytes.enumerated() { base.store(byte: byte, at: index) }
        return UnsafeRawPointer(base)
    }
}

/// Calls `body` with `bytes` in guarded memory.
func withGuarded<Result>(
    _ bytes: some Collection<UInt8>, _ body: (UnsafeRawPointer, Int) throws -> Result
) rethrows -> Result {
    let memory = GuardedMemory(capacity: bytes.count)
    defer { withExtendedLifetime(memory) {} }
    return try body(memory.place(bytes), bytes.count)
}

/// What `emit` writes into `byteCount` bytes pre-filled with 0xa5, with a guard behind; the byte before must
/// stay as it was.
func emitted(_ byteCount: Int, _ emit: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
    let memory = GuardedMemory(capacity: byteCount + 1)
    defer { withExtendedLifetime(memory) {} }
    let base = memory.last(byteCount)
    (base - 1).initializeMemory(as: UInt8.self, repeating: 0xa5, count: byteCount + 1)
    emit(base)
    #expect(UnsafeRawPointer(base - 1).byte(at: 0) == 0xa5, "wrote before the buffer")
    return [UInt8](UnsafeRawBufferPointer(start: base, count: byteCount))
}

/// Runs `accepts` on every prefix of `bytes` and returns the lengths it took. A parser that reads too far
/// crashes here.
func acceptedLengths(_ bytes: some Collection<UInt8>, _ accepts: (UnsafeRawPointer, Int) -> Bool) -> [Int] {
    (0...bytes.count).filter { length in withGuarded(bytes.prefix(length), accepts) }
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
}
