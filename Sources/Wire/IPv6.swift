// Owns: the fixed IPv6 header (RFC 8200 §3). Extension headers are in IPv6Extensions.swift.
//
//   0                                    4                6             7           8
//   | version 4 | class 8 | flow label 20 | payload length | next header | hop limit |
//   8             24               40
//   | source 16   | destination 16 | extension headers and payload …

/// An IPv6 packet whose header and payload length have been proved to fit: every accessor is total.
@frozen
public struct IPv6View: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 40 }

    public let base: UnsafeRawPointer

    /// Nil unless the version is 6 and header and payload fit in `count`. Bytes after the payload are link
    /// padding. A jumbogram (payload length 0, RFC 2675) is a packet without payload here.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= IPv6View.byteCount, base.byte(at: 0) >> 4 == 6,
            Int(base.bigEndian16(at: 4)) &+ IPv6View.byteCount <= count
        else { return nil }
        self.base = base
    }

    /// DSCP and ECN together.
    @inlinable public var trafficClass: UInt8 {
        UInt8(truncatingIfNeeded: base.bigEndian16(at: 0) >> 4)
    }
    /// 0…63 (RFC 2474).
    @inlinable public var dscp: UInt8 { trafficClass >> 2 }
    /// 0…3 (RFC 3168).
    @inlinable public var ecn: UInt8 { trafficClass & 3 }
    /// 20 bits (RFC 6437).
    @inlinable public var flowLabel: UInt32 { base.bigEndian32(at: 0) & 0xf_ffff }
    /// Extension headers and payload, in bytes.
    @inlinable public var payloadLength: Int { Int(base.bigEndian16(at: 4)) }
    @inlinable public var nextHeader: IPProtocol { IPProtocol(rawValue: base.byte(at: 6)) }
    @inlinable public var hopLimit: UInt8 { base.byte(at: 7) }
    @inlinable public var source: IPv6Address { IPv6Address(loading: base + 8) }
    @inlinable public var destination: IPv6Address { IPv6Address(loading: base + 24) }
    /// The first byte after the fixed header.
    @inlinable public var payload: UnsafeRawPointer { base + IPv6View.byteCount }
    /// Header and payload, in bytes.
    @inlinable public var totalLength: Int { IPv6View.byteCount &+ payloadLength }
}

/// The contents of a fixed IPv6 header. Setters keep each field to its bits, so every value can be emitted.
@frozen
public struct IPv6Header: Equatable, Sendable, BitwiseCopyable {
    @inlinable public static var maximumPayloadByteCount: Int { 65535 }

    /// DSCP and ECN together.
    public var trafficClass: UInt8
    @usableFromInline var label: UInt32
    @usableFromInline var length: UInt16
    public var nextHeader: IPProtocol
    public var hopLimit: UInt8
    public var source: IPv6Address
    public var destination: IPv6Address

    /// `payloadByteCount` is clamped to 0…65535, `flowLabel` keeps its low 20 bits.
    @inlinable public init(
        source: IPv6Address, destination: IPv6Address, nextHeader: IPProtocol, payloadByteCount: Int,
        hopLimit: UInt8 = 64, trafficClass: UInt8 = 0, flowLabel: UInt32 = 0
    ) {
        self.source = source
        self.destination = destination
        self.nextHeader = nextHeader
        self.hopLimit = hopLimit
        self.trafficClass = trafficClass
        label = flowLabel & 0xf_ffff
        length = 0
        self.payloadByteCount = payloadByteCount
    }

    /// 20 bits; the setter keeps the low ones.
    @inlinable public var flowLabel: UInt32 {
        get { label }
        set { label = newValue & 0xf_ffff }
    }

    /// Extension headers included. 0…65535; the setter clamps.
    @inlinable public var payloadByteCount: Int {
        get { Int(length) }
        set {
            let legal = min(max(newValue, 0), IPv6Header.maximumPayloadByteCount)
            length = UInt16(truncatingIfNeeded: legal)
        }
    }

    @inlinable public static func parse(_ view: IPv6View) -> IPv6Header {
        IPv6Header(
            source: view.source, destination: view.destination, nextHeader: view.nextHeader,
            payloadByteCount: view.payloadLength, hopLimit: view.hopLimit,
            trafficClass: view.trafficClass, flowLabel: view.flowLabel)
    }

    @inlinable public static var byteCount: Int { IPv6View.byteCount }
    @inlinable public var byteCount: Int { IPv6View.byteCount }

    /// Writes 40 bytes.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian32: 0x6000_0000 | UInt32(trafficClass) << 20 | label, at: 0)
        base.store(bigEndian16: length, at: 4)
        base.store(byte: nextHeader.rawValue, at: 6)
        base.store(byte: hopLimit, at: 7)
        source.store(to: base + 8)
        destination.store(to: base + 24)
    }

    /// Replaces DSCP and ECN of the checked header at `base`. There is no checksum to correct.
    @inlinable public static func setTrafficClass(_ value: UInt8, at base: UnsafeMutableRawPointer) {
        let old = UnsafeRawPointer(base).bigEndian16(at: 0)
        base.store(bigEndian16: old & 0xf00f | UInt16(value) << 4, at: 0)
    }

    @inlinable public static func == (left: IPv6Header, right: IPv6Header) -> Bool {
        left.trafficClass == right.trafficClass && left.label == right.label && left.length == right.length
            && left.nextHeader == right.nextHeader && left.hopLimit == right.hopLimit
            && left.source == right.source && left.destination == right.destination
    }
}
