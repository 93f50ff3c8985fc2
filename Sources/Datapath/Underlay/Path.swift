// The ways to a tunnel's remote as the packet path sees them: by which interface, to which next hop, with which
// source address. Compiled by the control plane; only the next hop's link address changes under way, in a cell
// of shared memory (`NeighborCell`).

public import Wire

/// An interface of the underlay that whole outer frames leave by, and come in by where it is a TAP.
@frozen
public struct UplinkEntry: BitwiseCopyable, Sendable {
    @frozen
    public enum Kind: BitwiseCopyable, Sendable {
        /// A TAP whose frames the kernel redirects to the interface, superframes included, and back.
        case tap
        /// A packet socket on the interface, for sending.
        case packetSocket
    }

    public var kind: Kind
    /// This worker's queue of the TAP, or the packet socket.
    public var descriptor: Int32
    /// Of the interface: the source of what is sent.
    public var mac: MACAddress
    public var counters: Counters
    /// Differs for every uplink there ever was.
    public var identity: UInt64

    public init(kind: Kind, descriptor: Int32, mac: MACAddress, counters: Counters, identity: UInt64) {
        self.kind = kind
        self.descriptor = descriptor
        self.mac = mac
        self.counters = counters
        self.identity = identity
    }

    @inlinable public var isTAP: Bool {
        @_noLocks get {
            if case .tap = kind { true } else { false }
        }
    }
}

/// One way to a remote. A tunnel has as many as there are equal ones, each as often as its weight.
@frozen
public struct PathEntry: BitwiseCopyable, Sendable {
    /// Position in the uplink array.
    public var uplink: UInt32
    /// Outer source address.
    public var source: PackedAddress
    /// Of the next hop.
    public var neighbor: NeighborCell

    public init(uplink: UInt32, source: PackedAddress, neighbor: NeighborCell) {
        self.uplink = uplink
        self.source = source
        self.neighbor = neighbor
    }
}

/// A way with everything known that a frame needs.
@frozen
public struct Hop: BitwiseCopyable {
    public var uplink: UplinkEntry
    public var linkAddress: MACAddress
    public var source: PackedAddress
    public var sourcePort: UInt16

    @_noLocks
    @inlinable
    public init(uplink: UplinkEntry, linkAddress: MACAddress, source: PackedAddress, sourcePort: UInt16) {
        self.uplink = uplink
        self.linkAddress = linkAddress
        self.source = source
        self.sourcePort = sourcePort
    }
}

extension ProgramView {
    /// The way a flow takes. Another mixture of its hash than the one that picks the source port, so that routers
    /// further on, who see the port, still spread what took the same way here.
    @_noLocks
    @inlinable
    func path(of tunnel: TunnelEntry, _ flowHash: UInt32) -> PathEntry {
        let mixed = UInt64((flowHash ^ flowHash &>> 15) &* 0x9E37_79B1)
        let position = (mixed &* UInt64(tunnel.pathCount)) &>> 32
        return paths[Int(tunnel.pathStart) &+ Int(truncatingIfNeeded: position)]
    }

    /// A flow's UDP source port (RFC 7348 §5).
    @_noLocks
    @inlinable
    func sourcePort(_ flowHash: UInt32) -> UInt16 {
        let position = (UInt64(flowHash) &* UInt64(sourcePortCount)) &>> 32
        return firstSourcePort &+ UInt16(truncatingIfNeeded: position)
    }
}
