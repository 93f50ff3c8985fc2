/// The name of one request, in the answer's `X-Request-Id`, in logs and in events.
enum RequestID {
    static var headerName: String { "X-Request-Id" }
    /// A UUID has 36 characters, a W3C trace id 32; longer ones only fill logs.
    private static var characterCountLimit: Int { 64 }

    /// The client's own id if it is 1…64 letters, digits, `-`, `_`, `.` or `:`, else 16 random hex digits.
    static func choose(from headers: [(name: String, value: String)]) -> String {
        let sent = headers.first { $0.name.equalsIgnoringASCIICase(headerName) }?.value
        if let sent, isSane(sent) { return sent }
        return generate()
    }

    static func generate() -> String {
        let digits = String(UInt64.random(in: .min ... .max), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private static func isSane(_ id: String) -> Bool {
        guard (1...characterCountLimit).contains(id.utf8.count) else { return false }
        return id.utf8.allSatisfy { byte in
            byte.isASCIILetter || byte.isASCIIDigit || "-_.:".utf8.contains(byte)
        }
    }
}
