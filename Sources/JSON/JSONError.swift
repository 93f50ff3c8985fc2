/// Why a document was refused, and where. The texts are made for the person who typed the JSON.
public struct JSONError: Error, Equatable, Sendable {
    public enum Kind: String, Equatable, Sendable, CaseIterable {
        /// Not JSON: an unexpected byte, a missing comma, text after the end, an empty document.
        case syntax
        /// One object names a key twice.
        case duplicateKey
        /// An integer beyond 63 bits and sign, or a real beyond a double.
        case numberOutOfRange
        /// `\u0000`, which no field of ours may hold.
        case nulCharacter
        /// Bytes that are not UTF-8, or an escape that is half a surrogate pair.
        case invalidUTF8
        /// `JSONLimits.byteCount` passed.
        case tooLarge
        /// `JSONLimits.depth` passed.
        case tooDeep
        /// `JSONLimits.memberCount` passed.
        case tooManyMembers
        /// `JSONLimits.stringByteCount` passed.
        case stringTooLong
        /// jansson could not allocate.
        case outOfMemory
    }

    public var kind: Kind
    /// What was wanted and what was found, without the position.
    public var message: String
    /// Counted from 1.
    public var line: Int
    /// In characters, counted from 1; where reading stopped, so usually the end of the bad token.
    public var column: Int
    /// Bytes before the position, counted from 0.
    public var byteOffset: Int

    public init(kind: Kind, message: String, line: Int, column: Int, byteOffset: Int) {
        self.kind = kind
        self.message = message
        self.line = line
        self.column = column
        self.byteOffset = byteOffset
    }

    /// At a byte offset of `bytes`, from which line and column follow.
    init(_ kind: Kind, _ message: String, at byteOffset: Int, in bytes: some Collection<UInt8>) {
        var line = 1
        var column = 1
        for byte in bytes.prefix(byteOffset) {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        self.init(kind: kind, message: message, line: line, column: column, byteOffset: byteOffset)
    }
}

extension JSONError: CustomStringConvertible {
    public var description: String { "line \(line), column \(column): \(message)" }
}
