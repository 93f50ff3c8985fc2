/// One pass over the raw bytes that enforces `JSONLimits` before jansson allocates anything.
///
/// It is no parser: it knows strings, brackets, commas and where a scalar starts, which is enough to count
/// depth, values and string lengths exactly in every valid document. What is not JSON passes through and
/// jansson refuses it afterwards with its own message.
struct JSONScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let limits: JSONLimits
    private var position = 0
    private var depth = 0
    /// Values begun so far. A key counts when its string starts and is taken back at its colon, so the
    /// count is compared only where a key cannot be pending.
    private var valueCount = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>, limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
    }

    mutating func check() throws(JSONError) {
        guard bytes.count <= limits.byteCount else {
            throw failure(
                .tooLarge, "wanted at most \(limits.byteCount) bytes, found \(bytes.count)",
                at: limits.byteCount)
        }
        var isInScalar = false
        while position < bytes.count {
            let byte = bytes[position]
            switch byte {
            case UInt8(ascii: "\""):
                isInScalar = false
                valueCount += 1
                try skipString()
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                isInScalar = false
                try enter()
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                isInScalar = false
                depth -= 1
                try checkValueCount()
            case UInt8(ascii: ","):
                isInScalar = false
                try checkValueCount()
            case UInt8(ascii: ":"):
                isInScalar = false
                valueCount -= 1
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"):
                isInScalar = false
            default:
                if !isInScalar { valueCount += 1 }
                isInScalar = true
            }
            position += 1
        }
        try checkValueCount()
        if valueCount == 0 { throw failure(.syntax, "wanted a JSON value, found an empty document", at: 0) }
    }

    private mutating func enter() throws(JSONError) {
        depth += 1
        valueCount += 1
        guard depth <= limits.depth else {
            throw failure(
                .tooDeep, "wanted at most \(limits.depth) levels of arrays and objects, found more",
                at: position)
        }
    }

    private func checkValueCount() throws(JSONError) {
        guard valueCount <= limits.memberCount else {
            throw failure(
                .tooManyMembers, "wanted at most \(limits.memberCount) values in the document, found more",
                at: position)
        }
    }

    /// Leaves `position` behind the closing quote, or at the end when there is none.
    private mutating func skipString() throws(JSONError) {
        let start = position
        var decodedByteCount = 0
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                break
            }
            if byte == UInt8(ascii: "\\") {
                decodedByteCount += skipEscape()
            } else {
                decodedByteCount += 1
                position += 1
            }
        }
        guard decodedByteCount <= limits.stringByteCount else {
            throw failure(
                .stringTooLong,
                "wanted a string of at most \(limits.stringByteCount) bytes, found \(decodedByteCount)",
                at: start)
        }
    }

    /// Steps over one escape and returns how many bytes of UTF-8 it stands for. Half a surrogate pair
    /// counts 2, so a pair counts the 4 bytes it becomes.
    private mutating func skipEscape() -> Int {
        guard position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u") else {
            position += 2
            return 1
        }
        var unit: UInt32 = 0
        var digitCount = 0
        while digitCount < 4, position + 2 + digitCount < bytes.count,
            let digit = hexDigit(bytes[position + 2 + digitCount])
        {
            unit = unit << 4 | UInt32(digit)
            digitCount += 1
        }
        position += 2 + digitCount
        switch unit {
        case 0..<0x80: return 1
        case 0x80..<0x800, 0xD800..<0xE000: return 2
        default: return 3
        }
    }

    private func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private func failure(_ kind: JSONError.Kind, _ message: String, at offset: Int) -> JSONError {
        JSONError(kind, message, at: offset, in: bytes)
    }
}
