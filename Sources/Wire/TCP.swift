// Owns: the TCP header (RFC 9293 §3.1).
//
//   0             2                  4          8                12                   14
//   | source port | destination port | sequence | acknowledgment | offset 4, res 4, flags | window |
//   16         18               20
//   | checksum | urgent pointer | options, up to 60 bytes in all | payload …

/// The control bits of a TCP header, lowest bit FIN.
@frozen
public struct TCPFlags: OptionSet, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    public let rawValue: UInt8

    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable public static var fin: TCPFlags { TCPFlags(rawValue: 0x01) }
    @inlinable public static var syn: TCPFlags { TCPFlags(rawValue: 0x02) }
    @inlinable public static var rst: TCPFlags { TCPFlags(rawValue: 0x04) }
    @inlinable public static var psh: TCPFlags { TCPFlags(rawValue: 0x08) }
    @inlinable public static var ack: TCPFlags { TCPFlags(rawValue: 0x10) }
    @inlinable public static var urg: TCPFlags { TCPFlags(rawValue: 0x20) }
    @inlinable public static var ece: TCPFlags { TCPFlags(rawValue: 0x40) }
    @inlinable public static var cwr: TCPFlags { TCPFlags(rawValue: 0x80) }

    @inlinable public static func == (left: TCPFlags, right: TCPFlags) -> Bool {
        left.rawValue == right.rawValue
    }

    /// All bits of `other` are set. The standard library's is generic, which the packet path can not call.
    @inlinable public func contains(_ other: TCPFlags) -> Bool {
        rawValue & other.rawValue == other.rawValue
    }

    @inlinable public func union(_ other: TCPFlags) -> TCPFlags {
        TCPFlags(rawValue: rawValue | other.rawValue)
    }

    @inlinable public func subtracting(_ other: TCPFlags) -> TCPFlags {
        TCPFlags(rawValue: rawValue & ~other.rawValue)
    }

    /// As tcpdump prints them: `S.` is SYN and ACK.
    public var description: String {
        let letters = "FSRP.UEW"
        let set = letters.enumerated().filter { rawValue >> $0.offset & 1 == 1 }
        return set.isEmpty ? "none" : String(set.map(\.element))
    }
}

/// A TCP header whose data offset has been proved to fit: every accessor is total.
@frozen
public struct TCPView: BitwiseCopyable {
    /// Without options; the smallest header.
    @inlinable public static var byteCount: Int { 20 }

    public let base: UnsafeRawPointer
    /// Header and payload, in bytes: TCP has no length of its own.
    public let count: Int

    /// Nil unless the data offset is at least 20 bytes and at most `count`.
    @inlinable public init?(checking base: UnsafeRawPointer, count: Int) {
        guard count >= TCPView.byteCount else { return nil }
        let headerByteCount = Int(base.byte(at: 12) >> 4) &* 4
        guard headerByteCount >= TCPView.byteCount, headerByteCount <= count else { return nil }
        self.base = base
        self.count = count
    }

    @inlinable public var sourcePort: UInt16 { base.bigEndian16(at: 0) }
    @inlinable public var destinationPort: UInt16 { base.bigEndian16(at: 2) }
    @inlinable public var sequence: UInt32 { base.bigEndian32(at: 4) }
    @inlinable public var acknowledgement: UInt32 { base.bigEndian32(at: 8) }
    /// 20…60.
    @inlinable public var headerByteCount: Int { Int(base.byte(at: 12) >> 4) &* 4 }
    @inlinable public var flags: TCPFlags { TCPFlags(rawValue: base.byte(at: 13)) }
    /// Unscaled.
    @inlinable public var window: UInt16 { base.bigEndian16(at: 14) }
    @inlinable public var checksum: UInt16 { base.bigEndian16(at: 16) }
    @inlinable public var urgent: UInt16 { base.bigEndian16(at: 18) }
    /// `optionByteCount` bytes of options.
    @inlinable public var options: UnsafeRawPointer { base + TCPView.byteCount }
    /// 0…40.
    @inlinable public var optionByteCount: Int { headerByteCount &- TCPView.byteCount }
    @inlinable public var payload: UnsafeRawPointer { base + headerByteCount }
    @inlinable public var payloadByteCount: Int { count &- headerByteCount }

    /// Where the value of the maximum segment size option (kind 2, RFC 9293 §3.7.1) begins, in bytes from
    /// the start of the header; nil when there is none before the options end or make no sense.
    @inlinable public var maximumSegmentSizeOffset: Int? {
        let end = headerByteCount
        var offset = TCPView.byteCount
        while offset < end {
            let kind = base.byte(at: offset)
            if kind == 0 { return nil }
            if kind == 1 {
                offset &+= 1
                continue
            }
            guard offset &+ 2 <= end else { return nil }
            let length = Int(base.byte(at: offset &+ 1))
            guard length >= 2, offset &+ length <= end else { return nil }
            if kind == 2 { return length == 4 ? offset &+ 2 : nil }
            offset &+= length
        }
        return nil
    }

    /// The sender's largest segment payload, in bytes; nil when not announced.
    @inlinable public var maximumSegmentSize: UInt16? {
        guard let offset = maximumSegmentSizeOffset else { return nil }
        return base.bigEndian16(at: offset)
    }

    @inlinable public func isChecksumValid(source: IPv4Address, destination: IPv4Address) -> Bool {
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .tcp, length: count)
        return Checksum.isValid(Checksum.sum(base, count: count, adding: pseudo))
    }

    @inlinable public func isChecksumValid(source: IPv6Address, destination: IPv6Address) -> Bool {
        let pseudo = Checksum.pseudoHeader(
            source: source, destination: destination, protocol: .tcp, length: count)
        return Checksum.isValid(Checksum.sum(base, count: count, adding: pseudo))
    }
}

/// A TCP header with no option but the maximum segment size.
@frozen
public struct TCPHeader: Equatable, Sendable, BitwiseCopyable {
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    public var sequence: UInt32
    public var acknowledgement: UInt32
    public var flags: TCPFlags
    /// Unscaled.
    public var window: UInt16
    /// As emitted; the caller computes it over header and payload.
    public var checksum: UInt16
    public var urgent: UInt16
    /// Announced in an option when not nil, in bytes.
    public var maximumSegmentSize: UInt16?

    @inlinable public init(
        sourcePort: UInt16, destinationPort: UInt16, sequence: UInt32, acknowledgement: UInt32 = 0,
        flags: TCPFlags, window: UInt16, checksum: UInt16 = 0, urgent: UInt16 = 0,
        maximumSegmentSize: UInt16? = nil
    ) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        self.sequence = sequence
        self.acknowledgement = acknowledgement
        self.flags = flags
        self.window = window
        self.checksum = checksum
        self.urgent = urgent
        self.maximumSegmentSize = maximumSegmentSize
    }

    /// Other options are not kept: the payload stays the same.
    @inlinable public static func parse(_ view: TCPView) -> TCPHeader {
        TCPHeader(
            sourcePort: view.sourcePort, destinationPort: view.destinationPort, sequence: view.sequence,
            acknowledgement: view.acknowledgement, flags: view.flags, window: view.window,
            checksum: view.checksum, urgent: view.urgent, maximumSegmentSize: view.maximumSegmentSize)
    }

    /// 20, or 24 with a maximum segment size.
    @inlinable public var byteCount: Int {
        maximumSegmentSize == nil ? TCPView.byteCount : TCPView.byteCount + 4
    }

    /// Writes `byteCount` bytes.
    @inlinable public func emit(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian16: sourcePort, at: 0)
        base.store(bigEndian16: destinationPort, at: 2)
        base.store(bigEndian32: sequence, at: 4)
        base.store(bigEndian32: acknowledgement, at: 8)
        base.store(byte: maximumSegmentSize == nil ? 0x50 : 0x60, at: 12)
        base.store(byte: flags.rawValue, at: 13)
        base.store(bigEndian16: window, at: 14)
        base.store(bigEndian16: checksum, at: 16)
        base.store(bigEndian16: urgent, at: 18)
        if let size = maximumSegmentSize {
            base.store(bigEndian16: 0x0204, at: 20)
            base.store(bigEndian16: size, at: 22)
        }
    }

    @inlinable public static func == (left: TCPHeader, right: TCPHeader) -> Bool {
        left.sourcePort == right.sourcePort && left.destinationPort == right.destinationPort
            && left.sequence == right.sequence && left.acknowledgement == right.acknowledgement
            && left.flags == right.flags && left.window == right.window && left.checksum == right.checksum
            && left.urgent == right.urgent && left.maximumSegmentSize == right.maximumSegmentSize
    }
}
