// Owns: reading choices and bytes from an input. What is missing reads as 0, so that every input is a whole script.

struct Script {
    private var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }
    var count: Int { rest.count }

    mutating func byte() -> UInt8 {
        guard let first = rest.first else { return 0 }
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
        return first
    }

    mutating func short() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }
    mutating func word() -> UInt32 { UInt32(short()) << 16 | UInt32(short()) }

    /// 0…limit-1, of one byte.
    mutating func below(_ limit: Int) -> Int { Int(byte()) % limit }
    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
    mutating func isTrue() -> Bool { byte() & 1 == 1 }

    /// At most `count` bytes; all that are left without it.
    mutating func bytes(_ count: Int = .max) -> [UInt8] {
        let taken = rest.prefix(count)
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(taken.count))
        return Array(taken)
    }
}

/// Bytes in memory of their own, with writable room in front and not a byte more behind them: under the address
/// sanitizer a byte read or written too far is a finding.
final class Block {
    private let memory: UnsafeMutableRawPointer
    let base: UnsafeMutableRawPointer
    let count: Int

    init(_ bytes: [UInt8], room: Int = 0) {
        memory = .allocate(byteCount: max(1, room + bytes.count), alignment: 1)
        base = memory + room
        count = bytes.count
        bytes.withUnsafeBytes {
            if let first = $0.baseAddress { base.copyMemory(from: first, byteCount: $0.count) }
        }
    }

    deinit { memory.deallocate() }
}
