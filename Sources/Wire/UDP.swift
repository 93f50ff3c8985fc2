// Owns: the UDP header (RFC 768).
//
//   0             2                  4        6          8
//   | source port | destination port | length | checksum | payload …

/// A UDP header, its length proved to be at least 8 and to fit: every accessor is total.
@frozen
public struct UDPView: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 8 }

    public let base: UnsafeRawPointer

    /// Nil when fewer than 8 bytes remain, or when the length field is below 8 (0 included: no jumbograms)
    /// or above `count`. Bytes after the length are padding and are not part of the datagram.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= UDPView.byteCount else { return nil }
        let length = Int(base.bigEndian16(at: 4))
        guard length >= UDPView.byteCount, length <= count else { return nil }
        self.base = base
    }

    @inlinable public var sourcePort: UInt16 { base.bigEndian16(at: 0) }
    @inlinable public var destinationPort: UInt16 { base.bigEndian16(at: 2) }
    /// Header and payload, in bytes.
    @inlinable public var length: Int { Int(base.bigEndian16(at: 4)) }
    /// 0 means none was computed.
    @inlinable public var checksum: UInt16 { base.bigEndian16(at: 6) }
    @inlinable public var payload: UnsafeRawPointer { base + UDPView.byteCount }
    @inlinable public var payloadByteCount: Int { length - UDPView.byteCount }

    /// Whether the checksum is absent (zero) or right. A zero over IPv6 is for the caller to judge: tunnels
    /// may send it (RFC 6935).
    @inlinable public func isChecksumValid(source: IPv4Address, destination: IPv4Address) -> Bool {
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .udp, length: length)
        return checksum == 0 || Checksum.isValid(Checksum.sum(base, count: length, adding: pseudo))
    }

    /// As for IPv4.
    @inlinable public func isChecksumValid(source: IPv6Address, destination: IPv6Address) -> Bool {
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .udp, length: length)
        return checksum == 0 || Checksum.isValid(Checksum.sum(base, count: length, adding: pseudo))
    }
}

/// The contents of a UDP header.
@frozen
public struct UDPHeader: Equatable, Sendable, BitwiseCopyable {
    /// What the 16-bit length leaves for the payload.
    @inlinable public static var maximumPayloadByteCount: Int { 65527 }

    public var sourcePort: UInt16
    public var destinationPort: UInt16
    @usableFromInline var length: UInt16
    /// As emitted. 0 for none; otherwise from `Checksum.finishUDP`.
    public var checksum: UInt16

    /// `payloadByteCount` is clamped to 0…65527.
    @inlinable public init(
        sourcePort: UInt16, destinationPort: UInt16, payloadByteCount: Int, checksum: UInt16 = 0
    ) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.checksum = checksum
        length = UInt16(truncatingIfNeeded: UDPView.byteCount)
        self.payloadByteCount = payloadByteCount
    }

    /// 0…65527; the setter clamps.
    @inlinable public var payloadByteCount: Int {
        get { Int(length) - UDPView.byteCount }
        set {
            let legal = min(max(newValue, 0), UDPHeader.maximumPayloadByteCount)
            length = UInt16(truncatingIfNeeded: legal + UDPView.byteCount)
        }
    }

    @inlinable public static func parse(_ view: UDPView) -> UDPHeader {
        UDPHeader(
            sourcePort: view.sourcePort, destinationPort: view.destinationPort,
            payloadByteCount: view.payloadByteCount, checksum: view.checksum)
    }

    @inlinable public static var byteCount: Int { UDPView.byteCount }
    @inlinable public var byteCount: Int { UDPView.byteCount }

    /// Writes 8 bytes.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian16: sourcePort, at: 0)
        base.store(bigEndian16: destinationPort, at: 2)
        base.store(bigEndian16: length, at: 4)
        base.store(bigEndian16: checksum, at: 6)
    }

    @inlinable public static func == (left: UDPHeader, right: UDPHeader) -> Bool {
        left.sourcePort == right.sourcePort && left.destinationPort == right.destinationPort
            && left.length == right.length && left.checksum == right.checksum
    }
}
