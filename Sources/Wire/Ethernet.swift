// Owns: the Ethernet II header (IEEE 802.3 §3.1.1), without preamble and frame check sequence.
//
//   0            6            12         14
//   | destination | source     | ethertype | payload …

/// An Ethernet header whose 14 bytes have been bounds-checked: every accessor is total.
/// A trivial value, valid only while its buffer is.
@frozen
public struct EthernetView: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 14 }

    public let base: UnsafeRawPointer

    /// Nil when fewer than 14 bytes remain.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= EthernetView.byteCount else { return nil }
        self.base = base
    }

    @inlinable public var destination: MACAddress { MACAddress(loading: base) }
    @inlinable public var source: MACAddress { MACAddress(loading: base + 6) }
    @inlinable public var etherType: EtherType { EtherType(rawValue: base.bigEndian16(at: 12)) }
    /// The first byte after the header.
    @inlinable public var payload: UnsafeRawPointer { base + EthernetView.byteCount }
}

/// The contents of an Ethernet header; all values are legal.
@frozen
public struct EthernetHeader: Equatable, Sendable, BitwiseCopyable {
    public var destination: MACAddress
    public var source: MACAddress
    public var etherType: EtherType

    @inlinable public init(destination: MACAddress, source: MACAddress, etherType: EtherType) {
        self.destination = destination
        self.source = source
        self.etherType = etherType
    }

    @inlinable public static func parse(_ view: EthernetView) -> EthernetHeader {
        EthernetHeader(destination: view.destination, source: view.source, etherType: view.etherType)
    }

    @inlinable public static var byteCount: Int { EthernetView.byteCount }
    @inlinable public var byteCount: Int { EthernetView.byteCount }

    /// Writes 14 bytes, whatever was there.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        destination.store(to: base)
        source.store(to: base + 6)
        base.store(bigEndian16: etherType.rawValue, at: 12)
    }

    @inlinable public static func == (left: EthernetHeader, right: EthernetHeader) -> Bool {
        left.destination == right.destination && left.source == right.source
            && left.etherType == right.etherType
    }
}
