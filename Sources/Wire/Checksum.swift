// Owns: the Internet checksum (RFC 1071), whole, in parts and updated in place (RFC 1624).
//
// A sum is kept in the machine's own byte order until it is folded: RFC 1071 §2(B) shows that the
// ones'-complement sum is the same in either order but for a final byte swap, so the loop never swaps.

public import CChecksum

/// The Internet checksum in its steps: sum the parts, fold or finish, store.
public enum Checksum {
    /// From here on the widest vector unit there is does it; below, the call would cost more than it saves.
    @inlinable static var vectorByteCount: Int { 256 }

    /// Adds the 16-bit words of `count` bytes at `base` (any alignment; an odd tail is padded with a zero
    /// byte; a count of zero or less adds nothing) to the unfolded sum `adding`.
    ///
    /// Partial sums may be added with `&+` when every part but the last has an even count. Each part adds
    /// less than 2³⁴ for any count up to 4 GiB, so 2³⁰ parts can not overflow.
    @inlinable public static func sum(_ base: UnsafeRawPointer, count: Int, adding: UInt64 = 0) -> UInt64 {
        if count >= vectorByteCount { return adding &+ ccs_sum(base, count) }
        // Two accumulators of 32-bit halves need no carry handling, and the compiler turns the loop into
        // vector code: 32 bytes a turn, no dependency but the additions.
        var low: UInt64 = 0
        var high: UInt64 = 0
        var offset = 0
        let whole = count & ~31
        while offset < whole {
            let a = base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let b = base.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt64.self)
            let c = base.loadUnaligned(fromByteOffset: offset &+ 16, as: UInt64.self)
            let d = base.loadUnaligned(fromByteOffset: offset &+ 24, as: UInt64.self)
            low &+= (a & 0xffff_ffff) &+ (b & 0xffff_ffff) &+ (c & 0xffff_ffff) &+ (d & 0xffff_ffff)
            high &+= (a &>> 32) &+ (b &>> 32) &+ (c &>> 32) &+ (d &>> 32)
            offset &+= 32
        }
        while offset &+ 4 <= count {
            low &+= UInt64(base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            offset &+= 4
        }
        if offset &+ 2 <= count {
            low &+= UInt64(base.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset &+= 2
        }
        if offset < count {
            // The padding byte follows in memory order, whichever half of the word that is.
            low &+= UInt64(UInt16(littleEndian: UInt16(base.byte(at: offset))))
        }
        low = (low & 0xffff_ffff) &+ (low &>> 32)
        high = (high & 0xffff_ffff) &+ (high &>> 32)
        return adding &+ low &+ high
    }

    /// The IPv4 pseudo-header of TCP (RFC 9293 §3.1) and UDP (RFC 768), unfolded. `length` is the
    /// transport header and its payload, in bytes, without any padding.
    @inlinable public static func pseudoHeader(
        source: IPv4Address, destination: IPv4Address, protocol number: IPProtocol, length: Int
    ) -> UInt64 {
        UInt64(source.rawValue.bigEndian) &+ UInt64(destination.rawValue.bigEndian)
            &+ tail(number, length: length)
    }

    /// The IPv6 pseudo-header of TCP, UDP and ICMPv6 (RFC 8200 §8.1), unfolded. `destination` is the final
    /// one and `number` the upper-layer protocol, whatever extension headers lie between.
    @inlinable public static func pseudoHeader(
        source: IPv6Address, destination: IPv6Address, protocol number: IPProtocol, length: Int
    ) -> UInt64 {
        halves(source.high) &+ halves(source.low) &+ halves(destination.high) &+ halves(destination.low)
            &+ tail(number, length: length)
    }

    @inlinable static func halves(_ value: UInt64) -> UInt64 {
        let stored = value.bigEndian
        return (stored & 0xffff_ffff) &+ (stored &>> 32)
    }

    @inlinable static func tail(_ number: IPProtocol, length: Int) -> UInt64 {
        UInt64(UInt16(number.rawValue).bigEndian) &+ UInt64(UInt32(truncatingIfNeeded: length).bigEndian)
    }

    /// Folds to 16 bits, not complemented, as the number RFC 1071 writes (host order). Zero only when
    /// everything summed was zero.
    @inlinable public static func fold(_ sum: UInt64) -> UInt16 {
        var value = (sum & 0xffff_ffff) &+ (sum &>> 32)  // < 2³³
        value = (value & 0xffff) &+ (value &>> 16)  // < 2¹⁸
        value = (value & 0xffff) &+ (value &>> 16)  // ≤ 0x10002
        value = (value & 0xffff) &+ (value &>> 16)
        return UInt16(bigEndian: UInt16(truncatingIfNeeded: value))
    }

    /// The value of a checksum field: the complement of `fold`.
    @inlinable public static func finish(_ sum: UInt64) -> UInt16 { ~fold(sum) }

    /// As `finish`, but 0 becomes 0xffff, because a zero UDP checksum means "none" (RFC 768).
    @inlinable public static func finishUDP(_ sum: UInt64) -> UInt16 {
        let value = finish(sum)
        return value == 0 ? 0xffff : value
    }

    /// Whether a sum over data *and* its checksum field (and pseudo-header) is that of intact data.
    @inlinable public static func isValid(_ sum: UInt64) -> Bool { fold(sum) == 0xffff }

    /// Writes a checksum field, network order, any alignment.
    @inlinable public static func store(_ value: UInt16, to base: UnsafeMutableRawPointer) {
        base.store(bigEndian16: value, at: 0)
    }

    /// What an unfolded sum grows by when `new` takes the place of `old`: a field of two, four or eight bytes at
    /// an even offset. Changes of several fields may be added.
    @inlinable public static func change(from old: UInt64, to new: UInt64) -> UInt64 {
        halves(~old) &+ halves(new)
    }

    /// The checksum field after changes under it (RFC 1624 equation 3). For UDP as with `update`.
    @inlinable public static func amended(_ field: UInt16, by change: UInt64) -> UInt16 {
        finish(UInt64((~field).bigEndian) &+ change)
    }

    /// The checksum field after one 16-bit word under it changed (RFC 1624 equation 3). For UDP the caller
    /// leaves a zero field zero and writes a zero result as 0xffff.
    @inlinable public static func update(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        var value = UInt32(~checksum) &+ UInt32(~old) &+ UInt32(new)
        value = (value & 0xffff) &+ (value &>> 16)
        value = (value & 0xffff) &+ (value &>> 16)
        return ~UInt16(truncatingIfNeeded: value)
    }
}
