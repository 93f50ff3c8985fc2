// Owns: the IPv4 header (RFC 791 §3.1).
//
//   0         1      2              4                6                 8     9
//   | ver IHL | DS   | total length | identification | flags + offset  | TTL | protocol |
//   10         12       16            20
//   | checksum | source | destination | options, up to 60 bytes in all | payload …

/// An IPv4 packet whose header and total length have been proved to fit: every accessor is total.
/// The header checksum is not part of that check; ask `isHeaderChecksumValid`.
@frozen
public struct IPv4View: BitwiseCopyable {
    /// Without options; the smallest header.
    @inlinable public static var byteCount: Int { 20 }

    public let base: UnsafeRawPointer

    /// Nil unless the version is 4, IHL is at least 5, and header ≤ total length ≤ `count`.
    /// Bytes after the total length are link padding and not part of the packet.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= IPv4View.byteCount else { return nil }
        let first = base.byte(at: 0)
        let headerByteCount = Int(first & 0xf) &* 4
        let totalLength = Int(base.bigEndian16(at: 2))
        guard first >> 4 == 4, headerByteCount >= IPv4View.byteCount, totalLength >= headerByteCount,
            totalLength <= count
        else { return nil }
        self.base = base
    }

    /// 20…60.
    @inlinable public var headerByteCount: Int { Int(base.byte(at: 0) & 0xf) &* 4 }
    /// DSCP and ECN together: the former type of service.
    @inlinable public var trafficClass: UInt8 { base.byte(at: 1) }
    /// 0…63 (RFC 2474).
    @inlinable public var dscp: UInt8 { trafficClass >> 2 }
    /// 0…3 (RFC 3168).
    @inlinable public var ecn: UInt8 { trafficClass & 3 }
    /// Header and payload, in bytes.
    @inlinable public var totalLength: Int { Int(base.bigEndian16(at: 2)) }
    @inlinable public var identification: UInt16 { base.bigEndian16(at: 4) }
    @inlinable public var doNotFragment: Bool { base.byte(at: 6) & 0x40 != 0 }
    @inlinable public var moreFragments: Bool { base.byte(at: 6) & 0x20 != 0 }
    /// In bytes, a multiple of 8.
    @inlinable public var fragmentOffset: Int { Int(base.bigEndian16(at: 6) & 0x1fff) &* 8 }
    /// First, middle or last: anything but a whole packet.
    @inlinable public var isFragment: Bool { base.bigEndian16(at: 6) & 0x3fff != 0 }
    /// A fragment that does not begin with the transport header.
    @inlinable public var isLaterFragment: Bool { base.bigEndian16(at: 6) & 0x1fff != 0 }
    @inlinable public var ttl: UInt8 { base.byte(at: 8) }
    @inlinable public var protocolNumber: IPProtocol { IPProtocol(rawValue: base.byte(at: 9)) }
    @inlinable public var headerChecksum: UInt16 { base.bigEndian16(at: 10) }
    @inlinable public var source: IPv4Address { IPv4Address(loading: base + 12) }
    @inlinable public var destination: IPv4Address { IPv4Address(loading: base + 16) }
    /// The first byte after the options.
    @inlinable public var payload: UnsafeRawPointer { base + headerByteCount }
    @inlinable public var payloadByteCount: Int { totalLength &- headerByteCount }

    @inlinable public var isHeaderChecksumValid: Bool {
        Checksum.isValid(Checksum.sum(base, count: headerByteCount))
    }
}

/// An IPv4 header without options. Setters keep each field to its bits, so every value can be emitted.
@frozen
public struct IPv4Header: Equatable, Sendable, BitwiseCopyable {
    @inlinable public static var maximumPayloadByteCount: Int { 65535 - 20 }

    /// DSCP and ECN together.
    public var trafficClass: UInt8
    @usableFromInline var totalLength: UInt16
    public var identification: UInt16
    /// Bit 14 don't fragment, bit 13 more fragments, the rest the offset in units of 8 bytes.
    @usableFromInline var fragmentField: UInt16
    public var ttl: UInt8
    public var protocolNumber: IPProtocol
    public var source: IPv4Address
    public var destination: IPv4Address

    /// A whole packet; set `moreFragments` and `fragmentOffset` afterwards for a fragment.
    /// `payloadByteCount` is clamped to 0…65515.
    @inlinable public init(
        source: IPv4Address, destination: IPv4Address, protocolNumber: IPProtocol, payloadByteCount: Int,
        ttl: UInt8 = 64, trafficClass: UInt8 = 0, identification: UInt16 = 0, doNotFragment: Bool = true
    ) {
        self.source = source
        self.destination = destination
        self.protocolNumber = protocolNumber
        self.ttl = ttl
        self.trafficClass = trafficClass
        self.identification = identification
        fragmentField = doNotFragment ? 0x4000 : 0
        totalLength = 20
        self.payloadByteCount = payloadByteCount
    }

    /// 0…65515; the setter clamps.
    @inlinable public var payloadByteCount: Int {
        get { Int(totalLength) - IPv4View.byteCount }
        set {
            let legal = min(max(newValue, 0), IPv4Header.maximumPayloadByteCount)
            totalLength = UInt16(truncatingIfNeeded: legal + IPv4View.byteCount)
        }
    }

    @inlinable public var doNotFragment: Bool {
        get { fragmentField & 0x4000 != 0 }
        set { fragmentField = fragmentField & 0x3fff | (newValue ? 0x4000 : 0) }
    }

    @inlinable public var moreFragments: Bool {
        get { fragmentField & 0x2000 != 0 }
        set { fragmentField = fragmentField & 0x5fff | (newValue ? 0x2000 : 0) }
    }

    /// In bytes; the setter clamps to 0…65528 and rounds down to a multiple of 8.
    @inlinable public var fragmentOffset: Int {
        get { Int(fragmentField & 0x1fff) * 8 }
        set {
            let units = UInt16(truncatingIfNeeded: min(max(newValue, 0), 65528) / 8)
            fragmentField = fragmentField & 0x6000 | units
        }
    }

    /// Nil when the header checksum is wrong. Options are not kept: the payload stays the same.
    @inlinable public static func parse(_ view: IPv4View) -> IPv4Header? {
        guard view.isHeaderChecksumValid else { return nil }
        var header = IPv4Header(
            source: view.source, destination: view.destination, protocolNumber: view.protocolNumber,
            payloadByteCount: view.payloadByteCount, ttl: view.ttl, trafficClass: view.trafficClass,
            identification: view.identification, doNotFragment: view.doNotFragment)
        header.moreFragments = view.moreFragments
        header.fragmentOffset = view.fragmentOffset
        return header
    }

    @inlinable public static var byteCount: Int { IPv4View.byteCount }
    @inlinable public var byteCount: Int { IPv4View.byteCount }

    /// Writes 20 bytes, header checksum included.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(byte: 0x45, at: 0)
        base.store(byte: trafficClass, at: 1)
        base.store(bigEndian16: totalLength, at: 2)
        base.store(bigEndian16: identification, at: 4)
        base.store(bigEndian16: fragmentField, at: 6)
        base.store(byte: ttl, at: 8)
        base.store(byte: protocolNumber.rawValue, at: 9)
        base.store(bigEndian16: 0, at: 10)
        source.store(to: base + 12)
        destination.store(to: base + 16)
        let sum = Checksum.sum(UnsafeRawPointer(base), count: IPv4View.byteCount)
        Checksum.store(Checksum.finish(sum), to: base + 10)
    }

    /// Replaces DSCP and ECN of the checked header at `base` and corrects its checksum: RFC 6040 on the way
    /// out of a tunnel. 12 bytes are touched.
    @inlinable public static func setTrafficClass(_ value: UInt8, at base: UnsafeMutableRawPointer) {
        let bytes = UnsafeRawPointer(base)
        let old = bytes.bigEndian16(at: 0)
        let new = old & 0xff00 | UInt16(value)
        base.store(byte: value, at: 1)
        Checksum.store(Checksum.update(bytes.bigEndian16(at: 10), from: old, to: new), to: base + 10)
    }

    @inlinable public static func == (left: IPv4Header, right: IPv4Header) -> Bool {
        left.trafficClass == right.trafficClass && left.totalLength == right.totalLength
            && left.identification == right.identification && left.fragmentField == right.fragmentField
            && left.ttl == right.ttl && left.protocolNumber == right.protocolNumber
            && left.source == right.source && left.destination == right.destination
    }
}
