/// Status line and header fields of an answer, taken in line by line as libcurl hands them over. Fields that
/// follow the body (trailers) are counted and passed over. Pure.
struct AnswerHead {
    private(set) var status = 0
    /// In order, names as received, values without blanks around them.
    private(set) var fields: [(name: String, value: String)] = []
    private(set) var byteCount = 0
    /// The empty line has come.
    private(set) var isComplete = false

    mutating func take(_ line: UnsafeRawBufferPointer) {
        if line.starts(with: "HTTP/".utf8) {
            // The head of an interim answer (100) came before; only the last one counts.
            self = AnswerHead()
            let digits = line.drop { $0 != UInt8(ascii: " ") }.dropFirst().prefix { $0.isASCIIDigit }
            status = digits.prefix(4).reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        } else if !isComplete, let colon = line.firstIndex(of: UInt8(ascii: ":")) {
            fields.append((text(line[..<colon]), text(line[colon...].dropFirst())))
        }
        byteCount += line.count
        isComplete = isComplete || line.elementsEqual("\r\n".utf8) || line.elementsEqual("\n".utf8)
    }

    private func text(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
        var bytes = bytes.drop(while: Self.isBlank)
        while let last = bytes.last, Self.isBlank(last) { bytes.removeLast() }
        return String(decoding: UnsafeRawBufferPointer(rebasing: bytes), as: UTF8.self)
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A
    }
}
