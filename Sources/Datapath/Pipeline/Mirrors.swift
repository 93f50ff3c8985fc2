// Copies of what passes certain ports or VLANs, to a port that is there for them alone.

/// One mirror: of which frames, and to where. A frame is copied once however many of its ports are selected.
public struct Mirror: Sendable {
    /// Numbers of ports; frames as they come in by them.
    public var sources: [UInt32] = []
    /// Numbers of ports; frames as they leave by them.
    public var destinations: [UInt32] = []
    /// All ports, both ways.
    public var selectsAll = false
    /// Only frames of these VLANs; nil for all.
    public var vlans: VLANSet?
    /// Number of a port or tunnel of the bridge, which gets nothing else and takes nothing in.
    public var output: UInt32

    public init(output: UInt32) { self.output = output }
}

/// A handle on the mirrors of one bridge. `MirrorTable` owns it.
@frozen
public struct Mirrors: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the memory never changes.
    @frozen @usableFromInline
    struct Row: BitwiseCopyable {
        @usableFromInline var output: UInt32
        @usableFromInline var vlans: UnsafePointer<UInt64>?
    }

    @usableFromInline let rows: UnsafePointer<Row>?
    @usableFromInline let count: Int
    let table: Unmanaged<MirrorTable>?

    public static var none: Mirrors { Mirrors(rows: nil, count: 0, table: nil) }

    @inlinable public var isEmpty: Bool { @_noLocks get { count == 0 } }

    /// Those of `candidates`, a bit each, that want frames of a VLAN.
    @_noLocks
    @inlinable
    func select(_ candidates: UInt32, _ vlan: UInt16) -> UInt32 {
        var (left, selected) = (candidates, UInt32(0))
        guard left != 0, let rows else { return 0 }
        while left != 0 {
            let bit = left & (0 &- left)
            left &= left &- 1
            let row = rows + bit.trailingZeroBitCount
            if let vlans = row.pointee.vlans, !PortVLAN.has(vlans, vlan) { continue }
            selected |= bit
        }
        return selected
    }

    /// The number of the port a mirror copies to.
    @_noLocks
    @inlinable
    func output(_ mirror: Int) -> UInt32 { rows.map { $0[mirror].output } ?? 0 }
}

/// Owner of a bridge's mirrors. Programs refer to it: it is let go of only after the workers have adopted programs
/// without it.
public final class MirrorTable: @unchecked Sendable {
    // Unchecked: written only by `init`.
    /// Most mirrors of a bridge, as in Open vSwitch: ports have a bit for each.
    public static let capacity = 32

    let mirrors: [Mirror]
    private let rows: UnsafeMutablePointer<Mirrors.Row>

    public init(_ mirrors: [Mirror]) {
        precondition(mirrors.count <= MirrorTable.capacity)
        self.mirrors = mirrors
        rows = .allocate(capacity: max(1, mirrors.count))
        for (index, mirror) in mirrors.enumerated() {
            (rows + index).initialize(to: Mirrors.Row(output: mirror.output, vlans: mirror.vlans?.words))
        }
    }

    deinit { rows.deallocate() }

    public var handle: Mirrors {
        Mirrors(rows: UnsafePointer(rows), count: mirrors.count, table: .passUnretained(self))
    }

    /// The mirrors that copy what comes in by a port, a bit each.
    func sources(_ port: UInt32) -> UInt32 {
        bits { $0.selectsAll || $0.sources.contains(port) }
    }

    /// The mirrors that copy what leaves by a port.
    func destinations(_ port: UInt32) -> UInt32 {
        bits { $0.selectsAll || $0.destinations.contains(port) }
    }

    func isOutput(_ port: UInt32) -> Bool { mirrors.contains { $0.output == port } }

    private func bits(_ selects: (Mirror) -> Bool) -> UInt32 {
        mirrors.enumerated().reduce(0) { selects($1.element) ? $0 | 1 << UInt32($1.offset) : $0 }
    }
}
