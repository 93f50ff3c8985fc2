// Which station of a bridge has an IP address: a hash table made by the control plane from the static entries'
// addresses and read by all workers. Where the station is, the MAC table knows: an entry that moves to another port
// leaves this one as it is.
//
// Contract, as for the MAC table: between two breaths, while all workers are parked, the control plane puts other rows
// in place of those that are there. Rows never change, and no program need.
//
// A row is 24 bytes and at most half of the rows are used, so that probes stay short: 48 to 96 bytes per address.

public import Wire

/// A handle on the memory of one table; without memory it has no addresses.
@frozen
public struct BindingTable: BitwiseCopyable, @unchecked Sendable {
    @frozen @usableFromInline
    struct Row: BitwiseCopyable {
        @usableFromInline var address: PackedAddress
        /// 48 address bits; bit 63 marks a row in use.
        @usableFromInline var word: UInt64
    }

    /// What is read now.
    @frozen @usableFromInline
    struct Header: BitwiseCopyable {
        @usableFromInline var rows: UnsafeMutablePointer<Row>?
        @usableFromInline var mask: UInt64 = 0
        /// Keeps the hash unpredictable for those who choose what they ask for.
        @usableFromInline var seed: UInt64 = 0

        @_noLocks
        @inlinable
        func slot(of address: PackedAddress) -> UInt64 {
            var mixed = ((address.high ^ seed) &* 0x9E37_79B9_7F4A_7C15) ^ (address.low &+ seed)
            mixed ^= mixed &>> 32
            mixed = mixed &* 0xD6E8_FEB8_6659_FD93
            return (mixed ^ (mixed &>> 32)) & mask
        }

        @_noLocks
        @inlinable
        func station(of address: PackedAddress) -> MACAddress {
            guard let rows else { return MACAddress(rawValue: 0) }
            var slot = self.slot(of: address)
            while true {
                let row = rows[Int(truncatingIfNeeded: slot)]
                if row.word == 0 { return MACAddress(rawValue: 0) }
                if row.address.low == address.low, row.address.high == address.high {
                    return MACAddress(rawValue: row.word & 0xffff_ffff_ffff)
                }
                slot = (slot &+ 1) & mask
            }
        }
    }

    @usableFromInline let header: UnsafeMutablePointer<Header>?

    init(header: UnsafeMutablePointer<Header>?) { self.header = header }

    /// No address at all.
    public static var none: BindingTable { BindingTable(header: nil) }

    @inlinable public var isEmpty: Bool { @_noLocks get { header?.pointee.rows == nil } }

    /// The MAC address of the station that has `address`; zero when none is known.
    @_noLocks
    @inlinable
    public func station(of address: PackedAddress) -> MACAddress {
        guard let header else { return MACAddress(rawValue: 0) }
        return header.pointee.station(of: address)
    }
}

/// Rows that were made and never change.
public final class BindingRows: @unchecked Sendable {
    // Unchecked: written only by `init`.
    let header: BindingTable.Header

    /// Each address once, the first of several that are the same stands; at most `Bindings.capacity`.
    public init(_ bindings: [(address: IPAddress, station: MACAddress)]) {
        precondition(bindings.count <= Bindings.capacity)
        guard !bindings.isEmpty else {
            header = BindingTable.Header()
            return
        }
        var count: UInt64 = 4
        while count < bindings.count * 2 { count *= 2 }
        let rows = UnsafeMutablePointer<BindingTable.Row>.allocate(capacity: Int(count))
        rows.initialize(repeating: BindingTable.Row(address: .none, word: 0), count: Int(count))
        header = BindingTable.Header(rows: rows, mask: count - 1, seed: .random(in: .min ... .max))
        for (address, station) in bindings {
            let address = PackedAddress(address)
            guard header.station(of: address).isZero else { continue }
            var slot = header.slot(of: address)
            while rows[Int(slot)].word != 0 { slot = (slot + 1) & header.mask }
            rows[Int(slot)] = BindingTable.Row(address: address, word: station.rawValue | 1 << 63)
        }
    }

    deinit { header.rows?.deallocate() }
}

/// Owner of one bridge's table. Programs refer to it: it is let go of only after the workers have adopted programs
/// without it.
public final class Bindings: @unchecked Sendable {
    // Unchecked: by contract it changes only while no worker breathes.
    /// Most addresses a table takes: 24 MiB.
    public static let capacity = 262_144

    public let table: BindingTable
    private let header: UnsafeMutablePointer<BindingTable.Header>
    private var rows: BindingRows

    public init(_ rows: BindingRows = BindingRows([])) {
        self.rows = rows
        header = .allocate(capacity: 1)
        header.initialize(to: rows.header)
        table = BindingTable(header: header)
    }

    deinit { header.deallocate() }

    /// Has other rows read from now on. Only between breaths.
    public func replace(with rows: BindingRows) {
        header.pointee = rows.header
        self.rows = rows
    }
}
