// SHA-256 (FIPS 180-4), by GnuTLS, and its text: 64 lower-case hexadecimal digits.

internal import CGnuTLS
import JSON

public struct SHA256: Hashable, Sendable, LosslessStringConvertible {
    static let byteCount = 32

    private let bytes: [UInt8]

    public init(of data: [UInt8]) {
        bytes = [UInt8](unsafeUninitializedCapacity: SHA256.byteCount) { buffer, count in
            let result = gnutls_hash_fast(GNUTLS_DIG_SHA256, data, data.count, buffer.baseAddress)
            precondition(result == 0, "SHA-256 is always there")
            count = SHA256.byteCount
        }
    }

    /// Nil unless it is 64 lower-case hexadecimal digits.
    public init?(_ text: String) {
        guard text.utf8.count == 2 * SHA256.byteCount else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in text.utf8 {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        self.bytes = bytes
    }

    /// As text, in ASCII.
    var digits: [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }

    public var description: String { String(decoding: digits, as: UTF8.self) }
}

extension SHA256: FieldValue {
    public static var codec: Codec<SHA256> {
        .text(
            wanted: "a SHA-256 digest: 64 digits, 0 to 9 and a to f",
            jsonSchema: ["type": "string", "pattern": "^[0-9a-f]{64}$"],
            example: .string(SHA256(of: []).description), parse: { SHA256($0) }, print: \.description)
    }
}
