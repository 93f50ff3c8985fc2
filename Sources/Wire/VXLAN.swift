// Owns: the VXLAN header (RFC 7348 §5).
//
//   0                 1             4     7           8
//   | flags R R R R I R R R | reserved 24 | VNI | reserved 8 | inner Ethernet frame …

/// A VXLAN header whose 8 bytes have been bounds-checked: every accessor is total. Reserved bits are shown,
/// not judged: strict and lenient receivers differ (RFC 7348 says ignore).
@frozen
public struct VXLANView: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 8 }
    /// The I flag: the VNI is valid.
    @inlinable public static var validFlag: UInt8 { 0x08 }

    public let base: UnsafeRawPointer

    /// Nil when fewer than 8 bytes remain.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= VXLANView.byteCount else { return nil }
        self.base = base
    }

    /// The first byte.
    @inlinable public var flags: UInt8 { base.byte(at: 0) }
    /// The 24 bits after the flags.
    @inlinable public var reserved1: UInt32 { base.bigEndian32(at: 0) & 0xff_ffff }
    @inlinable public var vni: VNI { VNI(truncating: base.bigEndian32(at: 4) >> 8) }
    /// The last byte.
    @inlinable public var reserved2: UInt8 { base.byte(at: 7) }
    /// The inner Ethernet frame.
    @inlinable public var payload: UnsafeRawPointer { base + VXLANView.byteCount }

    /// The I flag is set.
    @inlinable public var isVNIValid: Bool { flags & VXLANView.validFlag != 0 }
    /// Any bit other than the I flag and the VNI is set.
    @inlinable public var hasReservedBits: Bool {
        base.bigEndian32(at: 0) & 0xf7ff_ffff != 0 || reserved2 != 0
    }
}

/// A VXLAN header as RFC 7348 has it sent: I flag set, a VNI, all else zero.
@frozen
public struct VXLANHeader: Equatable, Sendable, BitwiseCopyable {
    public var vni: VNI

    @inlinable public init(vni: VNI) { self.vni = vni }

    /// Nil when the I flag is clear or a reserved bit is set.
    @inlinable public static func parse(_ view: VXLANView) -> VXLANHeader? {
        guard view.isVNIValid, !view.hasReservedBits else { return nil }
        return VXLANHeader(vni: view.vni)
    }

    @inlinable public static var byteCount: Int { VXLANView.byteCount }
    @inlinable public var byteCount: Int { VXLANView.byteCount }

    /// Writes 8 bytes.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian32: 0x0800_0000, at: 0)
        base.store(bigEndian32: vni.rawValue << 8, at: 4)
    }

    @inlinable public static func == (left: VXLANHeader, right: VXLANHeader) -> Bool {
        left.vni == right.vni
    }
}
