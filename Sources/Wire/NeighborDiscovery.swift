// Owns: IPv6 neighbour solicitation and advertisement (RFC 4861 §4.3, §4.4).
//
//   0      1      2          4                    8           24
//   | type | code | checksum | R S O and reserved | target 16 | options: type, length in 8 bytes, value …
//
// Checked here: shape, code 0, unicast target, options. For the caller, who has the IPv6 header (§7.1):
// hop limit 255, a valid checksum, no link-layer option in a solicitation from `::`.

/// The option walk both messages share.
@usableFromInline
enum NeighborOptions {
    /// Options walked before a message is refused; RFC 4861 defines five kinds, one of them per message here.
    @inlinable static var maximumCount: Int { 16 }

    /// Checks type, code, target and options, and returns the offset of the first link-layer address option
    /// of kind `wanted`, 0 when there is none, nil when the message is malformed.
    @inlinable static func check(
        _ base: UnsafeRawPointer, count: Int, type: UInt8, wanted: UInt8
    ) -> Int? {
        guard count >= 24, base.byte(at: 0) == type, base.byte(at: 1) == 0,
            !IPv6Address(loading: base + 8).isMulticast
        else { return nil }
        var found = 0
        var offset = 24
        var walked = 0
        while offset < count {
            walked &+= 1
            guard walked <= maximumCount, offset &+ 8 <= count else { return nil }
            let byteCount = Int(base.byte(at: offset &+ 1)) &* 8
            guard byteCount > 0, offset &+ byteCount <= count else { return nil }
            if found == 0, byteCount == 8, base.byte(at: offset) == wanted { found = offset }
            offset &+= byteCount
        }
        return found
    }

    /// Writes a link-layer address option of 8 bytes.
    @inlinable static func emit(_ address: MACAddress, kind: UInt8, to base: UnsafeMutableRawPointer) {
        base.store(byte: kind, at: 0)
        base.store(byte: 1, at: 1)
        address.store(to: base + 2)
    }
}

/// A neighbour solicitation whose options have been walked: every accessor is total.
@frozen
public struct NeighborSolicitationView: BitwiseCopyable {
    /// Without options.
    @inlinable public static var byteCount: Int { 24 }
    @inlinable public static var type: UInt8 { 135 }

    public let base: UnsafeRawPointer
    /// Offset of the option, 0 for none.
    @usableFromInline let linkLayerOffset: Int

    /// `base` points at the ICMPv6 type, `count` is the whole message. Nil unless type 135, code 0, a unicast
    /// target and options that add up.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard let offset = NeighborOptions.check(base, count: count, type: 135, wanted: 1) else {
            return nil
        }
        self.base = base
        linkLayerOffset = offset
    }

    /// The address asked for.
    @inlinable public var target: IPv6Address { IPv6Address(loading: base + 8) }
    /// The asker's, from the source link-layer address option; absent in duplicate address detection.
    @inlinable public var linkLayerAddress: MACAddress? {
        linkLayerOffset == 0 ? nil : MACAddress(loading: base + linkLayerOffset + 2)
    }
}

/// A neighbour advertisement whose options have been walked: every accessor is total.
@frozen
public struct NeighborAdvertisementView: BitwiseCopyable {
    /// Without options.
    @inlinable public static var byteCount: Int { 24 }
    @inlinable public static var type: UInt8 { 136 }

    public let base: UnsafeRawPointer
    /// Offset of the option, 0 for none.
    @usableFromInline let linkLayerOffset: Int

    /// As for a solicitation, with type 136.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard let offset = NeighborOptions.check(base, count: count, type: 136, wanted: 2) else {
            return nil
        }
        self.base = base
        linkLayerOffset = offset
    }

    @inlinable public var isRouter: Bool { base.byte(at: 4) & 0x80 != 0 }
    /// An answer to a solicitation; never set in a multicast one (RFC 4861 §7.1.2).
    @inlinable public var isSolicited: Bool { base.byte(at: 4) & 0x40 != 0 }
    /// Replaces a cached address.
    @inlinable public var isOverride: Bool { base.byte(at: 4) & 0x20 != 0 }
    /// The address advertised.
    @inlinable public var target: IPv6Address { IPv6Address(loading: base + 8) }
    /// The target's, from the target link-layer address option.
    @inlinable public var linkLayerAddress: MACAddress? {
        linkLayerOffset == 0 ? nil : MACAddress(loading: base + linkLayerOffset + 2)
    }
}

/// A neighbour solicitation with at most one option.
@frozen
public struct NeighborSolicitation: Equatable, Sendable, BitwiseCopyable {
    /// Must not be a group.
    public var target: IPv6Address
    public var linkLayerAddress: MACAddress?

    @inlinable public init(target: IPv6Address, linkLayerAddress: MACAddress?) {
        self.target = target
        self.linkLayerAddress = linkLayerAddress
    }

    @inlinable public static func parse(_ view: NeighborSolicitationView) -> NeighborSolicitation {
        NeighborSolicitation(target: view.target, linkLayerAddress: view.linkLayerAddress)
    }

    /// 24, or 32 with a link-layer address.
    @inlinable public var byteCount: Int { linkLayerAddress == nil ? 24 : 32 }

    /// Writes `byteCount` bytes, checksum zero.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian32: 0x8700_0000, at: 0)
        base.store(bigEndian32: 0, at: 4)
        target.store(to: base + 8)
        if let address = linkLayerAddress { NeighborOptions.emit(address, kind: 1, to: base + 24) }
    }

    /// Writes `byteCount` bytes with their checksum.
    @inlinable public func emit(
        to base: UnsafeMutableRawPointer, source: IPv6Address, destination: IPv6Address
    ) {
        emit(to: base)
        ICMPv6View.storeChecksum(at: base, count: byteCount, source: source, destination: destination)
    }

    @inlinable public static func == (left: NeighborSolicitation, right: NeighborSolicitation) -> Bool {
        left.target == right.target && left.linkLayerAddress == right.linkLayerAddress
    }
}

/// A neighbour advertisement with at most one option.
@frozen
public struct NeighborAdvertisement: Equatable, Sendable, BitwiseCopyable {
    /// Must not be a group.
    public var target: IPv6Address
    public var linkLayerAddress: MACAddress?
    public var isRouter: Bool
    public var isSolicited: Bool
    public var isOverride: Bool

    @inlinable public init(
        target: IPv6Address, linkLayerAddress: MACAddress?, isRouter: Bool = false,
        isSolicited: Bool = false, isOverride: Bool = false
    ) {
        self.target = target
        self.linkLayerAddress = linkLayerAddress
        self.isRouter = isRouter
        self.isSolicited = isSolicited
        self.isOverride = isOverride
    }

    @inlinable public static func parse(_ view: NeighborAdvertisementView) -> NeighborAdvertisement {
        NeighborAdvertisement(
            target: view.target, linkLayerAddress: view.linkLayerAddress, isRouter: view.isRouter,
            isSolicited: view.isSolicited, isOverride: view.isOverride)
    }

    /// 24, or 32 with a link-layer address.
    @inlinable public var byteCount: Int { linkLayerAddress == nil ? 24 : 32 }

    /// Writes `byteCount` bytes, checksum zero.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        let flags: UInt32 =
            (isRouter ? 0x8000_0000 : 0) | (isSolicited ? 0x4000_0000 : 0) | (isOverride ? 0x2000_0000 : 0)
        base.store(bigEndian32: 0x8800_0000, at: 0)
        base.store(bigEndian32: flags, at: 4)
        target.store(to: base + 8)
        if let address = linkLayerAddress { NeighborOptions.emit(address, kind: 2, to: base + 24) }
    }

    /// Writes `byteCount` bytes with their checksum.
    @inlinable public func emit(
        to base: UnsafeMutableRawPointer, source: IPv6Address, destination: IPv6Address
    ) {
        emit(to: base)
        ICMPv6View.storeChecksum(at: base, count: byteCount, source: source, destination: destination)
    }

    @inlinable public static func == (left: NeighborAdvertisement, right: NeighborAdvertisement) -> Bool {
        left.target == right.target && left.linkLayerAddress == right.linkLayerAddress
            && left.isRouter == right.isRouter && left.isSolicited == right.isSolicited
            && left.isOverride == right.isOverride
    }
}
