// Owns: the IPv4 address, its strict text form and its classes.

/// An IPv4 address, held in host order: `192.0.2.1` is `0xc0000201`.
@frozen
public struct IPv4Address: Hashable, Sendable, BitwiseCopyable, Comparable, CustomStringConvertible,
    LosslessStringConvertible
{
    /// Host order: the first octet on the wire is the highest.
    public let rawValue: UInt32

    @inlinable public static var byteCount: Int { 4 }

    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Reads exactly four bytes, any alignment.
    @inlinable public init(loading base: UnsafeRawPointer) { rawValue = base.bigEndian32(at: 0) }

    /// Writes exactly four bytes, any alignment.
    @inlinable public func store(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian32: rawValue, at: 0)
    }

    /// 0.0.0.0.
    @inlinable public static var unspecified: IPv4Address { IPv4Address(rawValue: 0) }
    /// 255.255.255.255.
    @inlinable public static var broadcast: IPv4Address { IPv4Address(rawValue: 0xffff_ffff) }

    /// 224.0.0.0/4 (RFC 1112 §4).
    @inlinable public var isMulticast: Bool { rawValue >> 28 == 0xe }
    /// 0.0.0.0.
    @inlinable public var isUnspecified: Bool { rawValue == 0 }
    /// 127.0.0.0/8 (RFC 1122 §3.2.1.3).
    @inlinable public var isLoopback: Bool { rawValue >> 24 == 127 }
    /// 169.254.0.0/16 (RFC 3927).
    @inlinable public var isLinkLocal: Bool { rawValue >> 16 == 0xa9fe }
    /// 255.255.255.255 only: a subnet's broadcast address needs the prefix.
    @inlinable public var isBroadcast: Bool { rawValue == 0xffff_ffff }

    @inlinable public static func == (left: IPv4Address, right: IPv4Address) -> Bool {
        left.rawValue == right.rawValue
    }

    @inlinable public static func < (left: IPv4Address, right: IPv4Address) -> Bool {
        left.rawValue < right.rawValue
    }

    /// Four decimal parts of 0…255, no leading zeros (which others read as octal), nothing around them.
    public init?(_ text: String) {
        self.init(utf8: Array(text.utf8.prefix(16))[...])
    }

    init?(utf8 bytes: ArraySlice<UInt8>) {
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard let octet = Decimal.value(part, maximum: 255) else { return nil }
            value = value << 8 | UInt32(octet)
        }
        rawValue = value
    }

    public var description: String {
        "\(rawValue >> 24).\(rawValue >> 16 & 0xff).\(rawValue >> 8 & 0xff).\(rawValue & 0xff)"
    }
}
