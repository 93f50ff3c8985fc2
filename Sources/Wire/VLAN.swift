// Owns: the 802.1Q tag (IEEE 802.1Q §9.6), seen from after the 0x8100 or 0x88a8 that announces it.
//
//   0                          2          4
//   | PCP 3 | DEI 1 | VID 12    | ethertype | payload …

/// The tag control information and the ethertype after it; 4 bytes checked, every accessor total.
@frozen
public struct VLANView: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 4 }

    public let base: UnsafeRawPointer

    /// `base` points at the tag control information. Nil when fewer than 4 bytes remain.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= VLANView.byteCount else { return nil }
        self.base = base
    }

    /// The tag control information whole.
    @inlinable public var tci: UInt16 { base.bigEndian16(at: 0) }
    /// 0…7.
    @inlinable public var priority: UInt8 { UInt8(truncatingIfNeeded: tci >> 13) }
    @inlinable public var dropEligible: Bool { tci & 0x1000 != 0 }
    /// 0…4095; 0 is a priority tag without a VLAN, 4095 is reserved.
    @inlinable public var identifier: UInt16 { tci & 0xfff }
    /// The type of what follows the tag.
    @inlinable public var etherType: EtherType { EtherType(rawValue: base.bigEndian16(at: 2)) }
    @inlinable public var payload: UnsafeRawPointer { base + VLANView.byteCount }
}

/// The contents of a tag. Setters keep each field to its bits, so every value can be emitted.
@frozen
public struct VLANTag: Equatable, Sendable, BitwiseCopyable {
    /// The tag control information: priority, drop-eligible and identifier.
    public var tci: UInt16
    public var etherType: EtherType

    @inlinable public init(tci: UInt16, etherType: EtherType) {
        self.tci = tci
        self.etherType = etherType
    }

    /// Keeps the low 3 bits of `priority` and the low 12 of `identifier`.
    @inlinable public init(
        priority: UInt8 = 0, dropEligible: Bool = false, identifier: UInt16, etherType: EtherType
    ) {
        let control = UInt16(priority & 7) << 13 | (dropEligible ? 0x1000 : 0)
        self.init(tci: control | identifier & 0xfff, etherType: etherType)
    }

    @inlinable public var priority: UInt8 { UInt8(truncatingIfNeeded: tci >> 13) }
    @inlinable public var dropEligible: Bool { tci & 0x1000 != 0 }
    @inlinable public var identifier: UInt16 { tci & 0xfff }

    @inlinable public static func parse(_ view: VLANView) -> VLANTag {
        VLANTag(tci: view.tci, etherType: view.etherType)
    }

    @inlinable public static var byteCount: Int { VLANView.byteCount }
    @inlinable public var byteCount: Int { VLANView.byteCount }

    /// Writes 4 bytes, to go right after the ethertype that announces the tag.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian16: tci, at: 0)
        base.store(bigEndian16: etherType.rawValue, at: 2)
    }

    @inlinable public static func == (left: VLANTag, right: VLANTag) -> Bool {
        left.tci == right.tci && left.etherType == right.etherType
    }
}
