// What tells one frame from another: the header fields a decision may rest on, in eight words (a cache line).
// Made in one pass from a parsed frame, total on every input: what a frame does not have is zero.
//
//   word         63                                                                        0
//   ingress      | in_port (32)                       | eth_type (16)     | vlan_tci (16) |
//   destination  | eth_dst (48)                                           | tcp_flags (12) |
//   source       | eth_src (48)                                 | nw_proto (8) | nw_tos (8) |
//   nwSource…    | nw_src, high and low word; IPv4 in its mapped form     |
//   nwTarget…    | nw_dst                                                 |
//   transport    | tp_src (16)      | tp_dst (16)     | tun_id (24) | tags * 4 (4) | nw_frag (2)   |
//
// Names and habits are Open vSwitch's: ICMP has its type and code in tp_src and tp_dst; ARP has its operation
// in nw_proto and its addresses in nw_src and nw_dst, with the hardware addresses in their high words; an 802.3
// length is eth_type 0x05ff; vlan_tci is the outermost tag's with bit 12 set, 0 without a tag. A fragment has
// no ports and no flags here, not even the first. tun_id is the VNI of the datagram a frame came in, 0 for a local
// port. The port is there by its identity, which is never used again, and not by its number, which is. How many tags
// there are tells frames apart whose next tag counts once the first is taken off.

public import Wire

/// The fields of one frame, or those of its bits that a mask keeps.
@frozen
public struct FlowKey: BitwiseCopyable, Hashable, Sendable {
    public var ingress: UInt64 = 0
    public var destination: UInt64 = 0
    public var source: UInt64 = 0
    public var networkSourceHigh: UInt64 = 0
    public var networkSourceLow: UInt64 = 0
    public var networkDestinationHigh: UInt64 = 0
    public var networkDestinationLow: UInt64 = 0
    public var transport: UInt64 = 0

    @_noLocks @inlinable public init() {}

    /// Reads a frame of at least 14 bytes whose layers are in `shape`.
    @_noLocks
    @inlinable @inline(__always)
    public init(_ frame: Superframe, _ shape: FrameShape, port: UInt64, vni: UInt32 = 0) {
        let base = UnsafeRawPointer(frame.base)
        let network = Int(shape.networkOffset)
        let written = base.bigEndian16(at: network &- 2)
        let etherType = written < 0x0600 ? FlowKey.lengthEtherType : written
        let tag = network > EthernetView.byteCount ? base.bigEndian16(at: 14) | FlowKey.tagPresent : 0
        ingress = port &<< 32 | UInt64(etherType) &<< 16 | UInt64(tag)
        destination = base.bigEndian64(at: 0) & ~0xffff
        source = base.bigEndian64(at: 6) & ~0xffff
        // Tags are 4 bytes each, which is where their number is to stand.
        transport = UInt64(vni) &<< 8 | UInt64(network &- EthernetView.byteCount)
        if shape.isIP {
            readIP(base + network, frame.byteCount &- network, shape)
        } else if etherType == EtherType.arp.rawValue {
            self = withARP(base + network, frame.byteCount &- network)
        }
    }

    /// What eth_type says of a frame that has a length in its place.
    @inlinable public static var lengthEtherType: UInt16 { 0x05ff }
    /// Set in vlan_tci when there is a tag: an 802.1Q tag of VLAN 0 is not the same as none.
    @inlinable static var tagPresent: UInt16 { 0x1000 }

    @inlinable static var mapped: UInt64 { @_noLocks get { 0xffff_0000_0000 } }

    /// Values of nw_frag, as Open vSwitch has them.
    @inlinable public static var notFragment: UInt64 { @_noLocks get { 0 } }
    @inlinable public static var firstFragment: UInt64 { 1 }
    @inlinable public static var laterFragment: UInt64 { 3 }

    /// `shape` has found a whole IP header in the `count` bytes at `header`.
    @inlinable @inline(__always)
    mutating func readIP(_ header: UnsafeRawPointer, _ count: Int, _ shape: FrameShape) {
        source |= UInt64(shape.upperProtocol.rawValue) &<< 8 | UInt64(shape.trafficClass)
        var byteCount = Int(header.bigEndian16(at: 2))
        if shape.network == .ipv4 {
            networkSourceLow = FlowKey.mapped | UInt64(header.bigEndian32(at: 12))
            networkDestinationLow = FlowKey.mapped | UInt64(header.bigEndian32(at: 16))
        } else {
            networkSourceHigh = header.bigEndian64(at: 8)
            networkSourceLow = header.bigEndian64(at: 16)
            networkDestinationHigh = header.bigEndian64(at: 24)
            networkDestinationLow = header.bigEndian64(at: 32)
            byteCount = IPv6View.byteCount &+ Int(header.bigEndian16(at: 4))
        }
        let start = Int(shape.transportOffset) &- Int(shape.networkOffset)
        if shape.isFragment {
            transport |=
                FlowKey.isLaterFragment(header, count, shape) ? FlowKey.laterFragment : FlowKey.firstFragment
        } else if shape.transport == .tcp || shape.transport == .udp {
            transport |= UInt64(header.bigEndian32(at: start)) &<< 32
            if shape.transport == .tcp { destination |= UInt64(header.bigEndian16(at: start &+ 12) & 0x0fff) }
        } else if shape.upperProtocol == .icmp || shape.upperProtocol == .icmpv6, start &+ 2 <= byteCount {
            let (type, code) = (header.byte(at: start), header.byte(at: start &+ 1))
            transport |= UInt64(type) &<< 48 | UInt64(code) &<< 32
        }
    }

    @_noLocks
    @inlinable @inline(never)
    static func isLaterFragment(_ header: UnsafeRawPointer, _ count: Int, _ shape: FrameShape) -> Bool {
        if shape.network == .ipv4 { return header.bigEndian16(at: 6) & 0x1fff != 0 }
        guard let ip = IPv6View(checking: header, count: count), let upper = ip.upperLayer() else {
            return false
        }
        return upper.fragment == .later
    }

    /// By value, so that the key of any other frame can stay in registers.
    @inlinable @inline(never)
    func withARP(_ header: UnsafeRawPointer, _ count: Int) -> FlowKey {
        guard let arp = ARPView(checking: header, count: count) else { return self }
        var key = self
        key.source |= UInt64(arp.operation.rawValue & 0xff) &<< 8
        key.networkSourceHigh = arp.senderMAC.rawValue
        key.networkSourceLow = FlowKey.mapped | UInt64(arp.senderIP.rawValue)
        key.networkDestinationHigh = arp.targetMAC.rawValue
        key.networkDestinationLow = FlowKey.mapped | UInt64(arp.targetIP.rawValue)
        return key
    }

    // MARK: Fields

    @inlinable public var port: UInt64 { @_noLocks get { ingress &>> 32 } }
    @inlinable
    public var etherType: EtherType {
        @_noLocks get { EtherType(rawValue: UInt16(truncatingIfNeeded: ingress &>> 16)) }
    }
    @inlinable
    public var sourceMAC: MACAddress { @_noLocks get { MACAddress(rawValue: source &>> 16) } }
    @inlinable
    public var destinationMAC: MACAddress { @_noLocks get { MACAddress(rawValue: destination &>> 16) } }
    @inlinable public var isTagged: Bool { @_noLocks get { ingress & UInt64(FlowKey.tagPresent) != 0 } }
    /// The outermost tag's VLAN, 0 without a tag or in one of priority only.
    @inlinable
    public var vlan: UInt16 { @_noLocks get { UInt16(truncatingIfNeeded: ingress & 0x0fff) } }
    /// 12 bits.
    @inlinable
    public var tcpFlags: UInt16 { @_noLocks get { UInt16(truncatingIfNeeded: destination) } }
    /// The VNI it came with.
    @inlinable
    public var vni: UInt32 { @_noLocks get { UInt32(truncatingIfNeeded: transport &>> 8) & 0xff_ffff } }
    /// How many tags are looked through.
    @inlinable var tagCount: Int { @_noLocks get { Int(transport &>> 2 & 3) } }
    /// 0, 1 or 3.
    @inlinable public var fragment: UInt64 { @_noLocks get { transport & 3 } }
    /// By its type: what carries it may still be too short or broken to be an IP packet.
    @inlinable
    public var isIP: Bool { @_noLocks get { etherType == .ipv4 || etherType == .ipv6 } }

    // MARK: Comparing and hashing

    @_noLocks
    @inlinable
    public static func == (left: FlowKey, right: FlowKey) -> Bool { left.equals(right, under: .exact) }

    /// Whether the bits `mask` keeps are those of `other`, which has no more.
    @_noLocks
    @inlinable @inline(__always)
    func equals(_ other: FlowKey, under mask: FlowMask) -> Bool {
        // All words in any case: what differs is rare, and one branch is cheaper than eight.
        let first =
            (ingress & mask.bits.ingress ^ other.ingress)
            | (destination & mask.bits.destination ^ other.destination)
        let second =
            (source & mask.bits.source ^ other.source)
            | (networkSourceHigh & mask.bits.networkSourceHigh ^ other.networkSourceHigh)
        let third =
            (networkSourceLow & mask.bits.networkSourceLow ^ other.networkSourceLow)
            | (networkDestinationHigh & mask.bits.networkDestinationHigh ^ other.networkDestinationHigh)
        let fourth =
            (networkDestinationLow & mask.bits.networkDestinationLow ^ other.networkDestinationLow)
            | (transport & mask.bits.transport ^ other.transport)
        return first | second | third | fourth == 0
    }

    /// The bits `mask` keeps.
    @_noLocks
    @inlinable
    public func masked(by mask: FlowMask) -> FlowKey {
        var key = self
        key.ingress &= mask.bits.ingress
        key.destination &= mask.bits.destination
        key.source &= mask.bits.source
        key.networkSourceHigh &= mask.bits.networkSourceHigh
        key.networkSourceLow &= mask.bits.networkSourceLow
        key.networkDestinationHigh &= mask.bits.networkDestinationHigh
        key.networkDestinationLow &= mask.bits.networkDestinationLow
        key.transport &= mask.bits.transport
        return key
    }

    /// A cheaper hash for where a wrong find is noticed: from what the frame's parser has mixed already. Keys that
    /// differ in what it passes over share a hash: the segments of a connection do, whatever their flags.
    @_noLocks
    @inlinable @inline(__always)
    func quickHash(_ shape: FrameShape, _ seed: UInt64) -> UInt64 {
        FlowKey.fold(
            ingress ^ UInt64(shape.flowHash) &<< 32 ^ seed,
            (destination & ~0xffff &+ source &* 0x9E37_79B9_7F4A_7C15) ^ 0xBF58_476D_1CE4_E5B9)
    }

    /// 64 well-mixed bits that nobody can foresee who does not know `seed`.
    @_noLocks
    @inlinable
    func hash(_ seed: UInt64) -> UInt64 {
        let first = FlowKey.fold(ingress ^ seed, destination ^ 0x9E37_79B9_7F4A_7C15)
        let second = FlowKey.fold(source ^ seed, networkSourceLow ^ 0xBF58_476D_1CE4_E5B9)
        let third = FlowKey.fold(networkSourceHigh ^ seed, networkDestinationHigh ^ 0x94D0_49BB_1331_11EB)
        let fourth = FlowKey.fold(networkDestinationLow ^ seed, transport ^ 0xD6E8_FEB8_6659_FD93)
        return FlowKey.fold(first ^ (second &<< 1 | second &>> 63), (third &+ fourth) ^ ~seed)
    }

    /// Both halves of a product.
    @inlinable
    static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}

/// Which bits of a key a decision has looked at: another frame with the same bits there goes the same way.
@frozen
public struct FlowMask: BitwiseCopyable, Hashable, Sendable {
    public var bits: FlowKey

    /// Port and EtherType, which every decision rests on; of IP also whether it is a fragment, as Open vSwitch
    /// always says it.
    @_noLocks
    @inlinable
    public init(of key: FlowKey) {
        bits = FlowKey()
        bits.ingress = 0xffff_ffff_ffff_0000
        if key.isIP { bits.transport = 3 }
    }

    /// Every bit.
    @inlinable
    public static var exact: FlowMask {
        @_noLocks get {
            var mask = FlowMask(of: FlowKey())
            mask.bits.ingress = .max
            mask.bits.destination = .max
            mask.bits.source = .max
            mask.bits.networkSourceHigh = .max
            mask.bits.networkSourceLow = .max
            mask.bits.networkDestinationHigh = .max
            mask.bits.networkDestinationLow = .max
            mask.bits.transport = .max
            return mask
        }
    }

    @_noLocks
    @inlinable
    init(bits: FlowKey) { self.bits = bits }

    /// What another mask keeps as well.
    @_noLocks
    @inlinable
    mutating func add(_ other: FlowMask) {
        bits.ingress |= other.bits.ingress
        bits.destination |= other.bits.destination
        bits.source |= other.bits.source
        bits.networkSourceHigh |= other.bits.networkSourceHigh
        bits.networkSourceLow |= other.bits.networkSourceLow
        bits.networkDestinationHigh |= other.bits.networkDestinationHigh
        bits.networkDestinationLow |= other.bits.networkDestinationLow
        bits.transport |= other.bits.transport
    }

    /// As Open vSwitch has it: the VLAN and whether there is a tag.
    @_noLocks @inlinable public mutating func addVLAN() { bits.ingress |= 0x1fff }
    @_noLocks mutating func addVNI() { bits.transport |= 0xffff_ff00 }
    @_noLocks mutating func addTagCount() { bits.transport |= 3 &<< 2 }
    @_noLocks @inlinable public mutating func addSourceMAC() { bits.source |= ~0xffff }
    @_noLocks @inlinable public mutating func addDestinationMAC() { bits.destination |= ~0xffff }

    @_noLocks
    @inlinable
    public static func == (left: FlowMask, right: FlowMask) -> Bool { left.bits == right.bits }
}
