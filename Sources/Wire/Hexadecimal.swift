// Owns: digits. The standard library's radix functions accept signs and Unicode; addresses must not.

enum Hexadecimal {
    /// 0…15 for `0-9a-fA-F`, nil for every other byte.
    static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The lower-case digit of 0…15.
    static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    /// Lower case, padded on the left with zeros to at least `digits`.
    static func text(_ value: UInt64, digits: Int) -> String {
        let bare = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - bare.utf8.count)) + bare
    }
}

enum Decimal {
    /// An unsigned number of one or more ASCII digits, no sign, no leading zero, at most `maximum`.
    static func value(_ bytes: some Collection<UInt8>, maximum: Int) -> Int? {
        guard let first = bytes.first, bytes.count == 1 || first != UInt8(ascii: "0") else { return nil }
        var value = 0
        for byte in bytes {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int(byte - UInt8(ascii: "0"))
            // Checked at every digit, so a long number can not overflow.
            guard value <= maximum else { return nil }
        }
        return value
    }
}
