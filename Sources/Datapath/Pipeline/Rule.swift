// What an operator says about frames, as the control plane hands it over: a rule has a table, a priority, fields
// to match and actions in order. `RuleTable` compiles the rules of one bridge; nothing here is read per frame but
// the counters.
//
// A frame meets table 0 first. In each table the rule of the highest priority that matches is taken, of equal ones
// the earlier; a frame that no rule of a table matches is switched as if there were none (`normal`).

public import Synchronization
public import Wire

/// A MAC address of which only the bits of `mask` count.
public struct MaskedMAC: Hashable, Sendable {
    public var address: MACAddress
    /// 48 bits.
    public var mask: UInt64

    public init(_ address: MACAddress, mask: UInt64 = 0xffff_ffff_ffff) {
        self.address = address
        self.mask = mask & 0xffff_ffff_ffff
    }
}

/// The fields a frame must have; what is nil is not looked at. A field of a protocol matches only frames of it when
/// that protocol is said as well: `etherType` for addresses, `ipProtocol` for ports, flags and ICMP.
public struct RuleMatch: Hashable, Sendable {
    /// By the outermost tag.
    public enum VLAN: Hashable, Sendable {
        case untagged
        /// With any tag, that of VLAN 0 included; and with this priority (0…7), nil for any.
        case tagged(priority: UInt8?)
        /// 0 is a tag that carries a priority only.
        case vid(UInt16, priority: UInt8?)
    }

    /// Which part of an IP packet it is, as Open vSwitch's `ip_frag` says it.
    public enum Fragment: Hashable, Sendable {
        /// No fragment.
        case no
        /// Any fragment.
        case yes
        case first, later
        /// No fragment, or the first.
        case notLater
    }

    /// TCP flags (12 bits) of which those of `mask` count.
    public struct Flags: Hashable, Sendable {
        public var value: UInt16
        public var mask: UInt16

        public init(value: UInt16, mask: UInt16) {
            self.value = value & mask & 0x0fff
            self.mask = mask & 0x0fff
        }
    }

    /// Identities of ports, any of them; an empty list matches nothing.
    public var inPorts: [UInt64]?
    public var etherSource: MaskedMAC?
    public var etherDestination: MaskedMAC?
    /// Behind the tags; 0x05ff is 802.3 with a length.
    public var etherType: EtherType?
    public var vlan: VLAN?
    public var networkSource: IPPrefix?
    public var networkDestination: IPPrefix?
    public var ipProtocol: IPProtocol?
    /// 0…63.
    public var dscp: UInt8?
    public var fragment: Fragment?
    /// TCP, UDP, SCTP as far as frames have ports here.
    public var sourcePorts: ClosedRange<UInt16>?
    public var destinationPorts: ClosedRange<UInt16>?
    public var tcpFlags: Flags?
    public var icmpType: UInt8?
    public var icmpCode: UInt8?
    public var arpOperation: UInt8?
    public var arpSender: IPPrefix?
    public var arpTarget: IPPrefix?
    public var arpSenderMAC: MaskedMAC?
    public var arpTargetMAC: MaskedMAC?
    /// Of the datagram the frame came in; frames of local ports have 0.
    public var vni: VNI?

    public init() {}
}

/// One thing to do with a frame.
@frozen
public enum RuleAction: BitwiseCopyable, Sendable {
    /// Switch it as if there were no rules. Only last.
    case normal
    /// A copy to a port, by its number. Where the frame came from it does not go back to.
    case output(port: UInt32)
    /// What the outputs that follow send to tunnels that have the VNI of the flow; `via`: the number of such a tunnel,
    /// which they then take whichever they name.
    case setTunnel(VNI, via: UInt32?)
    case setEtherSource(MACAddress)
    case setEtherDestination(MACAddress)
    /// An 802.1Q tag in front of those there are.
    case pushVLAN(UInt16, priority: UInt8)
    case popVLAN
    /// The outermost tag's VLAN; a frame without a tag gets one.
    case setVLAN(UInt16)
    /// The outermost tag's priority; a frame without a tag gets one of VLAN 0.
    case setVLANPriority(UInt8)
    case setNetworkSource(PackedAddress)
    case setNetworkDestination(PackedAddress)
    case setDSCP(UInt8)
    case setTimeToLive(UInt8)
    /// A packet whose TTL is 0 or 1 is dropped.
    case decrementTimeToLive
    case setSourcePort(UInt16)
    case setDestinationPort(UInt16)
    /// A copy to a port, which is no output: a rule with mirrors alone drops.
    case mirror(port: UInt32)
    /// Drops what is too much.
    case police(Meter)
    /// Go on with the rules of a higher table. Only last.
    case goToTable(UInt8)
    /// Only last.
    case drop
}

/// One rule of a bridge.
public struct Rule: Sendable {
    public var table: UInt8
    public var priority: UInt16
    public var match: RuleMatch
    public var actions: [RuleAction]
    public var counters: RuleCounters
    /// What the control plane knows it by.
    public var identity: UInt32

    public init(
        table: UInt8 = 0, priority: UInt16 = 0, match: RuleMatch = RuleMatch(), actions: [RuleAction],
        counters: RuleCounters, identity: UInt32
    ) {
        self.table = table
        self.priority = priority
        self.match = match
        self.actions = actions
        self.counters = counters
        self.identity = identity
    }
}

/// What one rule has met, a row for each worker with a cache line to itself, so that each word has one writer. Belongs
/// to the control plane, and outlives the tables the rule is compiled into.
@frozen
public struct RuleCounters: BitwiseCopyable, @unchecked Sendable {
    // Unchecked: the memory is atomic words, laid out once.
    @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>?
    @usableFromInline let count: UInt32

    /// Words from one worker's row to the next: packets, bytes, milliseconds of the last.
    @inlinable static var stride: Int { 8 }

    @_noLocks
    @usableFromInline
    init(words: UnsafeMutablePointer<Atomic<UInt64>>?, count: UInt32) {
        self.words = words
        self.count = count
    }

    /// Counts nothing.
    @inlinable public static var nowhere: RuleCounters {
        @_noLocks get { RuleCounters(words: nil, count: 0) }
    }

    /// Zeroed rows for `workers`. Freed by `deallocate()` once no program refers to them.
    public static func allocate(workers: Int = 1) -> RuleCounters {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: workers * stride * 8, alignment: 64)
        let words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: workers * stride)
        for index in 0..<workers * stride { (words + index).initialize(to: Atomic(0)) }
        return RuleCounters(words: words, count: UInt32(workers))
    }

    /// Atomic words need no ending.
    public func deallocate() { words.map { UnsafeMutableRawPointer($0).deallocate() } }

    /// Counts `frameCount` frames; only by that worker's thread.
    @_noLocks
    @inlinable
    func add(_ frameCount: Int, byteCount: Int, nowMilliseconds: UInt64, worker: Int) {
        guard let words, worker < Int(count) else { return }
        let row = words + worker &* RuleCounters.stride
        let packets = row[0].load(ordering: .relaxed) &+ UInt64(truncatingIfNeeded: frameCount)
        row[0].store(packets, ordering: .relaxed)
        let bytes = row[1].load(ordering: .relaxed) &+ UInt64(truncatingIfNeeded: byteCount)
        row[1].store(bytes, ordering: .relaxed)
        row[2].store(nowMilliseconds, ordering: .relaxed)
    }

    /// Frames, bytes, and the worker's clock at the last frame (0 when there was none), of all workers together.
    public var snapshot: (packets: UInt64, bytes: UInt64, usedMilliseconds: UInt64) {
        var sum: (packets: UInt64, bytes: UInt64, usedMilliseconds: UInt64) = (0, 0, 0)
        guard let words else { return sum }
        for worker in 0..<Int(count) {
            let row = words + worker * RuleCounters.stride
            sum.packets &+= row[0].load(ordering: .relaxed)
            sum.bytes &+= row[1].load(ordering: .relaxed)
            sum.usedMilliseconds = max(sum.usedMilliseconds, row[2].load(ordering: .relaxed))
        }
        return sum
    }
}
