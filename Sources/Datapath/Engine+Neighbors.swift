// Answering for stations whose addresses are bound: a question that came in by a local port and would be flooded
// goes back answered by the way it came. One to a MAC address the table knows is not flooded and reaches the
// station: so whoever checks that it is still there (RFC 4861 §7.3) learns the truth, as RFC 9161 §3.2 wants it.

public import Wire

extension Engine {
    /// What a frame that is to be flooded turned out to be.
    @frozen @usableFromInline
    enum Inquiry: BitwiseCopyable {
        /// Nothing this bridge can answer.
        case other
        case answered
        /// The station is behind the port the question came from, and has heard it.
        case heard
    }

    /// Answers a question for a bound address.
    @inlinable @inline(never)
    mutating func inquire<Output: EngineOutput & ~Copyable>(
        _ frame: Superframe, _ shape: FrameShape, _ bridge: BridgeEntry, vlan: UInt16, _ delivery: Delivery,
        _ output: inout Output
    ) -> Inquiry {
        guard let request = NeighborRequest(frame, shape) else { return .other }
        let station = bridge.bindings.station(of: request.target)
        guard !station.isZero, !request.isFrom(station) else { return .other }
        let seconds = UInt32(truncatingIfNeeded: delivery.now / 1000)
        if bridge.table.lookup(station, vlan: vlan, nowSeconds: seconds) == delivery.ingress { return .heard }
        let memory = output.reserve(NeighborRequest.maximumAnswerByteCount)
        let count = request.answer(frame, shape, from: station, into: memory)
        view.ports[Int(delivery.ingress)].counters.add(.neighAnswered)
        giveBack(memory, count, delivery, &output)
        return .answered
    }
}
