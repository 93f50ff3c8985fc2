// Owns: the IPv6 address, its text forms (RFC 4291 in, RFC 5952 out) and its classes.

/// An IPv6 address as two integers in host order: `2001:db8::1` is high `0x20010db8_00000000`, low `1`.
@frozen
public struct IPv6Address: Hashable, Sendable, BitwiseCopyable, Comparable, CustomStringConvertible,
    LosslessStringConvertible
{
    /// The first eight octets, host order.
    public let high: UInt64
    /// The last eight octets, host order.
    public let low: UInt64

    @inlinable public static var byteCount: Int { 16 }

    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Reads exactly sixteen bytes, any alignment.
    @inlinable public init(loading base: UnsafeRawPointer) {
        high = base.bigEndian64(at: 0)
        low = base.bigEndian64(at: 8)
    }

    /// Writes exactly sixteen bytes, any alignment.
    @inlinable public func store(to base: UnsafeMutableRawPointer) {
        base.store(bigEndian64: high, at: 0)
        base.store(bigEndian64: low, at: 8)
    }

    /// `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
    @inlinable public init(mapping address: IPv4Address) {
        high = 0
        low = 0xffff_0000_0000 | UInt64(address.rawValue)
    }

    /// `::`.
    @inlinable public static var unspecified: IPv6Address { IPv6Address(high: 0, low: 0) }

    /// ff00::/8 (RFC 4291 §2.7).
    @inlinable public var isMulticast: Bool { high >> 56 == 0xff }
    /// `::`.
    @inlinable public var isUnspecified: Bool { high | low == 0 }
    /// `::1`.
    @inlinable public var isLoopback: Bool { high == 0 && low == 1 }
    /// fe80::/10 (RFC 4291 §2.5.6).
    @inlinable public var isLinkLocal: Bool { high >> 54 == 0x3fa }
    /// ::ffff:0:0/96 (RFC 4291 §2.5.5.2).
    @inlinable public var isIPv4Mapped: Bool { high == 0 && low >> 32 == 0xffff }

    /// The IPv4 address inside `::ffff:a.b.c.d`, nil for every other address.
    @inlinable public var mappedIPv4: IPv4Address? {
        isIPv4Mapped ? IPv4Address(rawValue: UInt32(truncatingIfNeeded: low)) : nil
    }

    /// ff02::1:ffXX:XXXX, to which a solicitation for this address is sent (RFC 4291 §2.7.1).
    @inlinable public var solicitedNode: IPv6Address {
        IPv6Address(high: 0xff02_0000_0000_0000, low: 0x0000_0001_ff00_0000 | low & 0xff_ffff)
    }

    @inlinable public static func == (left: IPv6Address, right: IPv6Address) -> Bool {
        left.high == right.high && left.low == right.low
    }

    @inlinable public static func < (left: IPv6Address, right: IPv6Address) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }
}

// MARK: Text

extension IPv6Address {
    /// Longest legal text: six groups of four and a dotted quad, as in
    /// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
    private static let maximumTextByteCount = 45

    /// Every form of RFC 4291 §2.2, either case; no zone (`%eth0`), no brackets, no prefix length.
    public init?(_ text: String) {
        let bytes = Array(text.utf8.prefix(Self.maximumTextByteCount + 1))
        guard bytes.count <= Self.maximumTextByteCount else { return nil }
        var groups: [UInt16]
        if let gap = Self.gap(in: bytes) {
            // "::" stands for one or more groups, so at most seven are written.
            guard let head = Self.groups(bytes[..<gap], mayEndInIPv4: false),
                let tail = Self.groups(bytes[(gap + 2)...], mayEndInIPv4: true),
                head.count + tail.count <= 7
            else { return nil }
            groups = head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
        } else {
            groups = Self.groups(bytes[...], mayEndInIPv4: true) ?? []
        }
        guard groups.count == 8 else { return nil }
        high = groups[..<4].reduce(0) { $0 << 16 | UInt64($1) }
        low = groups[4...].reduce(0) { $0 << 16 | UInt64($1) }
    }

    /// Index of the first `::`.
    private static func gap(in bytes: [UInt8]) -> Int? {
        let colon = UInt8(ascii: ":")
        return bytes.indices.dropLast().first { bytes[$0] == colon && bytes[$0 + 1] == colon }
    }

    /// Groups of one to four hexadecimal digits separated by single colons; empty text is no groups.
    private static func groups(_ bytes: ArraySlice<UInt8>, mayEndInIPv4: Bool) -> [UInt16]? {
        guard !bytes.isEmpty else { return [] }
        let parts = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        var groups: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if mayEndInIPv4, index == parts.count - 1, part.contains(UInt8(ascii: ".")) {
                guard let quad = IPv4Address(utf8: part) else { return nil }
                groups.append(UInt16(truncatingIfNeeded: quad.rawValue >> 16))
                groups.append(UInt16(truncatingIfNeeded: quad.rawValue))
                continue
            }
            guard (1...4).contains(part.count) else { return nil }
            var value: UInt16 = 0
            for byte in part {
                guard let digit = Hexadecimal.value(byte) else { return nil }
                value = value << 4 | UInt16(digit)
            }
            groups.append(value)
        }
        return groups
    }

    /// RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`,
    /// and dotted quad for IPv4-mapped addresses.
    public var description: String {
        if let quad = mappedIPv4 { return "::ffff:\(quad)" }
        let groups = (0..<8).map { index -> UInt64 in
            (index < 4 ? high : low) >> UInt64(48 - 16 * (index % 4)) & 0xffff
        }
        let run = Self.longestZeroRun(groups)
        let texts = groups.map { Hexadecimal.text($0, digits: 1) }
        guard run.count >= 2 else { return texts.joined(separator: ":") }
        return texts[..<run.lowerBound].joined(separator: ":") + "::"
            + texts[run.upperBound...].joined(separator: ":")
    }

    /// The first of the longest runs of zero groups; empty when there is none.
    private static func longestZeroRun(_ groups: [UInt64]) -> Range<Int> {
        var best = 0..<0
        var start = 0
        for index in groups.indices {
            if groups[index] != 0 {
                start = index + 1
            } else if index + 1 - start > best.count {
                best = start..<(index + 1)
            }
        }
        return best
    }
}
