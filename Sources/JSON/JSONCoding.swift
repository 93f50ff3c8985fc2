import CJansson

/// Text in, value out, and back: the only door between JSON text and the rest of Viaduct.
extension JSONValue {
    /// Parses one complete document, strictly.
    ///
    /// Refused although many parsers accept it: duplicate keys, anything after the value, integers beyond
    /// `Int64`, `NaN`, comments, `\u0000`, a byte-order mark, UTF-8 with overlong forms or surrogates. A
    /// scalar at the top is accepted. Limits are checked over the raw bytes before a tree is built.
    public static func parse(_ bytes: [UInt8], limits: JSONLimits = .init()) throws(JSONError) -> JSONValue {
        try bytes.withUnsafeBufferPointer { (buffer) throws(JSONError) -> JSONValue in
            var scanner = JSONScanner(buffer, limits: limits)
            try scanner.check()
            let tree = try JanssonTree(parsing: buffer)
            return try tree.copy(of: buffer)
        }
    }

    /// The document as text, members in insertion order, UTF-8 unescaped, no newline at the end.
    ///
    /// - Parameter pretty: two-space indentation for people; otherwise no blank anywhere.
    public func serialized(pretty: Bool = false) -> [UInt8] {
        dumped(flags: pretty ? DumpFlag.indent(2) : Int(JSON_COMPACT))
    }

    /// Compact text with the keys of every object sorted by their UTF-8 bytes: equal values give equal
    /// bytes, so digests and comparisons are made on this.
    public var canonicalBytes: [UInt8] { dumped(flags: Int(JSON_COMPACT | JSON_SORT_KEYS)) }

    private func dumped(flags: Int) -> [UInt8] {
        JanssonTree(self).dump(flags: flags | DumpFlag.realPrecision(realDigitCount))
    }

    /// Significant digits that bring every real of this value back exactly: 15 when that is enough (`0.1`
    /// stays `0.1`), 17 otherwise, which always is.
    private var realDigitCount: Int {
        var digitCount = DumpFlag.leastDigitCount
        raiseRealDigitCount(&digitCount)
        return digitCount
    }

    private func raiseRealDigitCount(_ digitCount: inout Int) {
        switch self {
        case .real(let value):
            while digitCount < DumpFlag.mostDigitCount, !value.survives(digitCount: digitCount) {
                digitCount += 1
            }
        case .array(let values):
            for value in values { value.raiseRealDigitCount(&digitCount) }
        case .object(let object):
            for member in object.members { member.value.raiseRealDigitCount(&digitCount) }
        default: break
        }
    }
}

/// jansson's dump flags that are function-like macros, which Swift does not import.
private enum DumpFlag {
    static var leastDigitCount: Int { 15 }
    static var mostDigitCount: Int { 17 }

    /// `JSON_INDENT(n)`
    static func indent(_ columnCount: Int) -> Int { columnCount & 0x1F }
    /// `JSON_REAL_PRECISION(n)`
    static func realPrecision(_ digitCount: Int) -> Int { (digitCount & 0x1F) << 11 }
}

extension Double {
    /// Whether the shortest text of this number has no more than `digitCount` significant digits.
    ///
    /// Swift prints the shortest text that reads back as the same number, so no C formatting is needed.
    fileprivate func survives(digitCount: Int) -> Bool {
        guard isFinite else { return true }
        let digits = description.prefix { $0 != "e" }.filter(\.isNumber).drop { $0 == "0" }
        return digits.count <= digitCount
    }
}
