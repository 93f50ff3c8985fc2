// Owns: a hash that is the same in every process and version: stored digests, entity tags, addresses made from names.

/// FNV-1a, 64 bits (draft-eastlake-fnv §2). Quick and spread well; not against enemies.
public struct FNV1a: Sendable {
    public private(set) var value: UInt64

    /// - Parameter seed: gives another hash of the same bytes; 0 is the published one.
    public init(seed: UInt64 = 0) { value = 0xcbf2_9ce4_8422_2325 ^ seed }

    public init(_ bytes: some Sequence<UInt8>) {
        self.init()
        add(bytes)
    }

    public mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }

    public mutating func add(_ bytes: some Sequence<UInt8>) { for byte in bytes { add(byte) } }
}
