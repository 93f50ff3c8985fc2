// What became, or would become, of one frame: found by the engine that forwards, told as values.

public import Wire

/// Where a frame to be tried comes in.
public enum TraceArrival: Sendable {
    /// By local port number `ingress`.
    case port(UInt32, Offload)
    /// As a datagram with this VNI, to a listener.
    case datagram(
        listener: UInt32, vni: VNI, source: PackedAddress, destination: PackedAddress, typeOfService: UInt8)
}

/// What would become of a frame.
public struct FrameTrace: Sendable {
    /// What became of the copies for one port.
    public struct Copy: Sendable {
        /// The port's identity.
        public var port: UInt64
        public var outputs: [TracedOutput] = []
        /// How many copies or segments were dropped, and why.
        public var drops: [DropReason: Int] = [:]
        /// Of them, those that wait for their next hop.
        public var held = 0
        /// Made here, for whoever sent the frame.
        public var isAnswer = false
    }

    /// A row that counted something.
    public struct Counted: Sendable {
        public enum Owner: Hashable, Sendable {
            /// By identity.
            case port(UInt64)
            case listener(UInt64)
            case uplink(UInt64)
        }

        public var owner: Owner
        public var counts: CounterSnapshot
    }

    /// The identity of the port it came in by; nil when no tunnel takes the datagram.
    public var ingress: UInt64?
    /// What it was dropped for as it came in.
    public var refusal: DropReason?
    /// The decision, as the flow cache would keep it; nil when there was none to make.
    public var flow: FlowSnapshot?
    /// How a bridge that is not plain came to it.
    public var walk: [WalkStep] = []
    /// Its MAC addresses as it is switched: rules may have changed them.
    public var sourceAddress = MACAddress.zero
    public var destinationAddress = MACAddress.zero
    /// Entries of its MAC addresses, as they were when it was switched, before it came.
    public var source: ForwardingEntry?
    public var destination: ForwardingEntry?
    /// In the order in which ports were served.
    public var copies: [Copy] = []
    public var counted: [Counted] = []

    public init() {}

    public enum Verdict: Sendable {
        /// At least one copy leaves.
        case delivered
        /// All copies wait for their next hops.
        case held
        /// It ends here, in an answer to its sender.
        case answered
        case dropped(DropReason)
    }

    public var verdict: Verdict {
        if let refusal { return .dropped(refusal) }
        let onward = copies.filter { !$0.isAnswer }
        if onward.contains(where: { !$0.outputs.isEmpty }) { return .delivered }
        if onward.contains(where: { $0.held > 0 }) { return .held }
        if let reason = onward.lazy.compactMap(\.drops.keys.first).first { return .dropped(reason) }
        return copies.contains { $0.isAnswer } ? .answered : .dropped(.noDestination)
    }
}
