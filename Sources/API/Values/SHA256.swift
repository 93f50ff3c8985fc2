// SHA-256 (FIPS 180-4), by GnuTLS, and its text: 64 lower-case hexadecimal digits.

internal import CGnuTLS
import JSON

public struct SHA256: Hashable, Sendable, LosslessStringConvertible {
    static let byteCount = 32

    /// The 32 bytes as they lie in memory: a controller holds digests by the million, so each is in its place
    /// and none behind a pointer.
    private let (word0, word1, word2, word3): (UInt64, UInt64, UInt64, UInt64)

    private init(_ bytes: (UInt64, UInt64, UInt64, UInt64)) { (word0, word1, word2, word3) = bytes }

    public init(of data: [UInt8]) {
        var bytes: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let result = gnutls_hash_fast(GNUTLS_DIG_SHA256, data, data.count, &bytes)
        precondition(result == 0, "SHA-256 is always there")
        self.init(bytes)
    }

    /// Nil unless it is 64 lower-case hexadecimal digits.
    public init?(_ text: String) {
        guard text.utf8.count == 2 * SHA256.byteCount else { return nil }
        var bytes: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        let isWellFormed = withUnsafeMutableBytes(of: &bytes) { bytes in
            for (index, digit) in text.utf8.enumerated() {
                let value: UInt8
                switch digit {
                case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
                case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
                default: return false
                }
                bytes[index / 2] = bytes[index / 2] << 4 | value
            }
            return true
        }
        guard isWellFormed else { return nil }
        self.init(bytes)
    }

    /// The 32 bytes, first one first.
    public var bytes: [UInt8] { withUnsafeBytes(of: (word0, word1, word2, word3)) { Array($0) } }

    /// Equality that takes the same time wherever two digests differ: for what is secret.
    public func isSame(as other: SHA256) -> Bool { gnutls_memcmp(bytes, other.bytes, SHA256.byteCount) == 0 }

    /// Appends the text, in ASCII.
    public func appendDigits(to text: inout [UInt8]) {
        withUnsafeBytes(of: (word0, word1, word2, word3)) { bytes in
            for byte in bytes {
                text.append(SHA256.digit(byte >> 4))
                text.append(SHA256.digit(byte & 15))
            }
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    public var description: String {
        var digits: [UInt8] = []
        digits.reserveCapacity(2 * SHA256.byteCount)
        appendDigits(to: &digits)
        return String(decoding: digits, as: UTF8.self)
    }
}

extension SHA256: FieldValue {
    public static var codec: Codec<SHA256> {
        .text(
            wanted: "a SHA-256 digest: 64 digits, 0 to 9 and a to f",
            jsonSchema: ["type": "string", "pattern": "^[0-9a-f]{64}$"],
            example: .string(SHA256(of: []).description), parse: { SHA256($0) }, print: \.description)
    }
}
