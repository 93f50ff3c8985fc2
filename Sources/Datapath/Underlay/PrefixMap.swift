// Owns: a map from the prefixes of one address family to numbers: a hash table for each length in use. A lookup
// asks at most 33 or 129 of them, in practice the dozen or two that a routing table uses; an insertion touches one.

internal import Wire

/// `Bits` is an address as a number: UInt32 or UInt128. The value 0 is "not there".
struct PrefixMap<Bits: FixedWidthInteger & UnsignedInteger & Sendable>: Sendable {
    /// By length.
    private var maps: [[Bits: UInt32]] = Array(repeating: [:], count: Bits.bitWidth + 1)
    /// Lengths in use, longest first.
    private var lengths: [Int] = []

    static func masked(_ bits: Bits, _ length: Int) -> Bits { bits & ~(Bits.max >> length) }

    /// The value of exactly this prefix, to read and to change; 0 removes it.
    mutating func update<Result>(
        _ bits: Bits, _ length: Int, _ change: (inout UInt32) -> Result
    ) -> Result {
        let key = Self.masked(bits, length)
        let wasEmpty = maps[length].isEmpty
        var isGone = false
        func apply(_ value: inout UInt32) -> Result {
            defer { isGone = value == 0 }
            return change(&value)
        }
        let result = apply(&maps[length][key, default: 0])
        if isGone { maps[length][key] = nil }
        if wasEmpty != maps[length].isEmpty {
            if wasEmpty {
                lengths.insert(length, at: lengths.firstIndex { $0 < length } ?? lengths.count)
            } else {
                lengths.removeAll { $0 == length }
            }
        }
        return result
    }

    /// Shows the values of all prefixes that hold `bits`, longest first, until `visit` gives a result.
    func search<Result>(_ bits: Bits, _ visit: (UInt32, Int) -> Result?) -> Result? {
        for length in lengths {
            if let value = maps[length][Self.masked(bits, length)], let result = visit(value, length) {
                return result
            }
        }
        return nil
    }

    /// Every prefix with its value, in no order.
    func visit(_ body: (Bits, Int, UInt32) -> Void) {
        for length in lengths {
            for (bits, value) in maps[length] { body(bits, length, value) }
        }
    }
}

extension IPv4Address {
    var bits: UInt32 { rawValue }
}

extension IPv6Address {
    var bits: UInt128 { UInt128(high) << 64 | UInt128(low) }

    init(bits: UInt128) {
        self.init(high: UInt64(bits >> 64), low: UInt64(truncatingIfNeeded: bits))
    }
}
