/// Strict percent-decoding (RFC 3986 §2.1) for path segments and query parts. Pure.
///
/// Refused: `%` without two hex digits, a decoded control character (so `%00`), text that is not UTF-8
/// after decoding, and any raw byte a URI may not hold.
enum PercentDecoding {
    enum Part: String {
        case segment = "path segment"
        case query
    }

    static func decode(_ raw: some Collection<UInt8>, _ part: Part) throws(HTTPFailure) -> String {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(raw.count)
        var index = raw.startIndex
        while index != raw.endIndex {
            var byte = raw[index]
            index = raw.index(after: index)
            if byte == UInt8(ascii: "%") {
                let digits = raw[index...].prefix(2)
                guard digits.count == 2, let value = hexValue(digits) else {
                    throw malformed("wanted two hex digits after % in the \(part.rawValue)", raw)
                }
                byte = value
                index = raw.index(index, offsetBy: 2)
                guard byte >= 0x20, byte != 0x7F else {
                    throw malformed("wanted no control character in the \(part.rawValue)", raw)
                }
                guard part == .query || byte != UInt8(ascii: "/") else {
                    throw malformed("wanted no encoded slash in a path segment", raw)
                }
            } else if !isAllowed(byte, part) {
                throw malformed("wanted special characters percent-encoded in the \(part.rawValue)", raw)
            }
            decoded.append(byte)
        }
        guard let text = String(validating: decoded, as: UTF8.self) else {
            throw malformed("wanted UTF-8 in the \(part.rawValue)", raw)
        }
        return text
    }

    /// pchar of RFC 3986 §3.3, and `/` and `?` in a query.
    private static func isAllowed(_ byte: UInt8, _ part: Part) -> Bool {
        if byte.isASCIILetter || byte.isASCIIDigit { return true }
        switch byte {
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "!"),
            UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "("), UInt8(ascii: ")"),
            UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "="),
            UInt8(ascii: ":"), UInt8(ascii: "@"):
            return true
        case UInt8(ascii: "/"), UInt8(ascii: "?"): return part == .query
        default: return false
        }
    }

    private static func hexValue(_ digits: some Collection<UInt8>) -> UInt8? {
        var value: UInt8 = 0
        for digit in digits {
            let nibble: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): nibble = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            value = value << 4 | nibble
        }
        return value
    }

    private static func malformed(_ wanted: String, _ raw: some Collection<UInt8>) -> HTTPFailure {
        .malformedRequest("\(wanted), found \"\(printable(raw))\"")
    }

    /// At most 64 bytes of what the client sent, everything unprintable as `?`: safe in a log and in JSON.
    static func printable(_ raw: some Collection<UInt8>) -> String {
        let clean = raw.prefix(64).map { (0x20..<0x7F).contains($0) ? $0 : UInt8(ascii: "?") }
        return String(decoding: clean, as: UTF8.self) + (raw.count > 64 ? "…" : "")
    }
}
