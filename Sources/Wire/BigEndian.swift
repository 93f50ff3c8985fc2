// Owns: reading and writing network-order integers at any alignment.
//
// Every other file of this room touches packet bytes through these functions only. They do not check
// bounds: a caller reads or writes only inside a range that a view's `init?(checking:count:)` has accepted,
// or inside a buffer of the `byteCount` a Repr promised.
//
// This room is called from functions marked `@_noLocks` in other modules, so all of it that a packet meets is
// `@inlinable`. That is also why `==` is written out in every type: a synthesized one is not inlinable.

extension UnsafeRawPointer {
    /// The byte at `offset`.
    @inlinable public func byte(at offset: Int) -> UInt8 {
        loadUnaligned(fromByteOffset: offset, as: UInt8.self)
    }

    /// Two bytes at `offset`, network order, any alignment.
    @inlinable public func bigEndian16(at offset: Int) -> UInt16 {
        UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    /// Four bytes at `offset`, network order, any alignment.
    @inlinable public func bigEndian32(at offset: Int) -> UInt32 {
        UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// Eight bytes at `offset`, network order, any alignment.
    @inlinable public func bigEndian64(at offset: Int) -> UInt64 {
        UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}

extension UnsafeMutableRawPointer {
    /// Writes one byte at `offset`.
    @inlinable public func store(byte value: UInt8, at offset: Int) {
        storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    }

    /// Writes two bytes at `offset`, network order, any alignment.
    @inlinable public func store(bigEndian16 value: UInt16, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }

    /// Writes four bytes at `offset`, network order, any alignment.
    @inlinable public func store(bigEndian32 value: UInt32, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// Writes eight bytes at `offset`, network order, any alignment.
    @inlinable public func store(bigEndian64 value: UInt64, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
    }
}
