// Which VLANs a port carries and how, as Open vSwitch's vlan_mode, tag and trunks say it; and a bridge's map between
// VLANs and the VNIs of tunnels that take theirs from the flow.

public import Wire

/// The VLANs of one port or tunnel.
@frozen
public struct PortVLAN: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the set it refers to never changes.
    @frozen
    public enum Mode: UInt8, BitwiseCopyable, Sendable {
        /// Frames as they are tagged; without a tag, or with one of VLAN 0, they are of VLAN 0.
        case trunk
        /// Frames of VLAN `tag`, without tags.
        case access
        /// A trunk where frames without a tag are of VLAN `tag`, sent with one.
        case nativeTagged
        /// A trunk where VLAN `tag` has no tag.
        case nativeUntagged
    }

    public var mode = Mode.trunk
    /// 0…4095.
    public var tag: UInt16 = 0
    /// The VLANs of a trunk, a bit each; nil for all of them. `VLANSet` owns it.
    public var trunks: UnsafePointer<UInt64>?

    @inlinable public init() {}

    public init(mode: Mode, tag: UInt16 = 0, trunks: VLANSet? = nil) {
        self.mode = mode
        self.tag = tag
        self.trunks = trunks?.words
    }

    /// Whether it does anything to a frame.
    public var isSet: Bool { mode != .trunk || trunks != nil }
}

/// Owner of a set of VLANs. Programs refer to it: it is let go of only after the workers have adopted programs
/// without it.
public final class VLANSet: @unchecked Sendable {
    // Unchecked: written only by `init`.
    public let words: UnsafePointer<UInt64>

    /// `vlans` are 0…4095.
    public init(_ vlans: some Sequence<UInt16>) {
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 64)
        words.initialize(repeating: 0, count: 64)
        for vlan in vlans { words[Int(vlan) / 64] |= 1 << UInt64(vlan % 64) }
        self.words = UnsafePointer(words)
    }

    deinit { words.deallocate() }

    @_noLocks
    @inlinable
    static func contains(_ words: UnsafePointer<UInt64>, _ vlan: UInt16) -> Bool {
        words[Int(vlan &>> 6) & 63] &>> UInt64(vlan & 63) & 1 == 1
    }
}

/// A handle on a bridge's map between VLANs and VNIs; `none` maps nothing, and then nothing is mapped.
@frozen
public struct VLANMap: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the memory never changes.
    /// The VNI of each of 4,096 VLANs; `unmapped` where there is none.
    @usableFromInline let vnis: UnsafePointer<UInt32>?
    /// By VNI: it in the upper bits, 16 bits of VLAN below.
    @usableFromInline let byVNI: UnsafePointer<UInt64>?
    @usableFromInline let count: Int

    @inlinable static var unmapped: UInt32 { @_noLocks get { .max } }

    init(vnis: UnsafePointer<UInt32>?, byVNI: UnsafePointer<UInt64>?, count: Int) {
        self.vnis = vnis
        self.byVNI = byVNI
        self.count = count
    }

    public static var none: VLANMap { VLANMap(vnis: nil, byVNI: nil, count: 0) }

    @inlinable public var isEmpty: Bool { @_noLocks get { vnis == nil } }

    /// The VNI of a VLAN, nil when it has none.
    @_noLocks
    @inlinable
    public func vni(of vlan: UInt16) -> UInt32? {
        guard let vnis else { return nil }
        let vni = vnis[Int(vlan & 0x0fff)]
        return vni == VLANMap.unmapped ? nil : vni
    }

    /// The VLAN of a VNI, nil when it has none.
    @_noLocks
    @inlinable
    public func vlan(of vni: UInt32) -> UInt16? {
        guard let byVNI else { return nil }
        var (low, high) = (0, count)
        while low < high {
            let middle = (low &+ high) &>> 1
            if byVNI[middle] &>> 16 < UInt64(vni) { low = middle &+ 1 } else { high = middle }
        }
        guard low < count, byVNI[low] &>> 16 == UInt64(vni) else { return nil }
        return UInt16(truncatingIfNeeded: byVNI[low])
    }
}

/// Owner of a bridge's map. Programs refer to it: it is let go of only after the workers have adopted programs without
/// it.
public final class VLANMapping: @unchecked Sendable {
    // Unchecked: written only by `init`.
    public let map: VLANMap

    /// Each VLAN (0…4095) and each VNI at most once. An empty list is no map.
    public init(_ pairs: [(vlan: UInt16, vni: VNI)]) {
        guard !pairs.isEmpty else {
            map = .none
            return
        }
        let vnis = UnsafeMutablePointer<UInt32>.allocate(capacity: 4096)
        vnis.initialize(repeating: VLANMap.unmapped, count: 4096)
        for pair in pairs { vnis[Int(pair.vlan)] = pair.vni.rawValue }
        let sorted = pairs.map { UInt64($0.vni.rawValue) << 16 | UInt64($0.vlan) }.sorted()
        let byVNI = UnsafeMutablePointer<UInt64>.allocate(capacity: sorted.count)
        for (index, word) in sorted.enumerated() { (byVNI + index).initialize(to: word) }
        map = VLANMap(vnis: vnis, byVNI: byVNI, count: sorted.count)
    }

    deinit {
        map.vnis?.deallocate()
        map.byVNI?.deallocate()
    }
}
