// Owns: ICMP for IPv4 (RFC 792): the header, echo, and "fragmentation needed" (RFC 1191 §4).
//
//   0      1      2          4
//   | type | code | checksum | 4 bytes that depend on the type | body …

/// An ICMPv4 header whose 8 bytes have been bounds-checked: every accessor is total.
@frozen
public struct ICMPv4View: BitwiseCopyable {
    @inlinable public static var byteCount: Int { 8 }

    public let base: UnsafeRawPointer
    /// Header and body, in bytes.
    public let count: Int

    /// Nil when fewer than 8 bytes remain.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= ICMPv4View.byteCount else { return nil }
        self.base = base
        self.count = count
    }

    @inlinable public var type: UInt8 { base.byte(at: 0) }
    @inlinable public var code: UInt8 { base.byte(at: 1) }
    @inlinable public var checksum: UInt16 { base.bigEndian16(at: 2) }
    /// The four bytes after the checksum.
    @inlinable public var rest: UInt32 { base.bigEndian32(at: 4) }
    @inlinable public var body: UnsafeRawPointer { base + ICMPv4View.byteCount }
    @inlinable public var bodyByteCount: Int { count &- ICMPv4View.byteCount }
    @inlinable public var isChecksumValid: Bool { Checksum.isValid(Checksum.sum(base, count: count)) }

    /// Nil for what is no destination unreachable, for "fragmentation needed", and for codes nobody assigned.
    public var unreachable: UnreachableReason? {
        guard type == 3 else { return nil }
        return switch code {
        case 0, 5, 6, 11: .network
        case 1, 7, 8, 12: .host
        case 2, 3: .port
        case 9, 10, 13, 14, 15: .prohibited
        default: nil
        }
    }
}

/// Why a destination cannot be reached, as both families say it: RFC 792 and RFC 1812 §5.2.7.1, RFC 4443 §3.1.
public enum UnreachableReason: String, Equatable, Sendable, CaseIterable {
    /// No route to it.
    case network
    /// The last router does not find it.
    case host
    /// It is there, and nobody takes the datagram.
    case port
    /// Somebody on the way forbids it.
    case prohibited
}

/// The ICMPv4 messages Viaduct makes and answers. The body follows the 8 bytes written here.
@frozen
public enum ICMPv4Message: Equatable, Sendable, BitwiseCopyable {
    /// Type 8. Body: any bytes, returned as they are.
    case echoRequest(identifier: UInt16, sequence: UInt16)
    /// Type 0.
    case echoReply(identifier: UInt16, sequence: UInt16)
    /// Type 3 code 4. Body: the refused packet from its IP header on, cut to `maximumQuoteByteCount`.
    case fragmentationNeeded(nextHopMTU: UInt16)

    /// The whole error should not exceed 576 bytes (RFC 1812 §4.3.2.3): 20 for IP and 8 for ICMP leave this.
    @inlinable public static var maximumQuoteByteCount: Int { 576 - 20 - 8 }

    /// Nil for every other type or code.
    @inlinable public static func parse(_ view: ICMPv4View) -> ICMPv4Message? {
        let high = UInt16(truncatingIfNeeded: view.rest >> 16)
        let low = UInt16(truncatingIfNeeded: view.rest)
        switch (view.type, view.code) {
        case (8, 0): return .echoRequest(identifier: high, sequence: low)
        case (0, 0): return .echoReply(identifier: high, sequence: low)
        case (3, 4): return .fragmentationNeeded(nextHopMTU: low)
        default: return nil
        }
    }

    @inlinable public static var byteCount: Int { ICMPv4View.byteCount }
    @inlinable public var byteCount: Int { ICMPv4View.byteCount }

    /// Writes 8 bytes before a body of `bodyByteCount` bytes already in place, checksum over both.
    @inlinable public func emit(to base: UnsafeMutableRawPointer, bodyByteCount: Int = 0) {
        switch self {
        case .echoRequest(let identifier, let sequence):
            base.store(bigEndian32: 0x0800_0000, at: 0)
            base.store(bigEndian32: UInt32(identifier) << 16 | UInt32(sequence), at: 4)
        case .echoReply(let identifier, let sequence):
            base.store(bigEndian32: 0, at: 0)
            base.store(bigEndian32: UInt32(identifier) << 16 | UInt32(sequence), at: 4)
        case .fragmentationNeeded(let nextHopMTU):
            base.store(bigEndian32: 0x0304_0000, at: 0)
            base.store(bigEndian32: UInt32(nextHopMTU), at: 4)
        }
        let sum = Checksum.sum(UnsafeRawPointer(base), count: byteCount &+ max(0, bodyByteCount))
        Checksum.store(Checksum.finish(sum), to: base + 2)
    }

    @inlinable public static func == (left: ICMPv4Message, right: ICMPv4Message) -> Bool {
        switch (left, right) {
        case (.echoRequest(let a, let b), .echoRequest(let c, let d)): a == c && b == d
        case (.echoReply(let a, let b), .echoReply(let c, let d)): a == c && b == d
        case (.fragmentationNeeded(let a), .fragmentationNeeded(let b)): a == b
        default: false
        }
    }
}
