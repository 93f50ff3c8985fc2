// Owns: the 24-bit VXLAN network identifier.

/// A VXLAN network identifier (RFC 7348 §5): 0…16777215.
@frozen
public struct VNI: Hashable, Sendable, BitwiseCopyable, Comparable, CustomStringConvertible,
    LosslessStringConvertible
{
    /// 0…0xffffff.
    public let rawValue: UInt32

    @inlinable public static var maximum: Int { 0xff_ffff }

    /// Nil outside 0…16777215.
    @inlinable public init?(_ value: Int) {
        guard value >= 0, value <= VNI.maximum else { return nil }
        rawValue = UInt32(truncatingIfNeeded: value)
    }

    /// Keeps the low 24 bits.
    @inlinable public init(truncating value: UInt32) { rawValue = value & 0xff_ffff }

    /// Decimal digits, no sign, no leading zero.
    public init?(_ text: String) {
        guard let value = Decimal.value(text.utf8, maximum: VNI.maximum) else { return nil }
        rawValue = UInt32(value)
    }

    @inlinable public static func == (left: VNI, right: VNI) -> Bool { left.rawValue == right.rawValue }
    @inlinable public static func < (left: VNI, right: VNI) -> Bool { left.rawValue < right.rawValue }

    public var description: String { String(rawValue) }
}
