// Owns: ICMPv6 (RFC 4443): the header, echo, and "packet too big". Neighbour discovery has its own file.
//
//   0      1      2          4
//   | type | code | checksum | 4 bytes that depend on the type | body …
//
// Unlike ICMPv4 the checksum covers a pseudo-header (RFC 4443 §2.3), so emitting needs the two addresses.

/// An ICMPv6 header whose 8 bytes have been bounds-checked: every accessor is total.
@frozen
public struct ICMPv6View: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 8 }

    public let base: UnsafeRawPointer
    /// Header and body, in bytes.
    public let count: Int

    /// Nil when fewer than 8 bytes remain.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= ICMPv6View.byteCount else { return nil }
        self.base = base
        self.count = count
    }

    @inlinable public var type: UInt8 { base.byte(at: 0) }
    @inlinable public var code: UInt8 { base.byte(at: 1) }
    @inlinable public var checksum: UInt16 { base.bigEndian16(at: 2) }
    /// The four bytes after the checksum.
    @inlinable public var rest: UInt32 { base.bigEndian32(at: 4) }
    @inlinable public var body: UnsafeRawPointer { base + ICMPv6View.byteCount }
    @inlinable public var bodyByteCount: Int { count &- ICMPv6View.byteCount }

    @inlinable public func isChecksumValid(source: IPv6Address, destination: IPv6Address) -> Bool {
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .icmpv6, length: count)
        return Checksum.isValid(Checksum.sum(base, count: count, adding: pseudo))
    }

    /// Nil for what is no destination unreachable, and for codes that are not about the destination.
    public var unreachable: UnreachableReason? {
        guard type == 1 else { return nil }
        return switch code {
        case 0, 2: .network
        case 3: .host
        case 4: .port
        case 1, 5, 6: .prohibited
        default: nil
        }
    }

    /// Writes the checksum of the `count` bytes of ICMPv6 message at `base`, whatever was in its field.
    @inlinable public static func storeChecksum(
        at base: UnsafeMutableRawPointer, count: Int, source: IPv6Address, destination: IPv6Address
    ) {
        base.store(bigEndian16: 0, at: 2)
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .icmpv6, length: count)
        let sum = Checksum.sum(UnsafeRawPointer(base), count: count, adding: pseudo)
        Checksum.store(Checksum.finish(sum), to: base + 2)
    }
}

/// The ICMPv6 messages Viaduct makes and answers. The body follows the 8 bytes written here.
@frozen
public enum ICMPv6Message: Equatable, Sendable, BitwiseCopyable {
    /// Type 128. Body: any bytes, returned as they are.
    case echoRequest(identifier: UInt16, sequence: UInt16)
    /// Type 129.
    case echoReply(identifier: UInt16, sequence: UInt16)
    /// Type 2. Body: the refused packet from its IPv6 header on, cut to `maximumQuoteByteCount`.
    case packetTooBig(mtu: UInt32)

    /// The whole error must fit the minimum MTU of 1280 (RFC 4443 §2.4c): 40 and 8 bytes less leave this.
    @inlinable public static var maximumQuoteByteCount: Int { 1280 - 40 - 8 }

    /// Nil for every other type or code.
    @inlinable public static func parse(_ view: ICMPv6View) -> ICMPv6Message? {
        let high = UInt16(truncatingIfNeeded: view.rest >> 16)
        let low = UInt16(truncatingIfNeeded: view.rest)
        switch (view.type, view.code) {
        case (128, 0): return .echoRequest(identifier: high, sequence: low)
        case (129, 0): return .echoReply(identifier: high, sequence: low)
        case (2, 0): return .packetTooBig(mtu: view.rest)
        default: return nil
        }
    }

    @inlinable public static var byteCount: Int { ICMPv6View.byteCount }
    @inlinable public var byteCount: Int { ICMPv6View.byteCount }

    /// Writes 8 bytes, checksum zero: for callers that sum over pieces or leave it to the device.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        switch self {
        case .echoRequest(let identifier, let sequence):
            base.store(bigEndian32: 0x8000_0000, at: 0)
            base.store(bigEndian32: UInt32(identifier) << 16 | UInt32(sequence), at: 4)
        case .echoReply(let identifier, let sequence):
            base.store(bigEndian32: 0x8100_0000, at: 0)
            base.store(bigEndian32: UInt32(identifier) << 16 | UInt32(sequence), at: 4)
        case .packetTooBig(let mtu):
            base.store(bigEndian32: 0x0200_0000, at: 0)
            base.store(bigEndian32: mtu, at: 4)
        }
    }

    /// Writes 8 bytes before a body of `bodyByteCount` bytes already in place, checksum over both.
    @inlinable public func emit(
        to base: UnsafeMutableRawPointer, bodyByteCount: Int, source: IPv6Address, destination: IPv6Address
    ) {
        emit(to: base)
        ICMPv6View.storeChecksum(
            at: base, count: byteCount &+ max(0, bodyByteCount), source: source, destination: destination)
    }

    @inlinable public static func == (left: ICMPv6Message, right: ICMPv6Message) -> Bool {
        switch (left, right) {
        case (.echoRequest(let a, let b), .echoRequest(let c, let d)): a == c && b == d
        case (.echoReply(let a, let b), .echoReply(let c, let d)): a == c && b == d
        case (.packetTooBig(let a), .packetTooBig(let b)): a == b
        default: false
        }
    }
}
