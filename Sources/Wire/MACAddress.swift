// Owns: the 48-bit Ethernet address, its text form and its classes.

/// An IEEE 802 48-bit MAC address, held as an integer: one instruction to copy or compare.
@frozen
public struct MACAddress: Hashable, Sendable, BitwiseCopyable, Comparable, CustomStringConvertible,
    LosslessStringConvertible
{
    /// The low 48 bits, first octet on the wire highest: `aa:bb:cc:dd:ee:ff` is `0xaabbccddeeff`.
    public let rawValue: UInt64

    /// Octets on the wire.
    @inlinable public static var byteCount: Int { 6 }

    /// Keeps the low 48 bits of `rawValue`.
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue & 0xffff_ffff_ffff }

    /// Reads exactly six bytes, any alignment.
    @inlinable public init(loading base: UnsafeRawPointer) {
        rawValue = UInt64(base.bigEndian32(at: 0)) << 16 | UInt64(base.bigEndian16(at: 4))
    }

    /// Writes exactly six bytes, any alignment.
    @inlinable public func store(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian32: UInt32(truncatingIfNeeded: rawValue >> 16), at: 0)
        base.store(bigEndian16: UInt16(truncatingIfNeeded: rawValue), at: 4)
    }

    /// ff:ff:ff:ff:ff:ff.
    @inlinable public static var broadcast: MACAddress { MACAddress(rawValue: 0xffff_ffff_ffff) }
    /// 00:00:00:00:00:00.
    @inlinable public static var zero: MACAddress { MACAddress(rawValue: 0) }

    /// Multicast or broadcast: the lowest bit of the first octet (IEEE 802 I/G bit).
    @inlinable public var isGroup: Bool { rawValue & 0x0100_0000_0000 != 0 }
    @inlinable public var isZero: Bool { rawValue == 0 }
    @inlinable public var isBroadcast: Bool { rawValue == 0xffff_ffff_ffff }
    /// Not from a vendor's block: the second bit of the first octet (IEEE 802 U/L bit).
    @inlinable public var isLocallyAdministered: Bool { rawValue & 0x0200_0000_0000 != 0 }
    /// 01:80:c2:00:00:00 to 01:80:c2:00:00:0f, which a bridge never forwards (IEEE 802.1D table 7-10).
    @inlinable public var isReservedGroup: Bool { rawValue & ~0xf == 0x0180_c200_0000 }

    /// The group address of an IPv4 multicast group (RFC 1112 §6.4): 01:00:5e and the low 23 bits.
    @inlinable public init(multicast group: IPv4Address) {
        rawValue = 0x0100_5e00_0000 | UInt64(group.rawValue & 0x7f_ffff)
    }

    /// The group address of an IPv6 multicast group (RFC 2464 §7): 33:33 and the low 32 bits.
    @inlinable public init(multicast group: IPv6Address) {
        rawValue = 0x3333_0000_0000 | group.low & 0xffff_ffff
    }

    @inlinable public static func == (left: MACAddress, right: MACAddress) -> Bool {
        left.rawValue == right.rawValue
    }

    @inlinable public static func < (left: MACAddress, right: MACAddress) -> Bool {
        left.rawValue < right.rawValue
    }

    /// Six two-digit hexadecimal octets separated all by `:` or all by `-`, either case; nil for all else.
    public init?(_ text: String) {
        let bytes = Array(text.utf8.prefix(18))
        guard bytes.count == 17, bytes[2] == UInt8(ascii: ":") || bytes[2] == UInt8(ascii: "-") else {
            return nil
        }
        var value: UInt64 = 0
        for index in 0..<17 {
            if index % 3 == 2 {
                guard bytes[index] == bytes[2] else { return nil }
            } else {
                guard let digit = Hexadecimal.value(bytes[index]) else { return nil }
                value = value << 4 | UInt64(digit)
            }
        }
        rawValue = value
    }

    /// Lower case with colons.
    public var description: String {
        String(unsafeUninitializedCapacity: 17) { text in
            for index in 0..<17 {
                let shift = UInt64(40 - index / 3 * 8 + (index % 3 == 0 ? 4 : 0))
                text[index] =
                    index % 3 == 2 ? UInt8(ascii: ":") : Hexadecimal.digit(UInt8(rawValue >> shift & 0xf))
            }
            return 17
        }
    }
}
