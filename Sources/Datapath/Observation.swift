// What a capture is told of the packet path: a frame, where it was seen, and why it ended if it did. The engine asks
// one flag of its view per place; while nothing captures, nothing more happens.

/// Where and how a frame, a datagram or an outer frame was seen.
@frozen
public struct Observation: BitwiseCopyable {
    /// The places a capture can watch.
    @frozen
    public enum Point: UInt8, BitwiseCopyable, Sendable, CaseIterable {
        /// A frame as it was received from a local port, or written to one.
        case port
        /// The frame inside, before encapsulation or after decapsulation.
        case tunnel
        /// The outer frame.
        case underlay
        /// What was not delivered.
        case drop
    }

    public var point: Point
    public var isOutgoing: Bool
    /// Of a drop; else of no meaning.
    public var reason: DropReason = .runt
    /// What it was seen at (`Interface`).
    public var interface: UInt64
    /// Identity of the port or tunnel it belongs to; 0 for none.
    public var owner: UInt64

    @inlinable
    public init(_ point: Point, isOutgoing: Bool, interface: UInt64, owner: UInt64 = 0) {
        self.point = point
        self.isOutgoing = isOutgoing
        self.interface = interface
        self.owner = owner
    }

    @inlinable
    public init(_ point: Point, isOutgoing: Bool, _ port: PortEntry) {
        self.init(point, isOutgoing: isOutgoing, interface: port.identity, owner: port.identity)
    }

    /// Why it was dropped.
    @inlinable
    public init(dropped reason: DropReason, isOutgoing: Bool, interface: UInt64, owner: UInt64 = 0) {
        self.init(.drop, isOutgoing: isOutgoing, interface: interface, owner: owner)
        self.reason = reason
    }

    /// Names of what frames are seen at: a port's or tunnel's identity is its own name, the others are told apart by
    /// their upper byte.
    @frozen
    public enum Interface {
        /// An uplink.
        @inlinable
        public static func uplink(_ identity: UInt64) -> UInt64 { 1 << 56 | identity }

        /// The kernel's UDP sockets, by family and destination port.
        @inlinable
        public static func socket(port: UInt16, isIPv4: Bool) -> UInt64 {
            2 << 56 | (isIPv4 ? 1 << 16 : 0) | UInt64(port)
        }
    }
}

extension EngineOutput where Self: ~Copyable {
    /// An output that captures nothing.
    @inlinable public mutating func observe(_ frame: Superframe, _ observation: Observation) {}
    @inlinable
    public mutating func observe(
        _ datagram: Datagram, _ listener: ListenerEntry, _ observation: Observation
    ) {}
    @inlinable public mutating func observe(_ frame: OuterFrame, _ observation: Observation) {}
}

extension Engine {
    /// Whether the output is told what passes. Stays over programs; changed between breaths.
    public var isObserved: Bool {
        get { view.isObserved }
        set { view.isObserved = newValue }
    }

    /// A frame passed a port or tunnel.
    @inlinable @inline(__always)
    func see<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ point: Observation.Point, isOutgoing: Bool, _ port: PortEntry,
        _ output: inout Output
    ) {
        if view.isObserved { output.observe(frame, Observation(point, isOutgoing: isOutgoing, port)) }
    }

    /// A frame (or each of `count`) that came in by a port goes nowhere.
    @inlinable @inline(__always)
    func dropReceived<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ port: PortEntry, _ reason: DropReason, _ count: Int, _ output: inout Output
    ) {
        port.counters.dropReceived(reason, count)
        if view.isObserved {
            output.observe(
                frame,
                Observation(
                    dropped: reason, isOutgoing: false, interface: port.identity, owner: port.identity))
        }
    }

    /// A copy (or each of `count`) that was to leave by a port does not.
    @inlinable @inline(__always)
    func dropTransmit<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ port: PortEntry, _ reason: DropReason, _ count: Int, _ output: inout Output
    ) {
        port.counters.dropTransmit(reason, count)
        if view.isObserved {
            output.observe(
                frame,
                Observation(
                    dropped: reason, isOutgoing: true, interface: port.identity, owner: port.identity))
        }
    }

    /// A datagram that came to a listener is no tunnel's.
    @inlinable @inline(__always)
    func refuse<Output: EngineOutput & ~Copyable>(
        _ datagram: Datagram, _ listener: ListenerEntry, _ reason: DropReason, _ output: inout Output
    ) {
        listener.counters.dropReceived(reason)
        if view.isObserved {
            output.observe(
                datagram, listener,
                Observation(dropped: reason, isOutgoing: false, interface: listener.interface))
        }
    }

    /// A datagram or a train has come to a UDP socket.
    @inlinable @inline(__always)
    public func see<Output: EngineOutput & ~Copyable>(
        _ datagram: Datagram, listener number: UInt32, _ output: inout Output
    ) {
        guard view.isObserved else { return }
        let listener = view.listeners[Int(number)]
        output.observe(
            datagram, listener,
            Observation(
                .underlay, isOutgoing: false, interface: listener.interface,
                owner: tunnel(of: datagram, number)))
    }

    /// An outer frame has come by an uplink; `reason` when that is where it ends.
    @inlinable @inline(__always)
    func see<Output: EngineOutput & ~Copyable>(
        _ frame: OuterFrame, _ outer: OuterDatagram, _ uplink: UplinkEntry, _ output: inout Output
    ) {
        guard view.isObserved else { return }
        let listener =
            outer.isAccepted ? view.listener(port: outer.destinationPort, isIPv4: outer.isIPv4) : nil
        let owner = listener.map { tunnel(of: outer.datagram, $0) } ?? 0
        let interface = Observation.Interface.uplink(uplink.identity)
        output.observe(frame, Observation(.underlay, isOutgoing: false, interface: interface, owner: owner))
        guard listener == nil else { return }
        output.observe(
            frame,
            Observation(
                dropped: outer.isAccepted ? .noListener : outer.reason, isOutgoing: false,
                interface: interface))
    }

    /// The tunnel a datagram belongs to; 0 for none.
    @inlinable @inline(never)
    func tunnel(of datagram: Datagram, _ listener: UInt32) -> UInt64 {
        var one = datagram
        if datagram.segmentByteCount > 0 { one.byteCount = min(one.byteCount, datagram.segmentByteCount) }
        let arrival = admit(one, listener: listener, view)
        return arrival.isAccepted ? view.ports[Int(arrival.port)].identity : 0
    }
}

extension ListenerEntry {
    /// As a capture knows it.
    @inlinable public var interface: UInt64 {
        Observation.Interface.socket(port: port, isIPv4: isIPv4)
    }
}
