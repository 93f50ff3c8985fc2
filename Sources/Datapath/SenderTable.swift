// Whose datagrams are let in, and into which tunnel: an immutable hash table from (listener, outer source,
// outer destination, VNI) to port number. An exact VNI wins over "flow", an exact local_ip over any.

public import Wire

/// The lookup table of accepted senders.
@frozen
public struct SenderTable: BitwiseCopyable, @unchecked Sendable {
    /// One tunnel's claim on datagrams.
    public struct Rule: Sendable {
        public var listener: UInt32
        public var remote: PackedAddress
        public var local: PackedAddress
        /// Nil: any VNI.
        public var vni: VNI?
        public var port: UInt32

        public init(listener: UInt32, remote: PackedAddress, local: PackedAddress, vni: VNI?, port: UInt32) {
            self.listener = listener
            self.remote = remote
            self.local = local
            self.vni = vni
            self.port = port
        }
    }

    @frozen @usableFromInline
    struct Row: BitwiseCopyable {
        @usableFromInline var remote: PackedAddress
        @usableFromInline var local: PackedAddress
        @usableFromInline var listener: UInt32
        /// A VNI, or one of the markers below.
        @usableFromInline var selector: UInt32
        @usableFromInline var port: UInt32
        @usableFromInline var isUsed: Bool
    }

    /// Selectors beyond the 24 bits of a VNI.
    @inlinable static var anyVNI: UInt32 { 0xffff_ffff }
    @inlinable static var knownRemote: UInt32 { 0xffff_fffe }
    @inlinable static var ownAddress: UInt32 { 0xffff_fffd }

    @usableFromInline let rows: UnsafeMutablePointer<Row>
    @usableFromInline let mask: UInt64
    /// Some tunnel pins its local address: only then is the outer destination looked at.
    @usableFromInline let pinsLocal: Bool

    init(rules: [Rule], ownAddresses: [PackedAddress]) {
        var bits: UInt64 = 3
        while (1 << bits) < (rules.count * 2 + ownAddresses.count) * 2 { bits += 1 }
        rows = .allocate(capacity: 1 << bits)
        mask = (1 << bits) - 1
        pinsLocal = rules.contains { $0.local != .none }
        let empty = Row(remote: .none, local: .none, listener: 0, selector: 0, port: 0, isUsed: false)
        rows.initialize(repeating: empty, count: 1 << bits)
        for rule in rules {
            insert(
                rule.listener, rule.remote, rule.local, rule.vni?.rawValue ?? SenderTable.anyVNI, rule.port)
            insert(rule.listener, rule.remote, .none, SenderTable.knownRemote, 0)
        }
        for address in ownAddresses { insert(0, address, .none, SenderTable.ownAddress, 0) }
    }

    func deallocate() { rows.deallocate() }

    @inlinable
    func slot(_ listener: UInt32, _ remote: PackedAddress, _ local: PackedAddress, _ selector: UInt32)
        -> UInt64
    {
        let first = (remote.high &* 0x9E37_79B9_7F4A_7C15) ^ remote.low
        let second = (local.high &* 0xBF58_476D_1CE4_E5B9) ^ local.low
        let third = UInt64(listener) &<< 32 | UInt64(selector)
        var mixed = (first ^ (second &* 0x94D0_49BB_1331_11EB)) &+ third &* 0xD6E8_FEB8_6659_FD93
        mixed ^= mixed &>> 32
        mixed = mixed &* 0xD6E8_FEB8_6659_FD93
        return (mixed ^ (mixed &>> 32)) & mask
    }

    /// The first claim on a key stands; claims are checked for uniqueness by the control plane.
    private func insert(
        _ listener: UInt32, _ remote: PackedAddress, _ local: PackedAddress, _ selector: UInt32,
        _ port: UInt32
    ) {
        guard find(listener, remote, local, selector) == nil else { return }
        var slot = self.slot(listener, remote, local, selector)
        while rows[Int(slot)].isUsed { slot = (slot + 1) & mask }
        rows[Int(slot)] = Row(
            remote: remote, local: local, listener: listener, selector: selector, port: port, isUsed: true)
    }

    @inlinable
    func find(
        _ listener: UInt32, _ remote: PackedAddress, _ local: PackedAddress, _ selector: UInt32
    ) -> UInt32? {
        var slot = self.slot(listener, remote, local, selector)
        while rows[Int(truncatingIfNeeded: slot)].isUsed {
            let row = rows[Int(truncatingIfNeeded: slot)]
            if row.selector == selector, row.remote.low == remote.low, row.remote.high == remote.high,
                row.listener == listener, row.local.low == local.low, row.local.high == local.high
            {
                return row.port
            }
            slot = (slot &+ 1) & mask
        }
        return nil
    }

    /// The tunnel a datagram belongs to.
    @_noLocks @inlinable
    func tunnel(_ listener: UInt32, from remote: PackedAddress, to local: PackedAddress, _ vni: UInt32)
        -> UInt32?
    {
        if pinsLocal, let port = find(listener, remote, local, vni) { return port }
        if let port = find(listener, remote, .none, vni) { return port }
        if pinsLocal, let port = find(listener, remote, local, SenderTable.anyVNI) { return port }
        return find(listener, remote, .none, SenderTable.anyVNI)
    }

    /// Why there is no tunnel.
    @_noLocks @inlinable
    func refusal(_ listener: UInt32, from remote: PackedAddress) -> DropReason {
        if find(0, remote, .none, SenderTable.ownAddress) != nil { return .ownAddress }
        return find(listener, remote, .none, SenderTable.knownRemote) == nil ? .unknownSender : .unknownVNI
    }
}
