// What the neighbour table is asked about, told and says: keys, devices, states, times, notices. All times are
// monotonic milliseconds.

public import Wire

/// A next hop: an address on the link of an interface.
public struct NeighborKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Of the interface.
    public var index: Int32
    public var address: IPAddress

    public init(index: Int32, address: IPAddress) {
        self.index = index
        self.address = address
    }

    public static func < (left: NeighborKey, right: NeighborKey) -> Bool {
        left.index == right.index ? left.address < right.address : left.index < right.index
    }

    public var description: String { "\(address) on interface \(index)" }
}

/// An interface that tunnels leave by, as far as neighbours matter.
public struct UnderlayDevice: Equatable, Sendable {
    public var index: Int32
    public var name: String
    public var mac: MACAddress
    /// Up and with a carrier.
    public var isUp: Bool
    /// With their host bits.
    public var addresses: [IPPrefix]

    public init(index: Int32, name: String, mac: MACAddress, isUp: Bool, addresses: [IPPrefix]) {
        self.index = index
        self.name = name
        self.mac = mac
        self.isUp = isUp
        self.addresses = addresses
    }

    /// Whose address a question for `target` gives. ARP: `preferred`, else the address that shares the longest
    /// prefix, else any. Neighbour discovery (RFC 4861 §7.2.2): an address of this interface, which is `preferred`
    /// or the link-local one or any. Nil when there is none of the family.
    public func source(for target: IPAddress, preferred: IPAddress?) -> IPAddress? {
        let preferred = preferred.flatMap { $0.isIPv4 == target.isIPv4 ? $0 : nil }
        let family = addresses.filter { $0.address.isIPv4 == target.isIPv4 }
        if target.isIPv4 {
            let sharing = family.filter { $0.contains(target) }.max { $0.length < $1.length }
            return preferred ?? (sharing ?? family.first)?.address
        }
        if let preferred, family.contains(where: { $0.address == preferred }) { return preferred }
        return (family.first { $0.address.isLinkLocal } ?? family.first)?.address
    }
}

/// What is known about a next hop, named as `ip neigh` does.
public enum NeighborState: String, Sendable, CaseIterable {
    /// Being asked for; there is no address yet.
    case incomplete
    /// Confirmed not long ago.
    case reachable
    /// Has an address that was not confirmed lately; it is probed once it is used.
    case stale
    /// Has an address, and is being asked whether it still does.
    case probe
    /// Nobody answers.
    case failed
    /// Set by the operator.
    case permanent

    /// Frames can be sent.
    public var hasAddress: Bool {
        switch self {
        case .reachable, .stale, .probe, .permanent: true
        case .incomplete, .failed: false
        }
    }
}

/// How long things take, in milliseconds: RFC 4861 §10 as Linux has it.
public struct NeighborTiming: Sendable {
    /// How long a confirmation lasts, chosen at random each time so that probes do not meet.
    public var reachable: ClosedRange<UInt64> = 15_000...45_000
    /// A stale neighbour that is used is probed within this time.
    public var delay: UInt64 = 5000
    /// From one question for a neighbour to the next.
    public var retransmit: UInt64 = 1000
    /// An entry nobody refers to leaves after this time without confirmation.
    public var collect: UInt64 = 60_000
    /// An address just learned is not replaced by another answer to the same question.
    public var lock: UInt64 = 1000
    /// Longest pause before a failed neighbour is asked for again. Pauses begin at `retransmit` and double.
    public var longestPause: UInt64 = 8000
    /// Questions to everybody before a neighbour has failed.
    public var multicastTries = 3
    /// Questions to a known address before those.
    public var unicastTries = 3
    /// Questions per second, all neighbours together.
    public var questionsPerSecond: UInt64 = 1000
    /// Questions that may go at once after a silence.
    public var questionBurst: UInt64 = 100

    public init() {}
}

/// What somebody who watches wants to hear.
public enum NeighborNotice: Equatable, Sendable {
    case resolved(NeighborKey, MACAddress)
    case changed(NeighborKey, from: MACAddress, to: MACAddress)
    /// Nobody answers, or there is no way to ask. Said once until it is resolved again.
    case failed(NeighborKey)
}

/// A question to send.
public struct NeighborQuestion: Equatable, Sendable {
    public var key: NeighborKey
    /// The address packets to it will have as their source, as far as is known.
    public var source: IPAddress?
    /// Nil: to everybody (ARP) or to the solicited-node group.
    public var destination: MACAddress?
}

/// What is to be done after the table was told something.
public struct NeighborOutput: Equatable, Sendable {
    public var questions: [NeighborQuestion] = []
    /// Cells whose waiting frames can go, or be dropped: their link address says which.
    public var settled: [NeighborCell] = []
    public var notices: [NeighborNotice] = []
}

/// An entry for readers.
public struct NeighborEntry: Equatable, Sendable {
    public var key: NeighborKey
    public var state: NeighborState
    public var mac: MACAddress?
    /// Tunnels' next hops that are this one.
    public var pins: Int
    /// Since it was last confirmed; nil for never.
    public var confirmedMilliseconds: UInt64?
    /// Since a frame last went to it, to a second; nil for never, or when nothing refers to it.
    public var usedMilliseconds: UInt64?
    /// Questions asked for it.
    public var questionCount: UInt64
}

/// What was heard and asked, since the table was made.
public struct NeighborCounters: Equatable, Sendable {
    public var questions: UInt64 = 0
    /// ARP packets, solicitations and advertisements.
    public var heard: UInt64 = 0
    /// Of those: about an address that no entry has, which is nothing wrong.
    public var unknown: UInt64 = 0
    /// Too short, bad checksum, hop limit not 255, or against RFC 4861 §7.1 otherwise.
    public var malformed: UInt64 = 0
    /// Somebody else claims an address of ours.
    public var ownAddress: UInt64 = 0
    /// A claim to have a MAC address of ours.
    public var ownMAC: UInt64 = 0
    /// A claim to have a group's MAC address, or none.
    public var badMAC: UInt64 = 0
    /// About an entry the operator has set.
    public var permanent: UInt64 = 0
    /// Another address than the one in use, by one who may not replace it.
    public var refused: UInt64 = 0
}
